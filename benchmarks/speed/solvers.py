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

import csv
import itertools
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.curves import write_curves
from cscsr import InputError, SparseCoding, make_solver
from cscsr.compare import machine
from cscsr.solver import Stopwatch

LAMBDAS = (0.05, 0.01)
GAPS = (1e-2, 1e-3, 1e-4)
BASE = "sporco-admm"
BEST = "sporco-admm, best ρ"
SOLVERS = (BASE, "admm", "active-set", BEST, "fista", "sporco-pgm")
CAP = 130
"""Iterations; a solver that needs more for a gap has no figure there."""

SEARCH = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Fixed ρ, in units of sporco's default 50λ + 1."""

CERTIFIED = 3e-5
SCALING_SIZES = (64, 128, 256, 512)
SCALING_ATOMS = (8, 16, 32, 64)
SCALING_SIDE = 128
SCALING_ITERATIONS = 5

COLUMNS = [
    "what",
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


def speed_problem(
    size: int, lam: float, atoms: int = 64, dtype: str = "float32", dictionary: str = "G:8x8x64"
) -> SparseCoding:
    """scikit-image's camera, reduced to size×size pixels, in [0,1] and high-passed (sporco's
    Tikhonov filter, λ = 5), with the first `atoms` of a dictionary of sporco's; circular.

    Raises InputError for a size out of range.
    """
    if not 16 <= size <= 512:
        raise InputError(f"the solvers' image may have from 16 to 512 pixels a side, got {size}.")
    from skimage.data import camera
    from skimage.transform import resize
    from sporco.signal import tikhonov_filter
    from sporco.util import convdicts

    image = camera() / 255.0
    if size < len(image):
        image = resize(image, (size, size), anti_aliasing=True)
    _, high = tikhonov_filter(image, 5.0, 16)
    filters = np.moveaxis(convdicts()[dictionary], -1, 0)[:atoms]
    return SparseCoding(high.astype(dtype), np.ascontiguousarray(filters, dtype), lam)


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


class _Table:
    """speed_solvers.csv: rows that are there already are not measured again."""

    KEY = ("what", "size", "lam", "atoms", "solver", "round", "threads")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))

    def get(self, **key: Any) -> dict[str, str] | None:
        wanted = {name: str(key.get(name, "")) for name in self.KEY}
        wanted["threads"] = str(machine.threads())
        for row in self.rows:
            if all(row[name] == value for name, value in wanted.items()):
                return row
        return None

    def add(self, clock: str, **values: Any) -> dict[str, str]:
        row = {
            **values,
            "clock": clock,
            "threads": machine.threads(),
            "machine": machine.describe(),
        }
        self.rows.append({name: str(row.get(name, "")) for name in COLUMNS})
        write_curves(self.path, COLUMNS, self.rows)
        return self.rows[-1]


def _time_to_gaps(
    problem: SparseCoding, best: float, name: str, last: float = GAPS[-1], **params: Any
) -> dict[str, Any]:
    """Own seconds and iterations of a solver to the relative objective gaps `GAPS`, at most to
    `last`."""
    params = {"iterations": CAP, **params}
    solver = make_solver(name, tol=0, **params)
    solver.prepare(problem)

    def near(iteration: int, codes: Any) -> bool:
        return iteration % 5 == 0 and problem.objective(codes) <= (1 + last) * best

    trace = solver.solve(problem, callback=near).trace
    gaps, seconds = trace["objective"] / best - 1, trace["seconds"]
    found: dict[str, Any] = {"seconds_per_iteration": seconds[-1] / trace["iteration"][-1]}
    for gap in GAPS:
        if (gaps <= gap).any():
            first = int(np.argmax(gaps <= gap))
            found[f"seconds_to_{gap:g}"] = seconds[first]
            found[f"iterations_to_{gap:g}"] = int(trace["iteration"][first])
    return found


