"""How fast the sparse-coding solvers converge, on stated problems with a certified optimum.

    python -m benchmarks.convergence --out reports/latest
    python -m benchmarks.convergence --grid --out reports/latest

Every registered solver of `SparseCoding` codes a high-passed crop of scikit-image's camera. The
optimum is the active-set solver's, certified by its duality gap. Each recorded iteration
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

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks._study.command import Report, counted, run_command, silent, study_parser
from benchmarks._study.curves import made_with, write_curves
from benchmarks._study.problems import named_dictionary
from benchmarks._study.race import (
    BEST_RHO,
    GAPS,
    SEARCH_GAP,
    SPORCO,
    Optimum,
    certified_optimum,
    run_solver,
    run_with_rho,
    search_rho,
)
from benchmarks.drawing.convergence import draw_convergence, draw_grid, write_times
from cscsr import InputError, SparseCoding, interrupts, list_solvers, make_solver
from cscsr.compare.machine import describe, load, threads
from cscsr.data.problems import camera_problem, check_crop, crop_problem
from cscsr.output import make_folder

ITERATIONS = 300
GRID_LAMS = (0.05, 0.01)
GRID_SIZES = (64, 128)
GRID_DICTIONARIES = ("camera", "lista", "G:8x8x64")

CERTIFIED = {"float64": 1e-9, "float32": 1e-6}
"""By the dtype of a run: the duality gap of the optimum is at most this share of it."""

RHOS = tuple(10 ** (power / 4) for power in range(-8, 9, 2))
"""ρ of the search, 0.01 to 100; the best one's neighbours at 10^(±1/4) follow."""

POINTS = 24
"""Recorded iterations in each factor of ten of them."""


class Case(NamedTuple):
    """One problem of the benchmark; `atoms`, `filter_size` and `seed` are those of "camera"."""

    dictionary: str = "camera"
    size: int = 96
    lam: float = 0.05
    atoms: int = 16
    filter_size: int = 5
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
        return crop_problem(self.size, named_dictionary(self.dictionary), self.lam)


ONE = Case()


def sparse_solvers() -> list[str]:
    """Every registered solver of `SparseCoding`."""
    return list(list_solvers("SparseCoding"))


def best_rho(problem: SparseCoding, optimum: Optimum, iterations: int) -> tuple[float, float]:
    """The fixed ρ with which sporco's ADMM comes to a relative gap of `SEARCH_GAP` in the fewest
    iterations, and that number (infinite where none gets there): the best of `RHOS`, then of its
    two neighbours. An iteration takes the same time for every ρ."""

    def needed(rho: float, cap: int) -> tuple[float, float]:
        run = run_with_rho(problem, optimum, rho, cap)
        first = run.first_within(SEARCH_GAP)
        return (math.inf, run.gap[-1]) if first is None else (float(run.iteration[first]), 0.0)

    rho, _ = search_rho(RHOS, needed, iterations)
    return search_rho((rho, rho * 10**0.25, rho / 10**0.25), needed, iterations)


def _thinned(iterations: int) -> set[int]:
    """Iterations that are recorded: about `POINTS` in each factor of ten, and the last."""
    steps = np.arange(0, POINTS * math.log10(max(iterations, 2)) + 1) / POINTS
    return {*np.unique(np.rint(10**steps).astype(int)).tolist(), iterations}


