"""What CSC-SR is trained on: lumas, pairs of LR and HR residuals, tiles for the filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from cscsr.csc_sr.decompose import MARGIN, continued, reflected, split
from cscsr.csc_sr.options import Options
from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_of, read_image

TILE = 48
"""Side in pixels of the residual tiles that filters are learned on."""

LEAST_SIDE = 8
"""LR pixels a side of the smallest part of an image that maps are fitted to."""


def read_luma(path: Path) -> np.ndarray:
    """Return the luma (H,W), uint8, of an image file."""
    return luma_of(read_image(path))


class Lumas(Sequence[np.ndarray]):
    """The lumas (H,W), uint8, of image files, each read whenever it is indexed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Lumas: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Lumas:
        if isinstance(index, slice):
            return Lumas(self._paths[index])
        return read_luma(self._paths[index])


def central_crop(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of an image (H,W), at most `side` pixels high and wide."""
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def training_pairs(
    image: np.ndarray, scale: int, options: Options, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the `training_pair` of the middle of a luma for each of several grid phases.

    The phases are drawn without replacement, and each part is transposed or not at random. A part
    under 8×8 LR pixels is left out.

    Parameters
    ----------
    image
        (H,W), uint8.
    scale
        s.
    options
        `crop` and `phases` are used.
    rng
        The source of the draws.
    """
    for phase in rng.permutation(scale**2)[: options.phases_at(scale)]:
        part = central_crop(image[phase // scale :, phase % scale :], options.crop * scale)
        if min(part.shape) < LEAST_SIDE * scale:
            continue
        part = part.T if rng.random() < 0.5 else part
        residual, target = training_pair(np.ascontiguousarray(part), scale)
        yield residual.astype(np.float32), target.astype(np.float32)


def training_pair(truth: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the LR and the HR residual of a luma on a torus.

    The image is continued by its reflections, so that bicubic (with reflecting boundary),
    split, codes and map all commute with shifts and no pixel is a border; the three
    flips come with it.

    Parameters
    ----------
    truth
        (sh,sw), uint8.
    scale
        s.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        The LR residual (2h,2w) and the HR residual (2sh,2sw), float64, on the [0,1] scale.
    """
    truth = crop_to_multiple(truth, scale) / 255.0
    small = imresize(truth, 1 / scale, boundary="mirror")
    height, width = small.shape
    parts = split(reflected(small))
    smooth = imresize(parts.smooth[:height, :width], scale, boundary="mirror")
    return parts.residual, reflected(truth - smooth)


def residual_tiles(
    images: Iterable[np.ndarray], scales: Sequence[int], rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield a random tile (`TILE`, `TILE`) of the LR residual of each image at each scale.

    Parameters
    ----------
    images
        Lumas (H,W), uint8; an image too small for a tile at a scale gives none.
    scales
        The scales.
    rng
        The source of the tiles' places.
    """
    for image in images:
        for scale in scales:
            residual = split(continued(degrade(image, scale, "y"))).residual
            residual = residual[MARGIN:-MARGIN, MARGIN:-MARGIN]
            if min(residual.shape) >= TILE:
                top, left = (rng.integers(n - TILE + 1) for n in residual.shape)
                yield residual[top : top + TILE, left : left + TILE]
