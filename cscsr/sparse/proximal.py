"""The loop that our iterative solvers share: a solver gives its iterates, the loop stops them.

Needs torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F

from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch
from cscsr.sparse.monitor import (
    GROWTH,
    Monitor,
    check_parameters,
    relative_change,
    zero_is_the_answer,
)


def shrink(codes: torch.Tensor, threshold: float, nonnegative: bool = False) -> torch.Tensor:
    """h_θ(z) = sign(z)·max(|z| − θ, 0) (eq. 6); nonnegative: max(z − θ, 0)."""
    if nonnegative:
        return F.relu(codes - threshold)
    return F.softshrink(codes, threshold)


class Iterate(NamedTuple):
    """zₖ, and what else must be small before the solve has converged: a residual of the
    method's, relative to zₖ."""

    codes: torch.Tensor
    residual: float = 0.0


@dataclass(frozen=True)
class ProximalSolver(Solver[SparseCoding]):
    """An iterative solver of `SparseCoding` of our own.

    iterations: the cap.
    tol: stop when ‖zₖ − zₖ₋₁‖ ≤ tol·‖zₖ‖ (and the method's own residual, if it has one, is
    at most tol too); 0 runs to the cap.
    device, dtype: where and in what to compute ("cuda", "float32", …); None: as the signal.
    record_every: iterations between two rows of the trace; 0: only the last has one.
    gap: record the duality gap too.

    Raises InputError for a parameter out of range.
    """

    problem_type: ClassVar[type] = SparseCoding
    growth: ClassVar[float] = GROWTH

    iterations: int = 500
    tol: float = 1e-4
    device: Any = None
    dtype: Any = None
    record_every: int = 1
    gap: bool = False

    def __post_init__(self) -> None:
        check_parameters(self.iterations, self.tol, self.record_every)

    @abstractmethod
    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """z₁, z₂, … from z₀ = `codes`, without end, each a new tensor; `problem` is in torch."""

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float | None:
        """One F and one Fᵀ an iteration, for each signal of a batch."""
        count = self.iterations if iterations is None else iterations
        return count * math.prod(problem.codes_shape[:-3]) * problem.operator().operations

    def prepare(self, problem: SparseCoding) -> None:
        """Transforms the filters and computes L."""
        problem.on(self.device, self.dtype).operator().prepare()

    def solve(
        self, problem: SparseCoding, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Codes of `problem`, from `init` (M,H,W) or (B,M,H,W), or from zero.

        At λ ≥ λ_max the codes are zero, exactly and at once: converged at iteration 0.
        Raises InputError if `supports(problem)` gives a reason or `init` has another shape.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        with torch.no_grad():
            return self._solve(problem, init, callback)

    def _solve(self, original: SparseCoding, init: Any, callback: Callback | None) -> Solution:
        problem = original.on(self.device, self.dtype)
        clock = Stopwatch(problem.signal.device)
        with clock.paused():
            monitor = Monitor(
                problem,
                original.signal,
                None if init is None else problem.codes(init),
                iterations=self.iterations,
                record_every=self.record_every,
                gap=self.gap,
                callback=callback,
                growth=self.growth,
            )
        codes = monitor.start
        if zero_is_the_answer(problem):
            with clock.paused():
                codes = torch.zeros_like(codes)
                monitor.record(0, clock.seconds, codes, 0.0)
            return monitor.finish(codes, Status.CONVERGED, clock.seconds)

        status = Status.MAX_ITERATIONS
        iterates = self.iterates(problem, codes)
        for iteration in range(1, self.iterations + 1):
            previous = codes
            codes, residual = next(iterates)
            change = math.nan
            if self.tol > 0:
                change = relative_change(codes, previous)
                if max(change, residual) <= self.tol:
                    status = Status.CONVERGED
            with clock.paused():
                stops = monitor.stops(iteration, codes)
                if stops or status is Status.CONVERGED or monitor.wants_row(iteration):
                    if self.tol == 0:
                        change = relative_change(codes, previous)
                    diverged = monitor.record(iteration, clock.seconds, codes, change)
                else:
                    diverged = monitor.diverged(iteration, codes)
            if diverged:
                status = Status.DIVERGED
            elif stops:
                status = Status.STOPPED
            if status is not Status.MAX_ITERATIONS:
                break
        return monitor.finish(codes, status, clock.seconds)
