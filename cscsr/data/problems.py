"""Stated sparse-coding problems on a real image, for studies and tests of the solvers.

Needs scikit-image, which embeds the image, and sporco, which high-passes it and learns the atoms;
both are imported at the first use.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cscsr.errors import InputError, unknown_name
from cscsr.problem import SparseCoding

MAX_CROP = 256
"""Largest side in pixels of a crop, which begins at `CORNER`."""

CORNER = (64, 192)
"""Row and column of the crop in the image, in pixels; below row 320 atoms are learned."""

TRAINING_CORNERS = ((330, 100), (330, 300))
"""Row and column of the crops that atoms are learned on, in pixels."""

TRAINING_CROP = 64
"""Side of these crops in pixels."""


@lru_cache(maxsize=1)
def camera() -> np.ndarray:
    """Return scikit-image's camera, (512,512) on the [0,1] scale, read-only."""
    from skimage.data import camera

    image = camera() / 255.0
    image.flags.writeable = False
    return image


def high_passed(image: np.ndarray) -> np.ndarray:
    """Return an image less its smooth part, by sporco's Tikhonov filter with λ = 5."""
    from sporco.signal import tikhonov_filter

    return tikhonov_filter(image, 5.0, 16)[1]


def named_dictionary(name: str) -> np.ndarray:
    """Return the filters (M,k,k) of a name.

    Parameters
    ----------
    name
        "lista": those that LISTA was trained for; or the name of one of sporco's grey ones, as
        "G:8x8x64".

    Raises
    ------
    InputError
        For a name that is none.
    """
    if name == "lista":
        from cscsr.sparse.lista import LISTA

        return LISTA().dictionary()[:, 0]
    from sporco.util import convdicts

    dictionaries = {key: atoms for key, atoms in convdicts().items() if np.ndim(atoms) == 3}
    if name not in dictionaries:
        raise unknown_name("dictionary", name, ["lista", *dictionaries])
    return np.moveaxis(dictionaries[name], -1, 0)


def check_crop(size: int, filter_size: int) -> None:
    """Raise InputError for a crop that is too large, or smaller than the filters."""
    if not filter_size <= size <= MAX_CROP:
        raise InputError(
            f"the size must be from {filter_size} (the filters') to {MAX_CROP} pixels, got {size}."
        )


def crop_problem(size: int, dictionary: np.ndarray, lam: float) -> SparseCoding:
    """Return a crop of the camera, high-passed, under a given dictionary; circular.

    Parameters
    ----------
    size
        Side of the crop in pixels, from the filters' to `MAX_CROP`.
    dictionary
        (M,k,k).
    lam
        λ.

    Returns
    -------
    The problem, float64: signal (size,size), dictionary (M,k,k).

    Raises
    ------
    InputError
        For a size out of range.
    """
    check_crop(size, dictionary.shape[-1])
    crop = _crop(high_passed(camera()), CORNER, size).copy()
    return SparseCoding(crop, np.array(dictionary, dtype=np.float64, order="C"), lam)


def camera_problem(
    size: int = 96, atoms: int = 16, filter_size: int = 5, lam: float = 0.05, seed: int = 0
) -> SparseCoding:
    """Return a `crop_problem` under atoms that sporco learned on two other crops of the camera.

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
    check_crop(size, filter_size)
    return crop_problem(size, _camera_atoms(atoms, filter_size, seed), lam)


def _crop(image: np.ndarray, corner: tuple[int, int], side: int) -> np.ndarray:
    top, left = corner
    return image[top : top + side, left : left + side]


@lru_cache(maxsize=4)
def _camera_atoms(atoms: int, filter_size: int, seed: int) -> np.ndarray:
    """Atoms (atoms,filter_size,filter_size), learned below the crops."""
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn

    image = high_passed(camera())
    crops = np.stack([_crop(image, corner, TRAINING_CROP) for corner in TRAINING_CORNERS], axis=-1)
    start = np.random.default_rng(seed).standard_normal((filter_size, filter_size, atoms))
    options = {"Verbose": False, "StatusHeader": False, "MaxMainIter": 15}
    learning = ConvBPDNDictLearn(
        start, crops, 0.05, ConvBPDNDictLearn.Options(options, dmethod="cns"), dmethod="cns"
    )
    learning.solve()
    return np.moveaxis(learning.getdict()[:, :, 0, 0], -1, 0)
