"""A race of all that can be installed for convolutional sparse coding, over a grid of problems.

    OMP_NUM_THREADS=1 python -m benchmarks.race --out reports/latest

A point of the grid is an image size, a dictionary and λ as a share of λ_max = ‖Fᵀy‖∞, from which
on all codes are zero: λ = 0.05 λ_max is not λ = 0.05. The image is scikit-image's camera, for the
dictionary of three channels its astronaut, high-passed, in float32, circular. The optimum of each
point is the active-set solver's in float64, certified by its duality gap. Gaps are measured from
the optimum's lower bound, so that each is an upper bound of P(z)/P* − 1.

Solvers run in turn in one process, each until it is within the smallest gap or out of time, after
two iterations that load and plan what is done once. Seconds are the solver's own; objectives are
computed off its clock, after every second iteration, of the active-set solver after each. With one
thread they are those that the process computed, else those that passed. ADMM of other packages also
runs with the best fixed ρ of a search. `auto` runs once for each gap, since it is told the accuracy
that is asked.

With ``--device cuda``, those of our solvers that can compute there do so and are named "admm on
cuda"; so does scico where its jax has a GPU. The others run on the CPU beside them, and all seconds
are wall time.

A row of race_grid.csv is written as soon as a solver is done. The same command goes on where it
was stopped, and measures again only what was out of time under a smaller limit. The table
(race_grid.md) and the plot (race_grid.png) are made from that file alone.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._study.command import Report, counted, run_command, silent, study_parser
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.peers import REQUIRED, Dicodile, ScicoADMM, missing, versions
from benchmarks._study.problems import COLOUR, image_problem
from benchmarks._study.race import (
    BEST_RHO,
    SPORCO,
    Optimum,
    Run,
    certified_optimum,
    own_clock,
    run_with_rho,
    search_rho,
)
from benchmarks.drawing.race import draw, write_table
from cscsr import ActiveSet, InputError, Solver, SparseCoding, interrupts, make_solver
from cscsr.arrays import check_device
from cscsr.compare import machine
from cscsr.output import make_folder
from cscsr.racing import CERTIFIED, measure
from cscsr.sparse.admm import default_rho
from cscsr.sparse.loop import IterativeCoder
from cscsr.sparse.proximal import ProximalSolver

SIZES = (256, 512)
SHARES = (0.05, 0.2, 0.01)
DICTIONARIES = ("G:8x8x64", "G:12x12x36", COLOUR)
GAPS = (1e-2, 1e-3, 1e-5)
SOLVERS = ("auto", "active-set", "admm", "fista", SPORCO, BEST_RHO, "sporco-pgm", "scico-admm")
ITERATIONS = 20000
MAX_SECONDS = 60.0

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Fixed ρ of the search, in units of our ADMM's default."""

SEARCH_ITERATIONS = 300

INTRODUCTION = __doc__.split("\n\n")[2:4]
"""What the page says of the measurement."""

COLUMNS = (
    "image",
    "size",
    "dictionary",
    "boundary",
    "share",
    "lam",
    "threads",
    "solver",
    "setting",
    "gap",
    "seconds",
    "iterations",
    "note",
    "limit",
    "objective",
    "duality_gap",
    "clock",
    "machine",
)

OPTIMUM = "optimum"
"""The solver of the rows that hold P*, its duality gap and, as setting, the best fixed ρ."""


class Point(NamedTuple):
    """A problem of the grid; `share` is λ/λ_max, `image` a file or "" for the embedded ones."""

    size: int
    dictionary: str
    share: float
    image: str = ""
    boundary: str = "circular"

    def __str__(self) -> str:
        name = f"{Path(self.image).stem} " if self.image else ""
        edge = "" if self.boundary == "circular" else f", {self.boundary}"
        return f"{name}{self.size}×{self.size}, {self.dictionary}{edge}, {self.share:g} λ_max"

    def problem(self) -> SparseCoding:
        """The problem, float32."""
        image = Path(self.image) if self.image else None
        return image_problem(self.size, self.share, self.dictionary, image, self.boundary)

    def columns(self) -> dict[str, Any]:
        """What a row says of it."""
        name = Path(self.image).name if self.image else ""
        return {**self._asdict(), "image": name, "share": f"{self.share:g}"}


