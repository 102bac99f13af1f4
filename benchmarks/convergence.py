"""How fast the sparse-coding solvers converge, on stated problems with a certified optimum.

    python -m benchmarks.convergence --out reports/latest
    python -m benchmarks.convergence --grid --out reports/latest

Every registered solver of `SparseCoding` codes a high-passed crop of scikit-image's camera. The
optimum is ADMM's and FISTA's, run until its duality gap certifies it. Each recorded iteration
is a row of convergence.csv: the relative objective gap, the distance to the optimal codes and
the number of non-zeros, at so many iterations, seconds and operations. convergence.png and the
table of convergence.md, the time to gaps of 1e-2, 1e-3 and 1e-4, are made from that file.

The first command takes one problem; with `--grid` (convergence_grid.*) it is every
combination of `--lams`, `--sizes` and `--dictionaries`, and sporco's ADMM also runs with its
best ρ of a search. Dictionaries are "camera", atoms that are learned here and now, from one
seed, on other crops of the image; "lista", the filters that LISTA was trained for; and those
of sporco by their names there, as G:8x8x64.

Operations are multiply-adds as `cscsr.Solver.operations` (for the active-set solver its trace)
counts them: those of convolutions, matrix products and Fourier transforms (1.25·n·log₂ n for n
real points); shrinkage, sums and norms are left out.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.curves import made_with, make_folder, run_command, write_curves
from cscsr import InputError, SparseCoding, Status, list_solvers, make_solver
from cscsr.compare.machine import describe, load, threads
from cscsr.errors import unknown_name

DEFAULT_ITERATIONS = 300
DEFAULT_SIZE = 96
DEFAULT_ATOMS = 16
DEFAULT_FILTER_SIZE = 5
DEFAULT_LAM = 0.05

GRID_LAMS = (0.05, 0.01)
GRID_SIZES = (64, 128)
GRID_DICTIONARIES = ("camera", "lista", "G:8x8x64")

MAX_SIZE = 256
"""The crop is rows 64 and columns 192 onwards; below row 320 the atoms are learned."""

CERTIFIED = 1e-9
"""The reference is run until its duality gap is this fraction of its objective (float64)."""

CERTIFIED_GRID = 1e-6
"""The same in the grid, whose table ends at a gap of 1e-4."""

REFERENCE_ITERATIONS = 6000
REFERENCE_ADMM = 200
"""Iterations of ADMM that FISTA's start from on the way to the reference."""

GAPS = (1e-2, 1e-3, 1e-4)
"""Relative objective gaps to which times are tabulated."""

RHOS = tuple(10 ** (power / 4) for power in range(-8, 9, 2))
"""ρ of the search, 0.01 to 100; the best one's neighbours at 10^(±1/4) follow."""

SEARCH_GAP = 1e-3
BEST_RHO = "sporco-admm, best ρ"
POINTS = 24
"""Recorded iterations in each factor of ten of them."""

PROBLEM = ["dictionary", "size", "atoms", "filter_size", "lam", "seed"]
SETTINGS = ["problems", "iterations", "dtype", "solvers", "weights"]
"""Columns that are the same in every row: what the run was asked for."""

CSV_COLUMNS = [
    *SETTINGS,
    *PROBLEM,
    "solver",
    "rho",
    "iteration",
    "seconds",
    "operations",
    "objective",
    "relative_gap",
    "codes_distance",
    "nnz",
    "reference_objective",
    "reference_duality_gap",
    "threads",
    "machine",
    "load",
]


def camera_problem(
    size: int = DEFAULT_SIZE,
    atoms: int = DEFAULT_ATOMS,
    filter_size: int = DEFAULT_FILTER_SIZE,
    lam: float = DEFAULT_LAM,
    seed: int = 0,
) -> SparseCoding:
    """A size×size crop of camera in [0,1], high-passed (sporco's Tikhonov filter, λ = 5), and
    atoms that sporco learned on two 64×64 crops below it; float64, circular.

    Raises InputError if the crop does not fit above those.
    """
    high = _high_passed(size, filter_size)
    return SparseCoding(_crop(high, size), _camera_atoms(atoms, filter_size, seed).copy(), lam)


