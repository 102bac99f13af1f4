"""Speed of the sparse-coding solvers, beside sporco's, on one stated problem.

    OMP_NUM_THREADS=1 python -m benchmarks.speed solvers

scikit-image's camera, high-passed, is coded with sporco's dictionary G:8x8x64 in float32. All
solvers run in turn in one process, with as many threads; each until its objective is within
1e-4 of the optimum (sporco's ADMM: 1e-3), which the active-set solver finds in float64 and its
duality gap certifies. sporco's ADMM runs with its defaults, and with the best ρ of a search.
Seconds are the solver's own: on one thread those that the process computed, so that other work
on the machine does not count, else those that passed. Every row is written as soon as it is
measured, and a run that was stopped goes on there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._study.command import Report, counted, silent
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.problems import resized_problem
from benchmarks._study.race import (
    BEST_RHO,
    GAPS,
    SEARCH_GAP,
    SPORCO,
    Optimum,
    Run,
    certified_optimum,
    own_clock,
    run_solver,
    run_with_rho,
    search_rho,
)
from benchmarks.drawing.speed_solvers import draw_scaling, write_table
from cscsr import InputError, SparseCoding, make_solver
from cscsr.compare import machine
from cscsr.memory import solve_megabytes

LAMBDAS = (0.05, 0.01)
ATOMS = 64
SOLVERS = (SPORCO, "admm", "active-set", BEST_RHO, "fista", "sporco-pgm")
CAP = 130
"""Iterations; a solver that needs more for a gap has no figure there."""

SEARCH = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Fixed ρ, in units of sporco's default 50λ + 1."""

CERTIFIED = 3e-5
SCALING_SIZES = (64, 128, 256, 512)
SCALING_ATOMS = (8, 16, 32, 64)
SCALING_SIDE = 128
SCALING_LAM = 0.05
SCALING_ITERATIONS = 5

COLUMNS = [
    "measurement",
    "size",
    "lam",
    "atoms",
    "solver",
    "round",
    "rho",
    "auto_rho",
    *(f"{kind}_to_{gap:g}" for gap in GAPS for kind in ("seconds", "iterations")),
    "seconds_per_iteration",
    "peak_mb",
    "objective",
    "duality_gap",
    "clock",
    "threads",
    "machine",
]
TO_SEARCH_GAP = f"iterations_to_{SEARCH_GAP:g}"
TO_GAPS = [column for column in COLUMNS if "_to_" in column]


class Table:
    """speed_solvers.csv: rows that are there already are not measured again.

    clock: the name of the clock that rows are measured by.
    """

    KEY = ("measurement", "size", "lam", "atoms", "solver", "round", "threads")

    def __init__(self, path: Path, clock: str) -> None:
        self.path, self.clock = path, clock
        self.rows = read_curves(path)

    def get(self, **key: Any) -> dict[str, str] | None:
        """The row with these values, and with this process's number of threads."""
        wanted = {name: str(key.get(name, "")) for name in self.KEY}
        wanted["threads"] = str(machine.threads())
        matches = (r for r in self.rows if all(r[name] == v for name, v in wanted.items()))
        return next(matches, None)

    def add(self, **values: Any) -> dict[str, str]:
        """Write a row more; returns it as it is read."""
        about = {"clock": self.clock, "threads": machine.threads(), "machine": machine.describe()}
        row = {**values, **about}
        self.rows.append({name: str(row.get(name, "")) for name in COLUMNS})
        write_curves(self.path, self.rows)
        return self.rows[-1]


def _times(run: Run | None) -> dict[str, Any]:
    """Own seconds and iterations of a run to each of `GAPS` it came to."""
    assert run is not None
    times: dict[str, Any] = {"seconds_per_iteration": run.seconds[-1] / run.iteration[-1]}
    for gap in GAPS:
        first = run.first_within(gap)
        if first is not None:
            times[f"seconds_to_{gap:g}"] = run.seconds[first]
            times[f"iterations_to_{gap:g}"] = int(run.iteration[first])
    return times


def _race(
    table: Table,
    size: int,
    lam: float,
    rounds: int,
    say: Callable[[str], None],
    names: Sequence[str] = SOLVERS,
) -> None:
    """Run each solver `rounds` times, in turn, on one problem."""
    problem = resized_problem(size, lam)
    common = {"size": size, "lam": lam, "atoms": ATOMS}
    label = f"{size}×{size}, λ = {lam:g}"
    say(f"{label}: the optimum")
    row = table.get(measurement="optimum", **common)
    if row is None:
        objective, gap, _ = certified_optimum(problem, CERTIFIED)
        row = table.add(measurement="optimum", objective=objective, duality_gap=gap, **common)
    optimum = Optimum(float(row["objective"]), float(row["duality_gap"]))
    for number, name in itertools.product(range(1, rounds + 1), names):
        say(f"{label}: {name}")
        key = {"measurement": "race", "solver": name, "round": number, **common}
        if table.get(**key) is not None:
            continue
        if name != BEST_RHO:
            # sporco's ADMM is not run to 1e-4: it takes too long.
            until = SEARCH_GAP if name == SPORCO else GAPS[-1]
            table.add(**_times(run_solver(problem, optimum, name, CAP, until)), **key)
            continue
        rho = best_rho(table, problem, optimum, common)
        options = {"rho": rho, "auto_rho": rho is None}
        if rho is None:  # the defaults are best, and have been run in this round
            default = table.get(**key | {"solver": SPORCO}) or {}
            times = {column: default[column] for column in TO_GAPS if default}
        else:
            times = _times(run_solver(problem, optimum, SPORCO, CAP, SEARCH_GAP, **options))
        table.add(**times, **key, **options)


