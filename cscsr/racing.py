"""A race of sparse-coding solvers to a certified gap.

`race` computes the optimum of a problem, which a duality gap certifies, and runs solvers until
their objective is within a relative gap of it. The studies of the repository measure with the same
`measure`. Seconds are the solver's own: what is computed for the record is off its clock. Needs
torch, at drawing matplotlib.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from cscsr.arrays import device_of
from cscsr.compare import machine
from cscsr.errors import InputError
from cscsr.memory import solve_megabytes
from cscsr.output import make_folder, write_text
from cscsr.problem import SparseCoding
from cscsr.registry import make_solver
from cscsr.solver import Solver, Stopwatch
from cscsr.sparse.active_set import ActiveSet
from cscsr.sparse.loop import IterativeCoder

SOLVERS = ("active-set", "admm", "fista", "sporco-admm")
"""Those that run unless others are named."""

OPTIMUM_ITERATIONS = 1000

CERTIFIED = 0.1
"""The duality gap of the optimum is at most this share of the gap that solvers are to reach."""

BUSY = (
    "The machine was busy: these seconds, and the order of the solvers, cannot be trusted. "
    "OMP_NUM_THREADS=1 measures processor time, to which other work adds little."
)

LOOK_EVERY = 5
"""Iterations between two looks at whether a solver is there."""


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

    @property
    def lower_bound(self) -> float:
        """What no objective lies below."""
        return self.objective - self.duality_gap


def certified_optimum(problem: SparseCoding, certified: float) -> Optimum:
    """Return what the active-set solver finds in float64 until its duality gap is at most the share
    `certified` of the objective, or for `OPTIMUM_ITERATIONS`."""
    solver = ActiveSet(
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
    """Multiply-adds so far, NaN where the solver does not count them."""
    objective: np.ndarray
    gap: np.ndarray
    """P(z)/P* − 1 with the P* of an `Optimum`."""
    nnz: np.ndarray
    distance: np.ndarray
    """‖z − z*‖ / ‖z*‖, NaN without the codes of the optimum."""
    picked: str | None = None
    """The solver that `auto` picked."""

    def first_within(self, gap: float) -> int | None:
        """Index of the first iteration within a relative gap, None where there is none."""
        within = self.gap <= gap
        return int(np.argmax(within)) if within.any() else None


def measure(
    problem: SparseCoding,
    optimum: Optimum,
    solver: Solver[SparseCoding],
    until: float | None = None,
) -> Run:
    """Run a solver, which records every iteration, to its end or until its relative gap is `until`
    (looked at every `LOOK_EVERY` iterations)."""
    solver.prepare(problem)
    target = -math.inf if until is None else (1 + until) * optimum.objective
    distances: dict[int, float] = {}

    def watch(iteration: int, codes: Any) -> bool:
        if optimum.codes is not None:
            away = np.linalg.norm(codes - optimum.codes)
            distances[iteration] = float(away / np.linalg.norm(optimum.codes))
        looked_at = until is not None and iteration % LOOK_EVERY == 0
        return looked_at and problem.objective(codes) <= target

    solution = solver.solve(problem, callback=watch)
    trace = solution.trace
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
        picked=solution.solver,
    )


@contextmanager
def own_clock() -> Iterator[str]:
    """Inside, solvers are timed by the processor time of this process if torch has one thread, so
    that other work on the machine does not count, else by wall time; gives the clock's name."""
    if torch.get_num_threads() > 1:
        yield "wall time"
        return
    from sporco import util

    before = Stopwatch.clock, util.timer
    Stopwatch.clock, util.timer = staticmethod(time.process_time), time.process_time
    try:
        yield "processor time"
    finally:
        Stopwatch.clock, util.timer = staticmethod(before[0]), before[1]


