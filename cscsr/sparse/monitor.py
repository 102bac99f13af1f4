"""What happens beside the iterations of a `SparseCoding` solver: its trace and its end.

Shared by our own loop (`proximal`) and by the adapters of other packages, so that all are
scored and judged alike. Needs torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from cscsr.errors import InputError
from cscsr.operators import as_kind
from cscsr.problem import SparseCoding, in_pieces
from cscsr.solver import Callback, Solution, Status, Trace

if TYPE_CHECKING:
    from cscsr.sparse.iterative import IterativeCoder

GROWTH = 10.0
"""A solve has diverged when its objective is not finite or this many times that of the
starting point (or of zero, whichever is larger)."""

CHECK_EVERY = 25
"""Iterations between two looks at the objective for divergence, where none is recorded."""

GAP_EVERY = 10
"""Iterations between two looks at the duality gap, where it may end the solve."""

TINY = 1e-30
"""Keeps the relative change of zero codes finite."""


def relative_change(codes: torch.Tensor, previous: torch.Tensor) -> float:
    """‖z − z_previous‖ / ‖z‖."""
    change = size = 0.0
    for new, old in in_pieces(codes, previous):
        change += float(torch.dist(new, old)) ** 2
        size += float(new.norm()) ** 2
    return math.sqrt(change) / max(math.sqrt(size), TINY)


class Monitor:
    """Watches one solve of `problem` (in torch) by `solver`, whose answer is to be like `like`.

    start: z₀, or None for zero. callback: as the solver was given it.
    """

    def __init__(
        self,
        solver: IterativeCoder,
        problem: SparseCoding,
        like: Any,
        start: torch.Tensor | None,
        callback: Callback | None,
    ) -> None:
        self.problem = problem
        self.trace = Trace()
        self._solver = solver
        self._like = like
        self._gap = solver.gap and problem.lam > 0
        self._callback = callback
        if start is not None and not all(part.isfinite().all() for (part,) in in_pieces(start)):
            raise InputError("init must be finite, but it holds NaN or infinity.")
        operator, observed = problem.operator(), problem.observed()
        self._reference = 0.5 * float(observed.double().square().sum())  # P(0)
        if start is None:
            self.start = operator.zeros(*problem.codes_shape[:-3])
        else:
            self.start = operator.arrange(start)
            self._reference = max(self._reference, problem.objective(start))
        self._good = self.start

    def wants_row(self, iteration: int) -> bool:
        """Whether this iteration is one to be recorded."""
        every = self._solver.record_every
        return iteration == self._solver.iterations or (every > 0 and iteration % every == 0)

    def diverged(self, iteration: int, codes: torch.Tensor) -> bool:
        """Looks at the objective once in `CHECK_EVERY` iterations, between two rows."""
        return iteration % CHECK_EVERY == 0 and self._judge(self.problem.objective(codes), codes)

    def record(
        self,
        iteration: int,
        seconds: float,
        codes: torch.Tensor,
        change: float,
        operations: float = math.nan,
    ) -> bool:
        """Adds a row to the trace; True if the solve has diverged."""
        if self._gap:
            objective, gap = self.problem.objective_and_gap(codes)
        else:
            objective, gap = self.problem.objective(codes), math.nan
        self.trace.append(
            iteration,
            seconds,
            objective=objective,
            relative_change=change,
            nnz=int(codes.count_nonzero()),
            duality_gap=gap,
            operations=operations,
        )
        return self._judge(objective, codes)

    def _judge(self, objective: float, codes: torch.Tensor) -> bool:
        if objective <= self._reference:
            if self._good is self.start:
                self._good = torch.empty_like(codes)
            self._good.copy_(codes)  # a solver may write over its codes
        return not (objective < math.inf and objective <= self._solver.growth * self._reference)

    def certified(self, iteration: int, codes: torch.Tensor) -> bool:
        """Whether the duality gap is small enough to end the solve; looks at it once in
        `GAP_EVERY` iterations."""
        tolerance = self._solver.gap_tol
        if tolerance == 0 or iteration % GAP_EVERY:
            return False
        objective, gap = self.problem.objective_and_gap(codes)
        return gap <= tolerance * objective

    def out_of_time(self, seconds: float) -> bool:
        """Whether the solver has used up its time."""
        limit = self._solver.max_seconds
        return limit is not None and seconds >= limit

    def stops(self, iteration: int, codes: torch.Tensor) -> bool:
        """Calls the callback, if there is one; True if it ends the solve."""
        if self._callback is None:
            return False
        return bool(self._callback(iteration, as_kind(codes.clone(), self._like)))

    def finish(self, codes: torch.Tensor, status: Status, seconds: float) -> Solution:
        """The solution; of a diverged solve, with the last good codes."""
        codes = as_kind(self._good if status is Status.DIVERGED else codes, self._like)
        return Solution(codes, status, self.trace, seconds, codes)
