"""What single changes of the sparse-coding solvers are worth, those that were dropped too.

    OMP_NUM_THREADS=1 python -m benchmarks.solver_levers --out reports/reference --page

A lever is measured at points of the race's grid (`benchmarks.race`): the solver as it stands and
with the lever moved run in turn, in one process, each until it is within a gap of the optimum. A
lever that was kept is moved back; one that was dropped is moved forth. The ratio is that of the
seconds without and with the lever, medians of the rounds: above 1, the lever is faster.

A row of solver_levers.csv is written as soon as it is measured, and replaces the one of the same
lever and point. With --screening, solver_screening.csv says instead how many codes gap-safe
screening would discard at each point. With --page the tables in docs/solvers.md are made from these
files.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from benchmarks._study.command import Report, counted, run_command, silent, study_parser
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.dropped_levers import (
    CoordinateDescent,
    HalfADMM,
    HalfFirstADMM,
    ScaledADMM,
    preconditioned_direction,
)
from benchmarks._study.pages import REFERENCE, ROOT, with_block
from benchmarks.race import DICTIONARIES, OPTIMUM, SHARES, Point, Table, make, raced
from cscsr import ADMM, ActiveSet, InputError, Solver, SparseCoding, interrupts, operators
from cscsr.compare import machine
from cscsr.output import make_folder, write_text
from cscsr.patch_operator import BLOCK_BYTES
from cscsr.racing import CERTIFIED, Optimum, certified_optimum, own_clock
from cscsr.sparse import active_set, admm

GAP = 1e-3
ROUNDS = 3
MAX_SECONDS = 30.0

SCREENING_GAPS = (1e-2, 1e-3, 1e-4, 1e-5)
"""Relative duality gaps at which the discarded codes are counted."""


class Lever(NamedTuple):
    """A change of a solver; inside `moved`, a kept lever is back and a dropped one is applied."""

    solver: str
    name: str
    kept: bool
    moved: Callable[[], AbstractContextManager[Any]]


def constant(module: Any, **values: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Other values of a module's constants."""
    return lambda: patch.multiple(module, **values)


def options(solver: type[Solver[SparseCoding]], **values: Any) -> Callable[[], Any]:
    """A solver with other options."""
    return lambda: patch.dict(globals(), make=lambda *_: solver(**values))


def _shrink_in_one_pass(out: Any, codes: Any, threshold: float, _nonnegative: bool) -> Any:
    return torch.ops.aten.softshrink(codes, threshold, out=out)


LEVERS = (
    Lever(
        "admm",
        "layers for more than 128 elements, not FFT",
        True,
        constant(operators, largest_patch=lambda _: 128),
    ),
    Lever("admm", "blocks of 8 MiB, not 4", True, lambda: patch.dict(BLOCK_BYTES, cpu=2**22)),
    Lever("admm", "relaxation 1.95, not 1.8", True, options(ADMM, relaxation=1.8)),
    Lever("admm", "shrinkage in one pass", False, constant(admm, shrink_into=_shrink_in_one_pass)),
    Lever("admm", "ρ fixed", False, options(ADMM, auto_rho=False)),
    Lever("admm", "ρ starts at half the default", False, options(ScaledADMM, factor=0.5)),
    Lever("admm", "ρ starts at twice the default", False, options(ScaledADMM, factor=2.0)),
    Lever(
        "admm",
        "ρ adapted after 4 and 8 iterations too",
        False,
        constant(admm, adapts_after=lambda k: k >= 4 and k & (k - 1) == 0),
    ),
    Lever("admm", "F and Fᵀ in bfloat16", False, options(HalfADMM)),
    Lever(
        "admm",
        "F and Fᵀ in bfloat16 for 40 iterations, then float32",
        False,
        options(HalfFirstADMM),
    ),
    Lever(
        "active-set",
        "a circulant preconditioner of the Newton systems",
        False,
        constant(active_set._ActiveCodes, _newton_direction=preconditioned_direction),
    ),
    Lever("active-set", "coordinate descent instead", False, options(CoordinateDescent)),
    Lever(
        "active-set",
        "indices of 32 bits in the sparse matrix",
        True,
        constant(active_set, INDEX=np.int64),
    ),
    Lever(
        "active-set",
        "10 dense iterations instead of 20 where at most 0.8 % of the codes are active",
        True,
        constant(active_set, EARLY=0),
    ),
)


def optimum_of(point: Point) -> Optimum:
    """The lower bound of the optimum, from the reference run of the race where it has the point."""
    row = Table(REFERENCE / "race_grid.csv", "").get(point, OPTIMUM)
    if row is None:
        found = certified_optimum(point.problem(), CERTIFIED * GAP)
    else:
        found = Optimum(float(row["objective"]), float(row["duality_gap"]))
    return Optimum(found.lower_bound, found.duality_gap)


