"""The origin of each measured cell of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cscsr.compare.records import SCORED
from cscsr.compare.summary import Mean, Place, Summary
from cscsr.compare.text import engineering, two_digits
from cscsr.imaging import METRICS

if TYPE_CHECKING:
    import pandas as pd


_LINES = {
    "y": "y: luma, with the low-resolution image in floating point",
    "rgb": "rgb: 8-bit low-resolution image, in colour if the truth is",
}


class Sources:
    """The origins of all cells; a cell of the page refers to its origin by number.

    Parameters
    ----------
    summary
        The summary that the page shows.
    commands
        Run number to command, from `Results.commands`.

    Attributes
    ----------
    rows
        One dictionary per cell: `title`, `facts` (name to text, "" where unknown), `commands`.
    """

    def __init__(self, summary: Summary, commands: Mapping[int, str]) -> None:
        self._commands = commands
        self.rows: list[dict[str, Any]] = []
        self._numbers: dict[tuple[Place, str], int] = {}
        for key, cell in summary.rows.groupby([*Place._fields, "solver"], sort=False):
            place, solver = Place(key[0], int(key[1]), key[2]), key[3]
            self._numbers[place, solver] = len(self.rows)
            self.rows.append(self._described(summary.mean(place, solver), cell))

    def number(self, mean: Mean) -> int:
        """Return the number of a mean's origin."""
        return self._numbers[mean.place, mean.solver]

    def of(self, mean: Mean) -> dict[str, Any]:
        """Return the origin of a mean."""
        return self.rows[self.number(mean)]

    def _described(self, mean: Mean, cell: pd.DataFrame) -> dict[str, Any]:
        """The origin of a mean, from the rows of its images."""
        scored = cell[cell.outcome == SCORED]
        first = cell.iloc[0]
        runs = [int(run) for run in dict.fromkeys(scored.run.dropna())]
        commands = list(dict.fromkeys(self._commands[n] for n in runs if n in self._commands))
        if not commands and mean.images:
            commands = ["unknown: measured before commands were recorded"]
        device = (_each(scored.device), _between(scored.threads), _each(scored.precision))
        facts = {
            "Images": f"{mean.images} of {mean.expected}",
            "Missing": " ".join(mean.reasons),
            "Without error": f"{mean.exact} of {mean.images} images" if mean.exact else "",
            "Line": _LINES[mean.line],
            "Input": mean.place.degradation or "original",
            "Weights (SHA-256)": first.weights_sha256 or "none: the solver is not trained",
            "Solver": f"{mean.solver}, version {first.solver_version}",
            "Parameters": first.params,
            "Code version": _each(scored.code_version),
            "Machine": _each(scored.machine),
            "Device, threads, precision": ", ".join(filter(None, device)),
            "Iterations": _between(scored.iterations),
            "Ended": _each(scored.status),
            "Conditions": "",
            "Preparation": "",
            "Peak memory": "",
            "Measured": "",
        }
        if mean.images:
            facts = _figures(mean, scored) | facts
            facts["Conditions"] = _conditions(mean, scored)
            facts["Preparation"] = f"{two_digits(scored.prepare_seconds.max())} s at most"
            facts["Measured"] = " to ".join(sorted({scored.time.min(), scored.time.max()}))
        if scored.memory_mb.notna().any():
            facts["Peak memory"] = f"{scored.memory_mb.max():.0f} MB"
        return {"title": f"{mean.solver} on {mean.place}", "facts": facts, "commands": commands}


def _figures(mean: Mean, scored: pd.DataFrame) -> dict[str, str]:
    """Scores and costs of a mean, with more digits than in the tables."""
    figures = {}
    for name, value in mean.scores.items():
        metric = METRICS[name]
        digits = max(4, metric.digits + 1)
        figures[metric.label] = f"{value:.{digits}f} {metric.unit}".rstrip()
    figures["Seconds per image"] = (
        f"{two_digits(mean.seconds)} ({_between(scored.seconds, two_digits)})"
    )
    figures["Multiply-adds per image"] = engineering(mean.operations)
    return figures


def _conditions(mean: Mean, scored: pd.DataFrame) -> str:
    """Processor time and load of the solves, where measured, and how many took too long."""
    parts = []
    if scored.processor_seconds.notna().any():
        mean_seconds = two_digits(scored.processor_seconds.mean())
        parts.append(f"{mean_seconds} s of processor time per image (all threads)")
    if scored.load.notna().any():
        parts.append(f"load average per core {_between(scored.load, '{:.2f}'.format)}")
    if mean.busy:
        parts.append(
            f"the machine was busy during {mean.busy} of {mean.images} solves, which took too long"
        )
    return "; ".join(parts)


def _each(values: pd.Series) -> str:
    """The distinct texts of a column."""
    texts = [value for value in values if value == value and value not in ("", None)]
    return "; ".join(dict.fromkeys(map(str, texts)))


def _between(values: pd.Series, text: Callable[[float], str] = "{:g}".format) -> str:
    """The range of a column: its smallest and largest number."""
    values = values.dropna()
    if not len(values):
        return ""
    low, high = text(values.min()), text(values.max())
    return low if low == high else f"{low} to {high}"
