"""The figures of the paper's tables, and which of our solvers they may stand beside."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cscsr.registry import published_method

if TYPE_CHECKING:
    import pandas as pd


PUBLISHED_FILE = Path(__file__).with_name("published.csv")


PUBLISHED_LINE = {
    "Bicubic": "y",
    "CSC-SR": "y",
    "CRNet-A": "y",
    "CRNet-B": "rgb",
    "CRNet-B+": "rgb",
}


PUBLISHED_IMAGES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}


@cache
def published_beside(solver: str) -> str | None:
    """The published method whose figures stand beside those of `solver`, or None."""
    beside = published_method(solver)
    return beside[0] if beside else None


@cache
def same_method(solver: str) -> str | None:
    """The published method that `solver` is, by the name the paper gives it, or None."""
    beside = published_method(solver)
    return beside[0] if beside and beside[1] else None


def read_published(table: int | None = None) -> pd.DataFrame:
    """The figures of the paper's tables, or of one of them, one row for each (dataset, scale,
    method)."""
    import pandas as pd

    rows = pd.read_csv(PUBLISHED_FILE)
    if table is not None:
        rows = rows[rows.table == table]
    return rows.drop(columns="table").drop_duplicates(["dataset", "scale", "method"])
