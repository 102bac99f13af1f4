"""The report: index.html, a single self-contained page made from the database alone.

    python -m cscsr.compare.page reports/latest

`content` assembles the page from its sections, `plots` draws the scatter plots and intervals as
SVG, and page.html, page.css and page.js hold what all reports share. The same database gives the
same page, byte for byte: the page does not depend on the time, the machine or the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cscsr.compare import trained_alike
from cscsr.compare.page.content import page_of
from cscsr.compare.page.figures import FIGURES
from cscsr.compare.records import FILE_NAME, Figure
from cscsr.compare.remake import remake
from cscsr.compare.results import Results
from cscsr.compare.summary import Summary, summarise
from cscsr.errors import InputError
from cscsr.output import write_text

PAGE_NAME = "index.html"

REFERENCE = Path(__file__).parents[3] / "reports" / "reference"
"""The reference run of a checkout, whose figures stand in for those that a run did not draw."""

_ROOM = 2_400_000
"""The most bytes of all figures together: with the pictures, the page stays below 15 MB."""

_LARGEST_CSV = 60_000
"""The largest CSV file, in bytes, that is stored with its figure."""


def keep_figures(results: Results, out: Path, reference: Path = REFERENCE) -> list[str]:
    """Store the figures of a folder, as far as they fit.

    Parameters
    ----------
    results
        The database to store them in.
    out, reference
        The folder, and another that supplies the figures it lacks.

    Returns
    -------
    list of str
        The names of the figures that did not fit.
    """
    room, left_out = _ROOM, []
    for name in (*FIGURES, trained_alike.NAME):
        for folder, origin in ((out, ""), (reference, "from the toolkit's reference run")):
            figure = _figure(folder, name, origin)
            if figure is None:
                continue
            size = len(figure.png) + len(figure.csv)
            if size > room:
                left_out.append(name)
            else:
                room -= size
                results.add_figure(figure)
            break
    return left_out


def _figure(folder: Path, name: str, origin: str) -> Figure | None:
    """The figure of that name in a folder, with its numbers where they are few.

    Of the networks trained alike, the numbers are needed, and the picture may be missing.
    """
    is_alike = name == trained_alike.NAME
    png, table = _content(folder / f"{name}.png", _ROOM), _content(folder / f"{name}.csv", _ROOM)
    if (table if is_alike else png) is None:
        return None
    csv = (table or b"").decode("utf-8", "replace")
    few = is_alike or len(table or b"") <= _LARGEST_CSV
    return Figure(name, png or b"", csv if few else "", origin)


def _content(path: Path, most: int) -> bytes | None:
    """The content of a file, of a large one the first `most` + 1 bytes; None if there is none."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def write_page(summary: Summary, results: Results, out: Path) -> Path:
    """Write index.html into a folder, and return its path."""
    return write_text(out / PAGE_NAME, page_of(summary, results))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m cscsr.compare.page`; return its exit code."""
    return remake(
        "python -m cscsr.compare.page",
        f"Make {PAGE_NAME} again from a {FILE_NAME}, which is all it needs.",
        lambda results, folder: [write_page(summarise(results), results, folder)],
        arguments,
    )
