"""The base of our own solvers of `SparseCoding`, which yield their iterates one by one, and the
shrinkage that they share. Needs torch."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from cscsr.problem import SparseCoding
from cscsr.solver import Solution, Stopwatch
from cscsr.sparse.loop import IterativeCoder, Monitor


def shrink(codes: torch.Tensor, threshold: Any, nonnegative: bool = False) -> torch.Tensor:
    """Return h_θ(z) = sign(z)·max(|z| − θ, 0) (eq. 5); nonnegative: max(z − θ, 0). θ is a number
    or a tensor that broadcasts to the codes."""
    if nonnegative:
        return F.relu(codes - threshold)
    return codes - codes.clamp(-threshold, threshold)


def shrink_into(
    out: torch.Tensor, codes: torch.Tensor, threshold: Any, nonnegative: bool
) -> torch.Tensor:
    """Write `shrink` of `codes` into `out`, without a gradient."""
    if nonnegative:
        return torch.sub(codes, threshold, out=out).clamp_(min=0)
    torch.clamp(codes, -threshold, threshold, out=out)
    return torch.sub(codes, out, out=out)


class Iterate(NamedTuple):
    """One iterate of a solver.

    Attributes
    ----------
    codes
        zₖ.
    residual
        A residual of the method, relative to zₖ, that must be small at convergence.
    operations
        The multiply-adds so far, where they depend on the codes.
    """

    codes: torch.Tensor
    residual: float = 0.0
    operations: float = math.nan


@dataclass(frozen=True)
class ProximalSolver(IterativeCoder):
    """An iterative solver of `SparseCoding` of our own; parameters as `IterativeCoder`, and:

    Parameters
    ----------
    device
        The device to compute on ("cpu", "cuda", …); None: the signal's.
    """

    device: Any = None

    @property
    def target_device(self) -> Any:
        return self.device

    @abstractmethod
    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield z₁, z₂, … without end.

        Keep the last two yielded tensors intact; older ones may be overwritten. Never modify z₀.
        `problem` is in torch; `codes` is z₀.
        """

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float | None:
        """One F and one Fᵀ per iteration, for each signal of a batch."""
        count = self.iterations if iterations is None else iterations
        return count * math.prod(problem.codes_shape[:-3]) * problem.operator().operations

    def prepare(self, problem: SparseCoding) -> None:
        """Transform the filters and compute L."""
        problem.on(self.device, self.dtype).operator().prepare()

    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        return self.follow(self.iterates(problem, monitor.start), problem, monitor)

    def follow(
        self, iterates: Iterator[Iterate], problem: SparseCoding, monitor: Monitor
    ) -> Solution:
        """Take iterates until the monitor ends the solve, and return its solution."""
        clock = Stopwatch(problem.signal.device)
        codes = monitor.start
        for iteration in range(1, self.iterations + 1):

            def earlier(previous: torch.Tensor = codes) -> torch.Tensor:
                return previous

            codes, residual, operations = next(iterates)
            if monitor.ends(
                iteration,
                codes,
                earlier,
                clock,
                tol=self.tol,
                residual=residual,
                operations=operations,
            ):
                break
        return monitor.finish(codes, clock.seconds)
