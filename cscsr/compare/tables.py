"""Tables 1 to 3 and the table of harder input as Markdown, CSV and LaTeX.

    python -m cscsr.compare.tables reports/latest

The tables are made from the results database alone. Rows are data set × scale; the paper's figures
stand beside ours, always labelled as published. A `Table` is a grid of cells, and each of the three
writers turns it into a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cscsr.compare import difference_tables
from cscsr.compare.published import (
    PUBLISHED_LINES,
    beside_name,
    read_published,
    same_method,
)
from cscsr.compare.records import FILE_NAME
from cscsr.compare.remake import remake
from cscsr.compare.summary import (
    BEST,
    Mean,
    Place,
    Summary,
    exact_images,
    notes_of,
    remarks,
    summarise,
)
from cscsr.compare.text import (
    csv_text,
    difference_text,
    enumeration,
    latex_table,
    latex_text,
    markdown_code,
    markdown_rows,
    markdown_text,
    two_digits,
)
from cscsr.errors import InputError
from cscsr.imaging.metrics import DEFAULT_METRICS, METRICS, Metric
from cscsr.output import write_text


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


Published = Mapping[tuple[str, int, str], Mapping[str, float]]
"""(dataset, scale, method) to the published scores by metric."""


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


_TITLES = {
    1: "Table 1: super-resolution, classical and learned",
    2: "Table 2: networks that refine an image after enlarging it (pre-upsampling)",
    3: "Table 3: networks that enlarge an image at their end (post-upsampling)",
}


def make_tables(summary: Summary) -> list[Table]:
    """Make all tables of a summary.

    Returns
    -------
    list of Table
        Table 1, with all solvers; Tables 2 and 3, if the run has one of their solvers and one of
        the paper's data sets; the table of harder input, if the run has any.
    """
    plain = [place for place in summary.places if not place.degradation]
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
        scores = {
            (row.dataset, row.scale, row.method): {"psnr": row.psnr_db, "ssim": row.ssim}
            for row in published.itertuples()
        }
        tables.append(_table(f"table{number}", title, summary, plain, columns, scores))
    harder = [place for place in summary.places if place.degradation]
    if harder:
        title = "Harder input: blurred, noisy or compressed low-resolution images"
        columns = [Column(solver) for solver in summary.solvers]
        tables.append(_table("degraded", title, summary, harder, columns, {}))
    return tables


# Markdown


def markdown(table: Table) -> str:
    """Return a table as a Markdown page: quality, seconds, and how it was made."""
    summary = table.summary
    notes = notes_of(summary)
    ours = [column for column in table.columns if not column.published]
    quality = [(p, [_markdown_cell(table, c, notes) for c in table.row(p)]) for p in table.places]
    seconds = [
        (place, [two_digits(summary.mean(place, column.name).seconds) for column in ours])
        for place in table.places
    ]
    parts = [
        f"# {table.title}",
        "",
        f"## {' above '.join(metric.heading for metric in table.metrics)}",
        "",
        *markdown_rows(
            (
                f"*published* {c.name}" if c.published else markdown_text(c.name)
                for c in table.columns
            ),
            quality,
        ),
        "",
        BEST,
        "",
        *(f"{number}. {markdown_text(reason)}" for number, reason in enumerate(notes, start=1)),
        *([""] if notes else []),
        "## Seconds per image",
        "",
        *markdown_rows((markdown_text(column.name) for column in ours), seconds),
        "",
        "## How it was made",
        "",
        *(f"- {markdown_text(sentence)}" for sentence in remarks(summary)),
        "",
        *markdown_code(summary.run["command"]),
        "",
    ]
    return "\n".join(parts)


_MARKDOWN_RANKS = {1: "**{}**", 2: "<ins>{}</ins>"}


def _markdown_cell(table: Table, cell: Cell, notes: Sequence[str]) -> str:
    """A cell, with the numbers of its notes."""
    parts = []
    for metric, text in cell.texts(table.metrics):
        text = _MARKDOWN_RANKS.get(cell.ranks.get(metric.name, 0), "{}").format(text)
        text = f"*{text}*" if cell.mean is None else text
        difference = cell.difference(metric)
        parts.append(text if difference is None else f"{text}\u00a0({difference})")
    numbers = ""
    if cell.mean is not None:
        if cell.mean.images and not cell.mean.complete:
            parts.append(f"*{cell.mean.images} of {cell.mean.expected} images*")
        if cell.mean.exact:
            parts.append(f"*exact on {cell.mean.exact} of {cell.mean.images}*")
        numbers = "".join(f" <sup>{notes.index(reason) + 1}</sup>" for reason in cell.mean.reasons)
    return ("<br>".join(parts) or "–") + numbers


# CSV


def csv_columns(table: Table) -> list[str]:
    """Return the columns of a table's CSV file; metrics other than PSNR and SSIM come last, then
    the number of images without error where there are any."""
    defaults = [METRICS[name].column for name in DEFAULT_METRICS]
    columns = ["dataset", "scale"]
    columns += ["degradation"] if table.name == "degraded" else []
    columns += ["method", *defaults, "seconds", "images", "protocol"]
    if table.name != "degraded":
        columns += [f"published_{column}" for column in defaults]
    columns += [m.column for m in table.metrics if m.column not in defaults]
    exact = any(cell.mean is not None and cell.mean.exact for cell in table.cells.values())
    return [*columns, "exact"] if exact else columns


def csv_file(table: Table) -> str:
    """Return a table as CSV, one row for each data set, scale and method.

    At each place our solvers come first, in the order of the plan, then the published methods,
    named "NAME (published)". A solver of ours has values in the published columns only if it is
    the same method, scored on the same line over the whole data set; a published method has no
    others.
    """
    rows = []
    for place in table.places:
        for column in sorted(table.columns, key=lambda column: column.published):
            cell = table.cells[place, column]
            row = {**place._asdict(), "method": column.name}
            if cell.mean is not None:
                row |= {METRICS[name].column: value for name, value in cell.scores.items()}
                row |= {"seconds": cell.mean.seconds, "images": cell.mean.images}
                row |= {"protocol": cell.mean.line, "exact": cell.mean.exact}
            elif cell.scores:
                row |= {"method": f"{column.name} (published)"}
                row |= {"protocol": PUBLISHED_LINES.get(column.name)}
            else:
                continue
            published = cell.scores if cell.mean is None else cell.beside
            row |= {f"published_{METRICS[name].column}": v for name, v in published.items()}
            rows.append(row)
    return csv_text(csv_columns(table), rows)


# LaTeX


def latex(table: Table) -> str:
    """Return a table as LaTeX: methods down, scales across, one block per data set.

    The best of ours is bold, the second best underlined; partial means are starred.
    """
    metrics, count = table.metrics, len(table.metrics)
    scales = list(dict.fromkeys(place.scale for place in table.places))
    blocks = list(dict.fromkeys((place.dataset, place.degradation) for place in table.places))
    width = 1 + count * len(scales)
    groups = (rf"\multicolumn{{{count}}}{{c}}{{$\times {scale}$}}" for scale in scales)
    rules = (rf"\cmidrule(lr){{{n}-{n + count - 1}}}" for n in range(2, width, count))
    body = [
        " & ".join(["", *groups]) + r" \\",
        "".join(rules),
        " & ".join(["method", *([metric.label for metric in metrics] * len(scales))]) + r" \\",
    ]
    for dataset, degradation in blocks:
        name = latex_text(f"{dataset} {degradation}".strip())
        body += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{name}}}}} \\"]
        for column in table.columns:
            places = [Place(dataset, scale, degradation) for scale in scales]
            cells = [table.cells.get((place, column), Cell()) for place in places]
            label = f"{column.name} (published)" if column.published else column.name
            texts = [_latex_value(cell, metric) for cell in cells for metric in metrics]
            body.append(" & ".join([latex_text(label), *texts]) + r" \\")
    heading = table.title.partition(": ")[2] or table.title
    caption = (
        f"{latex_text(heading[0].upper() + heading[1:])}. "
        f"{enumeration([metric.heading for metric in metrics])}; "
        "bold: the best of ours, underlined: the second best."
    )
    exact = exact_images(table.summary)
    caption += f" {latex_text(exact)}" if exact else ""
    partial = any(cell.scores and not cell.ranked for cell in table.cells.values())
    note = r"\\[2pt] {\footnotesize $^*$ mean over a part of the images}" if partial else ""
    return latex_table(caption, table.name, f"l{'r' * (width - 1)}", body, note)


_LATEX_RANKS = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def _latex_value(cell: Cell, metric: Metric) -> str:
    """A metric of a cell."""
    if metric.name not in cell.scores:
        return "--"
    text = f"{cell.scores[metric.name]:.{metric.digits}f}"
    text = _LATEX_RANKS.get(cell.ranks.get(metric.name, 0), "%s") % text
    return text if cell.ranked else f"{text}$^*$"


# Files


WRITERS = {"md": markdown, "csv": csv_file, "tex": latex}

_NAMES = ("table1", "table2", "table3", "degraded", difference_tables.NAME)


def written_tables(summary: Summary) -> dict[str, str]:
    """Return the files of all tables: name to text."""
    files = {
        f"{table.name}.{suffix}": write(table)
        for table in make_tables(summary)
        for suffix, write in WRITERS.items()
    }
    for suffix, write in difference_tables.WRITERS.items():
        files[f"{difference_tables.NAME}.{suffix}"] = write(summary)
    return files


def write_tables(summary: Summary, out: Path) -> list[Path]:
    """Write the tables' files, and remove files of tables that the run does not have.

    Parameters
    ----------
    summary
        The summary of the run.
    out
        The folder.

    Returns
    -------
    list of Path
        The written files.
    """
    files = written_tables(summary)
    for name in (f"{table}.{suffix}" for table in _NAMES for suffix in WRITERS):
        if name not in files:
            try:
                (out / name).unlink(missing_ok=True)
            except OSError as error:
                raise InputError(f"{out / name} cannot be removed: {error.strerror}.") from error
    return [write_text(out / name, text) for name, text in files.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m cscsr.compare.tables`; return its exit code."""
    return remake(
        "python -m cscsr.compare.tables",
        f"Make the tables again (Markdown, CSV, LaTeX) from a {FILE_NAME}.",
        lambda results, folder: write_tables(summarise(results), folder),
        arguments,
    )


if __name__ == "__main__":
    raise SystemExit(main())
