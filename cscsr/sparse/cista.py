"""CISTA: ISTA written as two convolutions with explicit filters W and S (eq. 8).

It is the iteration that CRNet unrolls, here with the filters that make it ISTA to the last
digits. Needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from cscsr.operators import convolve
from cscsr.problem import SparseCoding
from cscsr.sparse.loop import Iterate, ProximalSolver, shrink


def cista_step(problem: SparseCoding) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map z ↦ h_{λ/L}(W⊗y + S⊗z) of a problem in torch; differentiable in z.

    W⊗y and the filters are computed once. Both boundaries are exact: "circular" wraps y
    and z, "zero" pads them with zeros (`convolve` wants its margins already there).
    """
    operator = problem.operator()
    weights, recurrent = operator.cista_filters()
    margin = operator.size - 1
    threshold = problem.lam * operator.step
    circular = problem.boundary == "circular"
    observed = problem.observed()
    if observed.ndim == 3:
        observed = observed[None]
    if circular:
        observed = F.pad(observed, (0, margin, 0, margin), mode="circular")
    drive = convolve(observed, weights)

    def step(codes: torch.Tensor) -> torch.Tensor:
        maps = codes if codes.ndim == 4 else codes[None]
        maps = F.pad(maps, (margin,) * 4, mode="circular" if circular else "constant")
        new = shrink(drive + convolve(maps, recurrent), threshold, problem.nonnegative)
        return new if codes.ndim == 4 else new[0]

    return step


@dataclass(frozen=True)
class CISTA(ProximalSolver):
    """ISTA by explicit convolution with S: the same iterates as `ISTA`, at M²(2s−1)²
    multiply-adds a pixel instead of 2·M·C·s². There to be true, not to be fast.

    cost_cap: the most multiply-adds an iteration may take; `supports` says so of a problem
    that needs more.
    """

    cost_cap: float = 2e10

    @property
    def name(self) -> str:
        return "cista"

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float:
        """M²(2s−1)² a pixel for S⊗z in each iteration, and M·C·s² for W⊗y, once."""
        atoms, size = problem.dictionary.shape[0], problem.dictionary.shape[-1]
        channels = 1 if problem.dictionary.ndim == 3 else problem.dictionary.shape[1]
        codes = math.prod(problem.codes_shape)
        count = self.iterations if iterations is None else iterations
        each = float(codes * atoms * (2 * size - 1) ** 2)
        return count * each + codes * channels * size**2

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or past the cost cap."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        atoms, size = problem.dictionary.shape[0], problem.dictionary.shape[-1]
        cost = self.operations(problem, 2) - self.operations(problem, 1)
        if cost > self.cost_cap:
            return (
                f"explicit CISTA with {atoms} atoms of {size}x{size} takes more multiply-adds an "
                f"iteration on an image of this size than its cap of {self.cost_cap:.0e}."
            )
        return None

    def step(self, problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
        """One iteration, differentiable in `codes`; makes the filters anew, see `cista_step`."""
        return cista_step(problem.on(self.device, self.dtype))(codes)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """zₖ₊₁ = h_{λ/L}(W⊗y + S⊗zₖ)."""
        step = cista_step(problem)
        while True:
            codes = step(codes)
            yield Iterate(codes)
