"""How fast the sparse-coding solvers converge, on one stated problem with a certified optimum.

    python -m benchmarks.convergence --out reports/latest

ADMM (sporco's and ours), ISTA, FISTA and CISTA code a high-passed crop of scikit-image's
camera with atoms that are learned here and now, from one seed, on other crops of it. The
optimum is FISTA's, run until its duality gap certifies it. Every iteration is a row of
convergence.csv, and convergence.png is drawn from that file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curves import made_with, make_folder, run_command, write_curves
from benchmarks.machine import describe, threads
from cscsr import InputError, Solution, SparseCoding, make_solver

SOLVERS = ("sporco-admm", "admm", "fista", "ista", "cista")

DEFAULT_ITERATIONS = 300
DEFAULT_SIZE = 96
DEFAULT_ATOMS = 16
DEFAULT_FILTER_SIZE = 5
DEFAULT_LAM = 0.05

MAX_SIZE = 256
"""The crop is rows 64 and columns 192 onwards; below row 320 the atoms are learned."""

CERTIFIED = 1e-9
"""The reference is run until its duality gap is this fraction of its objective."""

REFERENCE_ITERATIONS = 6000

PROBLEM = ["size", "atoms", "filter_size", "lam", "seed"]
SETTINGS = [*PROBLEM, "iterations", "solvers"]
"""Columns that are the same in every row: what the run was asked for."""

CSV_COLUMNS = [
    *SETTINGS,
    "solver",
    "iteration",
    "seconds",
    "objective",
    "relative_gap",
    "nnz",
    "reference_objective",
    "reference_duality_gap",
    "threads",
    "machine",
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
    if not filter_size <= size <= MAX_SIZE:
        raise InputError(
            f"the size must be from {filter_size} (the filters') to {MAX_SIZE} pixels, got {size}."
        )
    from skimage.data import camera
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn
    from sporco.signal import tikhonov_filter

    _, high = tikhonov_filter(camera() / 255.0, 5.0, 16)
    crops = np.stack([high[330:394, 100:164], high[330:394, 300:364]], axis=-1)
    start = np.random.default_rng(seed).standard_normal((filter_size, filter_size, atoms))
    options = {"Verbose": False, "StatusHeader": False, "MaxMainIter": 15}
    learning = ConvBPDNDictLearn(
        start, crops, 0.05, ConvBPDNDictLearn.Options(options, dmethod="cns"), dmethod="cns"
    )
    learning.solve()
    dictionary = np.moveaxis(learning.getdict()[:, :, 0, 0], -1, 0)
    return SparseCoding(
        high[64 : 64 + size, 192 : 192 + size].copy(), np.ascontiguousarray(dictionary), lam
    )


def certified_optimum(problem: SparseCoding) -> Solution:
    """FISTA until the duality gap is `CERTIFIED` of the objective; the last row has both."""

    def is_certified(iteration: int, codes: Any) -> bool:
        return iteration % 50 == 0 and problem.duality_gap(codes) <= CERTIFIED * problem.objective(
            codes
        )

    solver = make_solver("fista", iterations=REFERENCE_ITERATIONS, tol=0, record_every=0, gap=True)
    return solver.solve(problem, callback=is_certified)


def measure(
    settings: dict[str, Any], report: Callable[[str, int, int], None] | None = None
) -> list[dict[str, Any]]:
    """The rows of convergence.csv. report: told (what is being done, how many done, of all)."""
    total = len(SOLVERS) + 2

    def say(what: str, done: int) -> None:
        if report is not None:
            report(what, done, total)

    say("learning the atoms", 0)
    problem = camera_problem(**{name: settings[name] for name in PROBLEM})
    say("the certified optimum", 1)
    reference = certified_optimum(problem)
    lowest = float(reference.trace["objective"][-1])
    common = {
        **settings,
        "reference_objective": lowest,
        "reference_duality_gap": float(reference.trace["duality_gap"][-1]),
        "machine": describe(),
        "threads": threads(),
    }
    rows = []
    for done, name in enumerate(SOLVERS, start=2):
        say(name, done)
        solver = make_solver(name, iterations=settings["iterations"], tol=0)
        reason = solver.supports(problem)
        if reason is not None:
            raise InputError(reason)
        solver.prepare(problem)
        trace = solver.solve(problem).trace
        for iteration, seconds, objective, nnz in zip(
            *(trace[column] for column in ("iteration", "seconds", "objective", "nnz")),
            strict=True,
        ):
            rows.append(
                {
                    **common,
                    "solver": name,
                    "iteration": int(iteration),
                    "seconds": round(float(seconds), 6),
                    "objective": float(objective),
                    "relative_gap": (float(objective) - lowest) / lowest,
                    "nnz": int(nnz),
                }
            )
    say("done", total)
    return rows


_LOOKS = {
    "ista": ("ISTA", {"color": "#F0A070", "linewidth": 4.5}),
    "cista": ("CISTA", {"color": "#000000", "linewidth": 1.3, "linestyle": (0, (4, 2))}),
    "fista": ("FISTA (with restart)", {"color": "#009E73", "linewidth": 1.8}),
    "admm": ("ADMM (ours)", {"color": "#CC79A7", "linewidth": 1.8}),
    "sporco-admm": ("ADMM (sporco)", {"color": "#0072B2", "linewidth": 1.8, "linestyle": "-."}),
}
"""Solver: its label and line, in drawing order; CISTA's dashes lie on ISTA's broad line."""


def draw_convergence(table: Path, picture: Path) -> None:
    """Draw convergence.png from convergence.csv: the relative objective gap against
    iterations and against seconds."""
    import pandas as pd
    from matplotlib.figure import Figure

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    certified = first.reference_duality_gap / first.reference_objective
    floor = max(certified, CERTIFIED)
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, column, label in zip(
        panels, ("iteration", "seconds"), ("iterations", "solver's own time (seconds)"), strict=True
    ):
        for solver, (name, look) in _LOOKS.items():
            curve = rows[rows.solver == solver]
            panel.plot(curve[column], curve.relative_gap.clip(lower=floor / 10), label=name, **look)
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.set_ylim(bottom=floor)
        panel.grid(alpha=0.25)
    panels[0].set_xlim(1, first.iterations)
    panels[0].set_ylabel("relative objective gap  (P(z) − P*) / P*")
    panels[0].legend(loc="lower left", fontsize=9)
    slow = rows[(rows.solver == "cista") & (rows.iteration <= first.iterations**0.75)].iloc[-1]
    panels[0].annotate(
        "ISTA and CISTA:\nthe same iterates",
        (slow.iteration, slow.relative_gap),
        xytext=(0, 14),
        textcoords="offset points",
        ha="center",
        fontsize=8.5,
    )
    panels[0].xaxis.set_major_formatter("{x:g}")
    panels[1].xaxis.set_major_formatter("{x:g}")
    figure.suptitle(
        f"½‖y − Σ f⊗z‖² + λ‖z‖₁, λ = {first.lam:g}, circular, float64: camera, high-passed, "
        f"{first['size']}×{first['size']} pixels, {first.atoms} learned atoms of "
        f"{first.filter_size}×{first.filter_size}\n"
        f"P* = {first.reference_objective:.5f}, certified to {certified:.0e} by the duality gap; "
        f"{first.threads} CPU thread{'s' if first.threads > 1 else ''}",
        fontsize=10,
    )
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=150)
    part.replace(picture)


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
    """Make convergence.csv and convergence.png in the folder `out`; returns their paths.

    Nothing is solved where a convergence.csv of the same settings is there already.

    iterations: of each solver. size: of the crop, in pixels. report: told (what is being
    done, how many done, of how many).

    Raises InputError for a setting out of range.
    """
    if iterations < 1 or atoms < 1 or filter_size < 1:
        raise InputError("the numbers of iterations and atoms and the filters' size start at 1.")
    out = make_folder(out)
    table, picture = out / "convergence.csv", out / "convergence.png"
    values = [int(size), int(atoms), int(filter_size), float(lam), int(seed), int(iterations)]
    values.append(" ".join(SOLVERS))
    settings = dict(zip(SETTINGS, values, strict=True))
    if not made_with(table, settings):
        write_curves(table, CSV_COLUMNS, measure(settings, report))
    draw_convergence(table, picture)
    return [table, picture]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.convergence`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.convergence", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument(
        "--iterations", type=int, default=DEFAULT_ITERATIONS, help="of each solver (%(default)s)"
    )
    parser.add_argument(
        "--size", type=int, default=DEFAULT_SIZE, help="of the crop, in pixels (%(default)s)"
    )
    parser.add_argument("--atoms", type=int, default=DEFAULT_ATOMS, help="(%(default)s)")
    parser.add_argument(
        "--filter-size", type=int, default=DEFAULT_FILTER_SIZE, help="in pixels (%(default)s)"
    )
    parser.add_argument(
        "--lam", type=float, default=DEFAULT_LAM, help="λ, on the [0,1] scale (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the atoms (%(default)s)")
    return run_command(convergence, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
