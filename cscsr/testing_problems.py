"""The small problems on which `cscsr.testing` tries a solver. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from cscsr.contract import Problem
from cscsr.problem import SparseCoding
from cscsr.solver import Solver
from cscsr.super_resolution import SuperResolution

SCALES = (2, 3, 4)
"""The scales at which a solver of `SuperResolution` is tried."""


def image(height: int, width: int, channels: int | None = None) -> np.ndarray:
    """Return a smooth shape with an edge in it, (H,W) or (H,W,3), in [0.1, 0.9], float32."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    grey = 0.5 + 0.2 * np.sin(rows / 3) * np.cos(columns / 4) + 0.2 * (columns > width / 2)
    if channels is None:
        return grey.astype(np.float32)
    return np.stack([grey, 0.9 * grey, 1 - grey], axis=2).astype(np.float32)


def sparse_arrays(solver: Solver, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """Return a signal (C,14,12) of noise and a dictionary that the solver supports: five random
    atoms of 3×3 and unit norm, or its own `dictionary()` where it is bound to one."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((1, 14, 12))
    dictionary = rng.standard_normal((5, 1, 3, 3))
    dictionary /= np.sqrt((dictionary**2).sum((1, 2, 3), keepdims=True))
    own = getattr(solver, "dictionary", None)
    if callable(own) and solver.supports(SparseCoding(signal, dictionary, 0.2)) is not None:
        dictionary = np.asarray(own())
        signal = rng.standard_normal((dictionary.shape[1], 14, 12))
    return signal.astype(dtype), dictionary.astype(dtype)


def problem_for(
    solver: Solver, kind: str = "numpy", dtype: str | None = None, channels: int | None = None
) -> Problem:
    """Return a new small problem of the solver's type.

    Parameters
    ----------
    solver
        The solver.
    kind
        "numpy" or "torch".
    dtype
        "float32" or "float64"; None: that of the arrays as they are made, float64 for sparse
        coding and float32 for images.
    channels
        3 for a colour image.
    """
    arrays: tuple[np.ndarray, ...]
    if solver.problem_type is SparseCoding:
        arrays = sparse_arrays(solver)
    else:
        arrays = (image(24, 20, channels),)
    converted = [_of_kind(array.astype(dtype or array.dtype), kind) for array in arrays]
    if solver.problem_type is SparseCoding:
        signal, dictionary = converted
        return SparseCoding(signal, dictionary, 0.2)
    return SuperResolution(converted[0], scale_of(solver, channels))


def scale_of(solver: Solver, channels: int | None = None) -> int:
    """The first of `SCALES` that the solver supports."""
    for scale in SCALES:
        if solver.supports(SuperResolution(image(24, 20, channels), scale)) is None:
            return scale
    return SCALES[0]


def _of_kind(array: np.ndarray, kind: str) -> Any:
    return torch.from_numpy(array) if kind == "torch" else array


def variants(solver: Solver) -> Iterator[tuple[str, Problem]]:
    """Problems of every kind, with a name each."""
    colours = (None,) if solver.problem_type is SparseCoding else (None, 3)
    for kind in ("numpy", "torch"):
        for dtype in ("float32", "float64"):
            for channels in colours:
                name = f"{kind}, {dtype}{', colour' if channels else ''}"
                yield name, problem_for(solver, kind, dtype, channels)
