"""ADMM for `SparseCoding` (Wohlberg 2016), its x-step solved exactly at each frequency.

Also what every ADMM here has in common, that of sporco included: its parameters' ranges, its
boundary and its warm start. Needs torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.sparse.monitor import TINY
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink


def check_splitting(rho: float | None, relaxation: float) -> None:
    """Raises InputError unless 0 < ρ < ∞ (or None) and 1 ≤ relaxation < 2."""
    if rho is not None and not 0 < rho < math.inf:
        raise InputError(f"rho must be a finite number above 0, got {rho!r}.")
    if not 1 <= relaxation < 2:
        raise InputError(f"relaxation must be in [1, 2), got {relaxation!r}.")


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


def x_step(problem: SparseCoding) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The map (w, ρ) ↦ x − w, where x solves (FᵀF + ρI) x = Fᵀy + ρw.

    By the Woodbury identity it is Fᵀ(FFᵀ + ρI)⁻¹(y − Fw), and FFᵀ is a C×C matrix at each
    frequency, which is diagonalised once, for all ρ. For C = 1 that is the Sherman–Morrison
    formula.
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

    def correction(point: torch.Tensor, rho: float) -> torch.Tensor:
        spectrum = torch.fft.rfft2(observed - operator.synthesis(point))
        if basis is None:
            spectrum /= gram + rho
        else:
            spectrum = torch.einsum("hwdc,...dhw->...chw", basis.conj(), spectrum)
            spectrum /= gram + rho
            spectrum = torch.einsum("hwdc,...chw->...dhw", basis, spectrum)
        return operator.adjoint(torch.fft.irfft2(spectrum, operator.grid))

    return correction


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
    tol: besides the codes' change ‖x − z_before‖ must be at most tol·‖z‖.

    Memory: of arrays as large as the codes it keeps five from one iteration to the next (two
    of z, v, the half spectrum of the filters, the last good z) and has up to six that come and
    go within F and Fᵀ. sporco's keeps nine (x, z, z_before, u, z − u, the relaxed x and the
    spectra of x, F and Fᵀy) and has more that come and go.

    Raises InputError for a parameter out of range.
    """

    growth: ClassVar[float] = 1e6
    """z is not x: with a ρ far too small its objective may rise a long way before it falls."""

    rho: float | None = None
    auto_rho: bool = True
    relaxation: float = 1.8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_splitting(self.rho, self.relaxation)

    @property
    def name(self) -> str:
        return "admm"

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or its boundary is not circular."""
        return super().supports(problem) or only_circular(self.name, problem)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """zₖ and ‖x − zₖ₋₁‖/‖zₖ‖, the size of the step, which bounds what remains."""
        rho = default_rho(problem) if self.rho is None else self.rho
        correction = x_step(problem)
        # From zero codes u starts at zero as well: Fᵀy is no estimate of the multiplier there.
        v = dual_of(problem, codes).div_(rho) if codes.any() else torch.zeros_like(codes)
        v += codes
        for iteration in itertools.count(1):
            previous = codes
            u = v.sub_(codes)
            step = correction(codes - u, rho).sub_(u)  # x − z
            v = u.add_(codes).add_(step, alpha=self.relaxation)
            codes = shrink(v, problem.lam / rho, problem.nonnegative)
            if self.auto_rho and iteration >= 16 and iteration & (iteration - 1) == 0:
                change = _balance(v, codes, previous, step)
                v.sub_(codes).div_(change).add_(codes)  # ρu stays as it is
                rho *= change
            residual = 0.0
            if self.tol > 0:
                residual = float(step.norm()) / max(float(codes.norm()), TINY)
            del step
            yield Iterate(codes, residual)


def default_rho(problem: SparseCoding) -> float:
    """⅓‖f‖²·√(λ/λ_max), at least 1e-3 of ‖f‖². Within a factor of two or so of the best
    fixed ρ for learned atoms on high-passed images and λ/λ_max from 0.004 to 0.4."""
    energy = float(problem.operator().filters.square().sum())
    largest = problem.lambda_max()
    ratio = problem.lam / largest if largest > 0 else 0.0
    return max(math.sqrt(ratio) / 3.0, 1e-3) * energy or 1.0


def _balance(
    v: torch.Tensor, codes: torch.Tensor, previous: torch.Tensor, step: torch.Tensor
) -> float:
    """The factor for ρ, √(p/d) within [1/10, 10], as `ADMM` says; 1 where both are zero."""
    move = codes - previous
    dual = float(move.norm()) / max(float(torch.dist(v, codes)), TINY)
    primal = float(torch.dist(step, move))
    primal /= max(float((step + previous).norm()), float(codes.norm()), TINY)
    if primal == dual == 0:
        return 1.0
    return min(max(math.sqrt(primal / max(dual, TINY)), 0.1), 10.0)
