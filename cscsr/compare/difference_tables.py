"""The table of differences to the best solver as Markdown, CSV and LaTeX."""

from __future__ import annotations

from cscsr.compare.differences import LEAST_IMAGES, TIE, Difference
from cscsr.compare.summary import Place, Summary, exact_images
from cscsr.compare.text import (
    csv_text,
    decibels,
    latex_table,
    latex_text,
    markdown_rows,
    markdown_text,
)

NAME = "differences"
"""The files' name without the suffix."""

TITLE = "Differences to the best solver"
NOTE = (
    "PSNR of each solver less that of the best, mean over the images; in brackets its 95 % "
    f"interval by the studentised bootstrap, from {LEAST_IMAGES} images up; then the images on "
    "which it beats the best. A tie: 0 lies inside the interval. Each interval stands by itself: "
    "of many pairs that are equal in truth, one in twenty shows a difference."
)

_OF_PAIR = ["images", "mean_db", "spread_db", "won", "lost", "low_db", "high_db", "verdict"]


def difference_words(difference: Difference) -> str:
    """Return a difference as one line: −0.21 [−0.25, −0.17], 3 of 100."""
    if not difference.images:
        return "no image in common"
    interval = ""
    if difference.low_db is not None and difference.high_db is not None:
        interval = f" [{decibels(difference.low_db)}, {decibels(difference.high_db)}]"
    tie = ", tie" if difference.verdict == TIE else ""
    mean, won = decibels(difference.mean_db), difference.won
    return f"{mean}{interval}, {won} of {difference.images}{tie}"


def _rows(summary: Summary) -> list[tuple[Place, list[str]]]:
    """The places, each with the difference of every solver to the best in words."""
    rows = []
    for place in filter(summary.asks, summary.places):
        ranking = summary.ranking(place)
        cells = []
        for mean in summary.at(place):
            if not ranking or not mean.images - mean.left_out:
                cells.append("–")
            elif mean.solver == ranking[0].solver:
                cells.append("best")
            else:
                best = ranking[0].solver
                cells.append(difference_words(summary.difference(place, mean.solver, best)))
        rows.append((place, cells))
    return rows


def markdown(summary: Summary) -> str:
    """Return the differences to the best solver at each place as Markdown."""
    rows = markdown_rows(map(markdown_text, summary.solvers), _rows(summary))
    return "\n".join([f"# {TITLE}", "", *rows, "", markdown_text(_note(summary)), ""])


def _note(summary: Summary) -> str:
    """What stands under the table."""
    return " ".join(filter(None, [NOTE, exact_images(summary)]))


def csv_file(summary: Summary) -> str:
    """Return the difference of every pair of solvers at each place as CSV."""
    rows = [
        {
            **place._asdict(),
            "solver": solver,
            "against": other,
            **{name: getattr(difference, name) for name in _OF_PAIR},
        }
        for place, pairs in summary.differences.items()
        for (solver, other), difference in pairs.items()
    ]
    return csv_text([*Place._fields, "solver", "against", *_OF_PAIR], rows)


def latex(summary: Summary) -> str:
    """Return the differences to the best solver as LaTeX, one block per place."""
    body = []
    for number, (place, cells) in enumerate(_rows(summary)):
        body += [r"\midrule"] if number else []
        body.append(rf"\multicolumn{{2}}{{l}}{{\emph{{{latex_text(str(place))}}}}} \\")
        body += [
            rf"{latex_text(solver)} & {latex_text(cell)} \\"
            for solver, cell in zip(summary.solvers, cells, strict=True)
        ]
    return latex_table(f"{latex_text(TITLE)}. {latex_text(_note(summary))}", NAME, "ll", body)


WRITERS = {"md": markdown, "csv": csv_file, "tex": latex}
