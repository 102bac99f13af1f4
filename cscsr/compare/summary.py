"""The findings of a run: means over data sets, rankings, differences, and how they were made.

A `Summary` is made from the results database alone; tables and page show its contents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from cscsr.compare.differences import Difference, pairwise
from cscsr.compare.history import Asked, is_sound, select
from cscsr.compare.machine import MOST_LOAD, MOST_WAITING
from cscsr.compare.published import (
    PUBLISHED_IMAGES,
    PUBLISHED_LINES,
    beside_name,
    same_method,
)
from cscsr.compare.records import FAILED, SCORED, UNSUPPORTED, Key
from cscsr.compare.results import Results
from cscsr.compare.showcase import MOST
from cscsr.compare.text import two_digits
from cscsr.errors import InputError
from cscsr.imaging.metrics import DEFAULT_METRICS, METRICS, Metric

if TYPE_CHECKING:
    import pandas as pd


class Place(NamedTuple):
    """A row of the tables: a data set, a scale, and the degradation of the input ("": none)."""

    dataset: str
    scale: int
    degradation: str = ""

    def __str__(self) -> str:
        return f"{self.dataset} ×{self.scale} {self.degradation}".rstrip()


@dataclass(frozen=True)
class Mean:
    """The mean over the images of a data set, for one solver at one place.

    The PSNR of an estimate without any error is infinite. An image that any solver at the place
    restores so is left out of the mean PSNR of all of them: means are then over the same images,
    and their order is that of the mean differences.

    Attributes
    ----------
    place, solver
        The cell of the tables.
    line
        The line on which the solver was scored.
    scores
        Name of each metric to its mean; metrics that any scored image lacks are left out.
    seconds, operations
        Their means over the scored images; NaN where there are none.
    images, expected
        The number of scored images, and of all images of the data set.
    exact
        The number of images on which the solver makes no error at all.
    left_out
        The number of scored images that are left out of the mean PSNR, because this or another
        solver makes no error on them.
    reasons
        The reasons for missing images.
    busy
        The number of scored images whose seconds are too long, as the machine was busy.
    """

    place: Place
    solver: str
    line: str
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    operations: float = math.nan
    images: int = 0
    expected: int = 0
    exact: int = 0
    left_out: int = 0
    reasons: tuple[str, ...] = ()
    busy: int = 0

    @property
    def psnr_db(self) -> float:
        """The mean PSNR in dB, by which solvers are ranked; NaN where it is of no image."""
        return self.scores.get("psnr", math.nan)

    @property
    def complete(self) -> bool:
        """Whether all images were scored."""
        return self.images == self.expected

    @property
    def comparable(self) -> bool:
        """Whether this is the mean over a whole published data set, on the published line."""
        method = beside_name(self.solver)
        return (
            self.complete
            and not self.left_out
            and not self.place.degradation
            and method is not None
            and self.images == PUBLISHED_IMAGES.get(self.place.dataset)
            and self.line == PUBLISHED_LINES.get(method)
        )


@dataclass(frozen=True)
class Summary:
    """The contents of the tables and the page: of the latest run, with earlier ones beside it.

    Attributes
    ----------
    run
        The latest run, from `Results.latest_run`, with the plan of the `Selection` that is shown.
    asked
        `Selection.asked`.
    commands
        The commands of the runs that asked for it, the latest first.
    means
        The mean of each place and solver, in the order of the run's plan.
    rows
        The results behind the means: one row per image, solver, scale and degradation of the plan,
        with the columns of `Results.frame`, which are missing values where nothing is stored; then
        `exact`, whether its PSNR is infinite, and `left_out`, whether that of any solver on the
        image is.
    """

    run: dict[str, Any]
    means: list[Mean]
    rows: pd.DataFrame
    asked: frozenset[Asked] = frozenset()
    commands: tuple[str, ...] = ()

    def asks(self, place: Place) -> bool:
        """Whether a run asked for any solver at a place."""
        return any((*place, solver) in self.asked for solver in self.solvers)

    @property
    def solvers(self) -> list[str]:
        """The names of the solvers, in the order of the plan."""
        return [solver["solver"] for solver in self.run["plan"]["solvers"]]

    @property
    def places(self) -> list[Place]:
        """The rows of the tables: those of undegraded input, then those of each degradation."""
        plan = self.run["plan"]
        return [
            Place(dataset, scale, degradation)
            for degradation in plan.get("degradations", [""])
            for dataset in plan["datasets"]
            for scale in plan["scales"]
        ]

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics with a value for any image, in their order of display."""
        stored = [
            metric
            for metric in METRICS.values()
            if metric.column in self.rows and self.rows[metric.column].notna().any()
        ]
        return stored or [METRICS[name] for name in DEFAULT_METRICS]

    @cached_property
    def _by_place(self) -> dict[tuple[Place, str], Mean]:
        return {(mean.place, mean.solver): mean for mean in self.means}

    def mean(self, place: Place, solver: str) -> Mean:
        """Return the mean of a solver at a place."""
        return self._by_place[place, solver]

    def at(self, place: Place) -> list[Mean]:
        """Return the means of a row of the tables, in the order of the plan."""
        return [self._by_place[place, solver] for solver in self.solvers]

    def ranking(self, place: Place) -> list[Mean]:
        """Return the means over all images, the best PSNR first; partial ones, and those without
        a PSNR, are not ranked."""
        ranked = [m for m in self.at(place) if m.complete and not math.isnan(m.psnr_db)]
        return sorted(ranked, key=lambda mean: -mean.psnr_db)

    def unranked(self, place: Place) -> list[Mean]:
        """Return the means that `ranking` leaves out, in the order of the plan."""
        ranked = {mean.solver for mean in self.ranking(place)}
        return [mean for mean in self.at(place) if mean.solver not in ranked]

    @cached_property
    def differences(self) -> dict[Place, dict[tuple[str, str], Difference]]:
        """The difference in PSNR of every two solvers at each place.

        The key (first, second) is in the order of the plan. Images that any solver restores
        without error are left out, as in the means.
        """
        differences = {}
        for place, rows in self.rows.groupby(list(Place._fields), sort=False):
            images = rows.drop_duplicates("image").image.tolist()
            scored = rows[(rows.outcome == SCORED) & ~rows.left_out]
            psnr_db = scored.pivot_table(index="image", columns="solver", values="psnr_db")
            psnr_db = psnr_db.reindex(index=images, columns=self.solvers)
            differences[Place(*place)] = pairwise({name: psnr_db[name] for name in self.solvers})
        return differences

    def difference(self, place: Place, solver: str, other: str) -> Difference:
        """Return by how much `solver` is better than `other`."""
        pairs = self.differences[place]
        if (solver, other) in pairs:
            return pairs[solver, other]
        return pairs[other, solver].reversed()


