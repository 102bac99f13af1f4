"""The coupled dictionaries of ScSR, learned jointly. Needs numpy, scipy and tqdm."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from cscsr.errors import InputError
from cscsr.patches.lasso import lasso_codes
from cscsr.patches.samples import Samples

BATCH = 1000
"""Patches that are coded in a step."""

FORGETTING = 2.0
"""The weight of step t among all steps falls as (t/T)^FORGETTING: codes of early dictionaries are
worth little."""


def learn_coupled(
    samples: Samples, atoms: int, lam: float, steps: int, rng: np.random.Generator, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Learn two dictionaries in which a patch has the same codes.

    Minimises over Dₗ, Dₕ and α the mean of ½‖z − Dα‖² + λ‖α‖₁ with z = [y; w x]/√2 and
    D = [Dₗ; w Dₕ]/√2, whose atoms have unit norm (Yang et al. 2010, joint dictionary training),
    where y are the features of a patch, x what is missing there in the bicubic image, and w makes
    both equally large. By online dictionary learning (Mairal et al. 2010, Algorithms 1 and 2).

    Parameters
    ----------
    samples
        The patches.
    atoms
        K.
    lam
        λ.
    steps
        Steps of `BATCH` patches each.
    rng
        The source of all draws; the first atoms are patches.
    progress
        Whether to show a progress bar.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        Dₗ (K,d) and Dₕ (K,(3s)²), float32.

    Raises
    ------
    InputError
        For fewer patches than atoms.
    """
    if len(samples) < atoms:
        raise InputError(
            f"{atoms} atoms need at least as many patches with contrast, got {len(samples)}; "
            "take fewer atoms or more images."
        )
    some = rng.choice(len(samples), min(len(samples), 100_000), replace=False)
    square = float((samples.residual_patches(some) ** 2).sum(axis=1).mean())
    weight = 1 / np.sqrt(max(square, np.finfo(float).tiny))

    def joint(indices: np.ndarray) -> np.ndarray:
        features, residuals = samples.features[indices], samples.residual_patches(indices)
        return np.hstack([features, weight * residuals]).astype(np.float64) / np.sqrt(2)

    dictionary = joint(rng.choice(len(samples), atoms, replace=False))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    moments = np.zeros((atoms, atoms))
    products = np.zeros((atoms, dictionary.shape[1]))
    batch = min(BATCH, len(samples))
    for step in tqdm(range(1, steps + 1), "dictionaries", disable=not progress, leave=False):
        signals = joint(rng.choice(len(samples), batch, replace=False))
        codes = lasso_codes(signals, dictionary, lam).toarray()
        remembered = (1 - 1 / step) ** FORGETTING
        moments = remembered * moments + codes.T @ codes
        products = remembered * products + codes.T @ signals
        improve(dictionary, moments, products)
    dimensions = samples.features.shape[1]
    dictionary *= np.sqrt(2)
    low, high = dictionary[:, :dimensions], dictionary[:, dimensions:] / weight
    return low.astype(np.float32), high.astype(np.float32)


def improve(dictionary: np.ndarray, moments: np.ndarray, products: np.ndarray) -> None:
    """Move each atom in turn to its best place of unit norm, the others fixed.

    Minimises ½tr(DᵀA D) − tr(DᵀB) by block coordinate descent (Mairal et al. 2010, Algorithm 2).

    Parameters
    ----------
    dictionary
        D, (K,n), an atom a row; changed in place.
    moments
        A, (K,K), the sum of ααᵀ.
    products
        B, (K,n), the sum of αzᵀ.
    """
    for k in np.flatnonzero(moments.diagonal() > 1e-9):
        atom = dictionary[k] + (products[k] - moments[k] @ dictionary) / moments[k, k]
        norm = np.linalg.norm(atom)
        if norm > 0:
            dictionary[k] = atom / norm