@dataclass(frozen=True, repr=False)
class Race:
    """What `race` returns; `str` makes the table.

    Attributes
    ----------
    problem
    gap
        The relative gap that was to be reached.
    optimum
        The certified optimum, without codes.
    runs
        By solver; their `Run.gap` is measured from `Optimum.lower_bound`, so that it is an upper
        bound of P(z)/P* − 1.
    declined
        Why a solver did not run, by its name.
    clock
        "processor time" or "wall time".
    megabytes
        By solver the peak memory of a solve (`cscsr.memory`); empty where it was not measured.
    busy
        Whether wall time was measured while the machine was busy (`cscsr.compare.machine`).
    """

    problem: SparseCoding
    gap: float
    optimum: Optimum
    runs: dict[str, Run]
    declined: dict[str, str]
    clock: str
    megabytes: dict[str, float] = field(default_factory=dict)
    busy: bool = False

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each solver that ran.

        Its keys are "solver", "reached" (whether it came within the gap), and of the first
        iteration there, or of the last one, "seconds", "iterations", "gap", "nnz" and
        "multiply_adds" (NaN where they are not counted); and "megabytes" (NaN where they are not
        measured).
        """
        rows = []
        for name, run in self.runs.items():
            first = run.first_within(self.gap)
            index = len(run.gap) - 1 if first is None else first
            rows.append(
                {
                    "solver": name,
                    "reached": first is not None,
                    "seconds": float(run.seconds[index]),
                    "iterations": int(run.iteration[index]),
                    "gap": float(run.gap[index]),
                    "nnz": int(run.nnz[index]),
                    "multiply_adds": float(run.operations[index]),
                    "megabytes": self.megabytes.get(name, math.nan),
                }
            )
        return sorted(rows, key=lambda row: (not row["reached"], row["seconds"]))

    def table(self) -> str:
        """Return the rows as a Markdown table, the first to reach the gap first."""
        measured = bool(self.megabytes)
        lines = [
            f"P* = {self.optimum.objective:.8g}, certified to {self.optimum.certified:.0e}. "
            f"To a relative gap of {self.gap:g}, in {self.clock}:",
            "",
        ]
        head = ["solver", "seconds", "iterations", "gap", "nonzero codes", "multiply-adds"]
        table = [head + ["memory (MB)"] * measured]
        for row in self.rows():
            operations, picked = row["multiply_adds"], self.runs[row["solver"]].picked
            cells = [
                f"{row['solver']} ({picked})" if picked else row["solver"],
                f"{row['seconds']:.3g}" if row["reached"] else f"– ({row['seconds']:.3g})",
                str(row["iterations"]),
                f"{row['gap']:.1e}",
                str(row["nnz"]),
                "" if math.isnan(operations) else f"{operations:.2e}",
            ]
            memory = "" if math.isnan(row["megabytes"]) else f"{row['megabytes']:.3g}"
            table.append(cells + [memory] * measured)
        lines += _aligned(table)
        lines += [f"\nNot in the race: {reason}" for reason in self.declined.values()]
        if self.busy:
            lines.append(f"\n{BUSY}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"Race({self.problem!r}, gap {self.gap:g}, {', '.join(self.runs) or 'no solver'})"

    def figure(self) -> Any:
        """Return a matplotlib figure of the gap against seconds."""
        from cscsr.plot import COLOURS, panels

        figure, made = panels(size=(6.4, 4.0))
        axes = made[0, 0]
        drawn = False
        for number, (name, run) in enumerate(self.runs.items()):
            shown = (run.gap > 0) & (run.seconds > 0)
            drawn = drawn or bool(shown.any())
            axes.plot(
                run.seconds[shown],
                run.gap[shown],
                color=COLOURS[number % len(COLOURS)],
                linestyle="-" if number < len(COLOURS) else "--",
                label=name,
            )
        axes.axhline(self.gap, color="#888888", linewidth=0.8, linestyle=":")
        axes.set(
            xscale="log" if drawn else "linear",  # matplotlib fails to scale no points
            yscale="log",
            xlabel=f"seconds ({self.clock})",
            ylabel="relative gap, certified",
        )
        if not drawn:
            note = "every solver is there at the start"
            axes.text(0.5, 0.25, note, ha="center", transform=axes.transAxes)
        if self.runs:
            axes.legend(frameon=False)
        return figure

    def save(self, folder: str | Path) -> list[Path]:
        """Write race.csv (`rows`), curves.csv (every iteration), race.md and race.png.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        InputError
            If they cannot be written.
        """
        from cscsr.plot import save

        folder = make_folder(folder)
        paths = [folder / name for name in ("race.csv", "curves.csv", "race.md", "race.png")]
        write_text(paths[0], _as_csv(self.rows()))
        write_text(paths[1], _as_csv(list(self._curves())))
        write_text(paths[2], f"{self.problem!r}\n\n{self.table()}\n")
        save(self.figure(), paths[3])
        return paths

    def _curves(self) -> Iterator[dict[str, Any]]:
        for name, run in self.runs.items():
            for index, iteration in enumerate(run.iteration.tolist()):
                yield {
                    "solver": name,
                    "iteration": iteration,
                    "seconds": float(run.seconds[index]),
                    "objective": float(run.objective[index]),
                    "gap": float(run.gap[index]),
                    "nnz": int(run.nnz[index]),
                    "multiply_adds": float(run.operations[index]),
                }


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table whose columns are aligned as text too: the first to the left,
    the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table
    ]
    rule = "|".join(["-" * (widths[0] + 2), *(f"{'-' * (width + 1)}:" for width in widths[1:])])
    return [f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def race(
    problem: SparseCoding,
    solvers: Sequence[str | Solver[SparseCoding]] = SOLVERS,
    *,
    gap: float = 1e-4,
    iterations: int = 1000,
    max_seconds: float | None = 60.0,
    memory: bool = False,
    progress: bool = False,
) -> Race:
    """Run solvers of sparse coding to a certified relative gap.

    The optimum P* comes from the active-set solver in float64, and its duality gap is at most a
    tenth of `gap`. Solvers run in turn, after two iterations each that warm up what is loaded or
    planned once. Their gaps are measured from the optimum's lower bound. Seconds are as `own_clock`
    says, on a GPU wall time.

    Parameters
    ----------
    problem
        With λ > 0 somewhere. Solvers compute in its dtype and on its device.
    solvers
        Names of `cscsr.list_solvers("SparseCoding")`, or solvers with parameters of their own.
    gap
        The relative gap P(z)/P* − 1, above 0. In float32 rounding sets a limit of about 1e-6.
    iterations, max_seconds
        A solver that is not there after so many iterations or seconds (None: any number) stops.
    memory
        Measure the peak memory of each solver too, in a process of its own that takes some seconds
        to start; see `cscsr.memory.solve_megabytes`.
    progress
        Show what is running.

    Returns
    -------
    Race
        The table, the curves and the plot.

    Raises
    ------
    InputError
        For a gap or a cap out of range, an unknown solver or one of another problem, solvers that
        all decline, what is no `SparseCoding`, one without a duality gap or whose optimum is 0,
        and an optimum that cannot be certified.
    """
    if not isinstance(problem, SparseCoding):
        raise InputError(f"a race needs a SparseCoding, got {type(problem).__name__}.")
    if not 0 < gap < math.inf:
        raise InputError(f"gap must be a finite number above 0, got {gap!r}.")
    if not problem.has_gap:
        raise InputError("a race needs a problem with lam above 0, which has a duality gap.")
    entries = _entries(solvers, iterations, max_seconds)
    reasons = {name: solver.supports(problem) for name, solver in entries.items()}
    declined = {name: reason for name, reason in reasons.items() if reason is not None}
    if len(declined) == len(entries):
        why = "; ".join(reason.rstrip(".") for reason in declined.values())
        raise InputError(f"no solver can race: {why}.")
    bar = tqdm(total=len(entries) + 1, disable=not progress, leave=False, unit="solver")
    with bar:
        bar.set_description_str("the certified optimum")
        optimum = certified_optimum(problem, CERTIFIED * gap)._replace(codes=None)
        if optimum.objective == 0:
            raise InputError("the optimum is 0, so that there is no relative gap.")
        if not optimum.certified <= gap / 2:
            raise InputError(
                f"the optimum could be certified to {optimum.certified:.1e} only; race to a gap "
                "of at least ten times that."
            )
        bound = Optimum(optimum.lower_bound, optimum.duality_gap)
        runs: dict[str, Run] = {}
        megabytes: dict[str, float] = {}
        on_gpu = device_of(problem.signal).startswith("cuda")
        with (
            nullcontext("wall time") if on_gpu else own_clock() as clock,
            machine.conditions() as measured,
        ):
            for name, solver in entries.items():
                bar.update()
                bar.set_description_str(name)
                if name in declined:
                    continue
                if isinstance(solver, IterativeCoder):
                    replace(solver, iterations=2).solve(problem)
                runs[name] = measure(problem, bound, solver, gap)
        for name in runs if memory else ():
            bar.set_description_str(f"the memory of {name}")
            megabytes[name] = solve_megabytes(problem, entries[name])
    busy = measured.busy and clock == "wall time" and not on_gpu
    return Race(problem, gap, optimum, runs, declined, clock, megabytes, busy)


def _entries(
    solvers: Sequence[str | Solver[SparseCoding]], iterations: int, max_seconds: float | None
) -> dict[str, Solver[SparseCoding]]:
    """The solvers by the names that they race under."""
    if isinstance(solvers, str) or not solvers:
        raise InputError(f"solvers must be a list of at least one name or solver, got {solvers!r}.")
    entries: dict[str, Solver[SparseCoding]] = {}
    for entry in solvers:
        solver = make_solver(entry) if isinstance(entry, str) else entry
        if not isinstance(solver, Solver):
            raise InputError(f"expected the name of a solver or a solver, got {entry!r}.")
        if solver.problem_type is not SparseCoding:
            raise InputError(f"{solver.name} does not solve a SparseCoding.")
        if isinstance(solver, IterativeCoder):
            solver = replace(
                solver,
                iterations=iterations,
                max_seconds=max_seconds,
                tol=0.0,
                gap_tol=0.0,
                record_every=1,
            )
        label, number = solver.name, 2
        while label in entries:
            label, number = f"{solver.name} ({number})", number + 1
        entries[label] = solver
    return entries