def _high_passed(size: int, filter_size: int) -> np.ndarray:
    """The camera, high-passed. Raises InputError for a crop that is too large or too small."""
    if not filter_size <= size <= MAX_SIZE:
        raise InputError(
            f"the size must be from {filter_size} (the filters') to {MAX_SIZE} pixels, got {size}."
        )
    from skimage.data import camera
    from sporco.signal import tikhonov_filter

    return tikhonov_filter(camera() / 255.0, 5.0, 16)[1]


def _crop(high: np.ndarray, size: int) -> np.ndarray:
    return high[64 : 64 + size, 192 : 192 + size].copy()


@lru_cache(maxsize=4)
def _camera_atoms(atoms: int, filter_size: int, seed: int) -> np.ndarray:
    """(atoms,filter_size,filter_size), learned below the crops."""
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn

    high = _high_passed(MAX_SIZE, filter_size)
    crops = np.stack([high[330:394, 100:164], high[330:394, 300:364]], axis=-1)
    start = np.random.default_rng(seed).standard_normal((filter_size, filter_size, atoms))
    options = {"Verbose": False, "StatusHeader": False, "MaxMainIter": 15}
    learning = ConvBPDNDictLearn(
        start, crops, 0.05, ConvBPDNDictLearn.Options(options, dmethod="cns"), dmethod="cns"
    )
    learning.solve()
    return np.ascontiguousarray(np.moveaxis(learning.getdict()[:, :, 0, 0], -1, 0))


class Case(NamedTuple):
    """One problem of the benchmark; `atoms`, `filter_size` and `seed` are those of "camera"."""

    dictionary: str = "camera"
    size: int = DEFAULT_SIZE
    lam: float = DEFAULT_LAM
    atoms: int = DEFAULT_ATOMS
    filter_size: int = DEFAULT_FILTER_SIZE
    seed: int = 0

    def __str__(self) -> str:
        own = f" {self.atoms}x{self.filter_size}x{self.filter_size} seed {self.seed}"
        name = self.dictionary + (own if self.dictionary == "camera" else "")
        return f"{name} {self.size} {self.lam:g}"

    def problem(self) -> SparseCoding:
        """The problem, float64, circular. Raises InputError for an unknown dictionary and a
        size that does not fit."""
        if self.dictionary == "camera":
            return camera_problem(self.size, self.atoms, self.filter_size, self.lam, self.seed)
        if self.dictionary == "lista":
            dictionary = make_solver("lista[step]").dictionary()[:, 0].astype(np.float64)
        else:
            from sporco.util import convdicts

            known = convdicts()
            if self.dictionary not in known or np.ndim(known[self.dictionary]) != 3:
                grey = [name for name, atoms in known.items() if np.ndim(atoms) == 3]
                raise unknown_name("dictionary", self.dictionary, ["camera", "lista", *grey])
            dictionary = np.moveaxis(known[self.dictionary], -1, 0).astype(np.float64)
        high = _high_passed(self.size, dictionary.shape[-1])
        return SparseCoding(_crop(high, self.size), np.ascontiguousarray(dictionary), self.lam)


def sparse_solvers() -> list[str]:
    """Every registered solver of `SparseCoding`."""
    return list(list_solvers("SparseCoding"))


class Optimum(NamedTuple):
    """codes, P at them, and the duality gap, which bounds P − P*."""

    codes: np.ndarray
    objective: float
    duality_gap: float


def certified_optimum(problem: SparseCoding, certified: float = CERTIFIED) -> Optimum:
    """FISTA, from where ADMM comes in `REFERENCE_ADMM` iterations, until the duality gap is
    the fraction `certified` of the objective, or `REFERENCE_ITERATIONS` have been made."""

    def is_certified(iteration: int, codes: Any) -> bool:
        return iteration % 50 == 0 and problem.duality_gap(codes) <= certified * problem.objective(
            codes
        )

    near = make_solver("admm", iterations=REFERENCE_ADMM, tol=0, record_every=0).solve(problem)
    solver = make_solver("fista", iterations=REFERENCE_ITERATIONS, tol=0, record_every=0, gap=True)
    solution = solver.solve(problem, init=near.codes, callback=is_certified)
    objective, gap = (float(solution.trace[name][-1]) for name in ("objective", "duality_gap"))
    return Optimum(solution.codes, objective, gap)


