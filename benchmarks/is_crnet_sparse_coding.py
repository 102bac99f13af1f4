"""Is CRNet sparse coding? Measured on the trained weights.

    python -m benchmarks.is_crnet_sparse_coding --data DIR --out reports/latest

CRNet's block is CISTA with W and S set free: z ← ReLU(W⊗y + S⊗z + b). If it still codes, then
the codes are sparse, S is n − (1/L) flip(f)⊗f for some f, the biases are thresholds, and more
recursions than it was trained with go on towards a minimum. Each of these is measured here,
for every network that is shipped; docs/is-crnet-sparse-coding.md reads the result.

Everything about S is in its symbol Ŝ(ω), an m₀×m₀ matrix at each frequency: by Parseval the
squared Frobenius distance of two filter banks is the mean over the frequencies of that of their
symbols, and ‖S‖ = max ‖Ŝ(ω)‖₂ on a torus.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.curves import made_with, make_folder, run_command, write_curves
from benchmarks.sr_convergence import central, followed, problem_of
from cscsr import InputError, list_solvers, make_solver, weights
from cscsr.data.datasets import load_dataset

if TYPE_CHECKING:
    import torch

    from cscsr.networks import CISTABlock

NAME = "is_crnet_sparse_coding"
BEYOND = 3
"""Recursions are followed up to this many times the trained number."""

GRID = 32
"""Frequencies a side at which symbols are taken."""

SETTINGS = ["dataset", "scale", "crop", "solvers", "beyond", "weights"]
CSV_COLUMNS = [
    *SETTINGS,
    "solver",
    "recursion",
    "trained_recursions",
    "psnr_db",
    "nnz_share",
    "norm",
    "relative_change",
    "energy",
    "images",
]
SIDES = (2, 3)
"""Of the dictionaries that are fitted to S: what the paper's 3×3 S can hold, and W's own."""

FIT_STEPS = 300


def networks() -> list[str]:
    """The shipped networks, without self-ensemble."""
    names = list_solvers("SuperResolution")
    return [n for n in names if n.startswith("crnet-") and not n.endswith("+")]


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


def autocorrelation(filters: Any, size: int) -> Any:
    """flip(f)⊗f of f (M,C,s,s), a tensor, at the lags that a layer of size×size holds,
    (M,M,size,size): Aᵢⱼ(d) = Σ_c Σₖ f_ic[k] f_jc[k − d]; differentiable."""
    import torch

    side, reach = filters.shape[-1], size // 2

    def taken(lag: int) -> slice:
        return slice(max(lag, 0), side + min(lag, 0))

    taps = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            here = filters[..., taken(down), taken(right)].flatten(1)
            there = filters[..., taken(-down), taken(-right)].flatten(1)
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
    eigenvalues = np.linalg.eigvalsh((difference + adjoint) / 2)
    total = np.mean(np.sum(np.abs(difference) ** 2, (-1, -2)))
    asymmetric = np.mean(np.sum(np.abs(difference - adjoint) ** 2, (-1, -2))) / 4
    positive = np.sort(np.maximum(eigenvalues, 0), axis=-1)
    shares = {
        "asymmetric": asymmetric,
        "indefinite": np.mean(np.sum(np.minimum(eigenvalues, 0) ** 2, -1)),
        "rank": np.mean(np.sum(positive[..., : max(atoms - channels, 0)] ** 2, -1)),
    }
    return {name: float(share / total) for name, share in shares.items()}


def recurrence(name: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray], Any]:
    """S as one filter bank, its bias if it has one, and all that the weight file holds."""
    import torch

    from cscsr.network import load_network

    tensors, metadata = weights.load(name)
    network = load_network(name, weights.sha256(name), "cpu")
    with torch.no_grad():
        layer = network.block.S
        bias = None if layer.bias is None else layer.bias.double().numpy()
        return layer.weight.double().numpy(), bias, tensors, metadata


def describe_weights(name: str) -> dict[str, float]:
    """What the weights of a network say by themselves, S as `balanced` gives it.

    Raises InputError for one whose S is not a bank of square filters of odd size.
    """
    recurrent, bias, tensors, metadata = recurrence(name)
    drive = tensors["block.W.weight"].astype(np.float64)
    atoms, channels = drive.shape[:2]
    if recurrent.shape[:2] != (atoms, atoms) or recurrent.shape[-1] % 2 == 0:
        raise InputError(f"{name} has an S of shape {recurrent.shape}, which is not one of CISTA.")
    recurrent, scales = balanced(recurrent)
    drive = drive * scales[:, None, None, None]
    size = recurrent.shape[-1]
    transfer = symbol(recurrent)
    hermitian = (transfer + np.conj(np.swapaxes(transfer, -1, -2))) / 2
    eigenvalues = np.linalg.eigvalsh(hermitian)
    away = np.linalg.norm(identity(atoms, size) - recurrent)
    facts = {
        "recursions": metadata["network"]["recursions"],
        "atoms": atoms,
        "channels": channels,
        "size": size,
        "norm": float(np.linalg.svd(transfer, compute_uv=False).max()),
        "radius": float(np.abs(np.linalg.eigvals(transfer)).max()),
        "largest_eigenvalue": float(eigenvalues.max()),
        "least_eigenvalue": float(eigenvalues.min()),
        "eigenvalues_above_one": float((eigenvalues > 1 + 1e-6).mean()),
        "identity_distance": float(away / np.linalg.norm(recurrent)),
        "diagonal": float(recurrent[:, :, size // 2, size // 2].diagonal().mean()),
        **{f"floor_{key}": value for key, value in floor_of(recurrent, channels).items()},
    }
    for side in SIDES:
        scaled = [] if side != drive.shape[-1] else [drive * _best_scale(drive, recurrent)]
        fitted, distance = nearest_dictionary(recurrent, channels, side, starts=scaled)
        facts[f"fit_{side}x{side}"] = distance / float(np.linalg.norm(recurrent))
        facts[f"explained_{side}x{side}"] = 1.0 - (distance / float(away)) ** 2
        facts[f"gram_{side}x{side}"] = _largest_gram(fitted)
    if drive.shape[-1] in SIDES:
        tied = _tied_distance(drive, recurrent)
        facts["fit_W"] = tied / float(np.linalg.norm(recurrent))
        facts["explained_W"] = 1.0 - (tied / float(away)) ** 2
    drawn, _ = balanced(_random_like(recurrent, metadata["network"].get("s_rank")))
    drawn_away = float(np.linalg.norm(identity(atoms, size) - drawn))
    for side in SIDES:
        _, distance = nearest_dictionary(drawn, channels, side)
        facts[f"random_explained_{side}x{side}"] = 1.0 - (distance / drawn_away) ** 2
    facts["random_asymmetric"] = floor_of(drawn, channels)["asymmetric"]
    if "block.W.bias" in tensors and bias is not None:
        thresholds = -scales * (tensors["block.W.bias"].astype(np.float64) + bias)
        facts["positive_thresholds"] = float((thresholds > 0).mean())
        median = np.median(thresholds)
        near = (thresholds > median / 2) & (thresholds < median * 2)
        facts["thresholds_near_median"] = float(near.mean())
    return facts


def _random_like(recurrent: np.ndarray, rank: int | None, seed: int = 0) -> np.ndarray:
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


def _best_scale(drive: np.ndarray, recurrent: np.ndarray) -> float:
    """√c, where c ≥ 0 makes n − c·flip(W)⊗W nearest to S."""
    size = recurrent.shape[-1]
    gram, target = _tied(drive, size), identity(len(recurrent), size) - recurrent
    return float(np.sqrt(max(np.sum(gram * target) / np.sum(gram * gram), 1e-12)))


def _tied_distance(drive: np.ndarray, recurrent: np.ndarray) -> float:
    """Distance of S from n − c·flip(W)⊗W for the best c ≥ 0: the f that W itself is, up to L."""
    size = recurrent.shape[-1]
    scaled = drive * _best_scale(drive, recurrent)
    return float(np.linalg.norm(identity(len(recurrent), size) - _tied(scaled, size) - recurrent))


def _largest_gram(filters: np.ndarray) -> float:
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


def recursions(
    name: str,
    scale: int,
    images: Sequence[np.ndarray],
    beyond: float,
    report: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """A row for each recursion k, means over the images: PSNR of z_k decoded, share of its
    elements that are not zero, ‖z_k‖ over that of the trained K, relative change, and
    (E(z_k) − E(z_K)) / |E(z₀) − E(z_K)| of `energy`."""
    columns: dict[str, list[np.ndarray]] = {}
    _, scales = balanced(recurrence(name)[0])
    with followed(name, scale, beyond) as run:
        for image in images:
            if report is not None:
                report(f"{name}, recursions")
            problem = problem_of(image, scale, run.solver.line)
            with watched(run.solver.network().block, scales) as (norms, energies):
                solution = run.solver.solve(problem)
            trace, size = solution.trace, run.codes * np.prod(solution.codes.shape[-2:])
            above = np.array(energies) - energies[run.trained]
            for column, values in {
                "psnr_db": trace["psnr_db"],
                "nnz_share": trace["nnz"] / size,
                "norm": np.array(norms) / norms[run.trained],
                "relative_change": trace["relative_change"],
                "energy": above / abs(above[0]),
            }.items():
                columns.setdefault(column, []).append(values[: run.iterations])
        means = {column: np.mean(values, axis=0) for column, values in columns.items()}
        return [
            {
                "solver": name,
                "recursion": k,
                "trained_recursions": run.trained,
                **{column: float(f"{values[k]:.6g}") for column, values in means.items()},
                "images": len(images),
            }
            for k in range(run.iterations)
        ]


def measure(
    settings: dict[str, Any],
    names: Sequence[str],
    images: Sequence[np.ndarray],
    report: Callable[[str, int, int], None] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the table of recursions and those of the table of weights."""
    total, done = len(names) * (len(images) + 1), 0

    def say(what: str) -> None:
        nonlocal done
        if report is not None:
            report(what, done, total)
        done += 1

    walks, facts = [], []
    for name in names:
        say(f"{name}, weights")
        facts.append({**settings, "solver": name, **describe_weights(name)})
        rows = recursions(name, int(settings["scale"]), images, settings["beyond"], say)
        walks += [settings | row for row in rows]
    return walks, facts


