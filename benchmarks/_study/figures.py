"""Saving figures, and the phrases that their captions share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from cscsr.output import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D1F", "#56B4E9", "#E69F00", "#555555")
"""Of curves, in their order (Okabe and Ito's palette, with brown and grey)."""


def save(figure: Any, picture: Path, dpi: int = 150, colours: int = 256) -> None:
    """Write a figure as PNG, with a palette of so many colours (0: all its colours).

    A palette, and no opaque alpha, make a plot less than half as large as matplotlib's file. An
    existing file is replaced only when the new one is complete.
    """
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    image = Image.open(drawn).convert("RGB")
    if colours:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    with replacing(picture) as partial:
        image.save(partial, "PNG", optimize=True, dpi=(dpi, dpi))


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
