"""The section of the page on small networks that were trained alike (`benchmarks.equal_compute`).

The study is no part of a comparison: the database has its rows as the numbers of a figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cscsr.compare.page.elements import data_address, escaped, number_cell, sortable_head
from cscsr.compare.page.figures import csv_link, origin_chip
from cscsr.compare.records import Figure
from cscsr.compare.text import enumeration, signed
from cscsr.compare.trained_alike import (
    NAME,
    Point,
    caveats,
    command_of,
    latest_rows,
    points_of,
)
from cscsr.errors import InputError

_ABOUT = (
    "Each network has its paper's depth, EDSR and MDSR that of the paper's baselines, except that "
    "the CRNets and LW-CSC have 10 or 8 recursions, and RDN fewer layers. Its width is the one at "
    "which it takes the multiply-adds of a small CRNet. All see the same patches in the same "
    "order, with the same optimiser, for the same number of floating-point operations. These are "
    "not the solvers of the tables above. "
    "Networks of line y get luma, the others RGB of 8 bits: compare what they gain over bicubic "
    "interpolation of the same input. The learning rate is the one that is best on the held-out "
    "images; the test set chooses nothing."
)


def alike_section(figure: Figure | None) -> str:
    """Return the tables of all budgets, the largest first, the picture and the command, as HTML.

    Parameters
    ----------
    figure
        That of the study. Without one, or without rows in its table, the section is "".
    """
    if figure is None:
        return ""
    try:
        rows, points = latest_rows(figure.csv), points_of(figure.csv)
    except InputError as error:
        return f"<p>{NAME}.csv cannot be shown: {escaped(error)}</p>"
    if not points:
        return ""
    test_set = rows[-1].get("test_set") or "Test set"
    tables = [
        _table([point for point in points if point.budget == budget], test_set)
        for budget in sorted({point.budget for point in points}, reverse=True)
    ]
    picture = ""
    if figure.png:
        address = data_address("image/png", figure.png)
        picture = (
            f'<figure class="picture" id="{NAME}"><img src="{address}" alt="PSNR of '
            'each network on the held-out and the test images."></figure>'
        )
    return (
        f'<p class="remark">{origin_chip(figure)}{escaped(" ".join([_ABOUT, *caveats(points)]))}'
        f"</p>{''.join(tables)}{picture}"
        f'<p class="remark">All runs: {csv_link(figure)}. They are made by</p>'
        f"<pre>{escaped(command_of(rows))}</pre>"
    )


def _table(points: Sequence[Point], test_set: str) -> str:
    """The networks at one budget, the one that gains most on the held-out images first."""
    exponent = math.floor(math.log10(points[0].budget))
    budget = f"{points[0].budget / 10**exponent:.3g}·10<sup>{exponent}</sup>"
    rates = sorted({point.tried for point in points})
    caption = (
        f"{len(points)} network{'s' * (len(points) > 1)}, {budget} floating-point operations of "
        f"training each; rates tried per network: {enumeration([str(rate) for rate in rates])}"
    )
    heads = (
        ("Network", "text"),
        ("Line", "text"),
        ("Parameters", "number"),
        ("Multiply-adds per pixel", "number"),
        ("Rate", "number"),
        ("Seeds", "number"),
        ("Held out (dB)", "number"),
        ("Over bicubic (dB)", "number"),
        (f"{test_set} (dB)", "number"),
        ("Over bicubic (dB)", "number"),
        ("Seconds", "number"),
    )
    headings = "".join(
        sortable_head(escaped(text), column, kind, "descending" if column == 7 else "none")
        for column, (text, kind) in enumerate(heads)
    )
    rows = "".join(_row(point) for point in sorted(points, key=lambda point: -point.gain))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Networks trained alike">'
        f'<table class="sortable alike"><caption>{caption}</caption><thead><tr>{headings}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _row(point: Point) -> str:
    """The row of a network."""
    return (
        f'<tr><th scope="row">{escaped(point.network)}</th><td>{escaped(point.line)}</td>'
        + number_cell(point.parameters, f"{point.parameters:,}")
        + number_cell(point.multiply_adds, f"{point.multiply_adds:,.0f}")
        + number_cell(point.rate, f"{point.rate:g}")
        + number_cell(point.seeds, str(point.seeds))
        + number_cell(point.holdout.mean, str(point.holdout))
        + number_cell(point.gain, f"<b>{signed(point.gain, 2)}</b>")
        + number_cell(point.test.mean, str(point.test))
        + number_cell(point.test_gain, signed(point.test_gain, 2))
        + number_cell(point.seconds, f"{point.seconds:,.0f}")
        + "</tr>"
    )