def seconds(point: Point, solver: str, optimum: Optimum, limit: float) -> float:
    """Seconds of a solver to the gap; infinite where it does not get there in time."""
    run = raced(point.problem(), optimum, make(solver, None, GAP), GAP, limit)
    first = run.first_within(GAP)
    return float("inf") if first is None else float(run.seconds[first])


def compare(lever: Lever, point: Point, optimum: Optimum, rounds: int) -> tuple[float, float]:
    """Median seconds without and with a lever."""
    as_it_stands, moved = [], []
    for _ in range(rounds):
        as_it_stands.append(seconds(point, lever.solver, optimum, MAX_SECONDS))
        with lever.moved():
            moved.append(seconds(point, lever.solver, optimum, MAX_SECONDS))
    medians = median(as_it_stands), median(moved)
    return medians[::-1] if lever.kept else medians


def _ratio(without: float, with_it: float) -> str:
    """How many times faster, as text; of what is out of time, a bound, or – if both are."""
    if without == with_it == float("inf"):
        return "–"
    if with_it == float("inf"):
        return f"< {without / MAX_SECONDS:.2f}"
    if without == float("inf"):
        return f"> {MAX_SECONDS / with_it:.2f}"
    return f"{without / with_it:.2f}"


def safely_zero(problem: SparseCoding, codes: Any) -> torch.Tensor:
    """Which codes gap-safe screening proves to be zero at the optimum, (M,H,W), from any codes.

    With u = r·min(1, λ/‖Fᵀr‖∞), the optimum of the dual is within √(2·gap) of u, since the dual is
    strongly concave with modulus 1. So zⱼ = 0 where |fⱼᵀu| + ‖fⱼ‖·√(2·gap) < λ (Ndiaye, Fercoq,
    Gramfort and Salmon 2017). `problem` is in torch, its codes may be negative.
    """
    operator = problem.operator()
    norms = operator.filters.square().sum((1, 2, 3)).sqrt()[:, None, None]
    residual = problem.observed() - operator.synthesis(torch.as_tensor(codes))
    correlation = operator.adjoint(residual).abs()
    scale = min(1.0, problem.lam / float(correlation.max()))
    radius = (2 * max(float(problem.duality_gap(codes)), 0.0)) ** 0.5
    return scale * correlation + norms * radius < problem.lam


def discarded(point: Point, gaps: Sequence[float] = SCREENING_GAPS) -> dict[float, float]:
    """The share of codes that `safely_zero` discards, by the duality gap: at the first iterate of
    the active-set solver, in float64, that is within it."""
    problem = point.problem().on(None, "float64")
    shares: dict[float, float] = {}

    def watch(_: int, codes: np.ndarray) -> bool:
        share = float(safely_zero(problem, codes).double().mean())
        relative = float(problem.duality_gap(codes)) / float(problem.objective(codes))
        shares.update({asked: share for asked in gaps if asked not in shares and relative <= asked})
        return len(shares) == len(gaps)

    ActiveSet(iterations=500, tol=0, dtype="float64").solve(problem, callback=watch)
    return shares


def screening(
    out: str | Path,
    points: Sequence[Point],
    report: Report = silent,
) -> Path:
    """Make solver_screening.csv in the folder `out`, where rows of other points stay; returns its
    path."""
    path = make_folder(out) / "solver_screening.csv"
    rows = read_curves(path)
    say = counted(report, len(points))
    for point in points:
        say(f"{point}: screening")
        columns = {name: str(value) for name, value in point.columns().items() if value}
        rows = [old for old in rows if any(old[key] != columns[key] for key in columns)]
        for gap, share in discarded(point).items():
            rows.append({**columns, "duality_gap": f"{gap:g}", "discarded": f"{share:.4f}"})
        write_curves(path, rows)
    return path