class Table:
    """race_grid.csv.

    clock: the name of the clock that rows are measured by. device: where solvers that can compute.
    """

    def __init__(self, path: Path, clock: str, device: str = "cpu") -> None:
        self.path, self.clock = path, clock
        self.threads = machine.threads()
        self.about = ", ".join([machine.describe(device), *versions()])
        self.rows = read_curves(path)

    def check_clock(self) -> None:
        """Raise InputError where rows of as many threads were measured by another clock."""
        own = str(self.threads)
        for row in self.rows:
            if row["seconds"] and row["threads"] == own and row["clock"] != self.clock:
                raise InputError(
                    f"{self.path} has {row['clock']}, not {self.clock}; give --out another folder."
                )

    def get(self, point: Point, solver: str, gap: float | str = "") -> dict[str, str] | None:
        """The row of a solver to a gap, with this process's number of threads; that of the optimum
        with any."""
        key = {**point.columns(), "solver": solver, "gap": _text(gap)}
        if solver != OPTIMUM:
            key["threads"] = self.threads
        matches = (r for r in self.rows if all(r[name] == str(v) for name, v in key.items()))
        return next(matches, None)

    def needs(self, point: Point, solver: str, gap: float, limit: float) -> bool:
        """Whether a solver is still to be measured to a gap: also one that could not run, and one
        that was out of time under a smaller limit."""
        row = self.get(point, solver, gap)
        return row is None or (not row["seconds"] and float(row["limit"] or 0) < limit)

    def add(self, point: Point, solver: str, **values: Any) -> dict[str, str]:
        """Write a row, in the place of one of the same solver and gap; returns it as it is read."""
        before = self.get(point, solver, values.get("gap", ""))
        if before is not None:
            self.rows.remove(before)
        values["gap"] = _text(values.get("gap", ""))
        about = {"clock": self.clock, "threads": self.threads, "machine": self.about}
        row = {**point.columns(), "solver": solver, **about, **values}
        self.rows.append({name: str(row.get(name, "")) for name in COLUMNS})
        write_curves(self.path, self.rows)
        return self.rows[-1]


def _text(gap: float | str) -> str:
    return gap if isinstance(gap, str) else f"{gap:g}"


def reference(table: Table, point: Point, gap: float, say: Callable[[str], None]) -> Optimum:
    """The certified optimum of a point, from the table where it is accurate enough for `gap`.

    Raises InputError where it cannot be certified.
    """
    row = table.get(point, OPTIMUM)
    say(f"{point}: the optimum")
    if row is not None:
        optimum = Optimum(float(row["objective"]), float(row["duality_gap"]))
        if optimum.certified <= CERTIFIED * gap:
            return optimum
    problem = point.problem()
    optimum = certified_optimum(problem, CERTIFIED * gap)._replace(codes=None)
    if not optimum.certified <= gap / 2:
        raise InputError(
            f"{point}: the optimum could be certified to {optimum.certified:.1e} only, too little "
            f"for a gap of {gap:g}."
        )
    table.add(
        point,
        OPTIMUM,
        lam=f"{problem.lam:.6g}",
        setting="" if row is None else row["setting"],
        objective=optimum.objective,
        duality_gap=optimum.duality_gap,
    )
    return optimum


def best_rho(table: Table, point: Point, optimum: Optimum, say: Callable[[str], None]) -> float:
    """The fixed ρ of `FACTORS` with which ADMM needs the fewest iterations to a gap of 1e-3, from
    the table where it is there."""
    row = table.get(point, OPTIMUM)
    assert row is not None
    say(f"{point}: the best fixed ρ")
    if not row["setting"]:
        problem = point.problem()

        def needed(rho: float, cap: int) -> tuple[float, float]:
            run = run_with_rho(problem, optimum, rho, cap)
            first = run.first_within(1e-3)
            if first is None:
                return float("inf"), float(run.gap[-1])
            return float(run.iteration[first]), 0.0

        rhos = [factor * default_rho(problem) for factor in FACTORS]
        rho, _ = search_rho(rhos, needed, SEARCH_ITERATIONS)
        optimum_columns = {name: row[name] for name in ("lam", "objective", "duality_gap")}
        row = table.add(point, OPTIMUM, setting=f"rho={rho:.6g}", **optimum_columns)
    return float(row["setting"].removeprefix("rho="))


