"""The loop of the iterative solvers of `SparseCoding`: their parameters, their trace, their end.

`IterativeCoder` is what every one of them shares, our own and those of other packages; a
`Monitor` watches one solve, so that all are scored and judged alike; `ProximalSolver` runs the
solvers of our own, which give their iterates one by one. Needs torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F

from cscsr.arrays import to_type_of
from cscsr.errors import InputError
from cscsr.problem import SparseCoding, in_pieces
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch, Trace

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


@dataclass(frozen=True)
class IterativeCoder(Solver[SparseCoding]):
    """An iterative solver of `SparseCoding`.

    iterations: the cap.
    tol: stop when the relative change ‖zₖ − zₖ₋₁‖/‖zₖ‖ (and the method's own residual, if it
    has one) is at most this; 0 runs to the cap.
    dtype: "float32" or "float64", to compute in; None: as the signal.
    record_every: iterations between two rows of the trace; 0: only the last has one.
    gap: record the duality gap too.
    gap_tol: stop, certified, when the duality gap is at most this fraction of the objective;
    0: never. It is looked at every `GAP_EVERY` iterations, at the price of one F and one Fᵀ.
    max_seconds: stop when the solver's own time has reached this; None: never.

    Raises InputError for a parameter out of range.
    """

    problem_type: ClassVar[type] = SparseCoding
    growth: ClassVar[float] = GROWTH

    iterations: int = 500
    tol: float = 1e-4
    dtype: Any = None
    record_every: int = 1
    gap: bool = False
    gap_tol: float = 0.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations!r}.")
        for what in ("tol", "gap_tol"):
            value = getattr(self, what)
            if not 0 <= value < math.inf:
                raise InputError(f"{what} must be a finite number of at least 0, got {value!r}.")
        if self.record_every < 0:
            raise InputError(f"record_every must be at least 0, got {self.record_every!r}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds must be above 0, got {self.max_seconds!r}.")

    def place(self) -> Any:
        """The device to compute on; None: the signal's."""
        return None

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or a duality gap is asked for at λ = 0."""
        reason = super().supports(problem)
        if reason is None and self.gap_tol > 0 and problem.lam == 0:
            return f"{self.name} cannot stop by the duality gap at lam = 0, where there is none."
        return reason

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
            here = problem.on(self.place(), self.dtype)
            start = None if init is None else here.codes(init)
            monitor = Monitor(self, here, problem.signal, start, callback)
            if problem.lam >= here.lambda_max():
                zero = torch.zeros_like(monitor.start)
                monitor.record(0, 0.0, zero, 0.0)
                return monitor.finish(zero, Status.CONVERGED, 0.0)
            return self.run(here, monitor)

    @abstractmethod
    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        """Solves `problem`, in torch and in its place, from `monitor.start`."""


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
        return bool(self._callback(iteration, to_type_of(codes.clone(), self._like)))

    def finish(self, codes: torch.Tensor, status: Status, seconds: float) -> Solution:
        """The solution; of a diverged solve, with the last good codes."""
        codes = to_type_of(self._good if status is Status.DIVERGED else codes, self._like)
        return Solution(codes, status, self.trace, seconds, codes)


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