_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def draw(walks: Path, picture: Path) -> None:
    """Draw the picture from the table of recursions and the shipped weights: the spectrum of S
    over frequencies, and PSNR, non-zeros and change over recursions."""
    import pandas as pd
    from matplotlib.figure import Figure

    rows = pd.read_csv(walks)
    first = rows.iloc[0]
    figure = Figure(figsize=(11.5, 7.2), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    columns = (
        ("psnr_db", f"PSNR of z_k decoded, ×{first.scale} (dB)", "linear"),
        ("nnz_share", "share of z_k that is not zero", "linear"),
        ("relative_change", "‖z_k − z_k₋₁‖ / ‖z_k‖", "log"),
        ("norm", "‖z_k‖ / ‖z_K‖", "log"),
        ("energy", "(E(z_k) − E(z_K)) / |E(z₀) − E(z_K)|", "linear"),
    )
    for panel, (column, label, scale) in zip(panels, columns, strict=False):
        for (name, curve), colour in zip(
            rows.groupby("solver", sort=False), _COLOURS, strict=False
        ):
            trained = int(curve.trained_recursions.iloc[0])
            panel.plot(curve.recursion / trained, curve[column], ".-", color=colour, label=name)
        panel.axvline(1, color="#888888", linewidth=1, linestyle=":")
        panel.set(yscale=scale, xlabel="recursions k / trained K", ylabel=label)
        panel.grid(alpha=0.25)
    until = rows.psnr_db[rows.recursion <= rows.trained_recursions]
    margin = 0.3 * (until.max() - until.min())  # a network may fall far below after its K
    panels[0].set_ylim(until.min() - margin, until.max() + margin)
    panels[0].legend(fontsize=9, loc="best")
    panels[4].set_yscale("symlog", linthresh=1)  # its own value leaves no room for the ticks
    panels[4].set_ylim(3 * min(-1.0, rows.energy.min()), 3 * max(1.0, rows.energy.max()))
    last = panels[5]
    for (name, _), colour in zip(rows.groupby("solver", sort=False), _COLOURS, strict=False):
        recurrent, _ = balanced(recurrence(name)[0])
        transfer = symbol(recurrent)
        hermitian = (transfer + np.conj(np.swapaxes(transfer, -1, -2))) / 2
        values = np.sort(np.linalg.eigvalsh(hermitian).ravel())
        last.plot(np.linspace(0, 1, len(values)), values, color=colour, label=name)
    band = last.axhspan(0, 1, color="#000000", alpha=0.06, linewidth=0)
    last.legend([band], ["CISTA with the step 1/L"], fontsize=8.5, loc="lower right")
    last.set(xlabel="share of all frequencies and channels", ylabel="eigenvalues of (S + Sᵀ)/2")
    last.grid(alpha=0.25)
    figure.suptitle(
        f"The trained recursion z ← ReLU(W⊗y + S⊗z + b); mean over {first.images} images of "
        f"{first.dataset}. Dotted: the number of recursions it was trained with.",
        fontsize=10,
    )
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=130)
    part.replace(picture)


