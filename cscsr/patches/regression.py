"""The two fits of A+: anchors among the features, and a ridge regression around each.

Needs numpy, scipy and tqdm.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from tqdm import tqdm

from cscsr.errors import InputError
from cscsr.patches.geometry import patch_elements
from cscsr.patches.samples import Samples

ANCHOR_SAMPLES = 100_000
"""The number of features that anchors are learned from."""

_BLOCK = 8
"""Anchors whose correlations with all features are in memory at a time."""

_PROBE = 100_000
"""About how many correlations the threshold of an anchor's neighbours is estimated from."""


def learn_anchors(
    features: np.ndarray, count: int, rounds: int, rng: np.random.Generator, progress: bool = True
) -> np.ndarray:
    """Learn directions of unit norm such that each feature is near a multiple of one of them.

    K-SVD with one atom per signal (Aharon et al. 2006), for features of unit norm:
    maximises Σᵢ maxₖ ⟨dₖ, yᵢ⟩². A round assigns each feature to the direction with the largest
    |⟨dₖ, yᵢ⟩|, and then takes as direction the first singular vector of the features assigned to
    it, so the sum never falls. A direction without features becomes the one of the features that is
    farthest from all directions.

    Parameters
    ----------
    features
        (n,d), float32, of unit norm.
    count
        K, the number of directions.
    rounds
        The number of rounds.
    rng
        The source of the first directions, which are drawn from the features.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        (K,d), float32.

    Raises
    ------
    InputError
        For fewer features than directions.
    """
    if len(features) < count:
        raise InputError(
            f"{count} anchors need at least as many patches with contrast, got {len(features)}; "
            "take fewer anchors or more images."
        )
    anchors = features[rng.choice(len(features), count, replace=False)].copy()
    for _ in tqdm(range(rounds), "anchors", disable=not progress, leave=False):
        nearest, correlations = assign(features, anchors)
        order = np.argsort(nearest, kind="stable")
        bounds = np.searchsorted(nearest[order], np.arange(count + 1))
        scatters = np.zeros((count, features.shape[1], features.shape[1]))
        for k in range(count):
            members = features[order[bounds[k] : bounds[k + 1]]]
            scatters[k] = members.T @ members
        anchors = np.linalg.eigh(scatters)[1][:, :, -1].astype(np.float32)
        empty = np.flatnonzero(bounds[1:] == bounds[:-1])
        anchors[empty] = features[np.argsort(correlations, kind="stable")[: len(empty)]]
    return anchors


def assign(features: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each feature the anchor of the largest |⟨dₖ, y⟩|, and that value.

    Parameters
    ----------
    features
        (n,d).
    anchors
        (K,d), of unit norm.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        (n,), the indices of anchors, and (n,).
    """
    nearest = np.empty(len(features), np.int64)
    largest = np.empty(len(features), features.dtype)
    for begin in range(0, len(features), 4096):
        block = slice(begin, begin + 4096)
        correlations = np.abs(features[block] @ anchors.T)
        nearest[block] = correlations.argmax(axis=1)
        largest[block] = np.take_along_axis(correlations, nearest[block, None], axis=1)[:, 0]
    return nearest, largest


def anchored_regressors(
    samples: Samples, anchors: np.ndarray, neighbours: int, ridge: float, progress: bool = True
) -> np.ndarray:
    """Return the regressions from features to residual patches, one per anchor.

    With Y the neighbourhood of an anchor, the features of the largest |⟨d, y⟩|, and X what is
    missing there in the bicubic image, P = X Yᵀ (Y Yᵀ + λ I)⁻¹ (Timofte et al. 2014). A feature
    and its residual may both change sign without changing P.

    Parameters
    ----------
    samples
        The patches to learn from.
    anchors
        (K,d), of unit norm.
    neighbours
        The size of a neighbourhood; all samples where there are fewer.
    ridge
        λ, for features of unit norm.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        (K,(3s)²,d), float32.
    """
    features = samples.features
    dimensions = features.shape[1]
    penalty = ridge * np.eye(dimensions)
    regressors = np.zeros((len(anchors), patch_elements(samples.scale), dimensions), np.float32)
    with tqdm(total=len(anchors), desc="regressors", disable=not progress, leave=False) as bar:
        for begin in range(0, len(anchors), _BLOCK):
            correlations = anchors[begin : begin + _BLOCK] @ features.T
            for k, row in enumerate(np.abs(correlations, out=correlations), begin):
                nearest = largest_places(row, neighbours)
                inputs = features[nearest].astype(np.float64)
                targets = samples.residual_patches(nearest)
                factor = cho_factor(inputs.T @ inputs + penalty)
                regressors[k] = cho_solve(factor, inputs.T @ targets).T
                bar.update()
    return regressors


def largest_places(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the `count` largest of many values, in no order; all if there are fewer.

    A threshold from every k-th value leaves few candidates, which are then partitioned: the
    answer is exact, several times faster than a partition of all.

    Parameters
    ----------
    values
        (n,).
    count
        At least 1.
    """
    if len(values) <= count:
        return np.arange(len(values))
    probe = values[:: max(1, len(values) // _PROBE)]
    expected = 1.3 * count * len(probe) / len(values) + 20
    candidates = np.arange(len(values))
    if expected < len(probe):
        threshold = np.partition(probe, -int(expected))[-int(expected)]
        above = np.flatnonzero(values >= threshold)
        candidates = above if len(above) >= count else candidates
    best = np.argpartition(values[candidates], -count)[-count:]
    return candidates[best]
