"""Tables 1 to 3 and the table of harder input as Markdown, CSV and LaTeX.

    python -m cscsr.compare.tables reports/latest

The tables are made from the results database alone. Each of the three writers turns a grid of cells
(`cscsr.compare.grid`) into a file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cscsr import interrupts
from cscsr.compare import difference_tables
from cscsr.compare.grid import Cell, Table, make_tables
from cscsr.compare.published import PUBLISHED_LINES
from cscsr.compare.records import FILE_NAME
from cscsr.compare.remake import remake
from cscsr.compare.summary import (
    BEST,
    Place,
    Summary,
    exact_images,
    notes_of,
    remarks,
    seconds_text,
    summarise,
)
from cscsr.compare.text import (
    csv_text,
    enumeration,
    latex_table,
    latex_text,
    markdown_code,
    markdown_rows,
    markdown_text,
)
from cscsr.errors import InputError
from cscsr.imaging.metrics import DEFAULT_METRICS, METRICS, Metric
from cscsr.output import write_text

# Markdown


def markdown(table: Table) -> str:
    """Return a table as a Markdown page: quality, seconds, and how it was made."""
    summary = table.summary
    notes = notes_of(summary)
    ours = [column for column in table.columns if not column.published]
    quality = [(p, [_markdown_cell(table, c, notes) for c in table.row(p)]) for p in table.places]
    seconds = [
        (place, [seconds_text(summary.mean(place, column.name)) for column in ours])
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
        *markdown_code("\n".join(reversed(summary.commands))),
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
    the numbers of images without error and of images timed on a busy machine, where there are
    any."""
    defaults = [METRICS[name].column for name in DEFAULT_METRICS]
    columns = ["dataset", "scale"]
    columns += ["degradation"] if table.name == "degraded" else []
    columns += ["method", *defaults, "seconds", "images", "protocol"]
    if table.name != "degraded":
        columns += [f"published_{column}" for column in defaults]
    columns += [m.column for m in table.metrics if m.column not in defaults]
    means = [cell.mean for cell in table.cells.values() if cell.mean is not None]
    columns += ["exact"] if any(mean.exact for mean in means) else []
    columns += ["busy"] if any(mean.busy for mean in means) else []
    return columns


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
                row |= {"busy": cell.mean.busy}
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


def latex_rows(table: Table) -> list[str]:
    """Return the rows of a table as LaTeX: below each data set, one for each method, with all
    metrics at all scales."""
    metrics = table.metrics
    scales = list(dict.fromkeys(place.scale for place in table.places))
    width = 1 + len(metrics) * len(scales)
    rows = []
    for dataset, degradation in dict.fromkeys((p.dataset, p.degradation) for p in table.places):
        name = latex_text(f"{dataset} {degradation}".strip())
        rows += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{name}}}}} \\"]
        for column in table.columns:
            places = [Place(dataset, scale, degradation) for scale in scales]
            cells = [table.cells.get((place, column), Cell()) for place in places]
            label = f"{column.name} (published)" if column.published else column.name
            texts = [_latex_value(cell, metric) for cell in cells for metric in metrics]
            rows.append(" & ".join([latex_text(label), *texts]) + r" \\")
    return rows


def latex(table: Table) -> str:
    """Return a table as LaTeX: methods down, scales across, one block per data set.

    The best of ours is bold, the second best underlined; partial means are starred.
    """
    metrics, count = table.metrics, len(table.metrics)
    scales = list(dict.fromkeys(place.scale for place in table.places))
    width = 1 + count * len(scales)
    groups = (rf"\multicolumn{{{count}}}{{c}}{{$\times {scale}$}}" for scale in scales)
    rules = (rf"\cmidrule(lr){{{n}-{n + count - 1}}}" for n in range(2, width, count))
    body = [
        " & ".join(["", *groups]) + r" \\",
        "".join(rules),
        " & ".join(["method", *([metric.label for metric in metrics] * len(scales))]) + r" \\",
        *latex_rows(table),
    ]
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
    sys.exit(interrupts.ended(main))
