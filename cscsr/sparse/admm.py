"""ADMM for `SparseCoding` (Wohlberg 2016), its x-step solved exactly at each frequency.

Also what every ADMM here has in common, that of sporco included: its parameters' ranges, its
boundary and its warm start. Needs torch.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.sparse.loop import TINY, Iterate, ProximalSolver, as_batch, shrink_into


def check_splitting(rho: float | None, relaxation: float, rho_growth: float = 1.0) -> None:
    """Raises InputError unless 0 < ρ < ∞ (or None), 1 ≤ relaxation < 2, 1 ≤ rho_growth < ∞."""
    if rho is not None and not 0 < rho < math.inf:
        raise InputError(f"rho must be a finite number above 0, got {rho!r}.")
    if not 1 <= relaxation < 2:
        raise InputError(f"relaxation must be in [1, 2), got {relaxation!r}.")
    if not 1 <= rho_growth < math.inf:
        raise InputError(f"rho_growth must be a finite number of at least 1, got {rho_growth!r}.")


def only_circular(name: str, problem: SparseCoding) -> str | None:
    """None, or why a solver by Fourier transforms cannot solve `problem`."""
    if problem.boundary == "circular":
        return None
    return (
        f"{name} works by Fourier transforms and solves only the boundary "
        f"'circular', not {problem.boundary!r}."
    )


def dual_of(problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
    """Fᵀ(y − Fz), which at the optimum is the multiplier of x = z, held to its bound λ."""
    operator = problem.operator()
    dual = operator.adjoint(problem.observed() - operator.synthesis(codes))
    return dual.clamp_(None if problem.nonnegative else -problem.lam, problem.lam)


def frequency_solver(problem: SparseCoding) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The map (s, ρ) ↦ (FFᵀ + ρI)⁻¹ s of signals ([B,]C,H,W).

    FFᵀ is a C×C matrix at each frequency, which is diagonalised once, for all ρ. By the Woodbury
    identity x = w + Fᵀg with g = (FFᵀ + ρI)⁻¹(y − Fw) solves (FᵀF + ρI) x = Fᵀy + ρw (for C = 1
    that is the Sherman–Morrison formula), and then Fx = y − ρg.
    """
    operator, observed = problem.operator(), problem.observed()
    if operator.channels == 1:
        gram = operator.gram[..., 0, 0].real
        basis = None
    else:
        gram, basis = torch.linalg.eigh(operator.gram)
        gram = gram.movedim(-1, 0)
        basis = basis.to(torch.promote_types(observed.dtype, torch.complex64))
    gram = gram.clamp(min=0).to(observed.dtype)

    def solve(signal: torch.Tensor, rho: float) -> torch.Tensor:
        spectrum = torch.fft.rfft2(signal)
        if basis is None:
            spectrum /= gram + rho
        else:
            spectrum = torch.einsum("hwdc,...dhw->...chw", basis.conj(), spectrum)
            spectrum /= gram + rho
            spectrum = torch.einsum("hwdc,...chw->...dhw", basis, spectrum)
        return torch.fft.irfft2(spectrum, operator.grid)

    return solve


