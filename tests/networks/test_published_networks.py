"""VDSR, SCN, LapSRN, CARN-M and IMDN: the counts of their papers, and their equations by numpy.

The counts are published ones: parameters, and multiply-adds for an output of 1280×720 pixels, by
which CARN's paper and those after it compare networks.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from cscsr import InputError
from cscsr.networks import blueprint, build

_spec = importlib.util.spec_from_file_location("by_numpy", Path(__file__).with_name("by_numpy.py"))
assert _spec is not None
assert _spec.loader is not None
by_numpy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(by_numpy)
layer, leaky, relu, shuffled = by_numpy.layer, by_numpy.leaky, by_numpy.relu, by_numpy.shuffled
output_of, random_network = by_numpy.output_of, by_numpy.random_network
tensors_of, transposed = by_numpy.tensors_of, by_numpy.transposed


def counted(name: str, scales: tuple[int, ...]) -> tuple[int, int]:
    """Weights and biases; SCN's 25 factors of pixels are among the latter."""
    network = blueprint(name, {"scales": scales})
    sizes = {True: 0, False: 0}
    for parameter in network.parameters():
        sizes[parameter.ndim == 4] += parameter.numel()
    return sizes[True], sizes[False]


@pytest.mark.parametrize(
    ("name", "scales", "weights", "biases", "published"),
    [
        # 3·3·(64 + 18·64·64 + 64), "665K"
        ("vdsr", (2, 3, 4), 664_704, 19 * 64 + 1, "665K"),
        # 9·9·100 + 100·128 + 128·128 + 128·25 for a stage
        ("scn", (2,), 40_484, 25, None),
        ("scn", (2, 3, 4), 2 * 40_484, 2 * 25, None),
        # the paper counts no biases
        ("lapsrn", (4,), 812_768, 1_474, "813K"),
        ("carn-m", (2, 3, 4), 412_032, 2_755, "412K"),
    ],
)
def test_parameters_are_those_of_the_paper(name, scales, weights, biases, published):
    assert counted(name, scales) == (weights, biases)
    if published is not None:
        assert f"{weights / 1000:.0f}K" == published


@pytest.mark.parametrize(
    ("scale", "published", "exact"),
    [(2, "694K", 694_404), (3, "703K", 703_059), (4, "715K", 715_176)],
)
def test_parameters_of_imdn_with_biases_are_those_of_the_paper(scale, published, exact):
    """And those of its published files."""
    assert sum(counted("imdn", (scale,))) == exact
    assert f"{exact / 1000:.0f}K" == published


@pytest.mark.parametrize(
    ("name", "scale", "giga"),
    [
        ("vdsr", 2, 612.6),
        ("vdsr", 4, 612.6),
        ("carn-m", 2, 91.2),
        ("carn-m", 3, 46.1),
        ("carn-m", 4, 32.5),
        ("imdn", 2, 158.8),
        ("imdn", 3, 71.5),
    ],
)
def test_multiply_adds_for_720p_are_the_published_ones(name, scale, giga):
    network = blueprint(name, {"scales": (2, 3, 4)})
    pixels = 1280 * 720 / scale**2
    assert network.multiply_adds(scale) * pixels / 1e9 == pytest.approx(giga, abs=0.06)


def test_vdsr_adds_what_its_layers_predict():
    network = random_network("vdsr", width=3, depth=4, small_start=False)
    tensors, y = tensors_of(network), np.random.default_rng(0).random((1, 11, 13))
    x = y
    for number in range(4):
        x = layer(x, tensors, f"layers.{number}")
        x = relu(x) if number < 3 else x
    np.testing.assert_allclose(output_of(network, y, 2), y + x, atol=1e-5)
    assert np.abs(x).max() > 0.1


def test_lapsrn_doubles_features_and_image_level_by_level():
    network = random_network("lapsrn", width=3, depth=2, scales=(4,))
    tensors, y = tensors_of(network), np.random.default_rng(0).random((1, 5, 6))
    x, image = leaky(layer(y, tensors, "pyramids.4.head"), 0.2), y
    for number in range(2):
        name = f"pyramids.4.doublings.{number}"
        for inner in range(2):
            x = leaky(layer(x, tensors, f"{name}.layers.{inner}"), 0.2)
        enlarge = f"{name}.enlarge_features"
        x = transposed(x, tensors[f"{enlarge}.weight"], tensors[f"{enlarge}.bias"])
        x = leaky(x[:, :-1, :-1], 0.2)
        image = transposed(image, tensors[f"{name}.enlarge_image.weight"])[:, 1:-1, 1:-1]
        image = image + layer(x, tensors, f"{name}.residual")
    np.testing.assert_allclose(output_of(network, y, 4), image, atol=1e-4)