def best_rho(
    problem: SparseCoding, lowest: float, iterations: int = DEFAULT_ITERATIONS
) -> tuple[float, int]:
    """The fixed ρ with which sporco's ADMM comes to a relative gap of `SEARCH_GAP` in the fewest
    iterations, and that number: the best of `RHOS`, then of its two neighbours.

    lowest: P*. An iteration takes the same time for every ρ. Where no ρ gets there within
    `iterations`, the one that comes nearest, and infinitely many.
    """
    target = lowest * (1 + SEARCH_GAP)
    found: dict[float, tuple[float, float]] = {}

    def needed(rho: float) -> tuple[float, float]:
        if rho not in found:
            cap = int(min([iterations, *(count for count, _ in found.values())]))
            solver = make_solver(
                "sporco-admm", iterations=cap, tol=0, record_every=0, rho=rho, auto_rho=False
            )
            solution = solver.solve(problem, callback=lambda _, z: problem.objective(z) <= target)
            reached = solution.status is Status.STOPPED
            count = float(solution.trace["iteration"][-1]) if reached else math.inf
            found[rho] = count, problem.objective(solution.codes)
        return found[rho]

    best = min(RHOS, key=needed)
    best = min((best, best * 10**0.25, best / 10**0.25), key=needed)
    return best, found[best][0]


def _thinned(iterations: int) -> set[int]:
    """Iterations that are recorded: about `POINTS` in each factor of ten, and the last."""
    steps = np.arange(0, POINTS * math.log10(max(iterations, 2)) + 1) / POINTS
    return {*np.unique(np.rint(10**steps).astype(int)).tolist(), iterations}


def _note_distance(
    distances: dict[int, float], optimum: np.ndarray, iteration: int, codes: np.ndarray
) -> None:
    """A callback: ‖z − z*‖ / ‖z*‖ of an iteration."""
    distances[iteration] = float(np.linalg.norm(codes - optimum) / np.linalg.norm(optimum))


