"""Where the reference run and the pages that show it lie, and blocks of text between markers."""

from __future__ import annotations

from pathlib import Path

from cscsr.errors import InputError

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "reports" / "reference"


def with_block(text: str, name: str, block: str) -> str:
    """The text of a page with `block` between the markers of a name.

    Raises InputError if the markers are not there.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise InputError(f"expected the markers {begin} and {end} in the page.")
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"