def test_lapsrn_starts_at_bilinear_interpolation():
    network = build("lapsrn", width=3, depth=1, scales=(2,))
    with torch.no_grad():
        network.pyramids["2"].levels[0].residual.weight.zero_()
    y = np.random.default_rng(0).random((1, 6, 7))
    expected = interpolate(torch.from_numpy(y)[None], scale_factor=2, mode="bilinear")[0]
    inside = (..., slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(output_of(network, y, 2)[inside], expected[inside], atol=1e-6)


def test_lapsrn_knows_powers_of_two_alone():
    with pytest.raises(InputError, match=r"scales should be among 2, 4 and 8, got \[3\]\.$"):
        build("lapsrn", scales=[3])


def test_carn_m_cascades_shared_units():
    network = random_network("carn-m", width=8, groups=2, scales=(3,))
    tensors, y = tensors_of(network), np.random.default_rng(0).random((3, 6, 5))

    def unit(x: np.ndarray, name: str) -> np.ndarray:
        inner = relu(layer(x, tensors, f"{name}.unit.first", 2))
        inner = relu(layer(inner, tensors, f"{name}.unit.second", 2))
        return relu(x + layer(inner, tensors, f"{name}.unit.third"))

    def block(x: np.ndarray, name: str) -> np.ndarray:
        joined, features = x, x
        for number in range(3):
            joined = np.concatenate([joined, unit(features, name)])
            features = relu(layer(joined, tensors, f"{name}.fusions.{number}"))
        return features

    mean = np.reshape([0.4488, 0.4371, 0.4040], (3, 1, 1))
    joined = features = layer(y - mean, tensors, "head")
    for number in range(3):
        joined = np.concatenate([joined, block(features, f"blocks.{number}")])
        features = relu(layer(joined, tensors, f"fusions.{number}"))
    enlarged = shuffled(relu(layer(features, tensors, "up.3.0", 2)), 3)
    expected = layer(enlarged, tensors, "tail") + mean
    np.testing.assert_allclose(output_of(network, y, 3), expected, rtol=1e-4, atol=1e-4)


def test_imdn_sets_a_quarter_aside_and_weights_channels_by_their_contrast():
    network = random_network("imdn", width=8, blocks=2, scales=(2,))
    tensors, y = tensors_of(network), np.random.default_rng(0).random((3, 6, 5))

    def block(x: np.ndarray, name: str) -> np.ndarray:
        aside, features = [], x
        for number in range(3):
            output = leaky(layer(features, tensors, f"{name}.layers.{number}"), 0.05)
            aside.append(output[:2])
            features = output[2:]
        joined = np.concatenate([*aside, layer(features, tensors, f"{name}.last")])
        contrast = (joined.mean((1, 2)) + joined.std((1, 2)))[:, None, None]
        factors = relu(layer(contrast, tensors, f"{name}.attention.narrow"))
        factors = 1 / (1 + np.exp(-layer(factors, tensors, f"{name}.attention.widen")))
        return x + layer(joined * factors, tensors, f"{name}.fusion")

    head = layer(y, tensors, "bodies.2.head")
    first = block(head, "bodies.2.blocks.0")
    second = block(first, "bodies.2.blocks.1")
    fused = leaky(layer(np.concatenate([first, second]), tensors, "bodies.2.fusion"), 0.05)
    smooth = layer(fused, tensors, "bodies.2.smooth") + head
    expected = shuffled(layer(smooth, tensors, "bodies.2.tail"), 2)
    np.testing.assert_allclose(output_of(network, y, 2), expected, rtol=1e-4, atol=1e-4)


def test_scn_codes_patches_and_adds_them_where_they_overlap():
    """Window by window: the features of 9×9 pixels, two steps of LISTA with threshold 1, a patch
    of 5×5 pixels with the norm of the image's, and the mean of the means of the patches."""
    network = random_network("scn", features=7, codes=9, scales=(2,))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(4 if name.endswith("encode.weight") else 1)
    tensors = {name[len("stages.0.") :]: value for name, value in tensors_of(network).items()}
    lr = np.random.default_rng(0).random((6, 5))
    doubled = interpolate(torch.from_numpy(lr)[None, None], scale_factor=2, mode="bicubic")
    padded = np.pad(doubled[0, 0].numpy(), 6, mode="reflect")
    height, width = 12, 10

    def shrunk(codes: np.ndarray) -> np.ndarray:
        return np.sign(codes) * np.maximum(np.abs(codes) - 1, 0)

    bank = tensors["features.weight"][:, 0]
    total, active = np.zeros((height + 8, width + 8)), 0
    for row in range(height + 4):
        for column in range(width + 4):
            window = padded[row : row + 9, column : column + 9]
            features = np.tensordot(bank, window, 2)
            drive = tensors["encode.weight"][..., 0, 0] @ (features / np.linalg.norm(features))
            codes = shrunk(drive + tensors["recur.weight"][..., 0, 0] @ shrunk(drive))
            active += np.count_nonzero(codes)
            patch = tensors["decode.weight"][..., 0, 0] @ codes
            patch = patch / max(np.linalg.norm(patch), 1e-12)
            middle = window[2:7, 2:7]
            patch = 1.1 * patch * np.linalg.norm(middle - middle.mean()) * tensors["weighting"]
            # the patch lists its pixels column by column
            total[row : row + 5, column : column + 5] += patch.reshape(5, 5).T + middle.mean() / 25
    assert 0.1 < active / (9 * (height + 4) * (width + 4)) < 0.9
    expected = total[4:-4, 4:-4]
    np.testing.assert_allclose(output_of(network, lr[None], 2)[0], expected, atol=1e-4)


def test_scn_of_a_flat_image_is_flat():
    """A window without features has no direction, and its patch no norm."""
    network = build("scn", features=7, codes=9, scales=(2, 3))
    for scale in (2, 3):
        for level in (0.0, 0.5):
            output = output_of(network, np.full((1, 3, 2), level), scale)
            np.testing.assert_allclose(output, level, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 6])
def test_imdn_sets_no_quarter_aside_of_a_width_that_has_none(width):
    with pytest.raises(InputError, match=rf"width should be a multiple of 4, got {width}\.$"):
        blueprint("imdn", {"width": width, "scales": [2]})