def summarise(results: Results) -> Summary:
    """Summarise the latest run.

    Raises
    ------
    InputError
        If the database holds no run, or a plan that is none.
    """
    run = results.latest_run()
    number = run["run"]
    try:
        planned = _planned(run["plan"])
        protocol = run["plan"]["protocol"] in _PROTOCOL_MEANING
    except (KeyError, TypeError, AttributeError, ValueError):
        protocol = False
    if not protocol or planned.empty:
        raise InputError(
            f"the plan of run {run['run']} in the results database {results.path} cannot be read; "
            "compare again, into another folder if this happens again."
        )
    plans = [(n, plan) for n, plan in results.plans().items() if n < number and is_sound(plan)]
    selection = select([(number, run["plan"]), *plans], MOST)
    run["plan"] = selection.plan
    rows = _planned(selection.plan).merge(
        results.frame(), how="left", on=[*Key.__dataclass_fields__, "dataset", "image"]
    )
    rows["exact"] = (rows.outcome == SCORED) & (rows.psnr_db == math.inf)
    rows["left_out"] = rows.groupby([*Place._fields, "image"]).exact.transform("any")
    means = [
        _mean(Place(dataset, int(scale), degradation), solver, cell, selection.asked)
        for (dataset, scale, degradation, solver), cell in rows.groupby(
            [*Place._fields, "solver"], sort=False
        )
    ]
    commands = results.commands()
    said = tuple(dict.fromkeys(commands[number] for number in selection.runs))
    return Summary(run, means, rows, selection.asked, said)


_OPEN = "Not computed yet: the same command goes on where it stopped."
_NOT_ASKED = "Not compared: no run into this folder asked for this solver there."


def _planned(plan: Mapping[str, Any]) -> pd.DataFrame:
    """The results that a plan asks for: the columns of `Key`, dataset and image."""
    import pandas as pd

    rows = [
        {
            **asdict(Key.of(solver, image["input_sha256"], scale, degradation)),
            "dataset": dataset,
            "image": image["image"],
        }
        for dataset, images in plan["datasets"].items()
        for image in images
        for solver in plan["solvers"]
        for scale in plan["scales"]
        for degradation in plan.get("degradations", [""])
    ]
    return pd.DataFrame(rows)


def _mean(place: Place, solver: str, cell: pd.DataFrame, asked: frozenset[Asked]) -> Mean:
    """The mean of the rows of a cell."""
    scored = cell[cell.outcome == SCORED]
    missing = cell[cell.outcome.isin([UNSUPPORTED, FAILED])]
    reasons = list(dict.fromkeys(missing.message))
    if cell.outcome.isna().any():
        reasons.append(_OPEN if (*place, solver) in asked else _NOT_ASKED)
    columns = {name: metric.column for name, metric in METRICS.items() if metric.column in cell}
    means = {
        name: float((scored[~scored.left_out] if name == "psnr" else scored)[c].mean(skipna=False))
        for name, c in columns.items()
    }
    return Mean(
        place,
        solver,
        cell.line.iloc[0],
        {name: value for name, value in means.items() if not math.isnan(value)},
        float(scored.seconds.mean()),
        float(scored.operations.mean()),
        len(scored),
        len(cell),
        int(scored.exact.sum()),
        int(scored.left_out.sum()),
        tuple(reasons),
        int(scored.busy.eq(1).sum()),
    )


