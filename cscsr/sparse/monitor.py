"""What happens beside the iterations of a `SparseCoding` solver: its trace and its end.

Shared by our own loop (`proximal`) and by the adapters of other packages, so that all are
scored and judged alike. Needs torch.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from cscsr.errors import InputError
from cscsr.operators import as_kind
from cscsr.problem import SparseCoding
from cscsr.solver import Callback, Solution, Status, Trace

GROWTH = 10.0
"""A solve has diverged when its objective is not finite or this many times that of the
starting point (or of zero, whichever is larger)."""

CHECK_EVERY = 25
"""Iterations between two looks at the objective for divergence, where none is recorded."""

TINY = 1e-30
"""Keeps the relative change of zero codes finite."""


def check_parameters(iterations: int, tol: float, record_every: int) -> None:
    """Raises InputError unless iterations ≥ 1, 0 ≤ tol < ∞ and record_every ≥ 0."""
    if iterations < 1:
        raise InputError(f"iterations must be at least 1, got {iterations!r}.")
    if not 0 <= tol < math.inf:
        raise InputError(f"tol must be a finite number of at least 0, got {tol!r}.")
    if record_every < 0:
        raise InputError(f"record_every must be at least 0, got {record_every!r}.")


def relative_change(codes: torch.Tensor, previous: torch.Tensor) -> float:
    """‖z − z_previous‖ / ‖z‖."""
    return float(torch.dist(codes, previous)) / max(float(codes.norm()), TINY)


class Monitor:
    """Watches one solve of `problem` (in torch), whose answer is to be like `like`.

    start: z₀. iterations, record_every, gap, callback: as the solver has them.
    growth: times the starting objective at which the solve counts as diverged.
    """

    def __init__(
        self,
        problem: SparseCoding,
        like: Any,
        start: torch.Tensor | None,
        *,
        iterations: int,
        record_every: int,
        gap: bool,
        callback: Callback | None,
        growth: float = GROWTH,
    ) -> None:
        self.problem = problem
        self.trace = Trace()
        self._like = like
        self._iterations = iterations
        self._record_every = record_every
        self._gap = gap and problem.lam > 0
        self._callback = callback
        self._growth = growth
        if start is not None and not start.isfinite().all():
            raise InputError("init must be finite, but it holds NaN or infinity.")
        zero = problem.observed().new_zeros(problem.codes_shape)
        self.start = self._good = zero if start is None else start
        self._reference = problem.objective(zero)
        if start is not None:
            self._reference = max(self._reference, problem.objective(start))

    def wants_row(self, iteration: int) -> bool:
        """Whether this iteration is one to be recorded."""
        every = self._record_every
        return iteration == self._iterations or (every > 0 and iteration % every == 0)

    def diverged(self, iteration: int, codes: torch.Tensor) -> bool:
        """Looks at the objective once in `CHECK_EVERY` iterations, between two rows."""
        return iteration % CHECK_EVERY == 0 and self._judge(self.problem.objective(codes), codes)

    def record(self, iteration: int, seconds: float, codes: torch.Tensor, change: float) -> bool:
        """Adds a row to the trace; True if the solve has diverged."""
        objective = self.problem.objective(codes)
        self.trace.append(
            iteration,
            seconds,
            objective=objective,
            relative_change=change,
            nnz=int(codes.count_nonzero()),
            duality_gap=self.problem.duality_gap(codes) if self._gap else math.nan,
        )
        return self._judge(objective, codes)

    def _judge(self, objective: float, codes: torch.Tensor) -> bool:
        if objective <= self._reference:
            self._good = codes
        return not objective <= self._growth * self._reference

    def stops(self, iteration: int, codes: torch.Tensor) -> bool:
        """Calls the callback, if there is one; True if it ends the solve."""
        if self._callback is None:
            return False
        return bool(self._callback(iteration, as_kind(codes, self._like)))

    def finish(self, codes: torch.Tensor, status: Status, seconds: float) -> Solution:
        """The solution; of a diverged solve, with the last good codes."""
        codes = as_kind(self._good if status is Status.DIVERGED else codes, self._like)
        return Solution(codes, status, self.trace, seconds, codes)


def zero_is_the_answer(problem: SparseCoding) -> bool:
    """λ ≥ λ_max (and λ > 0, as every code is an answer where y is orthogonal to F at λ = 0)."""
    return problem.lam > 0 and problem.lam >= problem.lambda_max()
