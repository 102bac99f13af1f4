"""What patch-based methods are trained on: features of patches, and the residuals they stand for.

Images are shrunk step by step, as one resolution has too few patches of each kind (Timofte et al.
2014), and turned at random. Needs numpy, scipy and tqdm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, imresize
from cscsr.patches.geometry import SUPPORT, WINDOW, feature_matrix, surroundings

LEVELS, SHRINKAGE = 12, 0.98
"""Sizes of each image, and the ratio from one to the next."""

ENERGY = 0.999
"""The share of the features' energy that their principal components have."""

FLAT = 1 / 255
"""Patches whose features have a smaller norm teach nothing: they are less than a grey level."""


@dataclass(frozen=True)
class Samples:
    """Patches drawn from training images.

    Attributes
    ----------
    scale
        s.
    projection
        (d,`SUPPORT`), float32: from the pixels around a patch to its features, which are the
        principal components of its derivatives.
    features
        (N,d), float32, of unit norm.
    norms
        (N,), float32: their norms before.
    residuals
        The true images less the bicubic ones, pixel after pixel, float32.
    corners, widths
        (N,): the place in `residuals` of each patch's first pixel, and the width of its image.
    """

    scale: int
    projection: np.ndarray
    features: np.ndarray
    norms: np.ndarray
    residuals: np.ndarray
    corners: np.ndarray
    widths: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def residual_patches(self, indices: np.ndarray) -> np.ndarray:
        """Return what is missing in the bicubic image at some patches, over their norms.

        Parameters
        ----------
        indices
            (n,).

        Returns
        -------
        np.ndarray
            (n,(3s)²), float32.
        """
        side = np.arange(WINDOW * self.scale)
        rows = self.corners[indices, None, None] + self.widths[indices, None, None] * side[:, None]
        return self.residuals[rows + side].reshape(len(indices), -1) / self.norms[indices, None]


def draw_samples(
    images: Sequence[np.ndarray],
    scale: int,
    count: int,
    rng: np.random.Generator,
    progress: bool = True,
) -> Samples:
    """Draw patches at random from images of `LEVELS` sizes, each in one or more of its eight
    orientations: in as many as `count` takes.

    Parameters
    ----------
    images
        Lumas (H,W), uint8.
    scale
        s.
    count
        About how many patches; all of them where there are fewer.
    rng
        The source of all draws.
    progress
        Whether to show a progress bar.

    Raises
    ------
    InputError
        If no image is large enough, or none has contrast.
    """
    pairs = list(_pairs(images, scale, _copies(images, scale, count), rng, progress))
    places = [(lr.shape[0] - 2) * (lr.shape[1] - 2) for lr, _ in pairs]
    if not pairs:
        raise InputError(
            f"training at ×{scale} needs an image of at least {WINDOW * scale}x{WINDOW * scale} "
            "pixels, got none."
        )
    share = min(1.0, count / sum(places))
    drawn = [rng.choice(n, max(1, round(share * n)), replace=False) for n in places]
    projection = _principal_components(pairs, drawn, scale)
    features, norms, corners, widths = [], [], [], []
    begin = 0
    for (lr, residual), chosen in zip(pairs, drawn, strict=True):
        components = _pixels_around(lr, chosen) @ projection.T
        norm = np.linalg.norm(components, axis=1)
        contrast = norm > FLAT
        row, column = divmod(chosen[contrast], lr.shape[1] - 2)
        features.append(components[contrast] / norm[contrast, None])
        norms.append(norm[contrast])
        corners.append(begin + scale * (row * residual.shape[1] + column))
        widths.append(np.full(len(row), residual.shape[1]))
        begin += residual.size
    if not any(map(len, features)):
        raise InputError("training needs images with contrast, got flat ones only.")
    return Samples(
        scale,
        projection,
        np.concatenate(features),
        np.concatenate(norms),
        np.concatenate([residual.ravel() for _, residual in pairs]),
        np.concatenate(corners),
        np.concatenate(widths),
    )


def _copies(images: Iterable[np.ndarray], scale: int, count: int) -> int:
    """How many orientations of each image have about `count` patches, of eight."""
    once = sum(image.size * SHRINKAGE ** (2 * level) for image in images for level in range(LEVELS))
    return min(8, math.ceil(count / max(1.0, once / scale**2)))


def _pairs(
    images: Sequence[np.ndarray],
    scale: int,
    copies: int,
    rng: np.random.Generator,
    progress: bool,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The low-resolution image and the residual of bicubic, float32, of each size of each image."""
    for image in tqdm(images, f"x{scale}: degrading images", disable=not progress, leave=False):
        for level in range(LEVELS):
            full = image / 255.0
            if level:
                full = imresize(full, SHRINKAGE**level)
            for orientation in rng.permutation(8)[:copies]:
                truth = np.rot90(full if orientation < 4 else full.T, orientation)
                if min(truth.shape) < WINDOW * scale:
                    continue
                truth = crop_to_multiple(np.ascontiguousarray(truth), scale)
                lr = imresize(truth, 1 / scale)
                yield lr.astype(np.float32), (truth - imresize(lr, scale)).astype(np.float32)


def _pixels_around(lr: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The pixels (n,`SUPPORT`) around patches that lie inside an image, counted by rows."""
    row, column = divmod(chosen, lr.shape[1] - 2)
    return surroundings(lr)[row + 1, column + 1].reshape(-1, SUPPORT)


def _principal_components(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], drawn: Iterable[np.ndarray], scale: int
) -> np.ndarray:
    """The map (d,`SUPPORT`), float32, to the components of the features with `ENERGY`."""
    moments = np.zeros((SUPPORT, SUPPORT))
    for (lr, _), chosen in zip(pairs, drawn, strict=True):
        pixels = _pixels_around(lr, chosen).astype(np.float64)
        moments += pixels.T @ pixels
    matrix = feature_matrix(scale)
    energies, components = np.linalg.eigh(matrix @ moments @ matrix.T)
    energies, components = energies[::-1].clip(0), components[:, ::-1]
    shares = np.cumsum(energies) / max(energies.sum(), np.finfo(float).tiny)
    dimensions = min(int(np.searchsorted(shares, ENERGY)) + 1, SUPPORT)
    return (components[:, :dimensions].T @ matrix).astype(np.float32)