_FACTS = (
    ("K recursions, m₀ codes, n₀ features", "{recursions:.0f}, {atoms:.0f}, {channels:.0f}"),
    ("‖S‖ over all frequencies (CISTA: at most 1)", "{norm:.2f}"),
    ("spectral radius of Ŝ (CISTA: at most 1)", "{radius:.2f}"),
    (
        "eigenvalues of the symmetric part of S (CISTA: 0 to 1)",
        "{least_eigenvalue:.2f} to {largest_eigenvalue:.2f}",
    ),
    ("of these above 1", "{eigenvalues_above_one:.1%}"),
    ("mean of the middle of Sᵢᵢ (n has 1)", "{diagonal:.2f}"),
    ("‖S − n‖ / ‖S‖", "{identity_distance:.3f}"),
    ("size of S", "{size:.0f}×{size:.0f}"),
    ("the same to n − flip(g)⊗g for the nearest g of 2×2", "{fit_2x2:.3f}"),
    ("… for the nearest g of 3×3, its 5×5 cut to the size of S", "{fit_3x3:.3f}"),
    ("… for g = W up to a factor, cut in the same way", "{fit_W:.3f}"),
    ("share of ‖n − S‖² that g of 2×2 explains", "{explained_2x2:.1%}"),
    ("… of 3×3, cut to the size of S", "{explained_3x3:.1%}"),
    ("… g = W up to a factor, cut", "{explained_W:.1%}"),
    ("… g of 2×2 for a random S of the same form, as far from n", "{random_explained_2x2:.1%}"),
    ("… g of 3×3 for a random S of the same form", "{random_explained_3x3:.1%}"),
    ("share of ‖n − S‖² that no g explains: asymmetric", "{floor_asymmetric:.1%}"),
    ("… of a random S of the same form", "{random_asymmetric:.1%}"),
    ("… symmetric, with eigenvalues below 0", "{floor_indefinite:.1%}"),
    ("… past rank n₀", "{floor_rank:.1%}"),
    ("largest eigenvalue of flip(g)⊗g, g of 2×2 (a step 1/L: 1)", "{gram_2x2:.2f}"),
    ("channels whose threshold −(b_W + b_S) is positive", "{positive_thresholds:.0%}"),
    ("… is within a factor of 2 of the median (CISTA: all)", "{thresholds_near_median:.0%}"),
)
"""What the table says of the weights: words, and how the figures are written."""

