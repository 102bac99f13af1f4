"""LR filters by sporco's online dictionary learning, from which the shipped maps were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cscsr import InputError, weights
from cscsr.csc_sr.options import Options
from cscsr.csc_sr.train import filter_tiles
from cscsr.csc_sr.weight_file import KIND
from cscsr.output import make_folder
from cscsr.sparse.sporco import quick_plans

FLAT = 0.15
"""Patches of a smaller ℓ2 norm are too flat to start filters from."""

STEP_SIZE = 0.5
"""η of the first step; it falls as 1/(1 + j/steps)."""

CODING_ITERATIONS = 25
RHO = 10.0
"""ADMM of each coding step: iterations from zero, and its penalty at the start."""


def sporco_filters(data: str | Path, options: Options, seed: int = 0) -> np.ndarray:
    """Filters (N,s,s), float32, of unit norm, by the stochastic gradient method of Liu et al.
    (2018): each of `options.filter_steps` steps codes one tile and moves the filters against the
    gradient. It starts at patches of the tiles. Raises InputError for missing data, and images that
    are too small or flat."""
    from sporco.dictlrn.onlinecdl import OnlineConvBPDNDictLearn

    rng = np.random.default_rng(seed)
    tiles = filter_tiles(data, rng)
    steps, size = options.filter_steps, options.filter_size
    coding = {
        "MaxMainIter": CODING_ITERATIONS,
        "rho": RHO,
        "AutoRho": {"Enabled": False},
        "DataType": np.float32,
    }
    settings = {
        "Verbose": False,
        "DataType": np.float32,
        "eta_a": STEP_SIZE * steps,
        "eta_b": float(steps),
        "CBPDN": coding,
    }
    first = first_patches(tiles, options.atoms, size, rng).transpose(1, 2, 0)
    learner = OnlineConvBPDNDictLearn(
        first, options.filter_lam, OnlineConvBPDNDictLearn.Options(settings)
    )
    with quick_plans():  # measured plans differ from run to run, and so would the last bits
        for _ in range(steps):
            learner.solve(tiles[rng.integers(len(tiles))])
    filters = learner.getdict().reshape(size, size, options.atoms).transpose(2, 0, 1)
    norms = np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    return np.ascontiguousarray(filters / norms, dtype=np.float32)


def first_patches(tiles: np.ndarray, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Patches (count,s,s) of unit norm of tiles (K,h,w) at random places with contrast."""
    patches: list[np.ndarray] = []
    rows, columns = tiles.shape[1] - size + 1, tiles.shape[2] - size + 1
    for _ in range(1000 * count):
        tile = tiles[rng.integers(len(tiles))]
        top, left = rng.integers(rows), rng.integers(columns)
        patch = tile[top : top + size, left : left + size]
        norm = np.linalg.norm(patch)
        if norm > FLAT:
            patches.append(patch / norm)
        if len(patches) == count:
            return np.stack(patches).astype(np.float32)
    raise InputError(f"learning {count} filters needs images with contrast.")


def write_filters(path: Path, filters: np.ndarray) -> str:
    """Write filters as weights that `cscsr train csc-sr --filters` takes; returns the path."""
    make_folder(path.parent)
    weights.write(path, {"filters": filters}, {"kind": KIND})
    return str(path)
