"""What makes a recurrent filter bank S one of sparse coding, measured on the bank.

CISTA has S = n − (1/L) flip(f)⊗f, n being the identity. Everything about S is in its symbol Ŝ(ω),
an m₀×m₀ matrix at each frequency: by Parseval the squared Frobenius distance of two filter banks is
the mean over the frequencies of that of their symbols, and ‖S‖ = max ‖Ŝ(ω)‖₂ on a torus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from cscsr.networks import CISTABlock

GRID = 32
"""Frequencies a side at which symbols are taken."""

FIT_STEPS = 300


def symbol(filters: np.ndarray, grid: int = GRID) -> np.ndarray:
    """Ŝ(ω), (grid,grid,I,J) complex: the transfer matrices of a network's layer (I,J,k,k),
    k odd, on a torus of grid×grid."""
    size = filters.shape[-1]
    reach = size // 2
    taps = np.zeros((*filters.shape[:2], grid, grid))
    for row in range(size):
        for column in range(size):
            # A layer correlates: out[n] = Σ_d S[d] z[n + d].
            taps[..., (reach - row) % grid, (reach - column) % grid] += filters[..., row, column]
    return np.moveaxis(np.fft.fft2(taps), (0, 1), (2, 3))


def symmetric_eigenvalues(transfer: np.ndarray) -> np.ndarray:
    """Eigenvalues of the Hermitian part of transfer matrices (…,I,I), (…,I), rising."""
    return np.linalg.eigvalsh((transfer + np.conj(np.swapaxes(transfer, -1, -2))) / 2)


def autocorrelation(filters: Any, size: int) -> Any:
    """flip(f)⊗f of f (M,C,s,s), a tensor, at the lags that a layer of size×size holds,
    (M,M,size,size): Aᵢⱼ(d) = Σ_c Σₖ f_ic[k] f_jc[k − d]; differentiable."""
    import torch

    side, reach = filters.shape[-1], size // 2

    def overlap(lag: int) -> slice:
        return slice(max(lag, 0), side + min(lag, 0))

    taps = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            here = filters[..., overlap(down), overlap(right)].flatten(1)
            there = filters[..., overlap(-down), overlap(-right)].flatten(1)
            taps.append(here @ there.T)
    return torch.stack(taps, dim=-1).unflatten(-1, (size, size))


def identity(atoms: int, size: int) -> np.ndarray:
    """n, the filter bank (atoms,atoms,size,size) that changes nothing."""
    bank = np.zeros((atoms, atoms, size, size))
    bank[:, :, size // 2, size // 2] = np.eye(atoms)
    return bank


def balanced(recurrent: np.ndarray, sweeps: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """D S D⁻¹ of least norm over all diagonal D > 0, and the diagonal of D (M,).

    z → Dz, S → DSD⁻¹, W → DW changes nothing in a network, as ReLU commutes with D. Of all
    these S the one of least norm is the nearest to a symmetric one, since ⟨S, Sᵀ⟩ does not
    depend on D. Osborne's iteration: each channel's row and column get the same norm.
    """
    energy = np.sum(recurrent**2, axis=(-1, -2))
    np.fill_diagonal(energy, 0.0)
    squares = np.ones(len(energy))
    for _ in range(sweeps):
        for i in range(len(energy)):
            row, column = energy[i] @ (1 / squares), energy[:, i] @ squares
            if row > 0 and column > 0:
                squares[i] = np.sqrt(column / row)
    scales = np.sqrt(squares)
    return recurrent * (scales[:, None] / scales)[..., None, None], scales


def nearest_dictionary(
    recurrent: np.ndarray, channels: int, size: int, seed: int = 0, starts: Sequence[Any] = ()
) -> tuple[np.ndarray, float]:
    """g = f/√L (M,channels,size,size) whose n − flip(g)⊗g, at the lags that S has, is nearest to
    S = `recurrent` (M,M,k,k), and ‖S − (n − flip(g)⊗g)‖ (Frobenius).

    By L-BFGS from a random point and from `starts`; the best end counts. With 2·size − 1 ≤ k
    nothing of the autocorrelation is cut off.
    """
    import torch

    atoms, lags = recurrent.shape[0], recurrent.shape[-1]
    target = torch.from_numpy(identity(atoms, lags) - recurrent)
    generator = torch.Generator().manual_seed(seed)
    scale = (float(target.norm()) / atoms / channels / size**2) ** 0.5 / 3
    shape = (atoms, channels, size, size)
    points = [scale * torch.randn(shape, generator=generator, dtype=torch.float64)]
    points += [torch.from_numpy(np.asarray(start, dtype=np.float64)) for start in starts]
    ends = [_descended(point, target) for point in points]
    return min(ends, key=lambda end: end[1])


def _descended(start: Any, target: Any) -> tuple[np.ndarray, float]:
    """Where L-BFGS on ‖flip(g)⊗g − target‖² comes to from g = `start`, and the norm there."""
    import torch

    lags = target.shape[-1]
    filters = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [filters], max_iter=FIT_STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Any:
        optimiser.zero_grad()
        value = (autocorrelation(filters, lags) - target).square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        distance = float((autocorrelation(filters, lags) - target).norm())
    return filters.detach().numpy(), distance


def floor_of(recurrent: np.ndarray, channels: int) -> dict[str, float]:
    """What keeps S from any n − flip(g)⊗g with g of `channels` channels and any size: squared
    distances as shares of ‖n − S‖², which add up.

    At each frequency n − Ŝ should be Hermitian, positive semidefinite and of rank at most
    `channels`. "asymmetric": the norm of its anti-Hermitian part; "indefinite": of the
    eigenvalues of the rest below zero; "rank": of those positive ones past the largest
    `channels`. No g of any size is nearer than their sum.
    """
    atoms = recurrent.shape[0]
    difference = np.eye(atoms) - symbol(recurrent)
    adjoint = np.conj(np.swapaxes(difference, -1, -2))
    eigenvalues = symmetric_eigenvalues(difference)
    total = np.mean(np.sum(np.abs(difference) ** 2, (-1, -2)))
    asymmetric = np.mean(np.sum(np.abs(difference - adjoint) ** 2, (-1, -2))) / 4
    positive = np.sort(np.maximum(eigenvalues, 0), axis=-1)
    shares = {
        "asymmetric": asymmetric,
        "indefinite": np.mean(np.sum(np.minimum(eigenvalues, 0) ** 2, -1)),
        "rank": np.mean(np.sum(positive[..., : max(atoms - channels, 0)] ** 2, -1)),
    }
    return {name: float(share / total) for name, share in shares.items()}


def random_like(recurrent: np.ndarray, rank: int | None, seed: int = 0) -> np.ndarray:
    """A random S of the form of `recurrent` (M,M,k,k), as far from n: Gaussian filters, or, with
    a rank, n − A∘B of Gaussian A and B with that many filters."""
    import torch

    from cscsr.networks import FactoredS

    atoms, size = recurrent.shape[0], recurrent.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    n = identity(atoms, size)
    if rank is None:
        away = torch.randn(recurrent.shape, generator=generator, dtype=torch.float64).numpy()
    else:
        layer = FactoredS(atoms, rank, (size + 1) // 2, bias=False).double()
        with torch.no_grad():
            for factor in (layer.A, layer.B):
                factor.weight.normal_(generator=generator)
            away = n - layer.weight.numpy()
    return n - away * (np.linalg.norm(n - recurrent) / np.linalg.norm(away))


def _tied(drive: np.ndarray, size: int) -> np.ndarray:
    import torch

    return autocorrelation(torch.from_numpy(drive), size).numpy()


def best_scale(drive: np.ndarray, recurrent: np.ndarray) -> float:
    """√c, where c ≥ 0 makes n − c·flip(W)⊗W nearest to S."""
    size = recurrent.shape[-1]
    gram, target = _tied(drive, size), identity(len(recurrent), size) - recurrent
    return float(np.sqrt(max(np.sum(gram * target) / np.sum(gram * gram), 1e-12)))


def tied_distance(drive: np.ndarray, recurrent: np.ndarray) -> float:
    """Distance of S from n − c·flip(W)⊗W for the best c ≥ 0: the f that W itself is, up to L."""
    size = recurrent.shape[-1]
    scaled = drive * best_scale(drive, recurrent)
    return float(np.linalg.norm(identity(len(recurrent), size) - _tied(scaled, size) - recurrent))


def largest_gram(filters: np.ndarray) -> float:
    """The largest eigenvalue of flip(g)⊗g over all frequencies; ISTA's step is safe up to 1
    and converges below 2."""
    from cscsr.operators import ConvDictionary

    return ConvDictionary(filters, (GRID, GRID)).lipschitz


def energy(
    codes: torch.Tensor,
    recurred: torch.Tensor,
    drive: torch.Tensor,
    bias: torch.Tensor | None,
    scales: torch.Tensor,
) -> float:
    """E(Dz) of codes z (B,M,H,W), for the balanced S̃ = DSD⁻¹:

        E(u) = ½⟨u, u − S̃⊗u⟩ − ⟨u, D(W⊗y + b)⟩,  b = b_W + b_S.

    Its gradient is u − S̃⊗u − D(W⊗y + b) where S̃ is symmetric: the recursion is then projected
    gradient descent of step 1.

    recurred: S⊗z + b_S, what the layer returns; drive: W⊗y + b_W; bias: b_S (M,), None for zero;
    scales: the diagonal of D (M,).
    """
    z, weights = codes.double(), scales.double().square()[:, None, None]
    linear = drive.double()
    quadratic = z - recurred.double()
    if bias is not None:
        b = bias.double()[:, None, None]
        linear, quadratic = linear + b, quadratic + b
    return float((weights * z * (quadratic / 2 - linear)).sum())


@contextmanager
def watched(block: CISTABlock, scales: np.ndarray) -> Iterator[tuple[list[float], list[float]]]:
    """Two lists that passes of `block` extend: ‖z_k‖ and `energy` of z_k, k = 0 … K − 1."""
    import torch

    norms: list[float] = []
    energies: list[float] = []
    drives: list[torch.Tensor] = []
    diagonal = torch.from_numpy(scales)

    def driven(_: Any, __: Any, output: torch.Tensor) -> None:
        drives[:] = [output]

    def recurred(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        norms.append(float(inputs[0].norm()))
        energies.append(energy(inputs[0], output, drives[0], layer.bias, diagonal))

    handles = [block.W.register_forward_hook(driven), block.S.register_forward_hook(recurred)]
    try:
        yield norms, energies
    finally:
        for handle in handles:
            handle.remove()
