"""Features and overlapping patches, against plain filters and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate

from cscsr.imaging import imresize
from cscsr.patches.geometry import (
    RADIUS,
    feature_matrix,
    mean_of_patches,
    surroundings,
)

SCALES = (2, 3, 4)


def filtered(enlarged: np.ndarray, scale: int) -> list[np.ndarray]:
    """The four derivatives of an enlarged image by scipy, of its size."""
    zeros = [0.0] * (scale - 1)
    first = np.array([[-1.0, *zeros, 0.0, *zeros, 1.0]])
    second = np.array([[0.5, *zeros, -1.0, *zeros, 0.5]])
    return [correlate(enlarged, kernel) for kernel in (first, first.T, second, second.T)]


@pytest.mark.parametrize("scale", SCALES)
def test_features_are_derivatives_of_the_bicubic_image(scale):
    lr = np.random.default_rng(0).random((16, 15))
    responses = filtered(imresize(lr, scale), scale)
    features = surroundings(lr).reshape(16, 15, -1) @ feature_matrix(scale).T
    for row, column in ((RADIUS, RADIUS), (8, 7), (15 - RADIUS, 10)):
        patch = (
            slice(scale * (row - 1), scale * (row + 2)),
            slice(scale * (column - 1), scale * (column + 2)),
        )
        expected = np.concatenate([response[patch].ravel() for response in responses])
        np.testing.assert_allclose(features[row, column], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_features_of_a_flat_patch_are_zero(scale):
    np.testing.assert_allclose(feature_matrix(scale).sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_overlapping_patches_are_averaged(scale):
    rng = np.random.default_rng(1)
    height, width = 4, 3
    patches = rng.random(((height + 2) * (width + 2), 9 * scale**2))
    total = np.zeros((scale * (height + 4), scale * (width + 4)))
    count = np.zeros_like(total)
    for index, patch in enumerate(patches):
        row, column = (scale * n for n in divmod(index, width + 2))
        part = slice(row, row + 3 * scale), slice(column, column + 3 * scale)
        total[part] += patch.reshape(3 * scale, 3 * scale)
        count[part] += 1
    inside = slice(2 * scale, -2 * scale)
    assert (count[inside, inside] == 9).all()
    np.testing.assert_allclose(
        mean_of_patches(patches, height, width, scale), (total / count.clip(1))[inside, inside]
    )
