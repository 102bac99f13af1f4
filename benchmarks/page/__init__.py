"""The report: index.html, one page that needs no other file, made from the database alone.

    python -m benchmarks.page reports/latest

`content` turns results into HTML, `plots` draws the scatter plots and intervals as SVG, and
page.html, page.css and page.js hold what is the same in every report. The same database gives
the same page, byte for byte: nothing of the moment, the machine or the folder goes into it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page.content import FIGURES, page_of
from benchmarks.results import FILE_NAME, Figure, Results
from benchmarks.tables import summarise, write_file
from cscsr.errors import InputError

PAGE_NAME = "index.html"

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"
"""The reference run of a checkout, whose figures stand in for those that a run did not draw."""

_LARGEST_PNG = 800_000
_LARGEST_CSV = 60_000
"""Bytes of a figure's files up to which they are kept: the page has to stay under 15 MB."""


def keep_figures(results: Results, out: Path, reference: Path = REFERENCE) -> None:
    """Keep the figures that lie in the folder `out`, else those of the reference run."""
    for name in FIGURES:
        for folder, origin in ((out, ""), (reference, "from the toolkit's reference run")):
            png = _read(folder / f"{name}.png", _LARGEST_PNG)
            csv = _read(folder / f"{name}.csv", _LARGEST_CSV)
            if png is None and (csv is None or name != "ablation"):
                continue
            text = "" if csv is None else csv.decode("utf-8")
            results.add_figure(Figure(name, png, text, origin))
            break


def _read(path: Path, largest: int) -> bytes | None:
    if not path.is_file() or path.stat().st_size > largest:
        return None
    return path.read_bytes()


def render(results: Results) -> str:
    """The page of the latest run. Raises InputError if the database holds none."""
    return page_of(summarise(results), results)


def write_page(results: Results, out: Path) -> Path:
    """Write index.html into the folder `out`; returns its path."""
    return write_file(out / PAGE_NAME, render(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.page`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page",
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
