"""The loop that our own solvers of `SparseCoding` share: clock, trace, stop rules, divergence.

A solver gives the loop its sequence of iterates; the loop decides when to stop and writes
down what happened. Needs torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from cscsr.errors import InputError
from cscsr.operators import as_kind
from cscsr.problem import SparseCoding
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch, Trace

GROWTH = 10.0
"""A solve has diverged when its objective, or the bound on it that ‖z‖₁ gives, is this many
times that of the starting point (or of zero, whichever is larger)."""


def shrink(codes: torch.Tensor, threshold: float, nonnegative: bool = False) -> torch.Tensor:
    """h_θ(z) = sign(z)·max(|z| − θ, 0) (eq. 6); nonnegative: max(z − θ, 0)."""
    if nonnegative:
        return F.relu(codes - threshold)
    return F.softshrink(codes, threshold)


@dataclass(frozen=True)
class ProximalSolver(Solver[SparseCoding]):
    """An iterative solver of `SparseCoding` of our own.

    iterations: the cap.
    tol: stop when ‖zₖ − zₖ₋₁‖ ≤ tol·‖zₖ‖; 0 runs to the cap.
    device, dtype: where and in what to compute ("cuda", "float32", …); None: as the signal.
    record_every: iterations between two rows of the trace; 0: only the last has one.
    gap: record the duality gap too.
    """

    problem_type: ClassVar[type] = SparseCoding

    iterations: int = 500
    tol: float = 1e-4
    device: Any = None
    dtype: Any = None
    record_every: int = 1
    gap: bool = False

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations!r}.")
        if not 0 <= self.tol < math.inf:
            raise InputError(f"tol must be a finite number of at least 0, got {self.tol!r}.")
        if self.record_every < 0:
            raise InputError(f"record_every must be at least 0, got {self.record_every!r}.")

    @abstractmethod
    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[torch.Tensor]:
        """z₁, z₂, … from z₀ = `codes`, without end, each a new tensor; `problem` is in torch."""

    def prepare(self, problem: SparseCoding) -> None:
        """Transforms the filters and computes L."""
        problem.on(self.device, self.dtype).operator().prepare()

    def solve(
        self, problem: SparseCoding, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Codes of `problem`, from `init` (M,H,W) or (B,M,H,W), or from zero.

        At λ ≥ λ_max the codes are zero, exactly and at once: converged in 0 iterations.
        Raises InputError if `supports(problem)` gives a reason or `init` has another shape.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        with torch.no_grad():
            return self._solve(problem, init, callback)

    def _solve(self, original: SparseCoding, init: Any, callback: Callback | None) -> Solution:
        problem = original.on(self.device, self.dtype)
        trace = Trace()
        clock = Stopwatch(problem.signal.device)

        def record(iteration: int, codes: torch.Tensor, change: float) -> float:
            with clock.paused():
                objective = problem.objective(codes)
                gap = problem.duality_gap(codes) if self.gap and problem.lam > 0 else math.nan
                trace.append(
                    iteration,
                    clock.seconds,
                    objective=objective,
                    relative_change=change,
                    nnz=int(codes.count_nonzero()),
                    duality_gap=gap,
                )
            return objective

        def finish(codes: torch.Tensor, status: Status) -> Solution:
            seconds = clock.seconds
            codes = as_kind(codes, original.signal)
            return Solution(codes, status, trace, seconds, codes)

        zero = problem.observed().new_zeros(problem.codes_shape)
        if problem.lam > 0 and problem.lam >= problem.lambda_max():
            record(0, zero, 0.0)
            return finish(zero, Status.CONVERGED)

        codes = good = zero if init is None else problem.codes(init)
        ceiling = GROWTH * problem.objective(zero)
        if init is not None:
            ceiling = max(ceiling, GROWTH * problem.objective(codes))
        status = Status.MAX_ITERATIONS
        iterates = self.iterates(problem, codes)
        for iteration in range(1, self.iterations + 1):
            previous, codes = codes, next(iterates)
            size = problem.lam * float(codes.abs().sum())
            change = math.nan
            last = iteration == self.iterations
            recorded = last or (self.record_every > 0 and iteration % self.record_every == 0)
            if self.tol > 0 or recorded:
                change = float(torch.dist(codes, previous)) / max(float(codes.norm()), 1e-30)
            if callback is not None:
                with clock.paused():
                    stop = bool(callback(iteration, as_kind(codes, original.signal)))
            else:
                stop = False
            if self.tol > 0 and change <= self.tol:
                status = Status.CONVERGED
            if not size <= ceiling:
                status = Status.DIVERGED
            if recorded or stop or status is not Status.MAX_ITERATIONS:
                objective = record(iteration, codes, change)
                if not objective <= ceiling:
                    status = Status.DIVERGED
            if status is Status.DIVERGED:
                return finish(good, status)
            if GROWTH * size <= ceiling:
                good = codes
            if stop or status is not Status.MAX_ITERATIONS:
                break
        return finish(codes, status)
