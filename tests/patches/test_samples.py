"""The patches that are trained on: where they lie, and what stands for them."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data.datasets import training_textures
from cscsr.imaging import crop_to_multiple, imresize
from cscsr.patches import samples as module
from cscsr.patches.geometry import feature_matrix, surroundings
from cscsr.patches.samples import ENERGY, draw_samples


def coins() -> np.ndarray:
    return training_textures()["coins"][:60, :50]


@pytest.mark.parametrize("scale", [2, 3])
def test_samples_are_patches_of_the_image_and_of_what_bicubic_lacks(scale, monkeypatch):
    """With one size and all its patches, in one of eight orientations."""
    monkeypatch.setattr(module, "LEVELS", 1)
    samples = draw_samples([coins()], scale, 1, np.random.default_rng(0), progress=False)
    many = draw_samples([coins()], scale, 200, np.random.default_rng(0), progress=False)
    assert len(samples) == 1
    assert 150 < len(many) <= 200
    np.testing.assert_allclose(np.linalg.norm(many.features, axis=1), 1, rtol=1e-5)
    truth = coins() / 255.0
    patches: dict[bytes, np.ndarray] = {}
    for orientation in range(8):
        turned = np.rot90(truth if orientation < 4 else truth.T, orientation)
        turned = crop_to_multiple(np.ascontiguousarray(turned), scale)
        lr = imresize(turned, 1 / scale)
        residual = (turned - imresize(lr, scale)).astype(np.float32)
        around = surroundings(lr.astype(np.float32)).reshape(*lr.shape, -1)
        for row in range(1, lr.shape[0] - 1):
            for column in range(1, lr.shape[1] - 1):
                features = around[row, column] @ many.projection.T
                top, left = scale * (row - 1), scale * (column - 1)
                part = residual[top : top + 3 * scale, left : left + 3 * scale]
                key = np.round(part, 5).tobytes()
                patches[key] = features
    for index in range(0, len(many), 10):
        part = many.residual_patches(np.array([index]))[0] * many.norms[index]
        features = patches[np.round(part, 5).reshape(3 * scale, -1).tobytes()]
        np.testing.assert_allclose(
            many.features[index] * many.norms[index], features, rtol=0, atol=1e-5
        )


def test_features_are_the_principal_components():
    """Their energies are the largest eigenvalues, and the rest is less than 0.1 % of the whole."""
    samples = draw_samples([coins()], 2, 10**6, np.random.default_rng(0), progress=False)
    matrix = feature_matrix(2)
    components = samples.projection @ np.linalg.pinv(matrix)
    np.testing.assert_allclose(components @ components.T, np.eye(len(components)), atol=1e-4)
    features = samples.features * samples.norms[:, None]
    covariance = features.T @ features
    energies = np.diag(covariance)
    assert np.abs(covariance - np.diag(energies)).max() < 2e-3 * energies.max()
    assert (np.diff(energies) < 1e-3 * energies[0]).all()
    assert len(energies) < 40 < len(matrix)
    assert 0.99 < ENERGY < 1


def test_more_patches_than_one_orientation_has_come_from_others():
    rng = np.random.default_rng(0)
    few = draw_samples([coins()], 2, 1000, rng, progress=False)
    many = draw_samples([coins()], 2, 10**6, rng, progress=False)
    assert 900 < len(few) <= 1000
    assert len(many.residuals) == pytest.approx(8 * len(few.residuals), rel=0.01)


def test_same_seed_same_samples():
    first, second = (
        draw_samples([coins()], 3, 500, np.random.default_rng(3), progress=False) for _ in "12"
    )
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.corners, second.corners)


def test_images_that_teach_nothing_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="at least 12x12 pixels, got none"):
        draw_samples([np.zeros((11, 40), np.uint8)], 4, 100, rng, progress=False)
    with pytest.raises(InputError, match="images with contrast"):
        draw_samples([np.full((40, 40), 90, np.uint8)], 2, 100, rng, progress=False)
