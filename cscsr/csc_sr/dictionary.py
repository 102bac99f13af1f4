"""Low-resolution filters of CSC-SR, learned by sporco's online dictionary learning.

sporco is imported when filters are learned, not when they are used.
"""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from cscsr.errors import InputError

FLAT = 0.15
"""Patches of a smaller ℓ2 norm are too flat to start filters from."""

CODING_ITERATIONS = 25
RHO = 10.0
"""ADMM of each coding step: iterations from zero, and its penalty at the start."""


def learn_filters(
    tiles: np.ndarray,
    atoms: int,
    size: int,
    lam: float,
    steps: int,
    step_size: float,
    rng: np.random.Generator,
    progress: bool = True,
) -> np.ndarray:
    """Learn unit-norm filters for residuals like `tiles`.

    Solves min over f, z of Σₖ ½‖yₖ − Σᵢ fᵢ⊗zᵢₖ‖² + λ‖zₖ‖₁ with ‖fᵢ‖ ≤ 1 by the stochastic
    gradient method of `sporco.dictlrn.onlinecdl`: each step codes one tile and moves the filters
    against the gradient. It starts at patches drawn from the tiles; from noise it takes many
    times the steps to get as far.

    Parameters
    ----------
    tiles
        (K,h,w), of at least the filters' size.
    atoms
        The number of filters.
    size
        Their side.
    lam
        λ, on the tiles' scale.
    steps
        Tiles coded.
    step_size
        η of the first step; it falls as 1/(1 + j/steps).
    rng
        The source of all draws.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        (atoms, size, size), float32.

    Raises
    ------
    InputError
        If too few patches have contrast to begin with.

    References
    ----------
    Liu et al., "First- and second-order methods for online convolutional dictionary learning",
    SIAM Journal on Imaging Sciences, 2018.
    """
    from sporco.dictlrn.onlinecdl import OnlineConvBPDNDictLearn

    from cscsr.sparse.sporco import quick_plans

    options = OnlineConvBPDNDictLearn.Options(
        {
            "Verbose": False,
            "DataType": np.float32,
            "eta_a": step_size * steps,
            "eta_b": float(steps),
            "CBPDN": {
                "MaxMainIter": CODING_ITERATIONS,
                "rho": RHO,
                "AutoRho": {"Enabled": False},
                "DataType": np.float32,
            },
        }
    )
    first = draw_patches(tiles, atoms, size, rng)
    learner = OnlineConvBPDNDictLearn(first.transpose(1, 2, 0), lam, options)
    with quick_plans():  # measured plans differ from run to run, and so would the last bits
        for _ in tqdm(range(steps), "filters", disable=not progress):
            learner.solve(tiles[rng.integers(len(tiles))].astype(np.float32))
    filters = learner.getdict().reshape(size, size, atoms).transpose(2, 0, 1)
    norms = np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    return np.ascontiguousarray(filters / norms, dtype=np.float32)


def draw_patches(tiles: np.ndarray, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw patches of tiles at random and scale them to unit norm.

    Parameters
    ----------
    tiles
        (K,h,w).
    count
        The number of patches.
    size
        Their side.
    rng
        The source of the draws.

    Returns
    -------
    np.ndarray
        (count, size, size), float32.

    Raises
    ------
    InputError
        If hardly any patch has an ℓ2 norm above `FLAT`.
    """
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
    raise InputError(
        f"learning {count} filters needs images with contrast, but only {len(patches)} "
        f"patches with an l2 norm above {FLAT} were found."
    )
