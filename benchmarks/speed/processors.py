"""Speed of the shipped solvers and networks on a processor, in units of sporco's ADMM.

    OMP_NUM_THREADS=1 python -m benchmarks.speed processors

The unit is sporco's ADMM with its defaults on the same processor: the seconds until it is within
a relative gap of 1e-3 on scikit-image's camera, 256×256, with sporco's dictionary G:8x8x64 and
λ = 0.05. `admm` and `active-set` solve the same problem to the same gap; the others enlarge a
photograph of 96×96 pixels by 2, and bf16 stands for bfloat16. All take turns in one process of
one thread, and the medians over the rounds are reported, of the seconds (processor time) and of
their ratios to sporco's ADMM in the same round. A column is a processor, or a processor that
environment variables limit to fewer instruction sets. They do not limit FFTW, which sporco uses.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._study.command import Report, silent
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.problems import resized_problem
from benchmarks._study.race import (
    SEARCH_GAP,
    SPORCO,
    certified_optimum,
    own_clock,
    run_solver,
)
from benchmarks.speed.networks import SCALE, Clock, photograph
from cscsr import InputError, SparseCoding, SuperResolution, make_solver
from cscsr.compare import machine
from cscsr.output import write_text
from cscsr.racing import Optimum

SIZE, LAM = 256, 0.05
CERTIFIED = 1e-4
CAP = 300
"""Iterations in which each solver must come within the gap."""

CODERS = (SPORCO, "admm", "active-set")
ENLARGERS = (
    ("bicubic", "fp32"),
    ("csc-sr[ista]", "fp32"),
    ("crnet-a-small", "fp32"),
    ("crnet-a-small", "bf16"),
    ("crnet-b-small", "fp32"),
    ("crnet-b-small", "bf16"),
)
COLUMNS = (
    "processor",
    "limits",
    "system",
    "precision",
    "seconds",
    "of_sporco_admm",
    "rounds",
    "clock",
    "version",
    "machine",
)


def _code(problem: SparseCoding, optimum: Optimum, name: str) -> float:
    """Own seconds of a solver until it comes within the gap."""
    run = run_solver(problem, optimum, name, CAP, until=SEARCH_GAP)
    first = None if run is None else run.first_within(SEARCH_GAP)
    if run is None or first is None:
        raise InputError(f"{name} does not come within {SEARCH_GAP:g} in {CAP} iterations.")
    return float(run.seconds[first])


def _enlarger(name: str, precision: str) -> Callable[[], Any]:
    """`solve` of one image, from one array to the other."""
    solver = make_solver(name, **({"precision": precision} if precision != "fp32" else {}))
    image = photograph()
    if getattr(solver, "line", "") == "rgb":
        image = np.repeat(image[..., None], 3, axis=2)
    return partial(solver.solve, SuperResolution(image, SCALE))


def measure(
    rounds: int, size: int = SIZE, report: Report = silent
) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of each round by (system, precision). Every system runs once before."""
    problem = resized_problem(size, LAM)
    report("the optimum", 0, rounds + 2)
    optimum = certified_optimum(problem, CERTIFIED)._replace(codes=None)
    clock = Clock("cpu")
    systems: dict[tuple[str, str], Callable[[], float]] = {
        (name, "fp32"): partial(_code, problem, optimum, name) for name in CODERS
    }
    for name, precision in ENLARGERS:
        systems[name, precision] = partial(clock.time, _enlarger(name, precision))
    report("warming up", 1, rounds + 2)
    for run in systems.values():
        run()
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in systems}
    for number in range(rounds):
        report(f"round {number + 1}", number + 2, rounds + 2)
        for key, run in systems.items():
            seconds[key].append(run())
    return seconds


def _paired(own: Sequence[float], unit: Sequence[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(own, unit, strict=True))


def block(seconds: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    """Return the rows of this processor: medians of seconds, and of their ratios to sporco's."""
    unit = seconds[SPORCO, "fp32"]
    return [
        {
            "processor": machine.processor(),
            "limits": ", ".join(machine.limits()),
            "system": system,
            "precision": precision,
            "seconds": f"{statistics.median(own):.4g}",
            "of_sporco_admm": f"{_paired(own, unit):.4g}",
            "rounds": len(own),
            "clock": "processor time",
            "version": machine.code_version(),
            "machine": machine.describe(),
        }
        for (system, precision), own in seconds.items()
    ]


def merged(rows: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks of other processors and limits, then the new one."""
    keys = {(row["processor"], row["limits"]) for row in new}
    return [row for row in rows if (row["processor"], row["limits"]) not in keys] + list(new)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table with a column for each block."""
    blocks = list(dict.fromkeys((row["processor"], row["limits"]) for row in rows))
    systems = list(dict.fromkeys((row["system"], row["precision"]) for row in rows))
    cells = {
        (row["system"], row["precision"], row["processor"], row["limits"]): row for row in rows
    }
    lines = [
        f"| system | precision | {' | '.join(str(n + 1) for n in range(len(blocks)))} |",
        f"|---|---|{'--:|' * len(blocks)}",
    ]
    for system, precision in systems:
        shown = []
        for key in blocks:
            row = cells.get((system, precision, *key))
            shown.append("" if row is None else _cell(row))
        lines.append(f"| {system} | {precision} | {' | '.join(shown)} |")
    lines.append("")
    for number, (processor, limits) in enumerate(blocks, 1):
        row = next(r for r in rows if (r["processor"], r["limits"]) == (processor, limits))
        rest = row["machine"].removeprefix(", ".join(filter(None, (processor, limits))) + ", ")
        limited = f", limited by the environment variables `{limits}`" if limits else ""
        lines.append(
            f"{number}. {processor}{limited}; {row['rounds']} rounds; "
            f"cscsr {row['version']}; {rest}."
        )
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    """Milliseconds, and in parentheses the ratio to sporco's ADMM."""
    ms = 1000 * float(row["seconds"])
    shown = f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"
    return f"{shown} ms ({float(row['of_sporco_admm']):.3g})"


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return processors.md."""
    introduction = "\n\n".join((__doc__ or "").strip().split("\n\n")[2:])
    note = "Milliseconds, and in parentheses in units of sporco's ADMM."
    return f"# Speed by processor\n\n{introduction}\n\n{note}\n\n{table(rows)}\n"


def processors(out: Path, rounds: int, report: Report = silent) -> list[Path]:
    """Measure this processor, and write its block into processors.csv and .md in the folder `out`.

    Raises InputError for fewer than one round, and for more than one thread.
    """
    if rounds < 1:
        raise InputError(f"the number of rounds must be at least 1, got {rounds}.")
    if machine.threads() != 1:
        raise InputError(
            f"processors are compared on one thread, but torch has {machine.threads()}; "
            "set OMP_NUM_THREADS=1."
        )
    csv, markdown = out / "processors.csv", out / "processors.md"
    with own_clock():
        rows = merged(read_curves(csv), block(measure(rounds, report=report)))
    write_curves(csv, [{name: row[name] for name in COLUMNS} for row in rows])
    write_text(markdown, page(read_curves(csv)))
    return [csv, markdown]
