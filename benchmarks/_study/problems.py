"""The sparse-coding problems of the studies beside those of `cscsr.data.problems`: the whole camera
at any size, circular, on the [0,1] scale."""

from __future__ import annotations

import numpy as np

from cscsr import InputError, SparseCoding
from cscsr.data.problems import camera, high_passed, named_dictionary

__all__ = ["named_dictionary", "resized_problem"]


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
