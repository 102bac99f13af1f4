"""ScSR as a solver: its equation patch by patch, back-projection, halo, and its files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate

import cscsr
from cscsr import InputError, ScSR, SuperResolution, weights
from cscsr.imaging import imresize
from cscsr.imaging.back_projection import back_projected
from cscsr.patches.geometry import feature_matrix
from cscsr.patches.scsr import CoupledScale
from cscsr.patches.weight_file import read_weights
from cscsr.published_weights import CACHE_VARIABLE
from cscsr.registry import published_method, solver_family
from cscsr.testing import CHECKS
from cscsr.tiles import tiles

SCALES = (2, 3, 4)


def photo(height: int = 11, width: int = 9) -> np.ndarray:
    return np.random.default_rng(0).random((height, width))


def coded(signal: np.ndarray, dictionary: np.ndarray, lam: float) -> np.ndarray:
    """The lasso of one signal by plain coordinate descent."""
    codes = np.zeros(len(dictionary))
    squares = (dictionary**2).sum(axis=1)
    for _ in range(400):
        for k, atom in enumerate(dictionary):
            product = atom @ (signal - codes @ dictionary) + squares[k] * codes[k]
            codes[k] = np.sign(product) * max(abs(product) - lam, 0) / squares[k]
    return codes


def patch_by_patch(lr: np.ndarray, scale: int, trained, lam: float) -> np.ndarray:
    """ScSR without back-projection as the paper states it, one patch after the other."""
    margin = 8
    enlarged = imresize(np.pad(lr, margin, mode="edge"), scale)
    zeros = [0.0] * (scale - 1)
    first = np.array([[-1.0, *zeros, 0.0, *zeros, 1.0]])
    second = np.array([[0.5, *zeros, -1.0, *zeros, 0.5]])
    responses = [correlate(enlarged, kernel) for kernel in (first, first.T, second, second.T)]
    components = trained.projection.astype(float) @ np.linalg.pinv(feature_matrix(scale))
    total, count = np.zeros_like(enlarged), np.zeros_like(enlarged)
    for row in range(margin - 1, margin + lr.shape[0] + 1):
        for column in range(margin - 1, margin + lr.shape[1] + 1):
            top, left = scale * (row - 1), scale * (column - 1)
            part = slice(top, top + 3 * scale), slice(left, left + 3 * scale)
            features = components @ np.concatenate([each[part].ravel() for each in responses])
            norm = np.linalg.norm(features)
            codes = coded(features / norm, trained.low.astype(float), lam)
            patch = norm * (codes @ trained.high.astype(float))
            total[part] += patch.reshape(3 * scale, 3 * scale)
            count[part] += 1
    inside = slice(scale * margin, -scale * margin)
    return (enlarged + total / count.clip(1))[inside, inside]


def test_scsr_is_its_equation_patch_by_patch(scsr_file):
    lr = photo(4, 3)
    solver = ScSR(weights=scsr_file, lam=0.3, back_projections=0)
    estimate = solver.solve(SuperResolution(lr, 2)).estimate
    expected = patch_by_patch(lr, 2, read_weights(CoupledScale, scsr_file)[2], 0.3)
    assert np.abs(expected - imresize(lr, 2)).max() > 0.1
    np.testing.assert_allclose(estimate, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_back_projection_brings_the_estimate_to_the_input(scale):
    rng = np.random.default_rng(0)
    lr = rng.random((12, 10))
    estimate = imresize(lr, scale) + 0.1 * rng.standard_normal((12 * scale, 10 * scale))
    distances = [
        np.abs(imresize(back_projected(estimate, lr, scale, steps), 1 / scale) - lr).max()
        for steps in (0, 1, 3, 60)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3 * distances[0]
    once = estimate + imresize(lr - imresize(estimate, 1 / scale), scale)
    np.testing.assert_allclose(back_projected(estimate, lr, scale, 1), once)


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("scale", SCALES)
def test_halo_is_as_far_as_a_pixel_acts(scale, steps, scsr_file):
    solver = ScSR(weights=scsr_file, back_projections=steps)
    halo, centre = solver.halo(scale), 15
    assert halo == 5 + 4 * steps
    lr = np.full((31, 31), 0.5)
    changed = lr.copy()
    changed[centre, centre] += 0.25
    before, after = (
        solver.solve(SuperResolution(image, scale)).estimate for image in (lr, changed)
    )
    rows, columns = np.nonzero(np.abs(after - before) > 1e-13)
    for places in (rows, columns):
        assert places.min() // scale == centre - halo
        assert places.max() // scale == centre + halo


def test_parts_with_their_halo_are_the_parts_of_the_whole(scsr_file):
    solver, scale = ScSR(weights=scsr_file, back_projections=1), 2
    lr = photo(40, 36)
    whole = solver.solve(SuperResolution(lr, scale)).estimate
    for row in tiles(*lr.shape, 12, solver.halo(scale)):
        for tile in row:
            part = solver.solve(SuperResolution(lr[tile.window], scale)).estimate
            np.testing.assert_allclose(
                part[tile.inside(scale)], whole[tile.target(scale)], rtol=0, atol=1e-6
            )


@pytest.mark.parametrize("rule", CHECKS)
def test_scsr_keeps_the_contract(rule, scsr_file):
    CHECKS[rule](ScSR(weights=scsr_file))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"lam": 0.0}, r"lam should be in \[0.01, 1\], got 0.0"),
        ({"lam": 1e-9}, r"lam should be in \[0.01, 1\], got 1e-09"),
        ({"lam": "0.1"}, "lam should be a number"),
        ({"back_projections": -1}, r"back_projections should be in \[0, 100\], got -1"),
    ],
)
def test_parameters_out_of_range_are_one_sentence(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        ScSR(**parameters)


def test_the_solver_exists_once_its_weights_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert "scsr" not in cscsr.list_solvers("SuperResolution")
    with pytest.raises(InputError, match="'cscsr train scsr --data DIR' makes them"):
        cscsr.make_solver("scsr")
    assert solver_family("scsr") == "classical"
    assert published_method("scsr") == ("ScSR", True)


def test_weights_of_the_other_method_are_one_sentence(a_plus_file, scsr_file, tmp_path):
    with pytest.raises(InputError, match=r"expected weights of scsr in .*, got weights of a-plus"):
        ScSR(weights=a_plus_file).supports(SuperResolution(photo(), 2))
    tensors, metadata = weights.load(scsr_file)
    path = tmp_path / "other.safetensors"
    weights.write(path, {**tensors, "high_x3": np.zeros((7, 80), np.float32)}, metadata)
    with pytest.raises(InputError, match=r"high_x3 .* should have the shape \(7, 81\)"):
        ScSR(weights=str(path)).supports(SuperResolution(photo(), 2))
