"""What the rows of `benchmarks.equal_compute` say of each network at each budget, and its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks._study.curves import read_curves

CONFIGURATION = "settings"
"""The column that tells rows of other settings apart."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Spread:
    """The mean of some seeds, and the lowest and the highest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, rows: Iterable[Row], column: str) -> Spread:
        """Of a column of numbers."""
        values = [float(row[column]) for row in rows]
        return cls(mean(values), min(values), max(values))

    def __str__(self) -> str:
        half = (self.high - self.low) / 2
        return f"{self.mean:.2f}" + (f" ± {half:.2f}" if self.low < self.high else "")


@dataclass(frozen=True)
class Point:
    """A network at a budget, with the learning rate of its best first run on the held-out images.

    Attributes
    ----------
    seeds
        How many runs there are.
    tried
        How many rates were tried with the first seed.
    holdout, test
        PSNR in dB.
    bicubic
        That of bicubic interpolation on the held-out and on the test images, on the network's line.
    seconds
        Processor seconds of training.
    multiply_adds
        Per low-resolution pixel.
    """

    network: str
    budget: float
    rate: float
    seeds: int
    tried: int
    holdout: Spread
    test: Spread
    bicubic: tuple[float, float]
    seconds: float
    training_flop: float
    multiply_adds: float
    parameters: int
    line: str


def chosen(rows: Sequence[Row]) -> list[Point]:
    """The points of all networks and budgets, by budget and then in the order of the rows.

    Runs that diverged count only as tried.
    """
    points = []
    groups: dict[tuple[float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((float(row["budget_flop"]), row["network"]), []).append(row)
    for (budget, network), group in sorted(groups.items(), key=lambda item: item[0][0]):
        first = [row for row in group if row["seed"] == "0"]
        finite = [row for row in first if row["holdout_psnr_db"]]
        if not finite:
            continue
        best = max(finite, key=lambda row: float(row["holdout_psnr_db"]))
        same = [
            row
            for row in group
            if row["learning_rate"] == best["learning_rate"] and row["holdout_psnr_db"]
        ]
        points.append(
            Point(
                network,
                budget,
                float(best["learning_rate"]),
                len(same),
                len(first),
                Spread.of(same, "holdout_psnr_db"),
                Spread.of(same, "test_psnr_db"),
                (float(best["bicubic_holdout_psnr_db"]), float(best["bicubic_test_psnr_db"])),
                mean(float(row["seconds"]) for row in same),
                float(best["training_flop"]),
                float(best["multiply_adds_per_pixel"]),
                int(best["parameters"]),
                best["line"],
            )
        )
    return points


def read_points(table: Path) -> list[Point]:
    """The points of equal_compute.csv, of the settings of its last row; none without the file."""
    rows = read_curves(table)
    return chosen([row for row in rows if row[CONFIGURATION] == rows[-1][CONFIGURATION]])


def largest_common_budget(points: Sequence[Point]) -> float | None:
    """The largest budget at which every network of the points has one; None without any."""
    networks = {point.network for point in points}
    budgets = {point.budget for point in points}
    common = [
        budget
        for budget in budgets
        if {point.network for point in points if point.budget == budget} == networks
    ]
    return max(common, default=None)


def table_of(points: Sequence[Point]) -> str:
    """A table of all budgets as Markdown, each ordered by the held-out PSNR."""
    lines = [
        "| training FLOP | network | line | parameters | multiply-adds per pixel | rate "
        "| seeds | held out, dB | over bicubic | test set, dB | over bicubic | seconds |",
        "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    order = sorted(points, key=lambda point: (point.budget, -_gain(point)))
    for point in order:
        cells = [
            f"{point.budget:.0e}",
            point.network,
            f"`{point.line}`",
            f"{point.parameters:,}",
            f"{point.multiply_adds:,.0f}",
            f"{point.rate:g}",
            str(point.seeds),
            str(point.holdout),
            f"{_gain(point):+.2f}".replace("-", "−"),
            str(point.test),
            f"{point.test.mean - point.bicubic[1]:+.2f}".replace("-", "−"),
            f"{point.seconds:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _gain(point: Point) -> float:
    """Held-out PSNR over that of bicubic interpolation, whose line it shares."""
    return point.holdout.mean - point.bicubic[0]
