"""An upright image with what its file says of it: bits, alpha, colours' meaning, resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cscsr.errors import InputError
from cscsr.imaging.encoders import Layout
from cscsr.limits import MAX_PIXELS_VARIABLE

_LONGEST_SIDE = 2**20
"""Pixels of the longest side: decoders spend some bytes on each row, however short."""


@dataclass(frozen=True)
class Picture:
    """An upright image, with the properties of its file that an enlargement preserves.

    Attributes
    ----------
    pixels
        (H,W) grey or (H,W,3) RGB, uint8 or uint16.
    alpha
        (H,W) of the same dtype, or None. RGB is not multiplied by it.
    icc_profile
        The colour profile, or None.
    dpi
        Pixels per inch (across, down), or None.
    colour_chunks
        As in `cscsr.imaging.encoders.Layout`.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour_chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def layout(self) -> Layout:
        """The layout of a file that holds this picture."""
        height, width = self.pixels.shape[:2]
        channels = (1 if self.pixels.ndim == 2 else 3) + (self.alpha is not None)
        shape = (height, width, channels)
        return Layout(shape, self.pixels.dtype, self.icc_profile, self.dpi, self.colour_chunks)


def check_size(path: Path, width: int, height: int, images: int, most: int) -> None:
    if images > 1:
        raise InputError(
            f"{path} holds several images; save the one you mean as a file of its own."
        )
    if width < 1 or height < 1:
        raise InputError(f"{path} has {width}x{height} pixels, but an image needs at least one.")
    if width * height > most:
        raise InputError(
            f"{path} has {width}x{height} pixels, more than the limit of {most}; raise the "
            f"limit with --max-pixels or {MAX_PIXELS_VARIABLE}, or cut it into parts."
        )
    if max(width, height) > _LONGEST_SIDE:
        raise InputError(
            f"{path} has {width}x{height} pixels, but a side may have at most {_LONGEST_SIDE}; cut "
            "it into parts."
        )


def upright_picture(
    samples: np.ndarray,
    orientation: int,
    icc: Any,
    dpi: Any,
    chunks: tuple[tuple[bytes, bytes], ...] = (),
) -> Picture:
    """The upright picture of samples (H,W[,C]) as they are stored."""
    samples = _UPRIGHT.get(orientation, _UPRIGHT[1])(samples)
    if not (isinstance(dpi, tuple) and all(0 < float(n) < 1e6 for n in dpi)):
        dpi = None
    if dpi is not None:
        dpi = (float(dpi[0]), float(dpi[1]))
        dpi = dpi[::-1] if orientation in TURNED else dpi
    alpha = None
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        samples, alpha = samples[..., :-1], samples[..., -1]
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[..., 0]
    return Picture(samples, alpha, bytes(icc) if icc else None, dpi, chunks)


TURNED = (5, 6, 7, 8)
"""The EXIF orientations that exchange rows and columns."""

_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""EXIF orientation to the function that turns the stored image upright, without a copy."""