@dataclass(frozen=True)
class ADMM(ProximalSolver):
    """min ½‖y − Fx‖² + λ‖z‖₁ subject to x = z, by ADMM with over-relaxation α and u scaled:

        x ← (FᵀF + ρI)⁻¹(Fᵀy + ρ(z − u)),   v ← αx + (1 − α)z + u,
        z ← h_{λ/ρ}(v),   u ← v − z.

    The codes are z, the sparse one of the two variables. One F and one Fᵀ an iteration, as
    ISTA; the boundary is circular only.

    rho: the penalty ρ at the start; None: ⅓‖f‖²·√(λ/λ_max), ‖f‖² being the sum of the squares
    of all filters' elements, so that neither y's scale nor f's changes the iterates.
    auto_rho: balance the residuals p = ‖x − z‖/max(‖x‖, ‖z‖) and d = ‖z − z_before‖/‖u‖: after
    the iterations 16, 32, 64, … ρ is multiplied by √(p/d), held to [1/10, 10]. As the
    changes become rarer and rarer they cannot keep ADMM from converging.
    relaxation: α, in [1, 2).
    rho_growth: above 1, multiply ρ by it after each iteration from the second on, instead of
    `auto_rho` (Gu et al. 2015): z is then not to converge, but to be stopped at a given k.
    tol: besides the codes' change ‖x − z_before‖ must be at most tol·‖z‖.

    An iteration is one sweep: v, z and Fᵀg are read block by block, and F of the new z is
    taken while the block is in the cache. F(z − u) needs no second F, since Fx = y − ρg and
    u ← αx + (1 − α)z_before + u − z is a sum of things whose F is known. Of arrays as large as
    the codes it keeps v and two of z (and the monitor the last good z); sporco's keeps nine (x,
    z, z_before, u, z − u, the relaxed x and the spectra of x, F and Fᵀy) and has more that come
    and go.

    Raises InputError for a parameter out of range.
    """

    growth: ClassVar[float] = 1e6
    """z is not x: with a ρ far too small its objective may rise a long way before it falls."""

    rho: float | None = None
    auto_rho: bool = True
    relaxation: float = 1.8
    rho_growth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_splitting(self.rho, self.relaxation, self.rho_growth)

    @property
    def name(self) -> str:
        return "admm"

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or its boundary is not circular."""
        return super().supports(problem) or only_circular(self.name, problem)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """zₖ and ‖x − zₖ₋₁‖/‖zₖ‖, the size of the step, which bounds what remains."""
        rho = default_rho(problem) if self.rho is None else self.rho
        operator, observed = problem.operator(), as_batch(problem.observed())
        solve = frequency_solver(problem)
        start = as_batch(codes)
        # From zero codes u starts at zero as well: Fᵀy is no estimate of the multiplier there.
        v = dual_of(problem, codes).div_(rho) if codes.any() else torch.zeros_like(codes)
        v = as_batch(v)
        image_u, image = operator.synthesis(v), operator.synthesis(start)
        v += start
        new, old, spare = start, torch.empty_like(start), torch.empty_like(start)
        for iteration in itertools.count(1):
            adapts = self.auto_rho and self.rho_growth == 1 and adapts_after(iteration)
            norms = _Norms() if adapts or self.tol > 0 else None
            g = solve(observed - image + image_u, rho)
            target = old
            sweep = operator.sweep(g)
            for block, correlation in sweep:
                before = new[block]
                step = correlation.sub_(v[block]).add_(before)  # x − z_before
                point = v[block].add_(step, alpha=self.relaxation)
                after = shrink_into(target[block], point, problem.lam / rho, problem.nonnegative)
                sweep.put(block, after)
                if adapts:
                    x = step.add(before)
                    norms.add(x=x, off=x - after, move=after - before, u=point - after)
                if norms is not None:
                    norms.add(step=step, z=after)
            image_before, image = image, sweep.image
            image_u = image_u + self.relaxation * (observed - rho * g)
            image_u += (1.0 - self.relaxation) * image_before - image
            new, old = target, spare if new is start else new
            change = _balance(norms) if adapts else 1.0
            if iteration > 1:
                change *= self.rho_growth
            if change != 1:
                v.sub_(new).div_(change).add_(new)  # ρu stays as it is
                image_u /= change
                rho *= change
            residual = 0.0 if norms is None else norms["step"] / max(norms["z"], TINY)
            yield Iterate(new if codes.ndim == 4 else new[0], residual)


def adapts_after(iteration: int) -> bool:
    """Whether ρ is adapted after this iteration: 16, 32, 64, …."""
    return iteration >= 16 and iteration & (iteration - 1) == 0


def default_rho(problem: SparseCoding) -> float:
    """⅓‖f‖²·√(λ/λ_max), at least 1e-3 of ‖f‖². Within a factor of two or so of the best
    fixed ρ for learned atoms on high-passed images and λ/λ_max from 0.004 to 0.4."""
    energy = float(problem.operator().filters.double().square().sum())
    largest = problem.lambda_max()
    ratio = problem.lam / largest if largest > 0 else 0.0
    return min(max(math.sqrt(ratio) / 3.0, 1e-3) * energy or 1.0, sys.float_info.max)


class _Norms:
    """Norms of arrays that are seen block by block."""

    def __init__(self) -> None:
        self._squares: dict[str, float] = defaultdict(float)

    def add(self, **blocks: torch.Tensor) -> None:
        for name, block in blocks.items():
            self._squares[name] += float(block.norm()) ** 2

    def __getitem__(self, name: str) -> float:
        return math.sqrt(self._squares[name])


def _balance(norms: _Norms) -> float:
    """The factor for ρ, √(p/d) within [1/10, 10], as `ADMM` says; 1 where both are zero."""
    primal = norms["off"] / max(norms["x"], norms["z"], TINY)
    dual = norms["move"] / max(norms["u"], TINY)
    if primal == dual == 0:
        return 1.0
    return min(max(math.sqrt(primal / max(dual, TINY)), 0.1), 10.0)
