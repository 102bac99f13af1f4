"""What benchopt, a harness of this field, measures of the sparse-coding solvers.

    OMP_NUM_THREADS=1 python -m benchmarks.benchopt_csc --out reports/latest

benchopt runs the benchmark in this folder, as `benchopt run benchmarks/benchopt_csc` does, and
measures wall time and the objective with code of its own and of objective.py. Then `cscsr.race`
runs the same problems. benchopt.csv.gz has a row for each sample of benchopt, and for each race the
first iteration within each relative gap; benchopt.md and benchopt.png are made from it. Gaps are
upper bounds: they start from the lower bound of an optimum that a duality gap certifies.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks._study.command import Report, counted, run_command, silent, study_parser
from benchmarks._study.curves import write_curves
from benchmarks._study.figures import busy, thread_count
from benchmarks._study.race import GAPS
from cscsr import InputError, SparseCoding, interrupts, plot, race
from cscsr.compare.machine import describe, load, threads
from cscsr.output import make_folder, write_text

FOLDER = Path(__file__).parent
SECONDS = 5.0
"""After this time a solver stops, in either harness."""

FLOOR = 1e-5
"""Gaps are drawn down to this, to which the optima are certified."""

RACED = {
    "active-set": "active-set",
    "admm": "admm",
    "fista": "fista",
    "sporco-admm[auto_rho=True]": "sporco-admm",
}
"""Those that `cscsr.race` runs too: benchopt's name, and the one here."""


def benchopt_study(
    out: str | Path, *, seconds: float = SECONDS, report: Report = silent
) -> list[Path]:
    """Make benchopt.csv.gz, .md and .png in the folder `out`; returns their paths.

    Raises InputError where benchopt is not installed.
    """
    if find_spec("benchopt") is None:
        raise InputError(
            "this study needs benchopt: pip install -r benchmarks/benchopt_csc/requirements.txt"
        )
    table = make_folder(out) / "benchopt.csv.gz"
    about = {"threads": threads(), "machine": describe(), "load": load()}
    about |= {"benchopt": version("benchopt"), "max_seconds": seconds}
    rows = [row | about for row in _measured(seconds, report)]
    write_curves(table, rows)
    picture, page = table.with_name("benchopt.png"), table.with_name("benchopt.md")
    draw(table, picture)
    write_page(table, page)
    return [table, picture, page]


def _measured(seconds: float, report: Report) -> Iterator[dict[str, Any]]:
    import pandas as pd
    from benchopt import run_benchmark
    from benchopt.benchmark import Benchmark

    problems = dict(problems_of(Benchmark(FOLDER)))
    say = counted(report, len(problems) + 1)
    say("benchopt")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.parquet"
        run_benchmark(
            FOLDER,
            timeout=seconds,
            max_runs=1000,
            plot_result=False,
            show_progress=False,
            no_cache=True,
            output_file=str(path),
        )
        samples = pd.read_parquet(path)
    for (data, objective), problem in problems.items():
        say(f"race: {data}, {objective}")
        raced = race(
            problem, tuple(RACED.values()), gap=min(GAPS), max_seconds=seconds, iterations=10**6
        )
        bound = raced.optimum.lower_bound
        common = {
            "dataset": data,
            "reg": objective.rpartition("=")[2].rstrip("]"),
            "reference_objective": raced.optimum.objective,
            "reference_duality_gap": raced.optimum.duality_gap,
        }
        own = samples[(samples.dataset_name == data) & (samples.objective_name == objective)]
        for row in own.itertuples():
            yield common | {
                "solver": row.solver_name,
                "harness": "benchopt",
                "iteration": row.stop_val,
                "seconds": round(row.time, 6),
                "objective": row.objective_value,
                "relative_gap": f"{row.objective_value / bound - 1:.5g}",
                "nnz": row.objective_nnz,
            }
        names = {name: label for label, name in RACED.items()}
        for name, run in raced.runs.items():
            firsts = {run.first_within(gap) for gap in GAPS} - {None}
            for index in sorted(firsts):
                yield common | {
                    "solver": names[name],
                    "harness": "race",
                    "iteration": int(run.iteration[index]),
                    "seconds": round(float(run.seconds[index]), 6),
                    "objective": float(run.objective[index]),
                    "relative_gap": f"{run.gap[index]:.5g}",
                    "nnz": int(run.nnz[index]),
                }


def problems_of(benchmark: Any) -> Iterator[tuple[tuple[str, str], SparseCoding]]:
    """Every problem of a benchmark by benchopt's names of its data set and its objective."""
    make_objective = benchmark.get_benchmark_objective()
    for make_data in sorted(benchmark.get_datasets(), key=lambda kind: kind.name):
        for of_data in _combinations(make_data.parameters):
            data = make_data.get_instance(**of_data)
            for of_objective in _combinations(make_objective.parameters):
                objective = make_objective.get_instance(**of_objective)
                objective.set_data(**data.get_data())
                yield (str(data), str(objective)), SparseCoding(**objective.get_objective())


def _combinations(parameters: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*parameters.values()):
        yield dict(zip(parameters, values, strict=True))


