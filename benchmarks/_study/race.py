"""A race of sparse-coding solvers to the certified optimum of a stated problem.

What `benchmarks.convergence` and `benchmarks.speed` have in common beside `cscsr.racing`: solvers
by name, and the search for the best penalty ρ of sporco's ADMM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cscsr import SparseCoding, SporcoADMM, make_solver
from cscsr.racing import Optimum, Run, certified_optimum, measure, own_clock

__all__ = [
    "BEST_RHO",
    "GAPS",
    "SEARCH_GAP",
    "SPORCO",
    "Optimum",
    "Run",
    "certified_optimum",
    "own_clock",
    "run_solver",
    "run_with_rho",
    "search_rho",
]

GAPS = (1e-2, 1e-3, 1e-4)
"""Relative objective gaps to which times are tabulated."""

SEARCH_GAP = 1e-3
"""ρ is the better the fewer iterations ADMM needs to this gap."""

SPORCO = "sporco-admm"
BEST_RHO = "sporco-admm, best ρ"
"""sporco's ADMM with the fixed ρ of `search_rho`."""


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
    return measure(problem, optimum, solver, until)


def run_with_rho(problem: SparseCoding, optimum: Optimum, rho: float, iterations: int) -> Run:
    """ADMM with a fixed ρ, until `SEARCH_GAP` or for so many iterations.

    It is ours, whose iterates with a fixed ρ are sporco's, for a fraction of the time.
    """
    run = run_solver(
        problem,
        optimum,
        "admm",
        iterations,
        until=SEARCH_GAP,
        rho=rho,
        auto_rho=False,
        relaxation=SporcoADMM.relaxation,
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