def solve_case(
    case: Case,
    names: Sequence[str],
    iterations: int,
    dtype: str,
    certified: float,
    search: bool,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """The rows of one problem. A solver that declines it has none."""
    say(f"{case}: the problem")
    exact = case.problem()
    say(f"{case}: the certified optimum")
    optimum = certified_optimum(exact, certified)
    kind = np.dtype(dtype)
    problem = SparseCoding(exact.signal.astype(kind), exact.dictionary.astype(kind), case.lam)
    common = {
        "dictionary": case.dictionary,
        "size": case.size,
        "atoms": problem.dictionary.shape[0],
        "filter_size": problem.dictionary.shape[-1],
        "lam": case.lam,
        "seed": case.seed,
        "reference_objective": optimum.objective,
        "reference_duality_gap": optimum.duality_gap,
    }
    runs: list[tuple[str, str, dict[str, Any]]] = [(name, name, {}) for name in names]
    if search and "sporco-admm" in names:
        say(f"{case}: the best ρ of sporco's ADMM")
        rho, _ = best_rho(problem, optimum.objective, iterations)
        runs.append((BEST_RHO, "sporco-admm", {"rho": rho, "auto_rho": False}))
    for label, name, options in runs:
        say(f"{case}: {label}")
        solver = make_solver(name, iterations=iterations, tol=0, **options)
        if solver.supports(problem) is not None:
            continue
        solver.prepare(problem)
        distances: dict[int, float] = {}
        kept = _thinned(iterations)

        watch = partial(_note_distance, distances, optimum.codes)
        trace = solver.solve(problem, callback=watch).trace
        gaps = trace["objective"] / optimum.objective - 1.0
        reached = [int(np.argmax(gaps <= level)) for level in GAPS if (gaps <= level).any()]
        for row, iteration in enumerate(trace["iteration"].astype(int).tolist()):
            if iteration not in kept and row not in reached:
                continue
            operations = solver.operations(problem, iteration)
            if operations is None:
                operations = trace["operations"][row]
            yield {
                **common,
                "solver": label,
                "rho": options.get("rho", ""),
                "iteration": iteration,
                "seconds": round(float(trace["seconds"][row]), 6),
                "operations": f"{operations:.4g}",
                "objective": float(trace["objective"][row]),
                "relative_gap": float(gaps[row]),
                "codes_distance": float(f"{distances.get(iteration, math.nan):.4g}"),
                "nnz": int(trace["nnz"][row]),
            }


def measure(
    settings: dict[str, Any],
    cases: Sequence[Case],
    names: Sequence[str],
    *,
    certified: float = CERTIFIED,
    search: bool = False,
    report: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """The rows of all problems. report: told (what is being done, how many done, of all)."""
    total, done = len(cases) * (len(names) + 2 + 2 * search), 0

    def say(what: str) -> None:
        nonlocal done
        if report is not None:
            report(what, done, total)
        done += 1

    about = {**settings, "machine": describe(), "threads": threads(), "load": load()}
    rows = [
        about | row
        for case in cases
        for row in solve_case(
            case, names, settings["iterations"], settings["dtype"], certified, search, say
        )
    ]
    if report is not None:
        report("done", total, total)
    return rows


_LOOKS = {
    "ista": ("ISTA", {"color": "#F0A070", "linewidth": 4.5}),
    "cista": ("CISTA", {"color": "#000000", "linewidth": 1.3, "linestyle": (0, (4, 2))}),
    "fista": ("FISTA (with restart)", {"color": "#009E73", "linewidth": 1.8}),
    "admm": ("ADMM (ours)", {"color": "#CC79A7", "linewidth": 1.8}),
    "sporco-admm": ("ADMM (sporco)", {"color": "#0072B2", "linewidth": 1.8, "linestyle": "-."}),
    BEST_RHO: (
        "ADMM (sporco, best fixed ρ)",
        {"color": "#0072B2", "linewidth": 1.2, "linestyle": ":"},
    ),
    "sporco-pgm": ("PGM (sporco)", {"color": "#56B4E9", "linewidth": 1.8, "linestyle": "-."}),
    "lista[step]": ("LISTA, step sizes", {"color": "#D55E00", "linewidth": 1.4}),
    "lista[tied]": ("LISTA, tied", {"color": "#D55E00", "linewidth": 1.4, "linestyle": "--"}),
    "lista[untied]": ("LISTA, untied", {"color": "#D55E00", "linewidth": 1.4, "linestyle": ":"}),
}
"""Solver: its label and line, in drawing order; CISTA's dashes lie on ISTA's broad line."""

_OTHER_COLOURS = ("#8C6D1F", "#6A3D9A", "#444444", "#B2DF8A")


def _looks(names: Iterable[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label and line of each of `names`, those without one of their own included."""
    names = list(names)
    looks = {name: look for name, look in _LOOKS.items() if name in names}
    others = [name for name in names if name not in _LOOKS]
    for name, colour in zip(others, itertools.cycle(_OTHER_COLOURS), strict=False):
        looks[name] = (name, {"color": colour, "linewidth": 1.8})
    return looks


def draw_convergence(table: Path, picture: Path) -> None:
    """Draw the picture of one problem from its table: the relative objective gap against
    iterations, seconds and operations."""
    import pandas as pd
    from matplotlib.figure import Figure

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    certified = max(first.reference_duality_gap, 0.0) / first.reference_objective
    floor = max(certified, CERTIFIED)
    figure = Figure(figsize=(12.6, 4.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    axes = (
        ("iteration", "iterations"),
        ("seconds", "solver's own time (seconds)"),
        ("operations", "multiply-adds"),
    )
    looks = _looks(rows.solver.unique())
    for panel, (column, label) in zip(panels, axes, strict=True):
        for solver, (name, look) in looks.items():
            curve = rows[rows.solver == solver]
            panel.plot(curve[column], curve.relative_gap.clip(lower=floor / 10), label=name, **look)
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.set_ylim(bottom=floor)
        panel.grid(alpha=0.25)
    panels[0].set_xlim(1, first.iterations)
    panels[0].set_ylabel("relative objective gap  (P(z) − P*) / P*")
    panels[0].legend(loc="lower left", fontsize=8.5)
    for panel in panels[:2]:
        panel.xaxis.set_major_formatter("{x:g}")
    figure.suptitle(
        f"½‖y − Σ f⊗z‖² + λ‖z‖₁, λ = {first.lam:g}, circular, {first['dtype']}: camera, "
        f"high-passed, {first['size']}×{first['size']} pixels, {first.atoms} "
        f"{_whose(first.dictionary)} of {first.filter_size}×{first.filter_size}; "
        f"P* = {first.reference_objective:.5f}, certified to {certified:.0e} by the duality gap\n"
        "ISTA and CISTA make the same iterates; LISTA takes ISTA's steps after its "
        f"{_learned_steps()} learned ones; {first.threads} CPU "
        f"thread{'s' if first.threads > 1 else ''}",
        fontsize=10,
    )
    _save(figure, picture)


def _learned_steps() -> int:
    from cscsr.sparse.lista import STEPS

    return STEPS


def _whose(dictionary: str) -> str:
    own = {"camera": "learned atoms", "lista": "atoms of LISTA's"}
    return own.get(dictionary, f"atoms ({dictionary})")


def draw_grid(table: Path, picture: Path) -> None:
    """Draw the picture of the grid: a panel for each problem, gap against seconds; and below
    it the distance to the optimal codes and the non-zeros of the first of them."""
    import pandas as pd
    from matplotlib.figure import Figure

    rows = pd.read_csv(table)
    looks = _looks(rows.solver.unique())
    problems = list(rows.groupby(["dictionary", "size", "lam"], sort=False))
    columns = 4
    lines = -(-len(problems) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.9 * (lines + 1) + 0.9), layout="constrained")
    panels = figure.subplots(lines + 1, columns, squeeze=False)
    for panel in panels.ravel():
        panel.set_visible(False)
    for panel, ((dictionary, size, lam), part) in zip(panels[:-1].ravel(), problems, strict=False):
        _curves(panel, part, looks, "seconds", "relative_gap")
        panel.set(xscale="log", yscale="log", ylim=(1e-5, 2))
        panel.set_title(f"{dictionary}, {size}×{size}, λ = {lam:g}", fontsize=9)
        panel.set_xlabel("seconds", fontsize=8)
    panels[0][0].set_ylabel("relative objective gap", fontsize=9)
    (dictionary, size, lam), part = problems[0]
    below = (
        ("iteration", "relative_gap", "relative objective gap", "log"),
        ("operations", "relative_gap", "relative objective gap", "log"),
        ("iteration", "codes_distance", "‖z − z*‖ / ‖z*‖", "log"),
        ("iteration", "nnz", "non-zeros", "log"),
    )
    for panel, (x, y, label, scale) in zip(panels[-1], below, strict=False):
        _curves(panel, part, looks, x, y)
        panel.set(xscale="log", yscale=scale)
        if y == "relative_gap":
            panel.set_ylim(1e-5, 2)
        panel.set_xlabel("iterations" if x == "iteration" else "multiply-adds", fontsize=8)
        panel.set_ylabel(label, fontsize=9)
        panel.set_title(f"{dictionary}, {size}×{size}, λ = {lam:g}", fontsize=9)
    handles, labels = panels[0][0].get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    for panel in panels[:-1].ravel():
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=min(len(shown), 6),
        fontsize=9,
    )
    first = rows.iloc[0]
    worst = (rows.reference_duality_gap / rows.reference_objective).max()
    figure.suptitle(
        f"Time to the optimum of every problem ({first['dtype']}, {first.threads} CPU "
        f"thread{'s' if first.threads > 1 else ''}); optima certified to {max(worst, 0):.0e} by "
        "the duality gap",
        fontsize=10,
    )
    _save(figure, picture)


def _curves(panel: Any, rows: Any, looks: dict[str, Any], x: str, y: str) -> None:
    for solver, (name, look) in looks.items():
        curve = rows[rows.solver == solver]
        if not curve.empty:
            panel.plot(curve[x], curve[y].clip(lower=1 if y == "nnz" else 1e-9), label=name, **look)
    panel.set_visible(True)
    panel.grid(alpha=0.25)
    panel.tick_params(labelsize=8)


def _busy(row: Any) -> str:
    """What else the machine did, as far as its load tells."""
    load = row.get("load")
    return "" if load is None or load != load else f"; load average {load:g} when it began"


def _save(figure: Any, picture: Path) -> None:
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=120)
    part.replace(picture)


def times_to_gaps(table: Path) -> list[dict[str, Any]]:
    """For each problem and solver of a table: iterations, seconds and operations at the first
    iteration that is within each of `GAPS`, None where none is."""
    import pandas as pd

    found = []
    keys = ["dictionary", "size", "lam", "solver"]
    for key, curve in pd.read_csv(table).groupby(keys, sort=False):
        row: dict[str, Any] = dict(zip(keys, key, strict=True))
        row["rho"] = curve.rho.iloc[0]
        for level in GAPS:
            near = curve[curve.relative_gap <= level]
            row[level] = None if near.empty else near.iloc[0]
        found.append(row)
    return found


def write_times(table: Path, page: Path, command: str) -> None:
    """Write the page: a table of seconds (and iterations) to each gap for every problem."""
    import pandas as pd

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    worst = (rows.reference_duality_gap / rows.reference_objective).max()
    lines = [
        "# Time to the optimum",
        "",
        "Seconds of the solver's own time, in brackets iterations, to the first iterate whose "
        "objective is within a relative gap of the optimum; – is not within "
        f"{first.iterations} iterations. {first['dtype']}, {first.threads} thread(s). The optima "
        f"are certified to {max(worst, 0):.0e} by the duality gap. Bold is the fastest of a "
        "problem.",
        "",
        f"| dictionary | size | λ | solver | {' | '.join(f'{level:.0e}' for level in GAPS)} |",
        f"|---|--:|--:|---|{'--:|' * len(GAPS)}",
    ]
    found = times_to_gaps(table)
    for row in found:
        same = [r for r in found if all(r[k] == row[k] for k in ("dictionary", "size", "lam"))]
        cells = []
        for level in GAPS:
            at = row[level]
            if at is None:
                cells.append("–")
                continue
            text = f"{at.seconds:.3g} ({at.iteration:.0f})"
            fastest = min(r[level].seconds for r in same if r[level] is not None)
            cells.append(f"**{text}**" if at.seconds == fastest else text)
        label = row["solver"] + (f" = {row['rho']:.3g}" if row["rho"] == row["rho"] else "")
        lines.append(
            f"| {row['dictionary']} | {row['size']} | {row['lam']:g} | {label} | "
            f"{' | '.join(cells)} |"
        )
    lines += ["", f"Made by `{command}` on {first.machine}{_busy(first)}.", ""]
    page.write_text("\n".join(lines), encoding="utf-8")


def convergence(
    out: str | Path,
    *,
    iterations: int = DEFAULT_ITERATIONS,
    size: int = DEFAULT_SIZE,
    atoms: int = DEFAULT_ATOMS,
    filter_size: int = DEFAULT_FILTER_SIZE,
    lam: float = DEFAULT_LAM,
    seed: int = 0,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make convergence.csv, .png and .md, one problem in float64, in the folder `out`; returns
    their paths.

    Nothing is solved where a convergence.csv of the same settings is there already.

    iterations: of each solver. size: of the crop, in pixels. report: told (what is being
    done, how many done, of how many).

    Raises InputError for a setting out of range.
    """
    case = Case("camera", int(size), float(lam), int(atoms), int(filter_size), int(seed))
    return _make(out, "convergence", [case], iterations, "float64", None, report)


def grid(
    out: str | Path,
    *,
    iterations: int = DEFAULT_ITERATIONS,
    lams: Sequence[float] = GRID_LAMS,
    sizes: Sequence[int] = GRID_SIZES,
    dictionaries: Sequence[str] = GRID_DICTIONARIES,
    solvers: Sequence[str] | None = None,
    dtype: str = "float32",
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make convergence_grid.csv, .png and .md, every combination of λ, size and dictionary, in
    the folder `out`; returns their paths. sporco's ADMM runs with its best ρ too.

    Raises InputError for a setting out of range and for an unknown dictionary or solver.
    """
    cases = [Case(name, s, lam) for name in dictionaries for s in sizes for lam in lams]
    return _make(out, "convergence_grid", cases, iterations, dtype, solvers, report, search=True)


def _make(
    out: str | Path,
    name: str,
    cases: Sequence[Case],
    iterations: int,
    dtype: str,
    solvers: Sequence[str] | None,
    report: Callable[[str, int, int], None] | None,
    search: bool = False,
) -> list[Path]:
    if iterations < 1 or min(min(case.atoms, case.filter_size) for case in cases) < 1:
        raise InputError("the numbers of iterations and atoms and the filters' size start at 1.")
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}.")
    names = list(solvers or sparse_solvers())
    made = [make_solver(each) for each in names]
    for solver in made:
        if solver.problem_type is not SparseCoding:
            raise InputError(f"{solver.name} does not solve a SparseCoding.")
    for case in cases:
        _high_passed(case.size, case.filter_size)
    out = make_folder(out)
    table = out / f"{name}.csv"
    hashes = [solver.weights_sha256() for solver in made]
    sizes = " ".join(dict.fromkeys(str(case.size) for case in cases))
    lams = " ".join(dict.fromkeys(f"{case.lam:g}" for case in cases))
    dictionaries = " ".join(dict.fromkeys(case.dictionary for case in cases))
    settings = {
        "problems": f"{dictionaries}; {sizes}; {lams}" if len(cases) > 1 else str(cases[0]),
        "iterations": int(iterations),
        "dtype": dtype,
        "solvers": " ".join(names),
        "weights": " ".join(digest[:8] for digest in hashes if digest),
    }
    if not made_with(table, settings):
        certified = CERTIFIED if dtype == "float64" else CERTIFIED_GRID
        rows = measure(settings, cases, names, certified=certified, search=search, report=report)
        write_curves(table, CSV_COLUMNS, rows)
    picture, page = table.with_suffix(".png"), table.with_suffix(".md")
    if name == "convergence":
        draw_convergence(table, picture)
        command = "python -m benchmarks.convergence"
    else:
        draw_grid(table, picture)
        command = (
            f"python -m benchmarks.convergence --grid --sizes {sizes} --lams {lams} "
            f"--dictionaries {dictionaries} --dtype {dtype} --iterations {iterations}"
        )
    write_times(table, page, command)
    return [table, picture, page]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.convergence`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.convergence", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument(
        "--iterations", type=int, default=DEFAULT_ITERATIONS, help="of each solver (%(default)s)"
    )
    one = parser.add_argument_group("one problem")
    one.add_argument("--size", type=int, default=DEFAULT_SIZE, help="in pixels (%(default)s)")
    one.add_argument("--atoms", type=int, default=DEFAULT_ATOMS, help="(%(default)s)")
    one.add_argument(
        "--filter-size", type=int, default=DEFAULT_FILTER_SIZE, help="in pixels (%(default)s)"
    )
    one.add_argument(
        "--lam", type=float, default=DEFAULT_LAM, help="λ, on the [0,1] scale (%(default)s)"
    )
    one.add_argument("--seed", type=int, default=0, help="of the atoms (%(default)s)")
    many = parser.add_argument_group("with --grid")
    many.add_argument("--grid", action="store_true", help="every combination of what follows")
    many.add_argument("--lams", nargs="+", type=float, default=GRID_LAMS, metavar="L")
    many.add_argument("--sizes", nargs="+", type=int, default=GRID_SIZES, metavar="N")
    many.add_argument("--dictionaries", nargs="+", default=GRID_DICTIONARIES, metavar="NAME")
    many.add_argument("--solvers", nargs="+", metavar="NAME", help="(default: all)")
    many.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    given = vars(parser.parse_args(arguments))
    names = {False: ("size", "atoms", "filter_size", "lam", "seed")}
    names[True] = ("lams", "sizes", "dictionaries", "solvers", "dtype")
    options = {name: given[name] for name in ("out", "iterations", *names[given["grid"]])}
    return run_command(grid if given["grid"] else convergence, options)


if __name__ == "__main__":
    raise SystemExit(main())
