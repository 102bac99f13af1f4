"""Pictures of any size enlarged in parts.

Needs numpy and scipy; torch only where a torch tensor came in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from cscsr.arrays import to_numpy
from cscsr.errors import InputError
from cscsr.imaging.colour import to_samples
from cscsr.imaging.resize import imresize
from cscsr.problem import SuperResolution
from cscsr.solver import Solver, Status

if TYPE_CHECKING:
    from cscsr.imaging.files import Picture


PARTS = (256, 128, 64)
"""Sides, in pixels, of the parts that a large low-resolution image is cut into: the first that
the solver can do, with its halo, is taken."""

ALPHA_HALO = 2
"""The halo of bicubic interpolation, by which alpha is enlarged."""


def enlarged_bands(
    solver: Solver[SuperResolution],
    picture: Picture,
    scale: int,
    progress: Callable[[int, int, float], None] | None = None,
) -> Iterator[np.ndarray]:
    """`picture` enlarged: its rows in bands (h, scale·W, C) from the top, of its own dtype.

    C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. The image is cut into parts; each
    is solved with `Solver.halo` pixels of its neighbours around it, then rounded and clipped,
    so that memory holds one band and the work on one part. A solver without a halo gets the
    whole image. Alpha is enlarged by bicubic; pixels that it hides are first given the colour
    of the nearest visible one, as theirs would bleed into it.

    progress: called after each part with the number of parts done, that of all, and the
    seconds that the solver took for this one.
    Raises InputError for what the solver cannot enlarge and for an answer that is not finite.
    """
    height, width, channels = picture.layout.shape
    size, halo = _parts(solver, picture, scale)
    rows, columns = cuts(height, size), cuts(width, size)
    done = 0
    for top, bottom in rows:
        shape = (scale * (bottom - top), scale * width, channels)
        band = np.empty(shape, picture.pixels.dtype)
        for left, right in columns:
            window = tuple(
                slice(max(first - halo, 0), min(last + halo, length))
                for first, last, length in ((top, bottom, height), (left, right, width))
            )
            part, seconds = _enlarged_part(solver, picture, window, scale)
            inside = tuple(
                slice(scale * (first - around.start), scale * (last - around.start))
                for first, last, around in zip((top, left), (bottom, right), window, strict=True)
            )
            band[:, scale * left : scale * right] = part[inside]
            done += 1
            if progress is not None:
                progress(done, len(rows) * len(columns), seconds)
        yield band


def _parts(solver: Solver[SuperResolution], picture: Picture, scale: int) -> tuple[int, int]:
    """The side of the parts and their halo. Raises InputError with the solver's reason where
    it can do none of `PARTS`."""
    height, width = shape = picture.pixels.shape[:2]
    halo = solver.halo(scale)
    reason = None
    for size in (max(shape),) if halo is None else PARTS:
        around = max(halo or 0, ALPHA_HALO)
        window = [min(length, size + 2 * around) for length in (height, width)]
        blank = np.zeros((*window, *picture.pixels.shape[2:]), np.float32)
        reason = solver.supports(SuperResolution(blank, scale))
        if reason is None:
            return size, around
    raise InputError(reason)


def cuts(length: int, size: int) -> list[tuple[int, int]]:
    """0…length cut into the fewest parts of at most `size`, as equal as can be."""
    number = -(-length // size)
    edges = [length * index // number for index in range(number + 1)]
    return list(itertools.pairwise(edges))


def _enlarged_part(
    solver: Solver[SuperResolution], picture: Picture, window: tuple[slice, ...], scale: int
) -> tuple[np.ndarray, float]:
    """A window of `picture` enlarged, (h,w,C) of its dtype, and the seconds it took."""
    dtype = picture.pixels.dtype
    largest = np.float32(np.iinfo(dtype).max)
    pixels = picture.pixels[window]
    alpha = None if picture.alpha is None else picture.alpha[window]
    if alpha is not None:
        pixels = _with_hidden_filled(pixels, alpha)
    solution = solver.solve(SuperResolution(pixels.astype(np.float32) / largest, scale))
    estimate = to_numpy(solution.estimate)
    if solution.status is Status.DIVERGED or not np.isfinite(estimate).all():
        raise InputError(f"{solver.name} diverged on this image; take another solver.")
    layers = [to_samples(estimate, dtype)]
    if alpha is not None:
        enlarged = imresize(alpha.astype(np.float32) / largest, scale)
        layers.append(to_samples(enlarged, dtype))
    return np.dstack(layers), solution.seconds


def _with_hidden_filled(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`pixels` with those that `alpha` hides replaced by the nearest it does not."""
    hidden = alpha == 0
    if hidden.all() or not hidden.any():
        return pixels
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return pixels[tuple(nearest)]
