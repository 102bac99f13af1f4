"""Tables 1 to 3 as Markdown, CSV and LaTeX, made from the results database alone.

    python -m cscsr.compare.tables reports/latest

Rows are data set × scale. The paper's figures stand beside ours, always labelled as
published; a difference is shown only between a method and itself, for a mean over the whole
data set, scored along the same line of the paper's tables. Harder input has a table of its
own, and so have the differences to the best solver.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cscsr.compare.differences import LEAST_IMAGES, TIE, Difference
from cscsr.compare.results import FILE_NAME, Results
from cscsr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
from cscsr.compare.grid import (
    BEST,
    Column,
    Table,
    decibels,
    difference_text,
    make_tables,
    notes_of,
    remarks,
    two_digits,
)
from cscsr.compare.published import PUBLISHED_LINE
from cscsr.compare.summary import Place, Summary, summarise

CSV_COLUMNS = [
    "dataset",
    "scale",
    "method",
    "psnr_db",
    "ssim",
    "seconds",
    "images",
    "protocol",
    "published_psnr_db",
    "published_ssim",
]


DEGRADED_COLUMNS = ["dataset", "scale", "degradation", *CSV_COLUMNS[2:8]]


def long_table(table: Table) -> pd.DataFrame:
    """The CSV of a table: a row for each data set, scale and method, ours in the plan's order
    and then the published ones that stand beside them.

    The published columns are filled where the method is the same, scored on the same line
    over the whole data set; a method of the paper alone has only these.
    """
    import pandas as pd

    heads = DEGRADED_COLUMNS if table.name == "degraded" else CSV_COLUMNS
    rows: list[dict[str, Any]] = []
    for place in table.places:
        for column in table.columns:
            if column.published:
                continue
            mean = table.mean(place, column)
            row = {name: getattr(mean, name, None) for name in heads} | {"method": column.name}
            beside = table.beside(mean)
            if beside:
                row["published_psnr_db"], row["published_ssim"] = beside
            rows.append(row)
        for column in table.columns:
            figures = table.figures(place, column)
            if column.published and figures:
                rows.append(
                    {
                        "dataset": place.dataset,
                        "scale": place.scale,
                        "method": f"{column.name} (published)",
                        "protocol": PUBLISHED_LINE.get(column.name),
                        "published_psnr_db": figures[0],
                        "published_ssim": figures[1],
                    }
                )
    return pd.DataFrame(rows, columns=heads).astype({"images": "Int64"})


def _markdown_cell(table: Table, place: Place, column: Column, notes: list[str]) -> str:
    figures = table.figures(place, column)
    parts, numbers = [], ""
    beside = None if column.published else table.beside(table.mean(place, column))
    for which, digits in enumerate((2, 4)):
        if figures is None:
            break
        text = f"{figures[which]:.{digits}f}"
        rank = table.rank(place, column, which)
        text = f"**{text}**" if rank == 1 else f"<ins>{text}</ins>" if rank == 2 else text
        text = f"*{text}*" if column.published else text
        if beside:
            text += f"\u00a0({difference_text(figures[which], beside[which], digits)})"
        parts.append(text)
    if not column.published:
        mean = table.mean(place, column)
        if mean.images and not mean.complete:
            parts.append(f"*{mean.images} of {mean.expected} images*")
        numbers = "".join(f" <sup>{notes.index(reason) + 1}</sup>" for reason in mean.reasons)
    return ("<br>".join(parts) or "–") + numbers


def _markdown_rows(heads: Sequence[str], rows: Iterable[tuple[Place, Sequence[str]]]) -> list[str]:
    lines = [f"| | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    for place, cells in rows:
        nowrap = str(place).replace(" ", "\u00a0")
        lines.append(f"| {nowrap} | {' | '.join(cells)} |")
    return lines


def markdown(table: Table) -> str:
    """A table as a Markdown page: quality, seconds, and how it was made."""
    summary = table.summary
    notes = notes_of(summary)
    ours = [column for column in table.columns if not column.published]
    parts = [
        f"# {table.title}",
        "",
        "## PSNR (dB) above SSIM",
        "",
        *_markdown_rows(
            [f"*published* {c.name}" if c.published else c.name for c in table.columns],
            (
                (place, [_markdown_cell(table, place, c, notes) for c in table.columns])
                for place in table.places
            ),
        ),
        "",
        BEST,
        "",
        *(f"{number}. {reason}" for number, reason in enumerate(notes, start=1)),
        *([""] if notes else []),
        "## Seconds an image",
        "",
        *_markdown_rows(
            [column.name for column in ours],
            (
                (place, [two_digits(table.mean(place, column).seconds) for column in ours])
                for place in table.places
            ),
        ),
        "",
        "## How it was made",
        "",
        *(f"- {sentence}" for sentence in remarks(summary)),
        "",
        "```",
        summary.run["command"],
        "```",
        "",
    ]
    return "\n".join(parts)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "×": r"$\times$",
    "−": "$-$",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "[": "{[}",
    "]": "{]}",
}


def latex_text(text: str) -> str:
    """`text` with what LaTeX would take for commands written out."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex(table: Table) -> str:
    """A table for a paper, with `booktabs`: methods down, scales across, a block for each
    data set. The best of ours is bold, the second best underlined; partial means are starred."""
    places = table.places
    scales = list(dict.fromkeys(place.scale for place in places))
    blocks = list(dict.fromkeys((place.dataset, place.degradation) for place in places))
    width = 1 + 2 * len(scales)
    heading = table.title.partition(": ")[2] or table.title
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(heading[0].upper() + heading[1:])}. "
        r"PSNR (dB) and SSIM; bold: the best of ours, underlined: the second best.}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'rr' * len(scales)}}}",
        r"\toprule",
        " & ".join(["", *(rf"\multicolumn{{2}}{{c}}{{$\times {scale}$}}" for scale in scales)])
        + r" \\",
        "".join(rf"\cmidrule(lr){{{n}-{n + 1}}}" for n in range(2, width, 2)),
        " & ".join(["method", *(["PSNR", "SSIM"] * len(scales))]) + r" \\",
    ]
    partial = False
    for dataset, degradation in blocks:
        name = latex_text(f"{dataset} {degradation}".strip())
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{name}}}}} \\"]
        for column in table.columns:
            cells = []
            for scale in scales:
                place = Place(dataset, scale, degradation)
                figures = table.figures(place, column) if place in places else None
                for which, digits in enumerate((2, 4)):
                    if figures is None:
                        cells.append("--")
                        continue
                    text = f"{figures[which]:.{digits}f}"
                    rank = table.rank(place, column, which)
                    if rank:
                        text = rf"\{'textbf' if rank == 1 else 'underline'}{{{text}}}"
                    if not column.published and not table.mean(place, column).complete:
                        text, partial = f"{text}$^*$", True
                    cells.append(text)
            label = f"{column.name} (published)" if column.published else column.name
            lines.append(" & ".join([latex_text(label), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if partial:
        lines.append(r"\\[2pt] {\footnotesize $^*$ mean over a part of the images}")
    return "\n".join([*lines, r"\end{table}", ""])


def _csv(table: Table) -> str:
    frame = long_table(table)
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


DIFFERENCES_COLUMNS = [*Place._fields, "solver", "against", "images", "mean_db", "spread_db"]


DIFFERENCES_COLUMNS += ["won", "lost", "low_db", "high_db", "verdict"]


def differences_csv(summary: Summary) -> str:
    """Every two solvers at each place; see `cscsr.compare.differences`."""
    import pandas as pd

    rows = [
        {
            **place._asdict(),
            "solver": solver,
            "against": other,
            **{name: getattr(found, name) for name in DIFFERENCES_COLUMNS[5:]},
        }
        for place, pairs in summary.differences.items()
        for (solver, other), found in pairs.items()
    ]
    frame = pd.DataFrame(rows, columns=DIFFERENCES_COLUMNS)
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


DIFFERENCES_TITLE = "Differences to the best solver"


DIFFERENCES_NOTE = (
    "PSNR of each solver less that of the best, mean over the images; in brackets its 95 % "
    f"interval by the studentised bootstrap, from {LEAST_IMAGES} images up; then the images on "
    "which it beats the best. A tie: 0 lies inside the interval. Each interval stands by itself: "
    "of many pairs that are equal in truth, one in twenty shows a difference."
)


def difference_words(found: Difference) -> str:
    """A difference in a line: −0.21 [−0.25, −0.17], 3 of 100."""
    if not found.images:
        return "no image in common"
    interval = ""
    if found.low_db is not None and found.high_db is not None:
        interval = f" [{decibels(found.low_db)}, {decibels(found.high_db)}]"
    tie = ", tie" if found.verdict == TIE else ""
    return f"{decibels(found.mean_db)}{interval}, {found.won} of {found.images}{tie}"


def _difference_rows(summary: Summary) -> list[tuple[Place, list[str]]]:
    rows = []
    for place in summary.places:
        ranking = summary.ranking(place)
        cells = []
        for mean in summary.at(place):
            if not ranking or not mean.images:
                cells.append("–")
            elif mean.solver == ranking[0].solver:
                cells.append("best")
            else:
                found = summary.difference(place, mean.solver, ranking[0].solver)
                cells.append(difference_words(found))
        rows.append((place, cells))
    return rows


def differences_markdown(summary: Summary) -> str:
    """The differences to the best solver at each place."""
    return "\n".join(
        [
            f"# {DIFFERENCES_TITLE}",
            "",
            *_markdown_rows(summary.solvers, _difference_rows(summary)),
            "",
            DIFFERENCES_NOTE,
            "",
        ]
    )


def differences_latex(summary: Summary) -> str:
    """The same for a paper: a block for each place."""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(DIFFERENCES_TITLE)}. {latex_text(DIFFERENCES_NOTE)}}}",
        r"\label{tab:differences}",
        r"\begin{tabular}{ll}",
        r"\toprule",
    ]
    for number, (place, cells) in enumerate(_difference_rows(summary)):
        lines += [r"\midrule"] if number else []
        lines.append(rf"\multicolumn{{2}}{{l}}{{\emph{{{latex_text(str(place))}}}}} \\")
        lines += [
            rf"{latex_text(solver)} & {latex_text(cell)} \\"
            for solver, cell in zip(summary.solvers, cells, strict=True)
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def written_tables(summary: Summary) -> dict[str, str]:
    """All files of tables: name to text."""
    files = {}
    for table in make_tables(summary):
        files[f"{table.name}.md"] = markdown(table)
        files[f"{table.name}.csv"] = _csv(table)
        files[f"{table.name}.tex"] = latex(table)
    files["differences.md"] = differences_markdown(summary)
    files["differences.csv"] = differences_csv(summary)
    files["differences.tex"] = differences_latex(summary)
    return files


_NAMES = ("table1", "table2", "table3", "degraded", "differences")


def write_file(path: Path, text: str) -> Path:
    """Write `text`; a file that was there is replaced only when the new one is complete."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def write_tables(results: Results, out: Path) -> list[Path]:
    """Write the tables' files into `out`, and remove those of tables that the latest run does
    not have; returns the paths."""
    files = written_tables(summarise(results))
    for name in (f"{table}.{kind}" for table in _NAMES for kind in ("md", "csv", "tex")):
        if name not in files:
            (out / name).unlink(missing_ok=True)
    return [write_file(out / name, text) for name, text in files.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cscsr.compare.tables",
        description=f"Make the tables again (Markdown, CSV, LaTeX) from a {FILE_NAME}.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("reports/latest"), help="default: %(default)s"
    )
    folder = parser.parse_args(arguments).folder
    try:
        with Results(folder / FILE_NAME, create=False) as results:
            for path in write_tables(results, folder):
                print(path)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
