"""A stated sparse-coding problem on a real image, for studies and tests of the solvers.

Needs scikit-image, which embeds the image, and sporco, which high-passes it and learns the atoms;
both are imported at the first use.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cscsr.errors import InputError
from cscsr.problem import SparseCoding

MAX_CROP = 256
"""Largest side in pixels of a crop, which begins at `CORNER`."""

CORNER = (64, 192)
"""Row and column of the crop in the image, in pixels; below row 320 atoms are learned."""

TRAINING_CORNERS = ((330, 100), (330, 300))
TRAINING_CROP = 64
"""Corners and side in pixels of the crops that atoms are learned on."""


def camera_problem(
    size: int = 96, atoms: int = 16, filter_size: int = 5, lam: float = 0.05, seed: int = 0
) -> SparseCoding:
    """Return a crop of scikit-image's camera, high-passed, under atoms learned on two other crops.

    The image is on the [0,1] scale; the high-pass is sporco's Tikhonov filter with λ = 5, and
    sporco's dictionary learning makes the atoms. The boundary is circular.

    Parameters
    ----------
    size
        Side of the crop in pixels, from `filter_size` to `MAX_CROP`.
    atoms
        Number of atoms.
    filter_size
        Their side.
    lam
        λ.
    seed
        Of the atoms' random start.

    Returns
    -------
    SparseCoding
        The problem, float64: signal (size,size), dictionary (atoms,filter_size,filter_size).

    Raises
    ------
    InputError
        For a size out of range.
    """
    if not filter_size <= size <= MAX_CROP:
        raise InputError(
            f"the size must be from {filter_size} (the filters') to {MAX_CROP} pixels, got {size}."
        )
    crop = _crop(_high_passed_camera(), CORNER, size).copy()
    return SparseCoding(crop, _camera_atoms(atoms, filter_size, seed).copy(), lam)


def _high_passed_camera() -> np.ndarray:
    from skimage.data import camera
    from sporco.signal import tikhonov_filter

    return tikhonov_filter(camera() / 255.0, 5.0, 16)[1]


def _crop(image: np.ndarray, corner: tuple[int, int], side: int) -> np.ndarray:
    top, left = corner
    return image[top : top + side, left : left + side]


@lru_cache(maxsize=4)
def _camera_atoms(atoms: int, filter_size: int, seed: int) -> np.ndarray:
    """Atoms (atoms,filter_size,filter_size), learned below the crops."""
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn

    image = _high_passed_camera()
    crops = np.stack([_crop(image, corner, TRAINING_CROP) for corner in TRAINING_CORNERS], axis=-1)
    start = np.random.default_rng(seed).standard_normal((filter_size, filter_size, atoms))
    options = {"Verbose": False, "StatusHeader": False, "MaxMainIter": 15}
    learning = ConvBPDNDictLearn(
        start, crops, 0.05, ConvBPDNDictLearn.Options(options, dmethod="cns"), dmethod="cns"
    )
    learning.solve()
    return np.ascontiguousarray(np.moveaxis(learning.getdict()[:, :, 0, 0], -1, 0))
