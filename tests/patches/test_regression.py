"""Anchors and regressions, against plain computations and planted answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cscsr import InputError
from cscsr.data.datasets import training_textures
from cscsr.patches import regression
from cscsr.patches.regression import (
    anchored_regressors,
    assign,
    largest_places,
    learn_anchors,
)
from cscsr.patches.samples import draw_samples


def directions(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """Random vectors (count,dimensions), float32, of unit norm."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(1, 400), st.integers(1, 30), st.integers(0, 9))
def test_largest_places_are_those_of_a_sort(length, count, seed):
    values = np.random.default_rng(seed).integers(0, 50, length).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regression, "_PROBE", 40)
        places = largest_places(values, count)
    assert len(set(places)) == len(places) == min(count, length)
    np.testing.assert_array_equal(np.sort(values[places]), np.sort(values)[-count:])


def test_largest_places_of_values_that_the_probe_misses():
    """The threshold comes from zeros and lets all through, or from the largest and none."""
    values = np.zeros(1000, np.float32)
    values[::25] = np.arange(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regression, "_PROBE", 40)
        assert set(largest_places(values, 5)) == {875, 900, 925, 950, 975}
        assert set(values[largest_places(np.roll(values, 1), 5) - 1]) == {35, 36, 37, 38, 39}


def test_anchors_find_planted_directions_whatever_the_signs():
    planted = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0].astype(np.float32)
    rng = np.random.default_rng(2)
    choice, signs = rng.integers(8, size=2000), rng.choice([-1, 1], 2000)
    features = signs[:, None] * planted[choice] + 0.05 * rng.standard_normal((2000, 8))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    anchors = learn_anchors(features, 8, 15, np.random.default_rng(0), progress=False)
    agreement = np.abs(anchors @ planted.T)
    assert sorted(agreement.argmax(axis=1)) == list(range(8))
    assert agreement.max(axis=1).min() > 0.999


def test_each_round_represents_the_features_better():
    features = directions(600, 6)
    fits = []
    for rounds in range(6):
        anchors = learn_anchors(features, 20, rounds, np.random.default_rng(0), progress=False)
        np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), 1, rtol=1e-5)
        fits.append(float((np.abs(features @ anchors.T).max(axis=1) ** 2).sum()))
    assert (np.diff(fits) > 0).all()


def test_directions_without_features_are_replaced():
    features = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    anchors = learn_anchors(features, 6, 3, np.random.default_rng(0), progress=False)
    assert np.abs(anchors @ features.T).max(axis=0) == pytest.approx(1)


def test_directions_without_features_become_those_that_are_represented_worst():
    features = np.repeat(np.eye(3, dtype=np.float32), [20, 20, 1], axis=0)
    for seed in range(5):  # of which some draw no anchor near the last, but two near one other
        anchors = learn_anchors(features, 3, 3, np.random.default_rng(seed), progress=False)
        assert np.abs(anchors @ features.T).max(axis=0) == pytest.approx(1)


def test_nearest_anchor_is_that_of_the_largest_product():
    features, anchors = directions(5000, 4), directions(9, 4, seed=1)
    nearest, correlations = assign(features, anchors)
    products = np.abs(anchors @ features.T)
    np.testing.assert_array_equal(nearest, products.argmax(axis=0))
    np.testing.assert_allclose(correlations, products.max(axis=0), rtol=1e-5)


def test_fewer_patches_than_anchors_are_refused():
    with pytest.raises(InputError, match="9 anchors need at least as many"):
        learn_anchors(directions(8, 4), 9, 1, np.random.default_rng(0), progress=False)


@pytest.mark.parametrize("ridge", [0.1, 3.0])
def test_regressors_are_least_squares_on_the_neighbours(ridge):
    """λ as further rows of a least-squares problem, for neighbours found by a sort."""
    rng = np.random.default_rng(0)
    samples = draw_samples([training_textures()["coins"][:60, :50]], 2, 3000, rng, progress=False)
    anchors = directions(3, samples.features.shape[1])
    regressors = anchored_regressors(samples, anchors, 100, ridge, progress=False)
    for anchor, regressor in zip(anchors, regressors, strict=True):
        nearest = np.argsort(-np.abs(samples.features @ anchor))[:100]
        inputs = np.vstack([samples.features[nearest], np.sqrt(ridge) * np.eye(len(anchor))])
        targets = np.vstack([samples.residual_patches(nearest), np.zeros((len(anchor), 36))])
        expected = np.linalg.lstsq(inputs, targets, rcond=None)[0].T
        np.testing.assert_allclose(regressor, expected, rtol=0, atol=1e-4)