def best_rho(
    table: Table, problem: SparseCoding, optimum: Optimum, common: dict[str, Any]
) -> float | None:
    """The fixed ρ with which ADMM needs the fewest iterations to `SEARCH_GAP`, None where sporco's
    defaults need no more. Each run of the search is a row of the table."""
    default = table.get(measurement="race", solver=SPORCO, round=1, **common) or {}
    fewest = int(default.get(TO_SEARCH_GAP) or CAP + 1)

    def needed(rho: float, cap: int) -> tuple[float, float]:
        key = {"measurement": "search", "solver": f"rho={rho:g}", **common}
        row = table.get(**key)
        if row is None:
            times = _times(run_with_rho(problem, optimum, rho, cap))
            row = table.add(**key, rho=rho, auto_rho=False, **times)
        return float(row[TO_SEARCH_GAP] or math.inf), 0.0

    rhos = [factor * (50 * common["lam"] + 1) for factor in SEARCH]
    rho, count = search_rho(rhos, needed, min(fewest, CAP))
    return rho if count < fewest else None


def _scaling(table: Table, rounds: int, say: Callable[[str], None]) -> None:
    """Time per iteration of the dense solvers for growing images and dictionaries."""
    sizes = [(size, ATOMS) for size in SCALING_SIZES]
    sizes += [(SCALING_SIDE, atoms) for atoms in SCALING_ATOMS if atoms != ATOMS]
    for name, (size, atoms) in itertools.product((SPORCO, "ista", "fista", "admm"), sizes):
        say(f"time per iteration: {name}, {size}×{size}, {atoms} atoms")
        common = {"size": size, "lam": SCALING_LAM, "atoms": atoms}
        key = {"measurement": "scaling", "solver": name, **common}
        if table.get(**key) is not None:
            continue
        problem = resized_problem(**common)
        solver = make_solver(name, iterations=SCALING_ITERATIONS, tol=0)
        solver.prepare(problem)
        means = []
        for _ in range(rounds):
            seconds = solver.solve(problem).trace["seconds"]
            means.append((seconds[-1] - seconds[0]) / (len(seconds) - 1))
        table.add(**key, seconds_per_iteration=median(means))


def _memory(table: Table, sizes: Sequence[int], say: Callable[[str], None]) -> None:
    """Measure the peak memory of a solve by each solver, at each size."""
    names = (SPORCO, "admm", "active-set", "fista", "sporco-pgm")
    for size, name in itertools.product(sizes, names):
        say(f"memory: {name}, {size}×{size}")
        common = {"size": size, "lam": SCALING_LAM, "atoms": ATOMS}
        key = {"measurement": "memory", "solver": name, **common}
        if table.get(**key) is not None:
            continue
        peak = solve_megabytes(resized_problem(size, SCALING_LAM), make_solver(name, tol=0.0))
        if not math.isnan(peak):
            table.add(**key, peak_mb=peak)


def solvers(out: Path, sizes: Sequence[int], rounds: int, report: Report = silent) -> list[Path]:
    """Make speed_solvers.csv, .md and .png in the folder `out`; returns their paths.

    sizes: of the square image, in pixels a side. rounds: how often each solver runs, in turn
    with the others. Raises InputError for a size or a number of rounds out of range.
    """
    if rounds < 1:
        raise InputError(f"the number of rounds must be at least 1, got {rounds}.")
    for size in sizes:
        resized_problem(size, LAMBDAS[0])
    races = len(sizes) * len(LAMBDAS) * (3 + rounds * len(SOLVERS))
    scalings = 4 * (len(SCALING_SIZES) + len(SCALING_ATOMS) - 1)
    say = counted(report, races + scalings + 5 * len(sizes))
    with own_clock() as clock:
        table = Table(out / "speed_solvers.csv", clock)
        for names in (SOLVERS[:3], SOLVERS[3:4], SOLVERS[4:]):  # what matters most comes first
            for size, lam in itertools.product(sizes, LAMBDAS):
                _race(table, size, lam, rounds, say, names)
        _scaling(table, rounds, say)
        _memory(table, sizes, say)
    markdown, picture = out / "speed_solvers.md", out / "speed_solvers.png"
    write_table(table.rows, markdown, __doc__.split("\n\n")[2])
    draw_scaling(table.rows, picture)
    return [table.path, markdown, picture]
