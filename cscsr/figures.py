"""Saving matplotlib figures as small PNG files. Needs pillow."""

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