def _race(
    table: _Table,
    clock: str,
    size: int,
    lam: float,
    rounds: int,
    say: Callable[[str], None],
    names: Sequence[str] = SOLVERS,
) -> None:
    problem = speed_problem(size, lam)
    common = {"size": size, "lam": lam, "atoms": 64}
    label = f"{size}×{size}, λ = {lam:g}"
    say(f"{label}: the optimum")
    optimum = table.get(what="optimum", **common)
    if optimum is None:
        solver = make_solver(
            "active-set", tol=0, gap_tol=CERTIFIED, gap=True, record_every=0, dtype="float64"
        )
        last = solver.solve(problem).trace
        optimum = table.add(
            clock,
            what="optimum",
            objective=float(last["objective"][-1]),
            duality_gap=float(last["duality_gap"][-1]),
            **common,
        )
    best = float(optimum["objective"])
    for number in range(1, rounds + 1):
        for name in names:
            say(f"{label}: {name}")
            if table.get(what="race", solver=name, round=number, **common) is None:
                key = {"what": "race", "solver": name, "round": number, **common}
                chosen = {}
                if name == BEST:
                    _search(table, clock, problem, best, common)
                    chosen = best_rho(table.rows, size, lam)
                found = table.get(**key | {"solver": BASE}) or {}
                found = {head: found[head] for head in COLUMNS if "_to_" in head and found}
                if name != BEST or chosen["rho"] is not None:
                    # What is not asked of sporco's ADMM is 1e-4: it takes too long.
                    theirs = name in (BASE, BEST)
                    last = GAPS[1] if theirs else GAPS[2]
                    found = _time_to_gaps(problem, best, BASE if theirs else name, last, **chosen)
                table.add(clock, **{**found, **key, **chosen})


def _search(
    table: _Table, clock: str, problem: SparseCoding, best: float, common: dict[str, Any]
) -> None:
    """Iterations of ADMM to 1e-3 at other ρ, each given up when the best so far is better. With
    ρ fixed our iterates are sporco's (a test says so), for a fraction of the time."""
    default = table.get(what="race", solver=BASE, round=1, **common)
    fewest = int(default["iterations_to_0.001"] or CAP)
    for factor in SEARCH:
        rho = factor * (50 * common["lam"] + 1)
        name = f"rho={rho:g}"
        row = table.get(what="search", solver=name, **common)
        if row is None:
            chosen = {"rho": rho, "auto_rho": False}
            found = _time_to_gaps(problem, best, "admm", last=1e-3, iterations=fewest, **chosen)
            row = table.add(clock, what="search", solver=name, **common, **chosen, **found)
        fewest = min(fewest, int(row["iterations_to_0.001"] or fewest))


def best_rho(rows: Sequence[dict[str, str]], size: int, lam: float) -> dict[str, Any]:
    """The parameters of sporco's ADMM that took the fewest iterations to 1e-3: a fixed ρ, or its
    defaults where that is no better."""
    best, fewest = {"rho": None, "auto_rho": True}, math.inf
    for row in rows:
        here = row["size"] == str(size) and row["lam"] == str(lam) and row["iterations_to_0.001"]
        default = row["what"] == "race" and row["solver"] == BASE
        candidate = here and (default or row["what"] == "search")
        if candidate and int(row["iterations_to_0.001"]) < fewest:
            fewest = int(row["iterations_to_0.001"])
            rho = None if default else float(row["rho"])
            best = {"rho": rho, "auto_rho": default}
    return best


def _scaling(table: _Table, clock: str, rounds: int, say: Callable[[str], None]) -> None:
    for name in ("sporco-admm", "ista", "fista", "admm"):
        for size, atoms in [
            *((size, 64) for size in SCALING_SIZES),
            *((SCALING_SIDE, atoms) for atoms in SCALING_ATOMS if atoms != 64),
        ]:
            say(f"time an iteration: {name}, {size}×{size}, {atoms} atoms")
            key = {"what": "scaling", "size": size, "lam": 0.05, "atoms": atoms, "solver": name}
            if table.get(**key) is not None:
                continue
            problem = speed_problem(size, 0.05, atoms)
            solver = make_solver(name, iterations=SCALING_ITERATIONS, tol=0)
            solver.prepare(problem)
            each = []
            for _ in range(rounds):
                seconds = solver.solve(problem).trace["seconds"]
                each.append((seconds[-1] - seconds[0]) / (len(seconds) - 1))
            table.add(clock, **key, seconds_per_iteration=median(each))


def _memory(table: _Table, clock: str, sizes: Sequence[int], say: Callable[[str], None]) -> None:
    for size in sizes:
        for name in ("sporco-admm", "admm", "active-set", "fista", "sporco-pgm"):
            say(f"memory: {name}, {size}×{size}")
            key = {"what": "memory", "size": size, "lam": 0.05, "atoms": 64, "solver": name}
            if table.get(**key) is not None:
                continue
            # In a process of its own, which has no memory of earlier solves to use again.
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                peak = process.submit(peak_megabytes, name, size, machine.threads()).result()
            if peak is not None:
                table.add(clock, **key, peak_mb=peak)


