"""ISTA (eq. 5) and FISTA (Beck and Teboulle 2009) for `SparseCoding`. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from cscsr.problem import SparseCoding
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink


def ista_step(problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
    """h_{λ/L}(z + (1/L) Fᵀ(y − F z)), eq. 5, for a problem in torch; differentiable in z."""
    operator = problem.operator()
    step = 1.0 / operator.lipschitz
    residual = problem.observed() - operator.synthesis(codes)
    descended = operator.adjoint(step * residual).add_(codes)
    return shrink(descended, problem.lam * step, problem.nonnegative)


@dataclass(frozen=True)
class ISTA(ProximalSolver):
    """Proximal gradient descent with the step 1/L: the objective never rises, and
    P(zₖ) − P* ≤ L‖z₀ − z*‖²/(2k). One F and one Fᵀ an iteration."""

    @property
    def name(self) -> str:
        return "ista"

    def step(self, problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
        """One iteration, differentiable in `codes`; see `ista_step`."""
        return ista_step(problem.on(self.device, self.dtype), codes)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """zₖ₊₁ = ista_step(zₖ)."""
        while True:
            codes = ista_step(problem, codes)
            yield Iterate(codes)


@dataclass(frozen=True)
class FISTA(ProximalSolver):
    """ISTA taken at an extrapolated point: P(zₖ) − P* ≤ 2L‖z₀ − z*‖²/(k + 1)², at the same
    cost. The objective may rise for a while.

    restart: drop the momentum when it points uphill (O'Donoghue and Candès 2015, gradient
    scheme); for a batch, when it does so for the batch as a whole.
    """

    restart: bool = True

    @property
    def name(self) -> str:
        return "fista"

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """zₖ₊₁ = ista_step(vₖ), vₖ₊₁ = zₖ₊₁ + ((tₖ − 1)/tₖ₊₁)(zₖ₊₁ − zₖ),
        tₖ₊₁ = (1 + √(1 + 4tₖ²))/2, t₁ = 1."""
        point, t = codes.clone(), 1.0
        while True:
            previous, codes = codes, ista_step(problem, point)
            change = codes - previous
            if self.restart and torch.vdot(point.sub_(codes).flatten(), change.flatten()) > 0:
                t = 1.0
            t, old = (1.0 + math.sqrt(1.0 + 4.0 * t * t)) / 2.0, t
            torch.add(codes, change, alpha=(old - 1.0) / t, out=point)
            yield Iterate(codes)
