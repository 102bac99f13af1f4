"""The table and the figure of `benchmarks.learn_dictionary`, from learn_dictionary.csv alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks._study.figures import thread_count
from cscsr.output import write_text
from cscsr.plot import COLOURS, save

Row = dict[str, str]

OURS = "cscsr"

PLATEAU = 1e-3
"""A run is at its end where its objective is within this fraction of its last one: many seconds
that gain next to nothing do not count."""


Curve = tuple[np.ndarray, np.ndarray]


def curves(rows: Sequence[Row], learner: str) -> dict[str, Curve]:
    """Seconds and objective of each run of a learner in the race, by its seed."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        if row["measurement"] == "race" and row["learner"] == learner:
            runs.setdefault(row["seed"], []).append(row)
    return {
        seed: (
            np.array([float(row["seconds"]) for row in run]),
            np.array([float(row["objective"]) for row in run]),
        )
        for seed, run in runs.items()
    }


def learners(rows: Sequence[Row]) -> list[str]:
    """Those of the race, in its order."""
    return list(dict.fromkeys(row["learner"] for row in rows if row["measurement"] == "race"))


def seconds_to(curve: Curve, objective: float) -> float:
    """When a run first comes to an objective: linear between two looks on the scale of log seconds;
    infinite where it never does, and the first look where that is below already."""
    seconds, values = curve
    below = np.flatnonzero(values <= objective)
    if not len(below):
        return float("inf")
    k = int(below[0])
    if k == 0:
        return float(seconds[0])
    share = (values[k - 1] - objective) / (values[k - 1] - values[k])
    return float(seconds[k - 1] * (seconds[k] / seconds[k - 1]) ** share)


class Duel(NamedTuple):
    """A run of another learner beside ours of the same seed."""

    seed: str
    objective: float
    """Where the other's run ends, and `PLATEAU` more."""
    seconds: float
    """When the other's run first comes there."""
    ours: float
    """When ours does."""

    @property
    def speedup(self) -> float:
        """How many times faster ours is."""
        return self.seconds / self.ours


def duels(rows: Sequence[Row], learner: str) -> list[Duel]:
    """The runs of a learner beside ours."""
    ours = curves(rows, OURS)
    beside = []
    for seed, run in curves(rows, learner).items():
        level = (1 + PLATEAU) * float(run[1][-1])
        beside.append(Duel(seed, level, seconds_to(run, level), seconds_to(ours[seed], level)))
    return beside


def write_table(rows: Sequence[Row], path: Path, introduction: Sequence[str]) -> None:
    """Write learn_dictionary.md."""
    lines = ["# Dictionary learning", "", "\n\n".join(introduction).strip(), ""]
    lines += [*_race_lines(rows), "", "## Settings tried", "", *_search_lines(rows), ""]
    last = rows[-1]
    lines += [f"Processor time, {thread_count(int(last['threads']))}; {last['machine']}.", ""]
    write_text(path, "\n".join(lines))


def _race_lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "| learner | settings | seed | steps | seconds | objective |"
    yield "|---|---|--:|--:|--:|--:|"
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["measurement"] == "race":
            last[row["learner"], row["seed"]] = row
    for (name, seed), row in last.items():
        end = f"{float(row['seconds']):.1f} | {float(row['objective']):.3f}"
        yield f"| {name} | {row['settings']} | {seed} | {row['step']} | {end} |"
    yield ""
    yield (
        "When each of sporco's runs first comes within 0.1 % of the objective at which it ends, "
        "and when ours of the same seed does:"
    )
    yield ""
    yield "| learner | seed | objective | its seconds | our seconds | times faster |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name in learners(rows):
        if name == OURS:
            continue
        for duel in duels(rows, name):
            yield (
                f"| {name} | {duel.seed} | {duel.objective:.3f} | {duel.seconds:.1f} | "
                f"{duel.ours:.1f} | {duel.speedup:.1f} |"
            )


def _search_lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "| learner | settings | seconds | objective |"
    yield "|---|---|--:|--:|"
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["measurement"] == "search":
            last[row["learner"], row["settings"]] = row
    for (name, settings), row in last.items():
        end = f"{float(row['seconds']):.1f} | {float(row['objective']):.3f}"
        yield f"| {name} | {settings} | {end} |"


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw learn_dictionary.png: the objective of held-out images against seconds of learning."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for colour, name in zip(COLOURS, learners(rows), strict=False):
        for number, (seconds, values) in enumerate(curves(rows, name).values()):
            label = None if number else name
            axes.plot(seconds, values, color=colour, marker=".", lw=1.4, label=label)
    axes.set(
        xscale="log",
        xlabel="seconds of learning (processor time, one thread)",
        ylabel="objective of held-out images",
    )
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xticks([1, 2, 4, 8, 16, 32], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save(figure, picture)
