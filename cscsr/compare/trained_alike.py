"""Small networks trained alike: what the rows of `benchmarks.equal_compute` say, and their table.

The study writes equal_compute.csv, a row for each training. The page of a comparison reads the copy
that the database keeps (`cscsr.compare.page.alike`). Needs the standard library only.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from cscsr.compare.text import enumeration, signed
from cscsr.errors import InputError

NAME = "equal_compute"
"""Of the study's files, without their suffixes."""

CONFIGURATION = "settings"
"""The column that tells rows of other settings apart."""

SETS = ("T91", "BSD200")
"""The data sets that the study trains on by default."""

COLUMNS = (
    CONFIGURATION,
    "network",
    "budget_flop",
    "learning_rate",
    "seed",
    "line",
    "parameters",
    "multiply_adds_per_pixel",
    "training_flop",
    "bicubic_holdout_psnr_db",
    "bicubic_test_psnr_db",
    "holdout_psnr_db",
    "test_psnr_db",
    "seconds",
)
"""The columns that are read here."""

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
        Processor seconds of training: of the last run on a machine that every point has runs of,
        or of the last of all.
    multiply_adds
        Per low-resolution pixel.
    machine
        The one that the seconds are of; "" where the row does not say.
    rates
        Those that were tried with the first seed.
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
    machine: str = ""
    rates: frozenset[str] = frozenset()

    @property
    def gain(self) -> float:
        """Held-out PSNR over that of bicubic interpolation on the same line, in dB."""
        return self.holdout.mean - self.bicubic[0]

    @property
    def test_gain(self) -> float:
        """As `gain`, on the test images."""
        return self.test.mean - self.bicubic[1]


def chosen(rows: Sequence[Row]) -> list[Point]:
    """The points of all networks and budgets, by budget and then in the order of the rows.

    Runs that diverged count only as tried.
    """
    groups: dict[tuple[float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((float(row["budget_flop"]), row["network"]), []).append(row)
    runs = []
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
        runs.append((network, budget, first, best, same))
    common = _common_machine([same for *_, same in runs])
    points = []
    for network, budget, first, best, same in runs:
        timed = [row for row in same if common in (None, _machine_of(row))][-1]
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
                float(timed["seconds"]),
                float(best["training_flop"]),
                float(best["multiply_adds_per_pixel"]),
                int(best["parameters"]),
                best["line"],
                _machine_of(timed),
                frozenset(row["learning_rate"] for row in first),
            )
        )
    return points


def _machine_of(row: Row) -> str:
    """The machine that a row names, or ""."""
    return row.get("machine") or ""


def _common_machine(groups: Sequence[Sequence[Row]]) -> str | None:
    """The machine that every group has a row of, the one with the most rows; None without any."""
    rows = [_machine_of(row) for group in groups for row in group]
    common = [
        machine
        for machine in dict.fromkeys(rows)
        if all(machine in map(_machine_of, group) for group in groups)
    ]
    return max(common, key=rows.count, default=None)


def latest_rows(text: str) -> list[dict[str, str]]:
    """The rows of equal_compute.csv that have the settings of its last row.

    Raises InputError for the text of another table.
    """
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or COLUMNS)]:
        raise InputError(f"expected a table with the columns {', '.join(missing)}.")
    rows = list(reader)
    return [row for row in rows if row[CONFIGURATION] == rows[-1][CONFIGURATION]]


def points_of(text: str) -> list[Point]:
    """The points of equal_compute.csv, of the settings of its last row.

    Raises InputError for the text of another table, or one that is damaged.
    """
    rows = latest_rows(text)
    try:
        return chosen(rows)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a table with a number in each cell: {error}.") from error


def command_of(rows: Sequence[Row]) -> str:
    """The command that makes these rows in an empty folder, and those of all other networks."""
    first = [row for row in rows if row["seed"] == "0"]
    budgets = sorted({row["budget_flop"] for row in first}, key=float)
    words = ["python", "-m", "benchmarks.equal_compute", "--data", "DIR"]
    words += ["--budgets", *(budget.replace("e+", "e") for budget in budgets)]
    words += ["--rates", *dict.fromkeys(row["learning_rate"] for row in first)]
    words += ["--seeds", str(1 + max(int(row["seed"]) for row in rows))]
    later = [
        (row["network"], row["budget_flop"])
        for row in first
        if float(row["budget_flop"]) > float(budgets[0])
    ]
    if len(later) > len(set(later)):
        words += ["--search", "each"]
    trained_on = (rows[-1].get("trained_on") or "").split()
    if trained_on and trained_on != list(SETS):
        words += ["--sets", *trained_on]
    return shlex.join(words)


def on_one_machine(points: Iterable[Point]) -> bool:
    """Whether the seconds of all points are of the same machine, or of rows that name none: else
    they do not compare."""
    return len({point.machine for point in points}) <= 1


def caveats(points: Sequence[Point]) -> list[str]:
    """What the points are too few to say, in sentences."""
    sentences = []
    if points and max(point.tried for point in points) == 1:
        sentences.append("One learning rate was tried: another may suit a network better.")
    for end, word, beyond in ((max, "largest", "larger"), (min, "smallest", "smaller")):
        edge = [p.network for p in points if p.tried > 1 and p.rate == end(map(float, p.rates))]
        if names := list(dict.fromkeys(edge)):
            sentences.append(
                f"For {enumeration(names)}, the {word} rate tried is the best: "
                f"a {beyond} one may be better still."
            )
    by_budget: dict[float, set[frozenset[str]]] = {}
    for point in points:
        by_budget.setdefault(point.budget, set()).add(point.rates)
    if any(len(rates) > 1 for rates in by_budget.values()):
        sentences.append("Not every learning rate was tried for every network.")
    if points and max(point.seeds for point in points) == 1:
        sentences.append("There is one seed: small differences may be chance.")
    elif points and min(point.seeds for point in points) == 1:
        sentences.append("Where there is one seed, small differences may be chance.")
    if not on_one_machine(points):
        sentences.append("Seconds are of different or unnamed machines, so they do not compare.")
    elif any(point.seeds > 1 for point in points):
        place = ", all on one machine" if points[0].machine else ""
        sentences.append(f"Seconds are of each network's last run{place}.")
    return sentences


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
    order = sorted(points, key=lambda point: (point.budget, -point.gain))
    for point in order:
        cells = [
            f"{point.budget:.3g}",
            point.network,
            f"`{point.line}`",
            f"{point.parameters:,}",
            f"{point.multiply_adds:,.0f}",
            f"{point.rate:g}",
            str(point.seeds),
            str(point.holdout),
            signed(point.gain, 2),
            str(point.test),
            signed(point.test_gain, 2),
            f"{point.seconds:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    if notes := caveats(points):
        lines += ["", " ".join(notes)]
    return "\n".join(lines) + "\n"
