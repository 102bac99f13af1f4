"""The sparse-coding problems of the studies beside those of `cscsr.data.problems`: a whole image at
any size, circular, on the [0,1] scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cscsr import InputError, SparseCoding
from cscsr.data.problems import camera, high_passed, named_dictionary
from cscsr.imaging import luma_of
from cscsr.imaging.files import read_image

__all__ = ["COLOUR", "image_problem", "named_dictionary", "resized_problem"]

COLOUR = "RGB:8x8x3x64"
"""sporco's dictionary of three channels."""


def resized_problem(
    size: int, lam: float, atoms: int = 64, dtype: str = "float32", dictionary: str = "G:8x8x64"
) -> SparseCoding:
    """All of the camera, reduced to size×size pixels, under the first `atoms` filters of a
    `named_dictionary`. Raises InputError for a size out of range."""
    if not 16 <= size <= 512:
        raise InputError(f"the solvers' image may have from 16 to 512 pixels a side, got {size}.")
    from skimage.transform import resize

    image = camera()
    if size < len(image):
        image = resize(image, (size, size), anti_aliasing=True)
    filters = np.ascontiguousarray(named_dictionary(dictionary)[:atoms], dtype)
    return SparseCoding(high_passed(image).astype(dtype), filters, lam)


def image_problem(
    size: int,
    share: float,
    dictionary: str = "G:8x8x64",
    image: Path | None = None,
    boundary: str = "circular",
) -> SparseCoding:
    """A whole image, high-passed channel by channel and reduced to size×size pixels; float32.

    size: at most the image's shorter side, whose central square is taken. share: λ/λ_max.
    dictionary: a `named_dictionary` or `COLOUR`. image: a file; None: scikit-image's camera, or for
    `COLOUR` its astronaut, both 512×512.
    Raises InputError for a size or a share out of range, an unknown dictionary and an unreadable
    file.
    """
    if not 0 < share < 1:
        raise InputError(f"λ/λ_max must be between 0 and 1, got {share:g}.")
    pixels = _pixels(dictionary == COLOUR, image)
    side = min(pixels.shape[:2])
    if not 16 <= size <= side:
        raise InputError(f"the image may have from 16 to {side} pixels a side, got {size}.")
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    pixels = pixels[top : top + side, left : left + side]
    if size < side:
        from skimage.transform import resize

        pixels = resize(pixels, (size, size), anti_aliasing=True)
    if dictionary == COLOUR:
        from sporco.util import convdicts

        filters = np.moveaxis(convdicts()[COLOUR], (3, 2), (0, 1))
        signal = np.stack([high_passed(pixels[..., channel]) for channel in range(3)])
    else:
        filters, signal = named_dictionary(dictionary), high_passed(pixels)
    arrays = (np.ascontiguousarray(array, np.float32) for array in (signal, filters))
    problem = SparseCoding(*arrays, 1.0, boundary=boundary)
    return replace(problem, lam=share * problem.lambda_max())


def _pixels(colour: bool, image: Path | None) -> np.ndarray:
    """An image on the [0,1] scale, (H,W) or (H,W,3)."""
    if image is not None:
        pixels = read_image(image)
        if colour and pixels.ndim == 2:
            raise InputError(f"{COLOUR} needs a colour image, but {image} is grey.")
        return (pixels if colour else luma_of(pixels)) / 255.0
    if colour:
        from skimage.data import astronaut

        return astronaut() / 255.0
    return camera()
