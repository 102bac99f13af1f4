"""The phrases that the captions of figures share; `cscsr.plot` draws them."""

from __future__ import annotations

from typing import Any


def thread_count(threads: int, kind: str = "") -> str:
    """Such as "1 thread" or "2 CPU threads"."""
    return f"{threads} {kind}thread{'s' if threads > 1 else ''}"


def busy(row: Any) -> str:
    """The machine's load when the rows of a table (a Series) were begun, where it is known."""
    load = row.get("load")
    return "" if load is None or load != load else f"; load average {load:g} when it began"


def central_part(crop: int, whose: str = "the") -> str:
    """What was taken of the images, in brackets, where that was not all (`crop` 0)."""
    return f" ({whose} central {crop}×{crop})" if crop else ""
