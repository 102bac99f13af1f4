"""A race of sparse-coding solvers to the certified optimum of a stated problem.

What `benchmarks.convergence` and `benchmarks.speed` have in common: the optimum P*, one run of a
solver with its relative gap P(z)/P* − 1 over iterations, seconds and operations, and the search
for the best penalty ρ of sporco's ADMM. Seconds are the solver's own: what is computed for the
record is off its clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from cscsr import SparseCoding, make_solver
from cscsr.solver import Stopwatch

GAPS = (1e-2, 1e-3, 1e-4)
"""Relative objective gaps to which times are tabulated."""

SEARCH_GAP = 1e-3
"""ρ is the better the fewer iterations ADMM needs to this gap."""

SPORCO = "sporco-admm"
BEST_RHO = "sporco-admm, best ρ"
"""sporco's ADMM with the fixed ρ of `search_rho`."""

OPTIMUM_ITERATIONS = 1000


class Optimum(NamedTuple):
    """P*, the duality gap that bounds how much too high it may be, and the codes if they are
    kept."""

    objective: float
    duality_gap: float
    codes: np.ndarray | None = None

    @property
    def certified(self) -> float:
        """The duality gap as a share of P*."""
        return self.duality_gap / self.objective


def certified_optimum(problem: SparseCoding, certified: float) -> Optimum:
    """What the active-set solver finds in float64 until its duality gap is at most the share
    `certified` of the objective."""
    solver = make_solver(
        "active-set",
        iterations=OPTIMUM_ITERATIONS,
        tol=0,
        gap_tol=certified,
        gap=True,
        record_every=0,
        dtype="float64",
    )
    solution = solver.solve(problem)
    objective, gap = (float(solution.trace[name][-1]) for name in ("objective", "duality_gap"))
    return Optimum(objective, gap, np.asarray(solution.codes))


class Run(NamedTuple):
    """A solver's way to the optimum: arrays with an element for each iteration."""

    iteration: np.ndarray
    seconds: np.ndarray
    operations: np.ndarray
    objective: np.ndarray
    gap: np.ndarray
    nnz: np.ndarray
    distance: np.ndarray
    """‖z − z*‖ / ‖z*‖, NaN without the codes of the optimum."""

    def first_within(self, gap: float) -> int | None:
        """Index of the first iteration within a relative gap, None where there is none."""
        within = self.gap <= gap
        return int(np.argmax(within)) if within.any() else None


def run_solver(
    problem: SparseCoding,
    optimum: Optimum,
    name: str,
    iterations: int,
    until: float | None = None,
    **options: Any,
) -> Run | None:
    """Run a solver for so many iterations, or until its relative gap is `until` (looked at in
    every fifth); None where it declines the problem.

    options: further parameters of the solver.
    """
    solver = make_solver(name, iterations=iterations, tol=0, **options)
    if solver.supports(problem) is not None:
        return None
    solver.prepare(problem)
    target = -math.inf if until is None else (1 + until) * optimum.objective
    distances: dict[int, float] = {}

    def watch(iteration: int, codes: Any) -> bool:
        if optimum.codes is not None:
            away = np.linalg.norm(codes - optimum.codes)
            distances[iteration] = float(away / np.linalg.norm(optimum.codes))
        return iteration % 5 == 0 and until is not None and problem.objective(codes) <= target

    trace = solver.solve(problem, callback=watch).trace
    steps = trace["iteration"].astype(int)
    counted = [solver.operations(problem, step) for step in steps.tolist()]
    return Run(
        iteration=steps,
        seconds=trace["seconds"],
        operations=trace["operations"] if None in counted else np.array(counted),
        objective=trace["objective"],
        gap=trace["objective"] / optimum.objective - 1,
        nnz=trace["nnz"].astype(int),
        distance=np.array([distances.get(step, math.nan) for step in steps.tolist()]),
    )


def run_with_rho(problem: SparseCoding, optimum: Optimum, rho: float, iterations: int) -> Run:
    """ADMM with a fixed ρ, until `SEARCH_GAP` or for so many iterations.

    It is ours, whose iterates with a fixed ρ are sporco's, for a fraction of the time.
    """
    run = run_solver(
        problem, optimum, "admm", iterations, until=SEARCH_GAP, rho=rho, auto_rho=False
    )
    assert run is not None
    return run


def search_rho(
    rhos: Sequence[float],
    needed: Callable[[float, int], tuple[float, float]],
    iterations: int,
) -> tuple[float, float]:
    """The ρ that needs the fewest iterations, and how many; where none gets there, the one that
    comes nearest, and infinitely many.

    needed: called with ρ and the number of iterations after which to give up, the best so far;
    returns the number needed (infinite if there are more) and the gap at the end.
    """
    best, least = math.nan, (math.inf, math.inf)
    for rho in rhos:
        result = needed(rho, int(min(iterations, least[0])))
        if result < least:
            best, least = rho, result
    return best, least[0]


@contextmanager
def own_clock() -> Iterator[str]:
    """Inside, solvers are timed by the processor time of this process if torch has one thread,
    else by wall time; gives the clock's name."""
    import sporco.util
    import torch

    if torch.get_num_threads() > 1:
        yield "wall time"
        return
    before = Stopwatch.clock, sporco.util.timer
    Stopwatch.clock, sporco.util.timer = staticmethod(time.process_time), time.process_time
    try:
        yield "processor time"
    finally:
        Stopwatch.clock, sporco.util.timer = staticmethod(before[0]), before[1]
