"""The sparse-coding problems of the studies: scikit-image's camera, high-passed, under a
dictionary that is named. All are circular, on the [0,1] scale."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cscsr import InputError, SparseCoding, make_solver
from cscsr.errors import unknown_name

MAX_CROP = 256
"""Largest side in pixels of a crop, which begins at `CORNER`."""

CORNER = (64, 192)
"""Row and column of the camera, in pixels; below row 320 atoms are learned."""

TRAINING_CORNERS = ((330, 100), (330, 300))
TRAINING_CROP = 64


def _camera() -> np.ndarray:
    from skimage.data import camera

    return camera() / 255.0


def high_passed(image: np.ndarray) -> np.ndarray:
    """An image less its smooth part, by sporco's Tikhonov filter with λ = 5."""
    from sporco.signal import tikhonov_filter

    return tikhonov_filter(image, 5.0, 16)[1]


def check_crop(size: int, filter_size: int) -> None:
    """Raise InputError for a crop that is too large, or smaller than the filters."""
    if not filter_size <= size <= MAX_CROP:
        raise InputError(
            f"the size must be from {filter_size} (the filters') to {MAX_CROP} pixels, got {size}."
        )


def crop_problem(size: int, dictionary: np.ndarray, lam: float) -> SparseCoding:
    """A size×size crop of the camera under `dictionary` (M,k,k), float64.

    Raises InputError for a size that `check_crop` refuses.
    """
    check_crop(size, dictionary.shape[-1])
    top, left = CORNER
    crop = high_passed(_camera())[top : top + size, left : left + size].copy()
    return SparseCoding(crop, np.array(dictionary, dtype=np.float64, order="C"), lam)


def camera_problem(
    size: int = 96, atoms: int = 16, filter_size: int = 5, lam: float = 0.05, seed: int = 0
) -> SparseCoding:
    """A size×size crop of the camera under atoms that sporco learned on two crops below it.

    Raises InputError for a size that `check_crop` refuses.
    """
    check_crop(size, filter_size)
    return crop_problem(size, _camera_atoms(atoms, filter_size, seed), lam)


@lru_cache(maxsize=4)
def _camera_atoms(atoms: int, filter_size: int, seed: int) -> np.ndarray:
    """(atoms,filter_size,filter_size), learned below the crops."""
    from sporco.dictlrn.cbpdndl import ConvBPDNDictLearn

    high, side = high_passed(_camera()), TRAINING_CROP
    crops = [high[top : top + side, left : left + side] for top, left in TRAINING_CORNERS]
    start = np.random.default_rng(seed).standard_normal((filter_size, filter_size, atoms))
    options = {"Verbose": False, "StatusHeader": False, "MaxMainIter": 15}
    learning = ConvBPDNDictLearn(
        start,
        np.stack(crops, axis=-1),
        0.05,
        ConvBPDNDictLearn.Options(options, dmethod="cns"),
        dmethod="cns",
    )
    learning.solve()
    return np.moveaxis(learning.getdict()[:, :, 0, 0], -1, 0)


def named_dictionary(name: str) -> np.ndarray:
    """Filters (M,k,k): those that LISTA was trained for ("lista"), or one of sporco's grey ones by
    its name there, as "G:8x8x64". Raises InputError for a name that is none."""
    if name == "lista":
        return make_solver("lista[step]").dictionary()[:, 0]
    from sporco.util import convdicts

    dictionaries = {key: atoms for key, atoms in convdicts().items() if np.ndim(atoms) == 3}
    if name not in dictionaries:
        raise unknown_name("dictionary", name, ["camera", "lista", *dictionaries])
    return np.moveaxis(dictionaries[name], -1, 0)


def resized_problem(
    size: int, lam: float, atoms: int = 64, dtype: str = "float32", dictionary: str = "G:8x8x64"
) -> SparseCoding:
    """All of the camera, reduced to size×size pixels, under the first `atoms` filters of a
    `named_dictionary`. Raises InputError for a size out of range."""
    if not 16 <= size <= 512:
        raise InputError(f"the solvers' image may have from 16 to 512 pixels a side, got {size}.")
    from skimage.transform import resize

    image = _camera()
    if size < len(image):
        image = resize(image, (size, size), anti_aliasing=True)
    filters = np.ascontiguousarray(named_dictionary(dictionary)[:atoms], dtype)
    return SparseCoding(high_passed(image).astype(dtype), filters, lam)
