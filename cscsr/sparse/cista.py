"""CISTA: ISTA written as two convolutions with explicit filters W and S (eq. 8).

CRNet unrolls this iteration; with the filters of `ConvDictionary.cista_filters` it equals ISTA up
to rounding. Needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from cscsr.convolution import convolve
from cscsr.problem import SparseCoding
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink


def cista_step(problem: SparseCoding) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the map z ↦ h_{λ/L}(W⊗y + S⊗z) of a problem in torch; differentiable in z.

    W⊗y and the filters are computed once. Both boundaries are exact: "circular" wraps y and z,
    "zero" pads them with zeros, since `convolve` expects maps that include their margins.
    """
    operator = problem.operator()
    weights, recurrent = operator.cista_filters()
    below, right = (n - 1 for n in operator.filter_shape)
    threshold = problem.weights() * operator.step
    circular = problem.boundary == "circular"
    observed = problem.observed()
    if observed.ndim == 3:
        observed = observed[None]
    if circular:
        observed = F.pad(observed, (0, right, 0, below), mode="circular")
    drive = convolve(observed, weights)

    def step(codes: torch.Tensor) -> torch.Tensor:
        maps = codes if codes.ndim == 4 else codes[None]
        margins = (right, right, below, below)
        maps = F.pad(maps, margins, mode="circular" if circular else "constant")
        new = shrink(drive + convolve(maps, recurrent), threshold, problem.nonnegative)
        return new if codes.ndim == 4 else new[0]

    return step


@dataclass(frozen=True)
class CISTA(ProximalSolver):
    """ISTA by explicit convolution with S: the same iterates as `ISTA`, at M²(2s−1)² multiply-adds
    per pixel instead of 2·M·C·s². It shows the equivalence; it is not fast. It takes no mask m, as
    Fᵀm²F is no convolution.

    Parameters are those of `ProximalSolver`, and:

    Parameters
    ----------
    cost_cap
        The most multiply-adds that an iteration may take; `supports` refuses a problem that
        needs more.
    """

    supports_lam_array: ClassVar[bool] = True

    cost_cap: float = 2e10

    @property
    def name(self) -> str:
        return "cista"

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float:
        """Per pixel, M²(2h−1)(2w−1) for S⊗z in each iteration, and M·C·h·w for W⊗y once."""
        atoms, (height, width) = problem.dictionary.shape[0], problem.dictionary.shape[-2:]
        channels = 1 if problem.dictionary.ndim == 3 else problem.dictionary.shape[1]
        codes = math.prod(problem.codes_shape)
        count = self.iterations if iterations is None else iterations
        each = float(codes * atoms * (2 * height - 1) * (2 * width - 1))
        return count * each + codes * channels * height * width

    def supports(self, problem: SparseCoding) -> str | None:
        """Return None, or the reason against, the cost cap included."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        atoms, (height, width) = problem.dictionary.shape[0], problem.dictionary.shape[-2:]
        cost = self.operations(problem, 2) - self.operations(problem, 1)
        if cost > self.cost_cap:
            return (
                f"explicit CISTA with {atoms} atoms of {height}x{width} takes more multiply-adds "
                f"per iteration on an image of this size than its cap of {self.cost_cap:.0e}."
            )
        return None

    def step(self, problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
        """Make one iteration, differentiable in `codes`. It computes the filters again; see
        `cista_step`."""
        return cista_step(problem.on(self.device, self.dtype))(codes)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield zₖ₊₁ = h_{λ/L}(W⊗y + S⊗zₖ)."""
        step = cista_step(problem)
        while True:
            codes = step(codes)
            yield Iterate(codes)
