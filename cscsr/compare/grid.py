"""Tables 1 to 3 and the table of harder input as grids of cells, which writers turn into files.

Rows are data set × scale; the paper's figures stand beside ours, always labelled as published.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cscsr.compare.published import beside_name, read_published, same_method
from cscsr.compare.summary import Mean, Place, Summary
from cscsr.compare.text import difference_text
from cscsr.imaging.metrics import Metric

if TYPE_CHECKING:
    import pandas as pd

Published = Mapping[tuple[str, int, str], Mapping[str, float]]
"""(dataset, scale, method) to the published scores by metric."""


_TITLES = {
    1: "Table 1: super-resolution, classical and learned",
    2: "Table 2: networks that refine an image after enlarging it (pre-upsampling)",
    3: "Table 3: networks that enlarge an image at their end (post-upsampling)",
}


@dataclass(frozen=True)
class Column:
    """A column: one of our solvers, or a method of the paper."""

    name: str
    published: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    scores
        Name of each metric to its value, without missing ones.
    mean
        The mean that the scores come from; None in a published column.
    beside
        The published scores that ours may be compared with: those of the same method on the same
        line over the same images.
    ranks
        Name of each metric to 1 for the best and 2 for the second best of the row. Ours and the
        published scores are ranked separately, and only means over all images count.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    mean: Mean | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)

    @property
    def ranked(self) -> bool:
        """Whether the cell takes part in the ranking."""
        return self.mean is None or self.mean.complete

    def texts(self, metrics: Iterable[Metric]) -> list[tuple[Metric, str]]:
        """Return the metrics with their printed values. A cell of ours has a dash for a missing
        value; a cell without any value has no texts."""
        if not self.scores:
            return []
        return [
            (metric, f"{self.scores[metric.name]:.{metric.digits}f}")
            if metric.name in self.scores
            else (metric, "–")
            for metric in metrics
            if metric.name in self.scores or self.mean is not None
        ]

    def difference(self, metric: Metric) -> str | None:
        """Return ours minus the published score of the same method, or None if there is none."""
        if metric.name not in self.beside or metric.name not in self.scores:
            return None
        return difference_text(self.scores[metric.name], self.beside[metric.name], metric.digits)


@dataclass(frozen=True)
class Table:
    """A table, independent of its file format.

    Attributes
    ----------
    name
        The name of its files, without the suffix.
    title
        Its heading.
    summary
        The summary it was made from.
    places, columns
        Its rows and columns.
    cells
        (place, column) to cell.
    """

    name: str
    title: str
    summary: Summary
    places: list[Place]
    columns: list[Column]
    cells: Mapping[tuple[Place, Column], Cell]

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of each cell, in their order of display."""
        return self.summary.metrics

    def row(self, place: Place) -> list[Cell]:
        """Return the cells of a place, in the order of the columns."""
        return [self.cells[place, column] for column in self.columns]


def _table(
    name: str,
    title: str,
    summary: Summary,
    places: list[Place],
    columns: list[Column],
    published: Published,
) -> Table:
    """A table with all its cells."""
    cells = {}
    for place in places:
        row = {column: _cell(summary, place, column, published) for column in columns}
        for metric in summary.metrics:
            for of_the_paper in (False, True):
                _rank([row[c] for c in columns if c.published is of_the_paper], metric)
        cells.update({(place, column): cell for column, cell in row.items()})
    return Table(name, title, summary, places, columns, cells)


def _cell(summary: Summary, place: Place, column: Column, published: Published) -> Cell:
    """A cell that is not ranked yet."""
    if column.published:
        return Cell(published.get((place.dataset, place.scale, column.name), {}))
    mean = summary.mean(place, column.name)
    method = same_method(column.name)
    beside: Mapping[str, float] = {}
    if mean.comparable and method:
        beside = published.get((place.dataset, place.scale, method), {})
    return Cell(mean.scores, mean, beside)


def _rank(cells: Sequence[Cell], metric: Metric) -> None:
    """Mark the best and the second best cell by the printed values of a metric."""
    values = [
        (cell, round(cell.scores[metric.name], metric.digits))
        for cell in cells
        if cell.ranked and metric.name in cell.scores
    ]
    if len(values) < 2:
        return
    best = sorted({value for _, value in values}, reverse=metric.higher_is_better)[:2]
    for cell, value in values:
        if value in best:
            cell.ranks[metric.name] = best.index(value) + 1


def _beside_each(solvers: Sequence[str], methods: Iterable[str]) -> list[Column]:
    """Our solvers, each group followed by the published method that belongs beside it."""
    methods = set(methods)
    columns = []
    for index, solver in enumerate(solvers):
        columns.append(Column(solver))
        method = beside_name(solver)
        later = map(beside_name, solvers[index + 1 :])
        if method in methods and method not in later:
            columns.append(Column(method, published=True))
    return columns


def published_scores(rows: pd.DataFrame) -> Published:
    """Return the figures of `read_published` by data set, scale and method; those that are missing
    are left out."""
    return {
        (row.dataset, row.scale, row.method): {
            name: value
            for name, value in (("psnr", row.psnr_db), ("ssim", row.ssim))
            if not math.isnan(value)
        }
        for row in rows.itertuples()
    }


def make_tables(summary: Summary) -> list[Table]:
    """Make all tables of a summary.

    Returns
    -------
    list of Table
        Table 1, with all solvers; Tables 2 and 3, if the run has one of their solvers and one of
        the paper's data sets; the table of harder input, if the run has any.
    """
    places = [place for place in summary.places if summary.asks(place)]
    plain = [place for place in places if not place.degradation]
    tables = []
    for number, title in _TITLES.items():
        published = read_published(None if number == 1 else number)
        here = published[published.dataset.isin({place.dataset for place in plain})]
        methods = list(dict.fromkeys(here.method))
        if number == 1:
            columns = _beside_each(summary.solvers, methods)
        else:
            columns = []
            for method in methods:
                ours = [name for name in summary.solvers if beside_name(name) == method]
                columns += [*map(Column, ours), Column(method, published=True)]
            if all(column.published for column in columns):
                continue
        scores = published_scores(published)
        tables.append(_table(f"table{number}", title, summary, plain, columns, scores))
    harder = [place for place in places if place.degradation]
    if harder:
        title = "Harder input: blurred, noisy or compressed low-resolution images"
        columns = [Column(solver) for solver in summary.solvers]
        tables.append(_table("degraded", title, summary, harder, columns, {}))
    return tables
