"""The table and the figure of `benchmarks.learn_dictionary`, from learn_dictionary.csv alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks._study.figures import thread_count
from cscsr.output import write_text
from cscsr.plot import COLOURS, save

Row = dict[str, str]

OURS = "cscsr"


def curves(rows: Sequence[Row], learner: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Seconds and objective of each run of a learner in the race."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        if row["measurement"] == "race" and row["learner"] == learner:
            runs.setdefault(row["seed"], []).append(row)
    return [
        (
            np.array([float(row["seconds"]) for row in run]),
            np.array([float(row["objective"]) for row in run]),
        )
        for run in runs.values()
    ]


def learners(rows: Sequence[Row]) -> list[str]:
    """Those of the race, in its order."""
    return list(dict.fromkeys(row["learner"] for row in rows if row["measurement"] == "race"))


def seconds_to(curve: tuple[np.ndarray, np.ndarray], objective: float) -> float:
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


def levels(rows: Sequence[Row]) -> dict[str, float]:
    """For each learner beside ours the objective at the end of its runs, the median."""
    return {
        name: median(float(values[-1]) for _, values in curves(rows, name))
        for name in learners(rows)
        if name != OURS
    }


def median_seconds(rows: Sequence[Row], learner: str, objective: float) -> float:
    """The median of a learner's runs of `seconds_to`."""
    return median(seconds_to(curve, objective) for curve in curves(rows, learner))


def write_table(rows: Sequence[Row], path: Path, introduction: Sequence[str]) -> None:
    """Write learn_dictionary.md."""
    lines = ["# Dictionary learning", "", "\n\n".join(introduction), ""]
    lines += [*_race_lines(rows), "", "## Settings tried", "", *_search_lines(rows), ""]
    last = rows[-1]
    lines += [f"Processor time, {thread_count(int(last['threads']))}; {last['machine']}.", ""]
    write_text(path, "\n".join(lines))


def _race_lines(rows: Sequence[Row]) -> Iterator[str]:
    targets = levels(rows)
    yield "Medians of the runs: the objective at the end, and the seconds to the objective at which"
    yield "each of sporco's learners ends."
    yield ""
    headings = [f"to {value:.3f}, {name}'s end" for name, value in targets.items()]
    yield "| learner | settings | runs | seconds | objective | " + " | ".join(headings) + " |"
    yield "|---|---|--:|--:|--:|" + "--:|" * len(headings)
    for name in learners(rows):
        own = curves(rows, name)
        settings = next(
            r["settings"] for r in rows if r["measurement"] == "race" and r["learner"] == name
        )
        end = median(float(seconds[-1]) for seconds, _ in own)
        value = median(float(values[-1]) for _, values in own)
        cells = []
        for target in targets.values():
            seconds = median_seconds(rows, name, target)
            cells.append("–" if not np.isfinite(seconds) else f"{seconds:.1f} s")
        yield (
            f"| {name} | {settings} | {len(own)} | {end:.0f} | {value:.3f} | {' | '.join(cells)} |"
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
        for number, (seconds, values) in enumerate(curves(rows, name)):
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
    save(figure, picture, colours=64)