def times(table: Path) -> list[dict[str, Any]]:
    """For each problem and solver of a table: by harness and gap the first row within that gap,
    None where none is."""
    import pandas as pd

    results: list[dict[str, Any]] = []
    keys = ["dataset", "reg", "solver"]
    for key, rows in pd.read_csv(table).groupby(keys, sort=False):
        row: dict[Any, Any] = dict(zip(keys, key, strict=True))
        for harness, gap in itertools.product(("benchopt", "race"), GAPS):
            near = rows[(rows.harness == harness) & (rows.relative_gap <= gap)]
            row[harness, gap] = None if near.empty else near.iloc[0]
        results.append(row)
    return results


def leads(table: Path, gap: float) -> list[float]:
    """For each problem, how many times faster cscsr's fastest solver reaches a gap than sporco's,
    by benchopt's clock."""
    firsts: dict[tuple[str, float], dict[bool, float]] = {}
    for row in times(table):
        at = row["benchopt", gap]
        if at is not None:
            of_problem = firsts.setdefault((row["dataset"], row["reg"]), {})
            is_sporco = row["solver"].startswith("sporco")
            of_problem[is_sporco] = min(at.seconds, of_problem.get(is_sporco, math.inf))
    return [of_problem[True] / of_problem[False] for of_problem in firsts.values()]


def write_page(table: Path, page: Path) -> None:
    """Write the table of seconds to each gap, by either harness."""
    import pandas as pd

    first = pd.read_csv(table).iloc[0]
    levels = [f"{gap:.0e}" for gap in GAPS]
    lines = [
        "# benchopt's times beside those of cscsr.race",
        "",
        "Seconds, in brackets iterations, to the first sample within a relative gap of the "
        f"optimum; – is not within {first.max_seconds:g} s, and empty was not raced. float32, "
        f"{thread_count(first.threads)}. benchopt {first.benchopt} measures wall time from the "
        "arrays on and looks at every iteration up to the tenth, then each time that a tenth has "
        "been added; `cscsr.race` measures processor time without what is prepared once, and "
        "looks at every iteration. λ is a share of λ_max.",
        "",
        f"| data set | λ | solver | benchopt: {' | '.join(levels)} | race: {' | '.join(levels)} |",
        f"|---|--:|---|{'--:|' * 2 * len(GAPS)}",
    ]
    for row in times(table):
        cells = []
        for harness, gap in itertools.product(("benchopt", "race"), GAPS):
            at, raced = row[harness, gap], harness == "benchopt" or row["solver"] in RACED
            away = "–" if raced else ""
            cells.append(away if at is None else f"{at.seconds:.3g} ({at.iteration})")
        name = f"{row['dataset']} | {row['reg']:g} | {row['solver']}"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Made by `OMP_NUM_THREADS={first.threads} python -m benchmarks.benchopt_csc` on "
        f"{first.machine}{busy(first)}.",
        "",
    ]
    write_text(page, "\n".join(lines))


def draw(table: Path, picture: Path) -> None:
    """Draw benchopt's curves, a panel for each problem, and where `cscsr.race` finds the gaps."""
    import pandas as pd

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    problems = list(rows.groupby(["reg", "dataset"], sort=False))
    columns = rows.dataset.nunique()
    figure, panels = plot.panels(
        math.ceil(len(problems) / columns), columns, (3.9 * columns, 6.4), sharex=True, sharey=True
    )
    colours = dict(zip(rows.solver.unique(), plot.COLOURS, strict=False))
    order = sorted(problems, key=lambda problem: -problem[0][0])
    for panel, ((reg, dataset), part) in zip(panels.flat, order, strict=False):
        for solver, colour in colours.items():
            curve = part[(part.solver == solver) & (part.seconds > 0)]
            mine, raced = curve[curve.harness == "benchopt"], curve[curve.harness == "race"]
            panel.plot(mine.seconds, mine.relative_gap, color=colour, label=solver)
            panel.plot(raced.seconds, raced.relative_gap, "o", color=colour, markersize=5)
        panel.set(xscale="log", yscale="log", xlim=(5e-3, first.max_seconds), ylim=(FLOOR, 2))
        panel.xaxis.set_major_formatter("{x:g}")
        kind, _, of_data = dataset.rstrip("]").partition("[")
        panel.set_title(f"{kind}, λ = {reg:g} λ_max\n{of_data.replace(',', ', ')}", fontsize=8)
    for panel in panels[:, 0]:
        panel.set_ylabel("relative gap, certified")
    for panel in panels[-1]:
        panel.set_xlabel("seconds")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    figure.suptitle(
        f"Curves: benchopt {first.benchopt}, wall time. Points: the same gaps by cscsr.race. "
        f"{thread_count(first.threads, 'CPU ')}{busy(first)}",
        fontsize=10,
    )
    plot.save(figure, picture, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.benchopt_csc`."""
    parser = study_parser("benchopt_csc", __doc__.split("\n\n")[2])
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="cap of a solver (%(default)g)"
    )
    return run_command(benchopt_study, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