def peak_megabytes(name: str, size: int, threads: int) -> float | None:
    """By how much this process's resident memory grows, at the most, in a solve; MB."""
    import torch

    torch.set_num_threads(threads)
    small = speed_problem(32, 0.05)
    iterations = 24 if name == "active-set" else 4  # the Newton steps begin at the 21st
    solver = make_solver(name, iterations=iterations, tol=0, record_every=0)
    solver.solve(small)  # loads what is loaded once
    problem = speed_problem(size, 0.05)
    before = _resident()
    with machine.peak_memory() as peak:
        solver.solve(problem)
    return None if peak.megabytes is None or before is None else peak.megabytes - before


def _resident() -> float | None:
    """What the process holds in memory now, in MB; None where that is not known."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def _number(rows: Sequence[dict[str, str]], column: str) -> float | None:
    values = [float(row[column]) for row in rows if row[column]]
    return median(values) if values and len(values) == len(rows) else None


def exponent(rows: Sequence[dict[str, str]], column: str) -> float:
    """The slope of log(seconds an iteration) against log(column), by least squares."""
    x = np.log([float(row[column]) for row in rows])
    y = np.log([float(row["seconds_per_iteration"]) for row in rows])
    return float(np.polyfit(x, y, 1)[0])


def _scaling_rows(rows: Sequence[dict[str, str]], name: str) -> tuple[list, list]:
    mine = [row for row in rows if row["what"] == "scaling" and row["solver"] == name]
    by_pixels = [{**r, "pixels": str(int(r["size"]) ** 2)} for r in mine if r["atoms"] == "64"]
    by_atoms = [row for row in mine if row["size"] == str(SCALING_SIDE)]
    return sorted(by_pixels, key=lambda r: int(r["pixels"])), sorted(
        by_atoms, key=lambda r: int(r["atoms"])
    )


def write_table(rows: Sequence[dict[str, str]], path: Path) -> None:
    """speed_solvers.md from the rows of speed_solvers.csv."""
    lines = ["# Speed of the sparse-coding solvers", "", __doc__.split("\n\n")[2], ""]
    for size, lam in sorted({(int(r["size"]), r["lam"]) for r in rows if r["what"] == "race"}):
        here = [r for r in rows if r["size"] == str(size) and r["lam"] == lam]
        optimum = next(r for r in here if r["what"] == "optimum")
        certified = float(optimum["duality_gap"]) / float(optimum["objective"])
        lines += [
            f"## {size}×{size}, λ = {lam}",
            "",
            f"P* = {float(optimum['objective']):.6f}, certified to {certified:.0e}. Medians of "
            f"seconds (iterations) to a relative gap; times sooner than {BASE} with its "
            "defaults / with its best ρ, to 1e-3.",
            "",
            "| solver | " + " | ".join(f"{gap:g}" for gap in GAPS) + " | sooner to 1e-3 |",
            "|---|" + "---|" * (len(GAPS) + 1),
        ]
        race = {
            name: [r for r in here if r["what"] == "race" and r["solver"] == name]
            for name in SOLVERS
        }
        yardsticks = [_number(race[name], "seconds_to_0.001") for name in (BASE, BEST)]
        for name, mine in race.items():
            if not mine:
                continue
            cells = []
            for gap in GAPS:
                seconds = _number(mine, f"seconds_to_{gap:g}")
                count = _number(mine, f"iterations_to_{gap:g}")
                cells.append("–" if seconds is None else f"{seconds:.2f} s ({count:.0f})")
            own = _number(mine, "seconds_to_0.001")
            ratios = ["–" if None in (own, other) else f"{other / own:.1f}" for other in yardsticks]
            shown = name
            if name == BEST and mine:
                fixed = mine[0]["auto_rho"] == "False"
                shown = f"{BEST} = {mine[0]['rho']}" if fixed else f"{BEST}: its defaults"
            lines.append(f"| {shown} | {' | '.join(cells)} | {' / '.join(ratios)} |")
        lines.append("")
    scaling = [r for r in rows if r["what"] == "scaling"]
    if scaling:
        lines += [
            "## Time an iteration",
            "",
            f"Exponents fitted by least squares: pixels {SCALING_SIZES[0]}² to "
            f"{SCALING_SIZES[-1]}² with 64 atoms, {SCALING_ATOMS[0]} to {SCALING_ATOMS[-1]} atoms "
            f"at {SCALING_SIDE}×{SCALING_SIDE}.",
            "",
            "| solver | ms at 256×256, 64 atoms | exponent in pixels | exponent in atoms |",
            "|---|---|---|---|",
        ]
        for name in dict.fromkeys(row["solver"] for row in scaling):
            by_pixels, by_atoms = _scaling_rows(rows, name)
            at = next((r for r in by_pixels if r["size"] == "256"), None)
            if at is None or len(by_atoms) < 2:
                continue
            lines.append(
                f"| {name} | {1e3 * float(at['seconds_per_iteration']):.1f} | "
                f"{exponent(by_pixels, 'pixels'):.2f} | {exponent(by_atoms, 'atoms'):.2f} |"
            )
        lines.append("")
    memory = [r for r in rows if r["what"] == "memory"]
    if memory:
        lines += [
            "## Peak memory",
            "",
            "The process's resident memory at its highest in a solve, less what it was before, in "
            "MB, and in arrays of M·H·W floats.",
            "",
            "| solver | size | MB | arrays |",
            "|---|---|---|---|",
        ]
        for row in memory:
            peak, size = float(row["peak_mb"]), int(row["size"])
            arrays = peak * 1e6 / (4 * 64 * size**2)
            lines.append(f"| {row['solver']} | {size}×{size} | {peak:.0f} | {arrays:.1f} |")
        lines.append("")
    last = rows[-1]
    threads = f"{last['threads']} thread{'s' if last['threads'] != '1' else ''}"
    lines += [f"{last['clock'].capitalize()}, {threads}; {last['machine']}.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def draw_scaling(rows: Sequence[dict[str, str]], picture: Path) -> None:
    """speed_solvers.png: time an iteration against pixels and against atoms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    looks = {
        "sporco-admm": ("ADMM (sporco)", "#0072B2", "s"),
        "ista": ("ISTA", "#E69F00", "v"),
        "fista": ("FISTA", "#009E73", "^"),
        "admm": ("ADMM (ours)", "#CC79A7", "o"),
    }
    for name, (label, colour, marker) in looks.items():
        by_pixels, by_atoms = _scaling_rows(rows, name)
        for panel, mine, column in ((left, by_pixels, "pixels"), (right, by_atoms, "atoms")):
            if len(mine) < 2:
                continue
            x = [float(row[column]) for row in mine]
            y = [1e3 * float(row["seconds_per_iteration"]) for row in mine]
            slope = exponent(mine, column)
            panel.plot(x, y, marker=marker, color=colour, label=f"{label}, exponent {slope:.2f}")
    for panel, words in ((left, "pixels (64 atoms of 8×8)"), (right, "atoms (128×128 pixels)")):
        panel.set(xscale="log", yscale="log", xlabel=words, ylabel="ms an iteration")
        panel.grid(alpha=0.25, which="both")
        panel.legend(fontsize=9)
        panel.yaxis.set_major_formatter("{x:g}")
    left.set_xticks([size**2 for size in SCALING_SIZES], [f"{size}²" for size in SCALING_SIZES])
    right.set_xticks(SCALING_ATOMS, [str(atoms) for atoms in SCALING_ATOMS])
    for panel in (left, right):
        panel.minorticks_off()
    last = rows[-1]
    figure.suptitle(
        f"Sparse-coding solvers, float32, {last['threads']} thread"
        f"{'s' if last['threads'] != '1' else ''}, {last['clock']}",
        fontsize=11,
    )
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=150)
    part.replace(picture)


