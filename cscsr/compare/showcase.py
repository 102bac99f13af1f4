"""The choice of the images, and of the parts, that the report shows side by side.

It depends on the true images alone and is made before any solver runs: the images with the most
detail, from each data set in turn, and in each image the square with the most detail. Of a
solver's estimate, the scored luma is stored as a PNG.
Needs numpy and pillow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from cscsr.compare.records import Box

MOST = 6
"""The most images that are shown."""

SIDES = {10: 320, 20: 256, 40: 192}
"""Up to so many solvers, the largest side in pixels of the stored square: the page, with the
pictures of all solvers, must stay below 15 MB."""

_LEAST_SIDE = 128
_STEP = 8


def side_for(solvers: int) -> int:
    """Return the side in pixels of the stored square for a comparison of `solvers` solvers."""
    return next((side for most, side in SIDES.items() if solvers <= most), _LEAST_SIDE)


def _gradient(luma: np.ndarray) -> np.ndarray:
    """|∂v y| + |∂h y| of a luma (H,W) on the 0-255 scale, (H−1,W−1)."""
    y = luma.astype(np.float32)
    return np.abs(np.diff(y, axis=0))[:, :-1] + np.abs(np.diff(y, axis=1))[:-1]


def detail(luma: np.ndarray) -> float:
    """Return how much detail an image has.

    Parameters
    ----------
    luma
        (H,W), uint8.

    Returns
    -------
    float
        The sum of the gradient's magnitude over the square, of at most 320×320 pixels, where it is
        largest.
    """
    return _busiest(luma, max(SIDES.values()))[0]


def _busiest(luma: np.ndarray, side: int) -> tuple[float, Box]:
    """The part of at most `side` by `side` pixels with the largest sum of the gradient's size."""
    height, width = luma.shape
    rows, columns = min(side, height), min(side, width)
    total = np.pad(_gradient(luma).astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    best, box = -1.0, (0, 0, rows, columns)
    for top in _starts(height - rows):
        for left in _starts(width - columns):
            bottom, right = top + rows - 1, left + columns - 1
            inside = total[bottom, right] - total[top, right] - total[bottom, left]
            inside += total[top, left]
            if inside > best:
                best, box = float(inside), (top, left, rows, columns)
    return best, box


def choose(details: Mapping[str, Sequence[float]], most: int = MOST) -> list[tuple[str, int]]:
    """Choose the images with the most detail, the data sets taking turns.

    Parameters
    ----------
    details
        Data set to the `detail` of its images.
    most
        The most images to choose.

    Returns
    -------
    list of tuple
        (data set, index in it), in the order of the data sets.
    """
    ranked = {
        name: sorted(range(len(values)), key=lambda place: -values[place])
        for name, values in details.items()
    }
    chosen: list[tuple[str, int]] = []
    for turn in range(max(map(len, ranked.values()), default=0)):
        chosen += [(name, places[turn]) for name, places in ranked.items() if turn < len(places)]
    order = list(details)
    return sorted(chosen[: max(most, 0)], key=lambda place: (order.index(place[0]), place[1]))


def window(luma: np.ndarray, side: int, scale: int) -> Box:
    """Return the square with the most detail in the part of an image that is scored.

    That part excludes the last rows and columns beyond a multiple of `scale`, and `scale` pixels on
    each side.

    Parameters
    ----------
    luma
        The luma of the true image, (H,W).
    side
        The largest side of the square in pixels.
    scale
        The factor; as many pixels are cut off each side.

    Returns
    -------
    Box
        The square, in pixels of the whole image.
    """
    height, width = (n // scale * scale - 2 * scale for n in luma.shape)
    scored = luma[scale : scale + height, scale : scale + width]
    top, left, rows, columns = _busiest(scored, side)[1]
    return top + scale, left + scale, rows, columns


def _starts(last: int) -> list[int]:
    """The starts of the candidate squares: every `_STEP` pixels, and the last."""
    return sorted({*range(0, last + 1, _STEP), last})


def cut(luma: np.ndarray, box: Box) -> np.ndarray:
    """Return the part of an image (H,W) or (H,W,3) inside a box."""
    top, left, height, width = box
    return luma[top : top + height, left : left + width]


def as_colours(rgb: np.ndarray) -> bytes:
    """Return an RGB image (H,W,3), uint8, as a JPEG file: small, for its colours alone. The page
    takes the luma from the PNG that is scored."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "JPEG", quality=85, optimize=True)
    return file.getvalue()


def as_png(luma: np.ndarray) -> bytes:
    """Return a luma (H,W), uint8, as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(luma)).save(file, format="PNG", optimize=True)
    return file.getvalue()