def make(name: str, rho: float | None, accuracy: float) -> Solver[SparseCoding]:
    """The solver of a name of the race, with its best settings."""
    if name == BEST_RHO:
        return make_solver(SPORCO, rho=rho, auto_rho=False)
    if name == "scico-admm":
        return ScicoADMM(rho=rho)
    if name == "dicodile":
        return Dicodile()
    if name == "auto":
        return make_solver(name, accuracy=accuracy)
    return make_solver(name)


def placed(solver: Solver[SparseCoding], device: str) -> Solver[SparseCoding]:
    """The solver on a device, or as it is where it computes on the CPU only."""
    if device == "cpu" or not isinstance(solver, ProximalSolver) or isinstance(solver, ActiveSet):
        return solver
    return replace(solver, device=device)


def label_of(name: str, solver: Solver[SparseCoding] | None) -> str:
    """The name of a solver's rows, which says where it computes if that is a GPU."""
    device = getattr(solver, "computes_on", getattr(solver, "target_device", None))
    return name if device in (None, "cpu") else f"{name} on {device}"


def run_point(
    table: Table,
    point: Point,
    names: Sequence[str],
    gaps: Sequence[float],
    limit: float,
    device: str,
    say: Callable[[str], None],
    out_of_time: Callable[[], bool],
) -> None:
    """Run the solvers on one problem, as far as the table lacks them."""
    smallest = min(gaps)
    optimum = reference(table, point, smallest, say)
    bound = Optimum(optimum.lower_bound, optimum.duality_gap)
    rho = best_rho(table, point, bound, say) if {BEST_RHO, "scico-admm"} & {*names} else None
    for name in names:
        say(f"{point}: {name}")
        asked = [(gap,) for gap in gaps] if name == "auto" else [tuple(gaps)]
        for wanted in asked:
            reason = missing(name)
            solver = None if reason else placed(make(name, rho, min(wanted)), device)
            label = label_of(name, solver)
            wanted = [gap for gap in wanted if table.needs(point, label, gap, limit)]
            if not wanted or out_of_time():
                continue
            problem = point.problem()
            reason = reason or solver.supports(problem)
            if reason is not None:
                for gap in wanted:
                    table.add(point, label, gap=gap, note=reason)
                continue
            run = raced(problem, bound, solver, min(wanted), limit)
            for row in rows_of(run, wanted, limit):
                setting = f"rho={rho:.4g}" if name in (BEST_RHO, "scico-admm") else run.picked
                table.add(point, label, lam=f"{problem.lam:.6g}", setting=setting or "", **row)


def raced(
    problem: SparseCoding,
    optimum: Optimum,
    solver: Solver[SparseCoding],
    gap: float,
    limit: float,
) -> Run:
    """Run a solver until its gap or the limit in seconds, after two iterations to warm up. Every
    second iteration is looked at, of the active-set solver every one."""
    assert isinstance(solver, IterativeCoder)
    replace(solver, iterations=2).solve(problem)
    whole = replace(
        solver,
        iterations=ITERATIONS,
        max_seconds=limit,
        tol=0.0,
        gap_tol=0.0,
        record_every=1 if solver.name in ("active-set", "auto") else 2,
    )
    return measure(problem, optimum, whole, gap)


def rows_of(run: Run, gaps: Sequence[float], limit: float) -> Iterator[dict[str, Any]]:
    """What the rows of a run say, one for each gap."""
    for gap in gaps:
        first = run.first_within(gap)
        if first is None:
            note = (
                f"not in {run.seconds[-1]:.0f} s: {int(run.iteration[-1])} iterations to a gap of "
                f"{run.gap.min():.1e}"
            )
            yield {"gap": gap, "note": note, "limit": f"{limit:g}"}
            continue
        yield {
            "gap": gap,
            "seconds": f"{run.seconds[first]:.4f}",
            "iterations": int(run.iteration[first]),
            "limit": f"{limit:g}",
        }