def solver_levers(
    out: str | Path,
    *,
    levers: Sequence[str] = (),
    size: int = 256,
    dictionaries: Sequence[str] = DICTIONARIES,
    lams: Sequence[float] = SHARES,
    rounds: int = ROUNDS,
    only_screening: bool = False,
    page: bool = False,
    report: Report = silent,
) -> list[Path]:
    """Make solver_levers.csv in the folder `out`; returns the paths of what was written.

    levers: parts of their names; none: all. lams: λ/λ_max. only_screening: make
    solver_screening.csv instead. page: rewrite the tables in the docs.
    Raises InputError for a number of rounds below 1 and for levers of which there are none.
    """
    if rounds < 1:
        raise InputError(f"the number of rounds must be at least 1, got {rounds}.")
    chosen = [lever for lever in LEVERS if not levers or any(part in lever.name for part in levers)]
    if not chosen:
        raise InputError(f"there is no lever {', '.join(levers)}.")
    points = [Point(size, *which) for which in itertools.product(dictionaries, lams)]
    if only_screening:
        return [screening(out, points, report), *([write_page(Path(out))] if page else [])]
    path = make_folder(out) / "solver_levers.csv"
    rows = read_curves(path)
    say = counted(report, len(points) * len(chosen))
    with own_clock() as clock:
        for point in points:
            optimum = optimum_of(point)
            for lever in chosen:
                say(f"{point}: {lever.name}")
                with lever.moved():
                    reason = make(lever.solver, None, GAP).supports(point.problem())
                if reason is not None:  # a lever that cannot be moved at this point
                    continue
                without, with_it = compare(lever, point, optimum, rounds)
                row = {
                    "solver": lever.solver,
                    "lever": lever.name,
                    **{name: str(value) for name, value in point.columns().items() if value},
                    "gap": f"{GAP:g}",
                    "seconds_without": f"{without:.4f}",
                    "seconds_with": f"{with_it:.4f}",
                    "ratio": _ratio(without, with_it),
                    "kept": "yes" if lever.kept else "no",
                    "rounds": str(rounds),
                    "clock": clock,
                    "machine": machine.describe(),
                }
                same = ("solver", "lever", "size", "dictionary", "share")
                rows = [old for old in rows if any(old[key] != row[key] for key in same)]
                rows.append(row)
                write_curves(path, rows)
    return [path, *([write_page(path.parent)] if page else [])]


def table(rows: Sequence[dict[str, str]]) -> str:
    """The Markdown table of the rows: a line per lever, a column per point."""
    points = list(dict.fromkeys((row["dictionary"], row["share"]) for row in rows))
    points.sort(key=lambda point: (point[0], float(point[1])))
    ratios: dict[tuple[str, str, str], dict[tuple[str, str], str]] = {}
    for row in rows:
        line = ratios.setdefault((row["solver"], row["lever"], row["kept"]), {})
        line[row["dictionary"], row["share"]] = row["ratio"]
    heads = [f"{dictionary}, {share}" for dictionary, share in points]
    lines = [
        f"| solver | lever | {' | '.join(heads)} | kept |",
        f"|---|---|{'--:|' * len(heads)}---|",
    ]
    for (solver, name, kept), line in sorted(ratios.items()):
        cells = " | ".join(line.get(point, "") for point in points)
        lines.append(f"| {solver} | {name} | {cells} | {kept} |")
    return "\n".join(lines)


def screening_table(rows: Sequence[dict[str, str]]) -> str:
    """The Markdown table of solver_screening.csv: a line per point, a column per gap."""
    gaps = list(dict.fromkeys(row["duality_gap"] for row in rows))
    lines = [f"| dictionary, λ/λ_max | {' | '.join(gaps)} |", f"|---|{'--:|' * len(gaps)}"]
    by_point: dict[str, dict[str, str]] = {}
    for row in rows:
        line = by_point.setdefault(f"{row['dictionary']}, {row['share']}", {})
        line[row["duality_gap"]] = f"{100 * float(row['discarded']):.1f}"
    for name, line in by_point.items():
        lines.append(f"| {name} | {' | '.join(line.get(gap, '') for gap in gaps)} |")
    return "\n".join(lines)


def write_page(folder: Path) -> Path:
    """Rewrite the tables in docs/solvers.md, from those files that are in `folder`."""
    docs = ROOT / "docs" / "solvers.md"
    text = docs.read_text(encoding="utf-8")
    for file, block, made in (
        ("solver_levers.csv", "solver levers", table),
        ("solver_screening.csv", "solver screening", screening_table),
    ):
        rows = read_curves(folder / file)
        if rows:
            text = with_block(text, block, made(rows))
    write_text(docs, text)
    return docs


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.solver_levers`."""
    parser = study_parser("solver_levers", __doc__.split("\n\n")[0])
    parser.add_argument("--levers", nargs="+", default=(), metavar="PART", help="of a name")
    parser.add_argument("--size", type=int, default=256, metavar="N")
    parser.add_argument("--dictionaries", nargs="+", default=DICTIONARIES, metavar="NAME")
    parser.add_argument(
        "--lams", nargs="+", type=float, default=SHARES, metavar="L", help="shares of λ_max"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each (%(default)d)")
    parser.add_argument(
        "--screening",
        dest="only_screening",
        action="store_true",
        help="count the codes that gap-safe screening discards instead",
    )
    parser.add_argument("--page", action="store_true", help="rewrite the tables in docs/solvers.md")
    return run_command(solver_levers, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
