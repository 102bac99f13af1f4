"""The figures of the paper's tables and of other papers, and the solvers that they stand beside.

``published.csv`` has the source of each figure. Published figures are always labelled as published.
A difference is shown only between a method and itself, for a mean over the whole data set, scored
on the same line.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cscsr import registry

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_FILE = Path(__file__).with_name("published.csv")

PAPER = "CRNet"
"""The source of the figures of the paper's own tables."""

PUBLISHED_IMAGES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}
"""The number of images behind each published mean."""

PUBLISHED_LINES = {
    "Bicubic": "y",
    "ScSR": "y",
    "A+": "y",
    "CSC-SR": "y",
    "CRNet-A": "y",
    "CRNet-B": "rgb",
    "CRNet-B+": "rgb",
    "VDSR": "y",
    "CSCN": "y",
    "LapSRN": "y",
    "CARN-M": "rgb",
    "IMDN": "rgb",
}
"""The line of the published methods that stand beside solvers."""


@cache
def published_beside(solver: str) -> tuple[str, bool] | None:
    """Return the published method whose figures stand beside a solver's.

    Returns
    -------
    tuple or None
        The method's name in the paper, and whether the solver is that method itself rather than a
        relative; None if there is none.
    """
    return registry.published_method(solver)


def beside_name(solver: str) -> str | None:
    """Return the name of the published method beside a solver, or None."""
    beside = published_beside(solver)
    return beside[0] if beside else None


def same_method(solver: str) -> str | None:
    """Return the name of the published method that a solver is, or None."""
    beside = published_beside(solver)
    return beside[0] if beside and beside[1] else None


@cache
def family(solver: str) -> str:
    """Return the kind of method that a solver is: "classical", "learned" or "other"."""
    name = registry.solver_family(solver)
    return name if name in ("classical", "learned") else "other"


def read_published(table: int | None = None) -> pd.DataFrame:
    """Read published figures.

    Parameters
    ----------
    table
        The number of one of the paper's tables; None: all of them, and the figures of other
        papers.

    Returns
    -------
    pandas.DataFrame
        Columns dataset, scale, method, psnr_db, ssim (missing where we know none) and source, which
        is `PAPER` for the paper's tables; one row for each (dataset, scale, method).
    """
    import pandas as pd

    rows = pd.read_csv(PUBLISHED_FILE)
    if table is not None:
        rows = rows[rows.table == table]
    return rows.drop(columns="table").drop_duplicates(["dataset", "scale", "method"])