def race(
    out: str | Path,
    *,
    sizes: Sequence[int] = SIZES,
    dictionaries: Sequence[str] = DICTIONARIES,
    lams: Sequence[float] = SHARES,
    gaps: Sequence[float] = GAPS,
    solvers: Sequence[str] = SOLVERS,
    images: Sequence[str | Path] = (),
    boundary: str = "circular",
    device: str = "cpu",
    threads: int | None = None,
    max_seconds: float = MAX_SECONDS,
    minutes: float | None = None,
    only_optima: bool = False,
    report: Report = silent,
) -> list[Path]:
    """Make race_grid.csv, .md and .png in the folder `out`; returns their paths.

    lams: λ/λ_max. device: where those solvers compute that can. threads: of torch, None: as it is.
    minutes: begin no run after so many.
    only_optima: compute the optima and the best ρ, which take long and are not timed, and no more.
    Raises InputError for a setting out of range, an unknown solver, and a folder whose table was
    measured by another clock.
    """
    import torch

    if not gaps or not all(1e-6 < gap < 1 for gap in gaps):
        raise InputError(f"gaps must be between 1e-6 (float32) and 1, got {list(gaps)}.")
    if not max_seconds > 0:
        raise InputError(f"the time limit must be above 0 s, got {max_seconds:g}.")
    if threads is not None and threads < 1:
        raise InputError(f"the number of threads must be at least 1, got {threads}.")
    check_device(device)
    for name in solvers:
        if name not in (BEST_RHO, *REQUIRED):
            solver = make_solver(name)
            if not isinstance(solver, IterativeCoder):
                raise InputError(f"{name} is no iterative solver of a SparseCoding.")
    files = [str(image) for image in images] or [""]
    points = [
        Point(size, dictionary, share, image, boundary)
        for size, image, dictionary, share in itertools.product(sizes, files, dictionaries, lams)
    ]
    for point in points:
        point.problem()
    start, before = time.monotonic(), torch.get_num_threads()

    def out_of_time() -> bool:
        return only_optima or (minutes is not None and time.monotonic() - start > 60 * minutes)

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with own_clock() if device == "cpu" else nullcontext("wall time") as clock:
            table = Table(make_folder(out) / "race_grid.csv", clock, device)
            table.check_clock()
            say = counted(report, len(points) * (len(solvers) + 2))
            for point in points:
                if only_optima or not out_of_time():
                    run_point(table, point, solvers, gaps, max_seconds, device, say, out_of_time)
    finally:
        torch.set_num_threads(before)
    page, picture = (table.path.with_suffix(suffix) for suffix in (".md", ".png"))
    if not any(row["solver"] != OPTIMUM for row in table.rows):
        return [table.path]
    write_table(table.rows, page, INTRODUCTION)
    draw(table.rows, picture)
    return [table.path, page, picture]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.race`."""
    parser = study_parser("race", __doc__.split("\n\n")[0])
    many = parser.add_argument_group("the grid")
    many.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N")
    many.add_argument("--dictionaries", nargs="+", default=DICTIONARIES, metavar="NAME")
    many.add_argument(
        "--lams", nargs="+", type=float, default=SHARES, metavar="L", help="shares of λ_max"
    )
    many.add_argument("--gaps", nargs="+", type=float, default=GAPS, metavar="GAP")
    many.add_argument("--solvers", nargs="+", default=SOLVERS, metavar="NAME")
    many.add_argument(
        "--images", nargs="+", type=Path, default=(), metavar="FILE", help="not the embedded ones"
    )
    many.add_argument("--boundary", choices=("circular", "zero"), default="circular")
    parser.add_argument("--device", default="cpu", help='"cuda": our solvers that can, on a GPU')
    parser.add_argument("--threads", type=int, help="of torch and sporco")
    parser.add_argument(
        "--max-seconds", type=float, default=MAX_SECONDS, help="of a solver (%(default)g)"
    )
    parser.add_argument("--minutes", type=float, help="begin no run after so many")
    parser.add_argument(
        "--only-optima", action="store_true", help="what is not timed: the optima and the best ρ"
    )
    return run_command(race, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
