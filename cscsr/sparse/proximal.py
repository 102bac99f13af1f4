"""The loop that our iterative solvers share: a solver gives its iterates, the loop stops them.

Needs torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from cscsr.problem import SparseCoding
from cscsr.solver import Solution, Status, Stopwatch
from cscsr.sparse.iterative import IterativeCoder
from cscsr.sparse.monitor import Monitor, relative_change


def shrink(codes: torch.Tensor, threshold: float, nonnegative: bool = False) -> torch.Tensor:
    """h_θ(z) = sign(z)·max(|z| − θ, 0) (eq. 6); nonnegative: max(z − θ, 0)."""
    if nonnegative:
        return F.relu(codes - threshold)
    return codes - codes.clamp(-threshold, threshold)


def shrink_into(
    out: torch.Tensor, codes: torch.Tensor, threshold: float, nonnegative: bool
) -> torch.Tensor:
    """`shrink`, written into `out`, and without a gradient."""
    if nonnegative:
        return torch.sub(codes, threshold, out=out).clamp_(min=0)
    torch.clamp(codes, -threshold, threshold, out=out)
    return torch.sub(codes, out, out=out)


def as_batch(array: torch.Tensor) -> torch.Tensor:
    """An array (·,H,W) as one of a batch, (1,·,H,W); a batch as it is."""
    return array if array.ndim == 4 else array[None]


class Iterate(NamedTuple):
    """zₖ, what else must be small before the solve has converged (a residual of the method's,
    relative to zₖ), and the multiply-adds so far where they depend on the codes."""

    codes: torch.Tensor
    residual: float = 0.0
    operations: float = math.nan


@dataclass(frozen=True)
class ProximalSolver(IterativeCoder):
    """An iterative solver of `SparseCoding` of our own.

    device: where to compute ("cuda", …); None: where the signal is.
    """

    device: Any = None

    def place(self) -> Any:
        return self.device

    @abstractmethod
    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """z₁, z₂, … from z₀ = `codes`, without end; `problem` is in torch. An iterate and the
        one before must both be there, older ones may be written over, z₀ may not."""

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float | None:
        """One F and one Fᵀ an iteration, for each signal of a batch."""
        count = self.iterations if iterations is None else iterations
        return count * math.prod(problem.codes_shape[:-3]) * problem.operator().operations

    def prepare(self, problem: SparseCoding) -> None:
        """Transforms the filters and computes L."""
        problem.on(self.device, self.dtype).operator().prepare()

    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        clock = Stopwatch(problem.signal.device)
        codes = monitor.start
        iterates = self.iterates(problem, codes)
        status = Status.MAX_ITERATIONS
        for iteration in range(1, self.iterations + 1):
            previous = codes
            codes, residual, operations = next(iterates)
            change = math.nan
            if self.tol > 0:
                change = relative_change(codes, previous)
                if change <= self.tol and residual <= self.tol:
                    status = Status.CONVERGED
            if monitor.certified(iteration, codes):
                status = Status.CERTIFIED
            elif status is Status.MAX_ITERATIONS and monitor.out_of_time(clock.seconds):
                status = Status.MAX_SECONDS
            with clock.paused():
                if monitor.stops(iteration, codes):
                    status = Status.STOPPED
                wanted = status is not Status.MAX_ITERATIONS or monitor.wants_row(iteration)
                if wanted or monitor.diverged(iteration, codes):
                    if self.tol == 0:
                        change = relative_change(codes, previous)
                    if monitor.record(iteration, clock.seconds, codes, change, operations):
                        status = Status.DIVERGED
            if status is not Status.MAX_ITERATIONS:
                break
        return monitor.finish(codes, status, clock.seconds)
