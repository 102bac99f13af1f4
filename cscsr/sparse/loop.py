"""The loop of the iterative solvers of `SparseCoding`: parameters, trace and stopping rules.

`IterativeCoder` holds what all of them share, our own and those of other packages. A `Monitor`
watches one solve, so that the same code scores and stops every solver. Needs torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch

from cscsr.arrays import check_float_dtype, ordinary_torch, to_type_of
from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.schema import check_fields
from cscsr.solver import Callback, Solution, Solver, Status, Trace
from cscsr.sparse.units import Units, multiplied
from cscsr.weighting import in_pieces

GROWTH = 10.0
"""A solve has diverged when its objective is not finite or exceeds that of the starting point (or
of zero, whichever is larger) by this factor."""

CHECK_EVERY = 25
"""Iterations between two checks for divergence where no objective is recorded."""

GAP_EVERY = 10
"""Iterations between two computations of the duality gap where it may end the solve."""

CONVERGED_GAP = 1e-2
"""A solve has converged when the duality gap is at most this fraction of the objective too (or
`tol`, where it is larger): a slow method changes little long before it is near the optimum."""


TINY = 1e-30
"""Keeps the relative change of zero codes finite."""


def relative_change(codes: torch.Tensor, previous: torch.Tensor) -> float:
    """Return ‖z − z_previous‖ / ‖z‖."""
    change = size = 0.0
    for new, old in in_pieces(codes, previous):
        change += float(torch.dist(new, old)) ** 2
        size += float(new.norm()) ** 2
    return math.sqrt(change) / max(math.sqrt(size), TINY)


@dataclass(frozen=True)
class IterativeCoder(Solver[SparseCoding]):
    """An iterative solver of `SparseCoding`.

    Parameters
    ----------
    iterations
        The most iterations.
    tol
        Stop, converged, when the relative change ‖zₖ − zₖ₋₁‖/‖zₖ‖ (and the method's own residual,
        if it has one) is at most this and the duality gap at most `CONVERGED_GAP` of the
        objective, or `tol` of it if that is larger; 0 runs all iterations. The gap is computed
        when the change is small, at most every `GAP_EVERY` iterations, and costs one F and one
        Fᵀ. Where λ = 0 for all codes there is no gap, and instead ‖Aᵀ(b − Az)‖∞ must be at most
        that fraction of ‖Aᵀb‖∞ (nonnegative: `SparseCoding.kkt_residual`).
    dtype
        The precision to compute in, "float32" or "float64"; None: the signal's.
    record_every
        Iterations between two rows of the trace; 0: only the last iteration has one.
    gap
        Record the duality gap too.
    gap_tol
        Stop, certified, when the duality gap is at most this fraction of the objective; 0:
        never. The gap is computed every `GAP_EVERY` iterations and costs one F and one Fᵀ.
    max_seconds
        Stop when the solver's own time reaches this; None: never.

    Raises
    ------
    InputError
        For a parameter of another type or out of range.

    Attributes
    ----------
    growth
        The factor of `GROWTH` for this method.
    circular_only
        Whether the method solves only the boundary "circular".
    """

    problem_type: ClassVar[type] = SparseCoding
    growth: ClassVar[float] = GROWTH
    circular_only: ClassVar[bool] = False

    iterations: int = 500
    tol: float = 1e-4
    dtype: Any = None
    record_every: int = 1
    gap: bool = False
    gap_tol: float = 0.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_float_dtype(self.dtype)
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations!r}.")
        for name in ("tol", "gap_tol"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"{name} must be a finite number of at least 0, got {value!r}.")
        if self.record_every < 0:
            raise InputError(f"record_every must be at least 0, got {self.record_every!r}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds must be above 0, got {self.max_seconds!r}.")

    @property
    def target_device(self) -> Any:
        """The device to compute on; None: the signal's."""
        return None

    def supports(self, problem: SparseCoding) -> str | None:
        """Return None, or the reason against: another type of problem, a boundary that the method
        cannot solve, or a stop by the duality gap at λ = 0."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if self.circular_only and problem.boundary != "circular":
            return (
                f"{self.name} works by Fourier transforms and solves only the boundary "
                f"'circular', not {problem.boundary!r}."
            )
        if self.gap_tol > 0 and not problem.has_gap:
            return f"{self.name} cannot stop by the duality gap at lam = 0, where there is none."
        return None

    @ordinary_torch()
    def solve(
        self, problem: SparseCoding, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Compute the codes of `problem`.

        Where zero codes are optimal, as from λ_max on, the solve converges at iteration 0. Signals
        and dictionaries of any scale are solved alike: where squares would leave the range of the
        dtype (`SAFE_EXPONENT`), in other units, powers of 2.

        Parameters
        ----------
        problem
        init
            z₀, (M,H,W) or (B,M,H,W); None: zero.
        callback
            Called after each iteration with its number and a copy of the codes.

        Raises
        ------
        InputError
            If `supports(problem)` returns a reason, or if `init` has another shape or
            holds NaN or infinity.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        with torch.no_grad():
            converted = problem.on(self.target_device, self.dtype)
            start = None if init is None else converted.codes(init)
            units = Units.of(converted)
            converted = units.scaled(converted)
            monitor = Monitor(self, converted, problem.signal, start, callback, units)
            if converted.zero_is_optimal():
                zero = torch.zeros_like(monitor.start)
                monitor.record(0, 0.0, zero, 0.0)
                monitor.status = Status.CONVERGED
                return monitor.finish(zero, 0.0)
            return self.in_units(units).run(converted, monitor)

    def in_units(self, units: Units) -> Self:
        """Return this solver with its parameters in `units`, where they have any."""
        return self

    @abstractmethod
    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        """Solve `problem`, in torch and on `target_device`, from `monitor.start`."""


class Clock(Protocol):
    """What `Monitor` needs of a clock: `cscsr.Stopwatch`, or another package's timer."""

    @property
    def seconds(self) -> float:
        """The solver's own time so far."""

    def paused(self) -> AbstractContextManager[None]:
        """Pause the clock inside the `with` block."""