_WALK = (
    ("codes that are not zero at K", "{0.nnz_share:.1%}"),
    ("… at {beyond}K − 1", "{2.nnz_share:.1%}"),
    ("‖z_k − z_k₋₁‖ / ‖z_k‖ at K", "{0.relative_change:.3f}"),
    ("… at {beyond}K − 1", "{2.relative_change:.3f}"),
    ("‖z_k‖ / ‖z_K‖ at {beyond}K − 1", "{2.norm:.3g}"),
    ("PSNR at K, dB", "{0.psnr_db:.2f}"),
    ("… at 2K", "{1.psnr_db:.2f}"),
    ("… at {beyond}K − 1", "{2.psnr_db:.2f}"),
)


def describe_tables(walks: Path, facts: Path, page: Path) -> None:
    """Write the page from the two tables: a row a question, a column a network."""
    import pandas as pd

    rows, measured = pd.read_csv(walks), pd.read_csv(facts)
    first = rows.iloc[0]
    names = list(measured.solver)
    lines = [
        "# Is CRNet sparse coding? The figures",
        "",
        "S is the recurrent filter bank of the trained block z ← ReLU(W⊗y + S⊗z + b), n the "
        "identity filter, g = f/√L; norms are Frobenius unless they are said to be over "
        "frequencies. S is scaled to D S D⁻¹ with a diagonal D, which changes nothing in the "
        "network and brings it as near to a symmetric one as such a D can. What the rows mean is "
        "in docs/is-crnet-sparse-coding.md.",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'--:|' * len(names)}",
    ]
    for words, form in _FACTS:
        cells = []
        for _, row in measured.iterrows():
            values = row.dropna().to_dict()
            try:
                cells.append(form.format(**values))
            except KeyError:  # a network without biases, or with another kernel
                cells.append("–")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    for words, form in _WALK:
        cells = []
        for name in names:
            walk = rows[rows.solver == name].set_index("recursion")
            trained = int(walk.trained_recursions.iloc[0])
            last = walk.index.max()
            cells.append(
                form.format(*(walk.loc[min(k, last)] for k in (trained, 2 * trained, last)))
            )
        lines.append(f"| {words.format(beyond=first.beyond)} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Recursions: mean over the {first.images} images of {first.dataset}"
        f"{f' (their central {first.crop}×{first.crop})' if first.crop else ''}, "
        f"×{first.scale}. Made "
        f"by `python -m benchmarks.is_crnet_sparse_coding --dataset {first.dataset} --scale "
        f"{first.scale}`.",
        "",
    ]
    page.write_text("\n".join(lines), encoding="utf-8")


