"""Enlarging images of any size in parts: the only place that cuts an image.

`tiles` cuts picture files (`enlarged_bands`) and arrays in memory (`cscsr.network.NetworkSolver`).
Needs numpy and scipy; torch only for torch tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cscsr.arrays import to_numpy
from cscsr.contract import checked_solve, checked_support
from cscsr.errors import InputError, SolverError, failures_of
from cscsr.imaging.colour import to_samples
from cscsr.imaging.resize import imresize
from cscsr.solver import Solver, Status
from cscsr.super_resolution import SuperResolution

if TYPE_CHECKING:
    from cscsr.imaging.picture import Picture

PARTS = (256, 128, 64)
"""Candidate sides in pixels of the parts of a large image, for solvers without a
`Solver.tile_side`; the first that the solver supports, halo included, is used."""

ALPHA_HALO = 2
"""The halo of bicubic interpolation, which enlarges alpha."""


class Tile(NamedTuple):
    """A part of an image (H, W), and the window of it that the part depends on.

    Attributes
    ----------
    rows, columns
        The part.
    window
        The rows and columns of the part with its halo, clipped to the image.
    """

    rows: slice
    columns: slice
    window: tuple[slice, slice]

    def target(self, scale: int) -> tuple[slice, slice]:
        """Return the rows and columns of the part in the enlarged image."""
        return _enlarged(self.rows, scale), _enlarged(self.columns, scale)

    def inside(self, scale: int) -> tuple[slice, slice]:
        """Return the rows and columns of the part in its enlarged window."""
        tall, wide = self.window
        return (
            _enlarged(self.rows, scale, tall.start),
            _enlarged(self.columns, scale, wide.start),
        )

    @property
    def pixels(self) -> int:
        """The number of pixels in the window."""
        tall, wide = self.window
        return (tall.stop - tall.start) * (wide.stop - wide.start)


def tiles(height: int, width: int, side: int, halo: int) -> list[list[Tile]]:
    """Cut an image into the fewest parts of at most `side` pixels per side, as equal as possible.

    An axis no longer than `side` with the halo on both ends is not cut.

    Parameters
    ----------
    height, width
        Size of the image in pixels.
    side
        Largest side of a part.
    halo
        Pixels around a part that also belong to its window.

    Returns
    -------
    list of list of Tile
        The parts, row by row from the top; together they cover every pixel once.
    """
    return [
        [
            Tile(rows, columns, (_widened(rows, halo, height), _widened(columns, halo, width)))
            for columns in _cut(width, side, halo)
        ]
        for rows in _cut(height, side, halo)
    ]


def enlarged_bands(
    solver: Solver[SuperResolution],
    picture: Picture,
    scale: int,
    progress: Callable[[int, int, float], None] | None = None,
    side: int | None = None,
) -> Iterator[np.ndarray]:
    """Enlarge a picture part by part, so that memory holds one band and the work on one part.

    Each part is enlarged with `Solver.halo` pixels of its neighbours around it, then rounded and
    clipped. A solver without a halo gets the whole image. Bicubic interpolation enlarges alpha;
    pixels that alpha hides first take the colour of the nearest visible pixel, so that hidden
    colours do not mix in. That takes a copy of the picture, and for a moment about ten bytes per
    pixel.

    Parameters
    ----------
    solver
        The solver to enlarge each part with.
    picture
        The low-resolution picture.
    scale
        The factor.
    progress
        Called after each part with (parts done, all parts, the solver's seconds for this part).
    side
        The largest side of a part in low-resolution pixels, halo not counted; None: the solver's
        choice.

    Yields
    ------
    numpy.ndarray
        Bands (h, scale·W, C) from the top, of the picture's dtype. C is 1 for grey, 2 for grey
        and alpha, 3 for RGB, 4 for RGB and alpha.

    Raises
    ------
    InputError
        For what the solver cannot enlarge, and for a solver that fails or diverges.
    """
    height, width, channels = picture.layout.shape
    grid = tiles(height, width, *_side_and_halo(solver, picture, scale, side))
    picture = _with_hidden_filled(picture)
    count, done = sum(map(len, grid)), 0
    for row in grid:
        top, bottom = row[0].rows.start, row[0].rows.stop
        band = np.empty((scale * (bottom - top), scale * width, channels), picture.pixels.dtype)
        for tile in row:
            part, seconds = _enlarged_window(solver, picture, tile.window, scale)
            band[:, tile.target(scale)[1]] = part[tile.inside(scale)]
            done += 1
            if progress is not None:
                progress(done, count, seconds)
        yield band


def _side_and_halo(
    solver: Solver[SuperResolution], picture: Picture, scale: int, wanted: int | None
) -> tuple[int, int]:
    """The side of the parts and their halo. Raises InputError with the solver's reason where
    it supports no side, and for a wanted side where the solver takes the image as a whole."""
    height, width = shape = picture.pixels.shape[:2]
    with failures_of(f"{solver.name} failed to say how it takes a large image"):
        halo, best = solver.halo(scale), solver.tile_side(scale)
    for label, pixels, least in (("halo", halo, 0), ("tile side", best, 1)):
        if pixels is not None and not (isinstance(pixels, int) and pixels >= least):
            raise SolverError(
                f"the {label} of {solver.name} must be a whole number of at least {least} or "
                f"None, got {pixels!r}."
            )
    if wanted is not None:
        if halo is None:
            raise InputError(
                f"{solver.name} takes the image as a whole, so that there are no parts to choose."
            )
        best = wanted
    sides = (max(shape),) if halo is None else PARTS if best is None else (best,)
    around = max(halo or 0, ALPHA_HALO)
    for side in sides:
        window = [min(length, side + 2 * around) for length in (height, width)]
        blank = np.zeros((*window, *picture.pixels.shape[2:]), np.float32)
        reason = checked_support(solver, SuperResolution(blank, scale))
        if reason is None:
            return side, around
    raise InputError(str(reason))


def _cut(length: int, side: int, halo: int) -> list[slice]:
    """0…length in the fewest parts of at most `side`, as equal as possible; see `tiles`."""
    number = 1 if length <= side + 2 * halo else -(-length // side)
    edges = [length * index // number for index in range(number + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


def _widened(part: slice, halo: int, length: int) -> slice:
    """A part of 0…length, widened by `halo` on both ends."""
    return slice(max(part.start - halo, 0), min(part.stop + halo, length))


def _enlarged(part: slice, scale: int, origin: int = 0) -> slice:
    """A range of low-resolution pixels, counted from `origin`, in the enlarged image."""
    return slice(scale * (part.start - origin), scale * (part.stop - origin))


def _enlarged_window(
    solver: Solver[SuperResolution], picture: Picture, window: tuple[slice, slice], scale: int
) -> tuple[np.ndarray, float]:
    """A window of `picture` enlarged, (h,w,C) of its dtype, and the seconds it took."""
    dtype = picture.pixels.dtype
    largest = np.float32(np.iinfo(dtype).max)
    pixels = picture.pixels[window]
    alpha = None if picture.alpha is None else picture.alpha[window]
    problem = SuperResolution(pixels.astype(np.float32) / largest, scale)
    solution = checked_solve(solver, problem)
    estimate = to_numpy(solution.estimate)
    if solution.status is Status.DIVERGED:
        raise InputError(f"{solver.name} diverged on this image; use another solver.")
    layers = [to_samples(estimate, dtype)]
    if alpha is not None:
        enlarged = imresize(alpha.astype(np.float32) / largest, scale)
        layers.append(to_samples(enlarged, dtype))
    return np.dstack(layers), solution.seconds


def _with_hidden_filled(picture: Picture) -> Picture:
    """`picture` with the pixels that its alpha hides replaced by the nearest visible one."""
    hidden = None if picture.alpha is None else picture.alpha == 0
    if hidden is None or hidden.all() or not hidden.any():
        return picture
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    pixels = np.empty_like(picture.pixels)
    for part in _cut(len(pixels), PARTS[0], 0):  # indexing makes int64 of them
        pixels[part] = picture.pixels[rows[part], columns[part]]
    return replace(picture, pixels=pixels)