class Monitor:
    """Watches one solve: its trace, its callback, when it ends and why.

    Parameters
    ----------
    solver
        The solver, whose parameters decide when to record and when to stop.
    problem
        The problem in torch.
    like
        The array whose type, dtype and device the solution takes.
    start
        z₀; None: zero.
    callback
        The callback of `solve`.
    units
        The units of `problem`; start, trace, callback and solution are in those of the caller.

    Attributes
    ----------
    start
        z₀ as a tensor, arranged in memory as F and Fᵀ are fastest.
    status
        How the solve ended; MAX_ITERATIONS while it runs.
    trace
        The recorded iterations.
    """

    def __init__(
        self,
        solver: IterativeCoder,
        problem: SparseCoding,
        like: Any,
        start: torch.Tensor | None,
        callback: Callback | None,
        units: Units,
    ) -> None:
        self.problem = problem
        self._units = units
        self._next_gap = 0
        self.status = Status.MAX_ITERATIONS
        self.trace = Trace()
        self._solver = solver
        self._like = like
        self._gap = solver.gap and problem.has_gap
        self._callback = callback
        if start is not None and not all(part.isfinite().all() for (part,) in in_pieces(start)):
            raise InputError("init must be finite, but it holds NaN or infinity.")
        operator, observed = problem.operator(), problem.observed()
        self._reference = 0.5 * float(observed.double().square().sum())  # P(0)
        if start is None:
            self.start = operator.zeros(*problem.codes_shape[:-3])
        else:
            self.start = operator.arrange(multiplied(start, 1.0 / units.codes))
            self._reference = max(self._reference, problem.objective(self.start))
        self._best = self.start

    def ends(
        self,
        iteration: int,
        codes: torch.Tensor,
        previous: Callable[[], torch.Tensor],
        clock: Clock,
        *,
        tol: float = 0.0,
        residual: float = 0.0,
        operations: float = math.nan,
    ) -> bool:
        """Judge one iteration, record it if it is due, and return whether it is the last.

        Convergence and certificate count as the solver's own time; callback and trace do not.

        Parameters
        ----------
        iteration
            k, from 1.
        codes
            zₖ.
        previous
            Returns zₖ₋₁, where the change is needed.
        clock
            The solver's own time.
        tol
            The bound on the relative change and on `residual`; 0: no test for convergence.
        residual
            The method's own residual, relative to zₖ.
        operations
            The multiply-adds so far, where they depend on the codes.
        """
        change = math.nan
        if tol > 0:
            change = relative_change(codes, previous())
            settled = change <= tol and residual <= tol
            if settled and self.is_near_optimum(iteration, codes):
                self.status = Status.CONVERGED
        if self._is_certified(iteration, codes):
            self.status = Status.CERTIFIED
        elif not self._has_ended and self._is_out_of_time(clock.seconds):
            self.status = Status.MAX_SECONDS
        with clock.paused():
            if self._is_stopped(iteration, codes):
                self.status = Status.STOPPED
            due = self._has_ended or self.is_recorded(iteration)
            if due or self._has_diverged(iteration, codes):
                if tol == 0:
                    change = relative_change(codes, previous())
                self.record(iteration, clock.seconds, codes, change, operations)
        return self._has_ended

    @property
    def _has_ended(self) -> bool:
        return self.status is not Status.MAX_ITERATIONS

    def is_recorded(self, iteration: int) -> bool:
        """Whether the trace has a row for this iteration even if the solve goes on."""
        every = self._solver.record_every
        return iteration == self._solver.iterations or (every > 0 and iteration % every == 0)

    def record(
        self,
        iteration: int,
        seconds: float,
        codes: torch.Tensor,
        change: float,
        operations: float = math.nan,
    ) -> None:
        """Add a row to the trace; set the status if the solve has diverged."""
        if self._gap:
            objective, gap = self.problem.objective_and_gap(codes)
        else:
            objective, gap = self.problem.objective(codes), math.nan
        self.trace.append(
            iteration,
            seconds,
            objective=objective * self._units.objective,
            relative_change=change,
            nnz=int(codes.count_nonzero()),
            duality_gap=gap * self._units.objective,
            operations=operations,
        )
        if self._exceeds_bound(objective, codes):
            self.status = Status.DIVERGED

    def _has_diverged(self, iteration: int, codes: torch.Tensor) -> bool:
        """Check the objective for divergence, once in `CHECK_EVERY` iterations."""
        if iteration % CHECK_EVERY:
            return False
        return self._exceeds_bound(self.problem.objective(codes), codes)

    def _exceeds_bound(self, objective: float, codes: torch.Tensor) -> bool:
        """Whether the objective shows divergence; keeps a copy of the codes if they are good."""
        if objective <= self._reference:
            if self._best is self.start:
                self._best = torch.empty_like(codes)
            self._best.copy_(codes)  # a solver may overwrite its codes
        bounded = objective * self._units.objective < math.inf
        return not (bounded and objective <= self._solver.growth * self._reference)

    def is_near_optimum(self, iteration: int, codes: torch.Tensor) -> bool:
        """Whether the duality gap allows the solve to have converged; see `IterativeCoder.tol`.
        Computed at most once in `GAP_EVERY` iterations, False in between."""
        if iteration < self._next_gap:
            return False
        self._next_gap = iteration + GAP_EVERY
        share = max(CONVERGED_GAP, self._solver.tol)
        if not self.problem.has_gap:
            return self.problem.kkt_residual(codes) <= share * self.problem.lambda_max()
        objective, gap = self.problem.objective_and_gap(codes)
        return gap <= share * objective

    def _is_certified(self, iteration: int, codes: torch.Tensor) -> bool:
        """Whether the duality gap ends the solve, checked once in `GAP_EVERY` iterations."""
        tolerance = self._solver.gap_tol
        if tolerance == 0 or iteration % GAP_EVERY:
            return False
        objective, gap = self.problem.objective_and_gap(codes)
        return gap <= tolerance * objective

    def _is_out_of_time(self, seconds: float) -> bool:
        limit = self._solver.max_seconds
        return limit is not None and seconds >= limit

    def _is_stopped(self, iteration: int, codes: torch.Tensor) -> bool:
        """Call the callback, if there is one; return whether it ends the solve."""
        if self._callback is None:
            return False
        return bool(self._callback(iteration, self._returned(codes.clone())))

    def _returned(self, codes: torch.Tensor) -> Any:
        """Codes in the units and the array type of the caller."""
        return to_type_of(multiplied(codes, self._units.codes), self._like)

    def finish(self, codes: torch.Tensor, seconds: float) -> Solution:
        """Return the solution; a diverged solve returns its last good codes."""
        codes = self._best if self.status is Status.DIVERGED else codes
        estimate = self._returned(codes)
        return Solution(estimate, self.status, self.trace, seconds, estimate)


def as_batch(array: torch.Tensor) -> torch.Tensor:
    """Return an array (·,H,W) as a batch of one, (1,·,H,W), and a batch unchanged."""
    return array if array.ndim == 4 else array[None]