def is_crnet_sparse_coding(
    out: str | Path,
    *,
    data: str | Path | None = None,
    dataset: str = "demo",
    scale: int = 2,
    crop: int = 192,
    solvers: Sequence[str] | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make is_crnet_sparse_coding.csv (recursions), _weights.csv, .png and .md in the folder
    `out`; returns their paths.

    crop: side in pixels of the part in the middle of each image that is taken, 0 for all.

    Nothing is measured where the tables are there already, of the same settings and weights.
    Raises InputError for an unknown data set or network.
    """
    names = list(solvers or networks())
    for name in names:
        with followed(name, scale):
            pass
    out = make_folder(out)
    walks, facts = out / f"{NAME}.csv", out / f"{NAME}_weights.csv"
    settings = {
        "dataset": dataset,
        "scale": scale,
        "crop": crop,
        "solvers": " ".join(names),
        "beyond": BEYOND,
        "weights": " ".join(make_solver(name).weights_sha256()[:8] for name in names),
    }
    if not (made_with(walks, settings) and made_with(facts, settings)):
        images = [central(image, crop) for _, image in load_dataset(dataset, data)]
        walked, found = measure(settings, names, images, report)
        columns = list(dict.fromkeys(key for row in found for key in row))
        write_curves(facts, columns, found)
        write_curves(walks, CSV_COLUMNS, walked)
    draw(walks, out / f"{NAME}.png")
    describe_tables(walks, facts, out / f"{NAME}.md")
    return [walks, facts, out / f"{NAME}.png", out / f"{NAME}.md"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.is_crnet_sparse_coding`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.is_crnet_sparse_coding", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="(default: CSCSR_DATA)")
    parser.add_argument("--dataset", default="demo", metavar="NAME", help="(%(default)s)")
    parser.add_argument("--scale", type=int, default=2, help="(%(default)s)")
    parser.add_argument(
        "--crop", type=int, default=192, help="middle of each image in pixels, 0: all (%(default)s)"
    )
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="(default: all networks)")
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    return run_command(is_crnet_sparse_coding, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