def notes_of(summary: Summary) -> list[str]:
    """Return the distinct reasons for missing cells, which become numbered notes."""
    means = [mean for mean in summary.means if summary.asks(mean.place)]
    return list(dict.fromkeys(reason for mean in means for reason in mean.reasons))


def exact_images(summary: Summary) -> str:
    """The sentence on images that a solver restores without any error; "" where there are none."""
    parts = []
    for place in summary.places:
        means = [mean for mean in summary.at(place) if mean.exact]
        if means:
            here = summary.rows[(summary.rows[list(Place._fields)] == list(place)).all(axis=1)]
            images = list(dict.fromkeys(here[here.left_out].image))
            shown = ", ".join(images[:3]) + (", …" if len(images) > 3 else "")
            by = ", ".join(f"{mean.solver} on {mean.exact}" for mean in means)
            parts.append(f"{len(images)} of {means[0].expected} on {place} ({shown}; exact: {by})")
    if not parts:
        return ""
    return (
        "An estimate without any error has an infinite PSNR: images that any solver restores so "
        "are left out of the means, ranks, intervals and differences of PSNR of all solvers. "
        f"Those are {'; '.join(parts)}."
    )


BEST = (
    "Means over the images of a data set. Bold: the best of ours there; underlined: the second "
    "best; partial means are not ranked. Published figures are ranked among themselves."
)

BUSY_MARK = "†"
"""Beside seconds that were measured while the machine was busy."""


def seconds_text(mean: Mean) -> str:
    """Return the seconds per image of a mean, with `BUSY_MARK` if the machine was busy."""
    return two_digits(mean.seconds) + (BUSY_MARK if mean.busy else "")


_LINE_MEANING = {
    "y": "line y (the low-resolution image is made from luma and kept in floating point)",
    "rgb": "line rgb (the low-resolution image is an 8-bit one, in colour where the truth is)",
}

_PROTOCOL_MEANING = {
    "paper": "each solver is scored as the paper scores its kind",
    "common": "every solver is given the same images",
}


def remarks(summary: Summary) -> list[str]:
    """Return the sentences below the tables, apart from the numbered notes."""
    plan, rows = summary.run["plan"], summary.rows
    by_line: dict[str, list[str]] = {}
    for solver in plan["solvers"]:
        by_line.setdefault(solver["line"], []).append(solver["solver"])
    each = "; ".join(f"{_LINE_MEANING[line]}: {', '.join(who)}" for line, who in by_line.items())
    meaning = _PROTOCOL_MEANING[plan["protocol"]]
    sentences = [f"Protocol {plan['protocol']}, {meaning}. {each[0].upper()}{each[1:]}."]
    if any(place.degradation for place in summary.places):
        sentences.append(
            "Harder input is always given to every solver as the same 8-bit image (line rgb)."
        )
    if any(same_method(mean.solver) and mean.comparable for mean in summary.means):
        sentences.append(
            "In brackets: ours minus the published figure of the same method, where the mean is "
            "over the same images on the same line."
        )
    if any(solver.startswith("csc-sr[") for solver in summary.solvers):
        sentences.append(
            "csc-sr[CODER] is CSC-SR (Gu et al. 2015) with that coder; docs/csc-sr.md says how its "
            "filters and its maps were fitted, and what differs from the published method."
        )
    if any(solver.rstrip("+").endswith("-small") for solver in summary.solvers):
        sentences.append(
            "The -small networks are narrower than the paper's and trained for a small part of "
            "its time; they are not its networks, so no difference is shown."
        )
    if "srcnn" in summary.solvers:
        sentences.append(
            "srcnn has the architecture of Dong et al. (2014), with weights of minutes of training "
            "(cscsr/weights/srcnn.md): its figures say nothing of the authors' network."
        )
    exact = exact_images(summary)
    if exact:
        sentences.append(exact)
    left_out = [f"{image['dataset']}/{image['image']}" for image in plan.get("left_out", [])]
    if left_out:
        sentences.append(f"Left out, as they cannot be read or scored: {', '.join(left_out)}.")
    scored = rows[rows.outcome == SCORED]
    if len(scored):
        machines = "; ".join(dict.fromkeys(scored.machine))
        threads = ", ".join(str(int(n)) for n in sorted(scored.threads.dropna().unique()))
        devices = ", ".join(dict.fromkeys(scored.device))
        precisions = ", ".join(dict.fromkeys(scored.precision))
        versions = ", ".join(dict.fromkeys(scored.code_version))
        sentences.append(
            f"Seconds are the solvers' own, for one image, on {machines}; threads: {threads}; "
            f"device: {devices}; precision: {precisions}."
        )
        busy = int(scored.busy.eq(1).sum())
        if busy:
            sentences.append(
                f"{BUSY_MARK} The machine was busy with other work during {busy} of {len(scored)} "
                "solves (load average per core above "
                f"{MOST_LOAD:g}, or wall time above {MOST_WAITING:g} times the processor time): "
                "these seconds are too long. The multiply-adds do not depend on it."
            )
        sentences.append(
            f"Version {versions}; {len(scored)} scored images, newest {max(scored.time)}."
        )
    if summary.run["finished"] is None:
        sentences.append("The run was cut off before its end.")
    return sentences