def solve_case(
    case: Case,
    names: Sequence[str],
    iterations: int,
    dtype: str,
    search: bool,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """The rows of one problem. A solver that declines it has none."""
    say(f"{case}: the problem")
    exact = case.problem()
    say(f"{case}: the certified optimum")
    optimum = certified_optimum(exact, CERTIFIED[dtype])
    problem = SparseCoding(exact.signal.astype(dtype), exact.dictionary.astype(dtype), case.lam)
    common = {
        "dictionary": case.dictionary,
        "size": case.size,
        "atoms": problem.dictionary.shape[0],
        "filter_size": problem.dictionary.shape[-1],
        "lam": case.lam,
        "seed": case.seed,
    }
    reference = {
        "reference_objective": optimum.objective,
        "reference_duality_gap": optimum.duality_gap,
    }
    entries: list[tuple[str, str, dict[str, Any]]] = [(name, name, {}) for name in names]
    if search and SPORCO in names:
        say(f"{case}: the best ρ of sporco's ADMM")
        rho, _ = best_rho(problem, optimum, iterations)
        entries.append((BEST_RHO, SPORCO, {"rho": rho, "auto_rho": False}))
    recorded = _thinned(iterations)
    for label, name, options in entries:
        say(f"{case}: {label}")
        run = run_solver(problem, optimum, name, iterations, **options)
        if run is None:
            continue
        firsts = {run.first_within(gap) for gap in GAPS}
        for index, iteration in enumerate(run.iteration.tolist()):
            if iteration not in recorded and index not in firsts:
                continue
            yield {
                **common,
                "solver": label,
                "rho": options.get("rho", ""),
                "iteration": iteration,
                "seconds": round(float(run.seconds[index]), 6),
                "operations": f"{run.operations[index]:.4g}",
                "objective": float(run.objective[index]),
                "relative_gap": float(run.gap[index]),
                "codes_distance": float(f"{run.distance[index]:.4g}"),
                "nnz": int(run.nnz[index]),
                **reference,
            }


def convergence(
    out: str | Path,
    *,
    case: Case = ONE,
    iterations: int = ITERATIONS,
    report: Report = silent,
) -> list[Path]:
    """Make convergence.csv, .png and .md, one problem in float64, in the folder `out`; returns
    their paths. Nothing is solved where a convergence.csv of the same settings is there already.
    Raises InputError for a setting out of range."""
    table = _measured(out, "convergence.csv", [case], iterations, "float64", None, report)
    draw_convergence(table, table.with_suffix(".png"))
    command = "python -m benchmarks.convergence"
    if iterations != ITERATIONS:
        command += f" --iterations {iterations}"
    write_times(table, table.with_suffix(".md"), command)
    return [table, table.with_suffix(".png"), table.with_suffix(".md")]


def grid(
    out: str | Path,
    *,
    iterations: int = ITERATIONS,
    lams: Sequence[float] = GRID_LAMS,
    sizes: Sequence[int] = GRID_SIZES,
    dictionaries: Sequence[str] = GRID_DICTIONARIES,
    solvers: Sequence[str] | None = None,
    dtype: str = "float32",
    report: Report = silent,
) -> list[Path]:
    """Make convergence_grid.csv.gz, .png and .md, every combination of λ, size and dictionary, in
    the folder `out`; returns their paths. sporco's ADMM runs with its best ρ too.
    Raises InputError for a setting out of range and for an unknown dictionary or solver."""
    cases = [Case(name, s, lam) for name in dictionaries for s in sizes for lam in lams]
    name = "convergence_grid"
    table = _measured(out, f"{name}.csv.gz", cases, iterations, dtype, solvers, report, True)
    picture, page = (table.with_name(f"{name}{suffix}") for suffix in (".png", ".md"))
    draw_grid(table, picture)
    command = (
        f"python -m benchmarks.convergence --grid --sizes {_listed(sizes)} --lams {_listed(lams)} "
        f"--dictionaries {_listed(dictionaries)} --dtype {dtype} --iterations {iterations}"
    )
    write_times(table, page, command)
    return [table, picture, page]


def _listed(values: Sequence[Any]) -> str:
    return " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in dict.fromkeys(values))


def _measured(
    out: str | Path,
    name: str,
    cases: Sequence[Case],
    iterations: int,
    dtype: str,
    solvers: Sequence[str] | None,
    report: Report,
    search: bool = False,
) -> Path:
    """The table `name` in the folder `out`, measured unless one of the same settings is there.

    Raises InputError for a setting out of range, and for an unknown solver.
    """
    if iterations < 1 or min(min(case.atoms, case.filter_size) for case in cases) < 1:
        raise InputError("the numbers of iterations and atoms and the filters' size start at 1.")
    if dtype not in CERTIFIED:
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}.")
    names = list(solvers or sparse_solvers())
    made = [make_solver(name) for name in names]
    for solver in made:
        if solver.problem_type is not SparseCoding:
            raise InputError(f"{solver.name} does not solve a SparseCoding.")
    for case in cases:
        check_crop(case.size, case.filter_size)
    columns = ([getattr(case, key) for case in cases] for key in ("dictionary", "size", "lam"))
    hashes = [solver.weights_sha256() for solver in made]
    settings = {
        "problems": "; ".join(map(_listed, columns)) if len(cases) > 1 else str(cases[0]),
        "iterations": int(iterations),
        "dtype": dtype,
        "solvers": " ".join(names),
        "weights": " ".join(digest[:8] for digest in hashes if digest),
    }
    table = make_folder(out) / name
    if made_with(table, settings):
        return table
    total = len(cases) * (len(names) + 2 + 2 * search)
    say = counted(report, total)
    about = {"threads": threads(), "machine": describe(), "load": load()}
    rows = [
        settings | row | about
        for case in cases
        for row in solve_case(case, names, iterations, dtype, search, say)
    ]
    write_curves(table, rows)
    report("done", total, total)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.convergence`."""
    parser = study_parser("convergence", __doc__.split("\n\n")[2])
    parser.add_argument(
        "--iterations", type=int, default=ITERATIONS, help="of each solver (%(default)s)"
    )
    parser.add_argument("--grid", action="store_true", help="every combination of what follows")
    many = parser.add_argument_group("with --grid")
    many.add_argument("--lams", nargs="+", type=float, default=GRID_LAMS, metavar="L")
    many.add_argument("--sizes", nargs="+", type=int, default=GRID_SIZES, metavar="N")
    many.add_argument("--dictionaries", nargs="+", default=GRID_DICTIONARIES, metavar="NAME")
    many.add_argument("--solvers", nargs="+", metavar="NAME", help="(default: all)")
    many.add_argument("--dtype", default="float32", choices=tuple(CERTIFIED))
    options = vars(parser.parse_args(arguments))
    if options.pop("grid"):
        return run_command(grid, options)
    return run_command(convergence, {key: options[key] for key in ("out", "iterations")})


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
