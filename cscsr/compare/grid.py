"""Tables 1 to 3 as grids, whichever way they are written: their rows, columns, cells and remarks.

Rows are data set × scale. The paper's figures stand beside ours, always labelled as
published; a difference is shown only between a method and itself, for a mean over the whole
data set, scored along the same line of the paper's tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cscsr.compare.results import SCORED

if TYPE_CHECKING:
    pass
from cscsr.compare.published import published_beside, read_published, same_method
from cscsr.compare.summary import Mean, Place, Summary


@dataclass(frozen=True)
class Column:
    """A column: one of our solvers, or a method of the paper."""

    name: str
    published: bool = False


@dataclass(frozen=True)
class Table:
    """A table, whichever way it is written.

    name: its files', without the suffix. places: its rows. columns: in their order, ours and
    the published. published: the figures of these, (dataset, scale, method) to PSNR and SSIM.
    """

    name: str
    title: str
    summary: Summary
    places: list[Place]
    columns: list[Column]
    published: Mapping[tuple[str, int, str], tuple[float, float]]

    def mean(self, place: Place, column: Column) -> Mean:
        """The mean in a column of ours."""
        return self.summary.mean(place.dataset, place.scale, column.name, place.degradation)

    def figures(self, place: Place, column: Column) -> tuple[float, float] | None:
        """PSNR and SSIM in a cell, or None where there is nothing."""
        if not column.published:
            mean = self.mean(place, column)
            return (mean.psnr_db, mean.ssim) if mean.images else None
        where = (place.dataset, place.scale, column.name)
        return None if place.degradation else self.published.get(where)

    def beside(self, mean: Mean) -> tuple[float, float] | None:
        """The published figures that a mean of ours may be compared with: of the same method
        on the same line over the same data set. None if there are none."""
        method = same_method(mean.solver)
        if method is None or not mean.comparable:
            return None
        return self.published.get((mean.dataset, mean.scale, method))

    @cached_property
    def _ranks(self) -> dict[tuple[Place, int], dict[Column, int]]:
        return {
            (place, which): self._ranked(place, which) for place in self.places for which in (0, 1)
        }

    def rank(self, place: Place, column: Column, which: int) -> int | None:
        """1 for the best and 2 for the second best of the row, of ours and of the published by
        themselves; only means over all images count. which: 0 for PSNR, 1 for SSIM."""
        return self._ranks[place, which].get(column)

    def _ranked(self, place: Place, which: int) -> dict[Column, int]:
        digits = (2, 4)[which]
        found: dict[Column, int] = {}
        for published in (False, True):
            values = {}
            for column in self.columns:
                figures = self.figures(place, column)
                if column.published is not published or figures is None:
                    continue
                if published or self.mean(place, column).complete:
                    values[column] = round(figures[which], digits)
            if len(values) < 2:
                continue
            highest = sorted(set(values.values()), reverse=True)[:2]
            found |= {c: highest.index(v) + 1 for c, v in values.items() if v in highest}
        return found


def _beside_each(solvers: Sequence[str], known: Iterable[str]) -> list[Column]:
    """Our solvers, each group followed by the published method that belongs beside it."""
    known = set(known)
    columns = []
    for index, solver in enumerate(solvers):
        columns.append(Column(solver))
        method = published_beside(solver)
        later = map(published_beside, solvers[index + 1 :])
        if method in known and method not in later:
            columns.append(Column(method, published=True))
    return columns


_TITLES = {
    1: "Table 1: super-resolution, classical and learned",
    2: "Table 2: networks that refine an image after enlarging it (pre-upsampling)",
    3: "Table 3: networks that enlarge an image at their end (post-upsampling)",
}


def make_tables(summary: Summary) -> list[Table]:
    """Table 1, with all solvers; Tables 2 and 3 where one of theirs was run on a data set that
    the paper has; the table of harder input where there is one."""
    plain, tables = summary.lines, []
    for number, title in _TITLES.items():
        published = read_published(None if number == 1 else number)
        here = published[published.dataset.isin({place.dataset for place in plain})]
        methods = list(dict.fromkeys(here.method))
        if number == 1:
            columns = _beside_each(summary.solvers, methods)
        else:
            columns = []
            for method in methods:
                ours = [name for name in summary.solvers if published_beside(name) == method]
                columns += [*map(Column, ours), Column(method, published=True)]
            if all(column.published for column in columns):
                continue
        figures = {
            (row.dataset, row.scale, row.method): (row.psnr_db, row.ssim)
            for row in published.itertuples()
        }
        tables.append(Table(f"table{number}", title, summary, plain, columns, figures))
    harder = [place for place in summary.places if place.degradation]
    if harder:
        title = "Harder input: blurred, noisy or compressed low-resolution images"
        columns = [Column(solver) for solver in summary.solvers]
        tables.append(Table("degraded", title, summary, harder, columns, {}))
    return tables


def difference_text(ours: float, published: float, digits: int) -> str:
    """Ours minus theirs, of the figures as they are printed."""
    return signed(round(round(ours, digits) - published, digits), digits)


def signed(value: float, digits: int) -> str:
    """A number with its sign: +0.12, −0.03, ±0.00."""
    value = round(value, digits)
    return f"{'±' if value == 0 else '+' if value > 0 else '−'}{abs(value):.{digits}f}"


def decibels(value: float) -> str:
    """A difference in dB: two decimals, small ones three or four."""
    digits = 2 if abs(value) >= 0.0995 else 3 if abs(value) >= 0.00095 else 4
    return signed(value, digits)


def notes_of(summary: Summary) -> list[str]:
    """The reasons for missing cells, each once, to be numbered."""
    return list(dict.fromkeys(reason for mean in summary.means for reason in mean.reasons))


def two_digits(seconds: float) -> str:
    """A duration with two significant digits and no exponent: 0.0031, 0.12, 4.5, 130."""
    if not seconds or not math.isfinite(seconds):
        return "0" if seconds == 0 else "–"
    decimals = 1 - math.floor(math.log10(abs(seconds)))
    rounded = round(seconds, decimals)
    decimals = 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


_LINE_MEANING = {
    "y": "line y (the low-resolution image is made from luma and kept in floating point)",
    "rgb": "line rgb (the low-resolution image is an 8-bit one, in colour where the truth is)",
}


def remarks(summary: Summary) -> list[str]:
    """The sentences under the tables, apart from the numbered notes."""
    plan, rows = summary.run["plan"], summary.rows
    by_line: dict[str, list[str]] = {}
    for solver in plan["solvers"]:
        by_line.setdefault(solver["protocol"], []).append(solver["solver"])
    each = "; ".join(f"{_LINE_MEANING[line]}: {', '.join(who)}" for line, who in by_line.items())
    meaning = {
        "paper": "each solver is scored as the paper scores its kind",
        "common": "every solver is given the same images",
    }[plan["protocol"]]
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
        sentences.append(
            f"Version {versions}; {len(scored)} scored images, newest {max(scored.time)}."
        )
    if summary.run["finished"] is None:
        sentences.append("The run was cut off before its end.")
    return sentences


BEST = (
    "Means over the images of a data set. Bold: the best of ours there; underlined: the second "
    "best; partial means are not ranked. Published figures are ranked among themselves."
)