def solvers(
    out: Path, sizes: Sequence[int], rounds: int, report: Callable[[str, int, int], None] | None
) -> list[Path]:
    """Make speed_solvers.csv, .md and .png in the folder `out`; returns their paths.

    sizes: of the square image, in pixels a side. rounds: how often each solver runs, in turn
    with the others. report: told (what is being done, how many done, of how many).

    Raises InputError for a size or a number of rounds out of range.
    """
    if rounds < 1:
        raise InputError(f"the number of rounds must be at least 1, got {rounds}.")
    for size in sizes:
        speed_problem(size, LAMBDAS[0])
    table = _Table(out / "speed_solvers.csv")
    races = len(sizes) * len(LAMBDAS) * (3 + rounds * len(SOLVERS))
    total = races + 4 * (len(SCALING_SIZES) + len(SCALING_ATOMS) - 1) + 5 * len(sizes)
    done = 0

    def say(what: str) -> None:
        nonlocal done
        if report is not None:
            report(what, done, total)
        done += 1

    with own_clock() as clock:
        for names in (SOLVERS[:3], SOLVERS[3:4], SOLVERS[4:]):  # what matters most comes first
            for size, lam in itertools.product(sizes, LAMBDAS):
                _race(table, clock, size, lam, rounds, say, names)
        _scaling(table, clock, rounds, say)
        _memory(table, clock, sizes, say)
    markdown, picture = out / "speed_solvers.md", out / "speed_solvers.png"
    write_table(table.rows, markdown)
    draw_scaling(table.rows, picture)
    return [table.path, markdown, picture]
