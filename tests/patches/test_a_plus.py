"""A+ as a solver: its equation patch by patch, its halo, its files, its place in the lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

import cscsr
from cscsr import APlus, InputError, SuperResolution, weights
from cscsr.cli import main
from cscsr.imaging import imresize, rgb_to_ycbcr
from cscsr.patches.a_plus import AnchoredScale
from cscsr.patches.geometry import feature_matrix
from cscsr.patches.weight_file import read_weights
from cscsr.published_weights import CACHE_VARIABLE
from cscsr.registry import is_builtin, published_method, solver_family
from cscsr.testing import CHECKS
from cscsr.tiles import tiles
from cscsr.trained_weights import trained_path

A_PLUS = AnchoredScale.KIND
SCALES = (2, 3, 4)


def read_a_plus(path: str):
    return read_weights(AnchoredScale, path)


def photo(height: int = 17, width: int = 14, channels: int | None = None) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(0).random(shape)


def patch_by_patch(lr: np.ndarray, scale: int, trained) -> np.ndarray:
    """A+ as the paper states it: derivatives of the enlarged image, nearest anchor, mean."""
    margin = 8
    continued = np.pad(lr, margin, mode="edge")
    enlarged = imresize(continued, scale)
    zeros = [0.0] * (scale - 1)
    first = np.array([[-1.0, *zeros, 0.0, *zeros, 1.0]])
    second = np.array([[0.5, *zeros, -1.0, *zeros, 0.5]])
    responses = [correlate(enlarged, kernel) for kernel in (first, first.T, second, second.T)]
    components = trained.projection.astype(float) @ np.linalg.pinv(feature_matrix(scale))
    total, count = np.zeros_like(enlarged), np.zeros_like(enlarged)
    for row in range(margin - 1, margin + lr.shape[0] + 1):
        for column in range(margin - 1, margin + lr.shape[1] + 1):
            part = (
                slice(scale * (row - 1), scale * (row + 2)),
                slice(scale * (column - 1), scale * (column + 2)),
            )
            derivatives = np.concatenate([response[part].ravel() for response in responses])
            features = components @ derivatives
            anchor = np.argmax(np.abs(trained.anchors.astype(float) @ features))
            patch = trained.regressors[anchor].astype(float) @ features
            total[part] += patch.reshape(3 * scale, 3 * scale)
            count[part] += 1
    inside = slice(scale * margin, -scale * margin)
    return (enlarged + total / count.clip(1))[inside, inside]


@pytest.mark.parametrize("scale", SCALES)
def test_a_plus_is_its_equation_patch_by_patch(scale, a_plus_file):
    lr = photo()
    estimate = APlus(weights=a_plus_file).solve(SuperResolution(lr, scale)).estimate
    expected = patch_by_patch(lr, scale, read_a_plus(a_plus_file)[scale])
    assert np.abs(expected - imresize(lr, scale)).max() > 0.1
    np.testing.assert_allclose(estimate, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", SCALES)
def test_halo_is_as_far_as_a_pixel_acts(scale, a_plus_file):
    solver = APlus(weights=a_plus_file)
    halo, centre = solver.halo(scale), 12
    lr = np.full((25, 25), 0.5)
    changed = lr.copy()
    changed[centre, centre] += 0.25
    before, after = (
        solver.solve(SuperResolution(image, scale)).estimate for image in (lr, changed)
    )
    rows, columns = np.nonzero(np.abs(after - before) > 1e-12)
    for places in (rows, columns):
        assert places.min() // scale == centre - halo
        assert places.max() // scale == centre + halo


def test_parts_with_their_halo_are_the_parts_of_the_whole(a_plus_file):
    solver, scale = APlus(weights=a_plus_file), 3
    lr = photo(30, 26)
    whole = solver.solve(SuperResolution(lr, scale)).estimate
    for row in tiles(*lr.shape, 9, solver.halo(scale)):
        for tile in row:
            part = solver.solve(SuperResolution(lr[tile.window], scale)).estimate
            np.testing.assert_allclose(
                part[tile.inside(scale)], whole[tile.target(scale)], rtol=0, atol=1e-12
            )


@pytest.mark.parametrize("rule", CHECKS)
def test_a_plus_keeps_the_contract(rule, a_plus_file):
    CHECKS[rule](APlus(weights=a_plus_file))


def test_colour_is_a_plus_on_luma_and_bicubic_on_chroma(a_plus_file):
    lr = photo(channels=3)
    solver = APlus(weights=a_plus_file)
    ours = rgb_to_ycbcr(solver.solve(SuperResolution(lr, 2)).estimate)
    ycbcr = rgb_to_ycbcr(lr)
    grey = solver.solve(SuperResolution(ycbcr[..., 0], 2)).estimate
    np.testing.assert_allclose(ours[..., 0], grey, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours[..., 1:], imresize(ycbcr, 2)[..., 1:], rtol=0, atol=1e-10)


def test_tensors_come_back_as_tensors(a_plus_file):
    lr = torch.from_numpy(photo()).float()
    estimate = APlus(weights=a_plus_file).solve(SuperResolution(lr, 2)).estimate
    assert isinstance(estimate, torch.Tensor)
    assert estimate.dtype == torch.float32


def test_smallest_image_and_unknown_scale(a_plus_file):
    solver = APlus(weights=a_plus_file)
    flat = solver.solve(SuperResolution(np.full((1, 1), 0.5), 2)).estimate
    np.testing.assert_allclose(flat, 0.5)
    with pytest.raises(InputError, match="a-plus was trained for ×2, ×3, ×4, not for ×5"):
        solver.solve(SuperResolution(photo(), 5))


def test_operations_are_those_of_the_products(a_plus_file):
    trained = read_a_plus(a_plus_file)[3]
    patches, bicubic = 19 * 16, 4 * (3 * 17 * 14 + 9 * 17 * 14)
    products = sum(
        array.size for array in (trained.projection, trained.anchors, trained.regressors[0])
    )
    counted = APlus(weights=a_plus_file).operations(SuperResolution(photo(), 3))
    assert counted == patches * products + bicubic


def test_the_solver_exists_once_its_weights_are_made(tmp_path, monkeypatch, capsys, write_a_plus):
    """Without them there is one sentence, which says the command."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert A_PLUS not in cscsr.list_solvers("SuperResolution")
    with pytest.raises(InputError, match="'cscsr train a-plus --data DIR' makes them"):
        cscsr.make_solver(A_PLUS)
    assert main(["compare", "--datasets", "demo", "--solvers", A_PLUS]) == 2
    assert "'cscsr train a-plus --data DIR'" in capsys.readouterr().err
    assert not is_builtin(A_PLUS)
    assert solver_family(A_PLUS) == "classical"
    assert published_method(A_PLUS) == ("A+", True)
    elsewhere = write_a_plus(tmp_path / "elsewhere.safetensors")
    assert cscsr.make_solver(A_PLUS, weights=str(elsewhere)).name == A_PLUS

    path = write_a_plus(trained_path(A_PLUS))
    assert A_PLUS in cscsr.list_solvers("SuperResolution")
    solver = cscsr.make_solver(A_PLUS)
    assert solver.name == A_PLUS
    assert solver.weights_sha256() == weights.sha256(path)
    assert solver.solve(SuperResolution(photo(), 2)).estimate.shape == (34, 28)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "csc-sr"}, "expected weights of a-plus"),
        ({"scales": {}}, "scales should not be empty"),
        ({"scales": {"0": {}}}, "whole number from 1 to 16, got '0'"),
        ({"scales": {"2": {"patches": "many"}}}, "patches should be a whole number"),
        ({"scales": {"2": {}}}, "holds a tensor anchors_x3 that its metadata do not ask for"),
        ({"scales": {"2": {}, "3": {}, "4": {}, "5": {}}}, "lacks the tensor anchors_x5"),
        ({"seed": -0.5}, "seed should be a whole number"),
    ],
)
def test_a_weight_file_with_other_metadata_is_one_sentence(change, sentence, a_plus_file, tmp_path):
    tensors, metadata = weights.load(a_plus_file)
    path = tmp_path / "other.safetensors"
    weights.write(path, tensors, {**metadata, **change})
    with pytest.raises(InputError, match=sentence):
        APlus(weights=str(path)).supports(SuperResolution(photo(), 2))


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        ("projection_x2", (5, 80)),
        ("projection_x2", (4, 81)),
        ("anchors_x3", (7,)),
        ("anchors_x3", (6, 5)),
        ("regressors_x4", (7, 143, 5)),
    ],
)
def test_tensors_that_do_not_fit_are_one_sentence(tensor, shape, a_plus_file, tmp_path):
    tensors, metadata = weights.load(a_plus_file)
    path = tmp_path / "other.safetensors"
    weights.write(path, {**tensors, tensor: np.zeros(shape, np.float32)}, metadata)
    with pytest.raises(InputError, match=r"should have the shape|lacks the tensor"):
        read_a_plus(str(path))
