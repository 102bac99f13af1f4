"""The report: index.html, one page that needs no other file, made from the database alone.

    python -m cscsr.compare.page reports/latest

`content` turns results into HTML, `plots` draws the scatter plots and intervals as SVG, and
page.html, page.css and page.js hold what is the same in every report. The same database gives
the same page, byte for byte: nothing of the moment, the machine or the folder goes into it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cscsr.compare.page.content import FIGURES, page_of
from cscsr.compare.results import FILE_NAME, Figure, Results
from cscsr.compare.summary import summarise
from cscsr.compare.tables import write_file
from cscsr.errors import InputError

PAGE_NAME = "index.html"

REFERENCE = Path(__file__).parents[3] / "reports" / "reference"
"""The reference run of a checkout, whose figures stand in for those that a run did not draw."""

_ROOM = 2_400_000
"""Bytes that the figures may take together: with the pictures the page stays under 15 MB."""

_LARGEST_CSV = 60_000
"""Bytes of a figure's numbers up to which they are kept with it."""


def keep_figures(results: Results, out: Path, reference: Path = REFERENCE) -> list[str]:
    """Keep the figures that lie in the folder `out`, else those of the reference run, as far as
    there is room. Returns the names of those for which there was none."""
    room, left_out = _ROOM, []
    for name in FIGURES:
        for folder, origin in ((out, ""), (reference, "from the toolkit's reference run")):
            path, table = folder / f"{name}.png", folder / f"{name}.csv"
            if not path.is_file():
                continue
            csv = ""
            if table.is_file() and table.stat().st_size <= _LARGEST_CSV:
                csv = table.read_text(encoding="utf-8")
            room -= path.stat().st_size + len(csv)
            if room < 0:
                left_out.append(name)
                room += path.stat().st_size + len(csv)
            else:
                results.add_figure(Figure(name, path.read_bytes(), csv, origin))
            break
    return left_out


def render(results: Results) -> str:
    """The page of the latest run. Raises InputError if the database holds none."""
    return page_of(summarise(results), results)


def write_page(results: Results, out: Path) -> Path:
    """Write index.html into the folder `out`; returns its path."""
    return write_file(out / PAGE_NAME, render(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m cscsr.compare.page`."""
    parser = argparse.ArgumentParser(
        prog="python -m cscsr.compare.page",
        description=f"Make {PAGE_NAME} again from a {FILE_NAME}, which is all it needs.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("reports/latest"), help="default: %(default)s"
    )
    folder = parser.parse_args(arguments).folder
    try:
        with Results(folder / FILE_NAME, create=False) as results:
            print(write_page(results, folder))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
