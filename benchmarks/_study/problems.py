"""The sparse-coding problems of the studies beside those of `cscsr.data.problems`: dictionaries by
name, and the whole camera at any size. All are circular, on the [0,1] scale."""

from __future__ import annotations

import numpy as np

from cscsr import InputError, SparseCoding, make_solver
from cscsr.data.problems import camera, high_passed
from cscsr.errors import unknown_name


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

    image = camera()
    if size < len(image):
        image = resize(image, (size, size), anti_aliasing=True)
    filters = np.ascontiguousarray(named_dictionary(dictionary)[:atoms], dtype)
    return SparseCoding(high_passed(image).astype(dtype), filters, lam)
