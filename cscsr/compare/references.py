"""The bibliography of a table: its methods, and the paper that its published figures come from."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import cscsr
from cscsr.compare.grid import Table
from cscsr.compare.published import beside_name

_FILE = Path(__file__).with_name("references.bib")

_SOURCE = "crnet"
"""The entry of the paper whose tables the published figures come from."""

_ENTRIES = {
    "CSC-SR": "csc-sr",
    "CRNet-A": "crnet",
    "CRNet-B": "crnet",
    "CRNet-B+": "crnet",
    "srcnn": "srcnn",
    "CSCN": "scn",
    "VDSR": "vdsr",
    "LapSRN": "lapsrn",
    "CARN-M": "carn",
    "IMDN": "imdn",
}
"""Method, or solver without a published method beside it, to its entry."""


@cache
def _entries() -> dict[str, str]:
    """The entries of references.bib by key."""
    texts = re.split(r"\n(?=@)", _FILE.read_text(encoding="utf-8"))
    return {text.partition("{")[2].partition(",")[0]: text.strip() for text in texts}


def bibtex(table: Table) -> str:
    """Return the entries of this toolkit, of the methods of a table that have one, and of the
    paper that the other published figures are cited from, as BibTeX."""
    names = [column.name for column in table.columns]
    keys = [_ENTRIES.get(beside_name(name) or name, _ENTRIES.get(name)) for name in names]
    keys += [_SOURCE] if any(column.published for column in table.columns) else []
    toolkit = (
        "@software{cscsr,\n"
        "  author = {{cscsr contributors}},\n"
        "  title = {cscsr: Classical and Learned Convolutional Sparse Coding for Image "
        "Super-Resolution},\n"
        f"  version = {{{cscsr.__version__}}},\n"
        "}"
    )
    cited = [_entries()[key] for key in dict.fromkeys(filter(None, keys))]
    return "\n\n".join([toolkit, *cited]) + "\n"
