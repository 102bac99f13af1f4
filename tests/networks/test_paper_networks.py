"""DRRN, DRCN, MemNet, EDSR, MDSR, RDN, MSRN, SRDenseNet and D-DBPN: the counts of their papers, and
their equations by numpy."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from cscsr.imaging import imresize
from cscsr.networks import blueprint

_spec = importlib.util.spec_from_file_location("by_numpy", Path(__file__).with_name("by_numpy.py"))
assert _spec is not None
assert _spec.loader is not None
by_numpy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(by_numpy)
layer, relu, shuffled = by_numpy.layer, by_numpy.relu, by_numpy.shuffled
output_of, random_network, tensors_of, transposed = (
    by_numpy.output_of,
    by_numpy.random_network,
    by_numpy.tensors_of,
    by_numpy.transposed,
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

LARGE_EDSR = {"width": 256, "blocks": 32, "factor": 0.1}
LARGE_MDSR = {"blocks": 80, "factor": 0.1}

MEAN = np.array([0.4488, 0.4371, 0.4040])[:, None, None]


def parameters(name: str, scales: tuple[int, ...], **arguments) -> tuple[int, int]:
    """All of them, and the weights of convolutions."""
    network = blueprint(name, {**arguments, "scales": scales})
    sizes = [(p.numel(), p.ndim == 4) for p in network.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, is_weight in sizes if is_weight)


@pytest.mark.parametrize(
    ("method", "name", "scales", "arguments", "weights"),
    [
        # published_parameters.csv names the source of each number; the papers of the first three
        # count no biases
        ("DRCN", "drcn", (2,), {}, 3 * 9 * 256**2 + 2 * 9 * 256),
        ("DRRN", "drrn", (2,), {}, 2 * 9 * 128**2 + 2 * 9 * 128),
        ("MemNet", "memnet", (2,), {}, 6 * 2 * 9 * 64**2 + 57 * 64**2 + 2 * 9 * 64),
        ("EDSR", "edsr", (4,), LARGE_EDSR, 73 * 9 * 256**2 + 2 * 27 * 256),
        ("MSRN", "msrn", (4,), {}, 8 * 174 * 64**2 + 9 * 64**2 + 9 * 9 * 64**2 + 54 * 64),
        ("D-DBPN", "d-dbpn", (4,), {}, (39 * 64 + 44) * 64**2 + 27 * (256 + 7 * 64)),
        ("RDN", "rdn", (2,), {}, 16 * (9 * 36 + 9) * 64**2 + (9 + 16 + 9 + 36) * 64**2 + 54 * 64),
    ],
)
def test_parameters_are_those_of_the_paper(method, name, scales, arguments, weights):
    """`weights` is a sum by hand: 73 layers of EDSR are 64 of its units, one after them and eight
    of the upsampler's; 57 of MemNet are the inputs of its gates; 174 of a block of MSRN are
    9 + 25 + 4 · (9 + 25) + 4; 39 projections of D-DBPN of 8×8, and 44 inputs of 1×1 layers."""
    with (BENCHMARKS / "published_parameters.csv").open(encoding="utf-8") as file:
        published = {row["method"]: int(row["parameters"]) for row in csv.DictReader(file)}[method]
    total, counted = parameters(name, scales, **arguments)
    assert counted == weights
    digits = len(str(published).rstrip("0"))
    unit = 10 ** (len(str(published)) - digits)
    if method in ("DRCN", "DRRN", "MemNet"):
        assert round(counted / unit) * unit == published
    else:
        assert round(total / unit) * unit == published


@pytest.mark.parametrize(
    ("name", "scales", "arguments", "published", "unit"),
    [
        # Zhang et al., Aligned Structured Sparsity Learning (NeurIPS 2021), Table 1: 1,369.9K
        ("edsr", (2,), {}, 13_699, 100),
        # the table of models beside EDSR's code: 1.5M and 3.2M
        ("edsr", (3,), {}, 16, 1e5),
        ("edsr", (4,), {}, 15, 1e5),
        ("mdsr", (2, 3, 4), {}, 32, 1e5),
    ],
)
def test_parameters_of_the_baselines_are_those_of_the_paper(
    name, scales, arguments, published, unit
):
    assert round(parameters(name, scales, **arguments)[0] / unit) == published


@pytest.mark.parametrize(
    ("name", "giga"),
    [
        # Chu et al., FALSR (2019)
        ("drcn", 17_974.3),
        ("drrn", 6_796.9),
        ("memnet", 2_662.4),
        # Zhang et al., Aligned Structured Sparsity Learning (NeurIPS 2021), Table 1
        ("edsr", 316.3),
    ],
)
def test_multiply_adds_for_720p_are_the_published_ones(name, giga):
    network = blueprint(name, {"scales": (2,)})
    assert network.multiply_adds(2) * 1280 * 720 / 4 / 1e9 == pytest.approx(giga, abs=0.06)


def test_the_radius_at_the_papers_width():
    """52 layers of DRRN and 74 of MemNet's 80, whose six others are 1×1; DRCN's 16 and four."""
    radii = {
        name: blueprint(name, {"scales": (2,)}).input_radius(2)
        for name in ("drrn", "memnet", "drcn")
    }
    assert radii == {"drrn": 52, "memnet": 74, "drcn": 20}


def grey(height: int = 9, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).random((1, height, width))


def colour(height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((3, height, width))


def unit_of(x: np.ndarray, tensors, name: str, factor: float = 1.0) -> np.ndarray:
    inner = relu(layer(x, tensors, f"{name}.first"))
    return x + factor * layer(inner, tensors, f"{name}.second")


def upsampled(x: np.ndarray, tensors, scale: int) -> np.ndarray:
    """Through the sub-pixel convolutions of a factor to RGB less the mean."""
    for number, factor in enumerate({2: [2], 3: [3], 4: [2, 2]}[scale]):
        x = shuffled(layer(x, tensors, f"up.{scale}.{2 * number}"), factor)
    return layer(x, tensors, "tail")


def test_drrn_applies_one_unit_again_and_again():
    network = random_network("drrn", width=4, blocks=2, units=2, small_start=False)
    tensors, y = tensors_of(network), grey()
    x = y
    for block in range(2):
        name = f"blocks.{block}"
        start = features = layer(relu(x) if block else x, tensors, f"{name}.enter")
        for _ in range(2):
            inner = relu(layer(relu(features), tensors, f"{name}.first"))
            features = start + layer(inner, tensors, f"{name}.second")
        x = features
    x = layer(relu(x), tensors, "last")
    np.testing.assert_allclose(output_of(network, y, 2), y + x, atol=1e-4)
    assert np.abs(x).max() > 0.1


def test_drcn_weighs_the_images_of_all_recursions():
    network = random_network("drcn", width=4, depth=3, small_start=False)
    tensors, y = tensors_of(network), grey()
    features = relu(layer(relu(layer(y, tensors, "embed.0")), tensors, "embed.1"))
    output = np.zeros_like(y)
    for weight in tensors["weighting"]:
        features = relu(layer(features, tensors, "recur"))
        inner = relu(layer(features, tensors, "reconstruct.0"))
        output += weight * (y + layer(inner, tensors, "reconstruct.1"))
    np.testing.assert_allclose(output_of(network, y, 2), output, atol=1e-4)
    assert len(set(tensors["weighting"])) == 3


def test_memnet_remembers_all_blocks():
    network = random_network("memnet", width=4, blocks=2, units=3, small_start=False)
    tensors, y = tensors_of(network), grey()
    memories = [layer(y, tensors, "first")]
    for block in range(2):
        features, states = memories[-1], []
        for _ in range(3):
            inner = relu(layer(relu(features), tensors, f"blocks.{block}.first"))
            features = features + layer(inner, tensors, f"blocks.{block}.second")
            states.append(features)
        joined = relu(np.concatenate([*states, *memories]))
        memories.append(layer(joined, tensors, f"blocks.{block}.gate"))
    x = layer(relu(memories[-1]), tensors, "last")
    np.testing.assert_allclose(output_of(network, y, 2), y + x, atol=1e-4)
    assert np.abs(x).max() > 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_edsr_adds_scaled_units(scale):
    network = random_network(
        "edsr", width=4, blocks=2, factor=0.3, scales=(scale,), small_start=False
    )
    tensors, y = tensors_of(network), colour()
    head = features = layer(y - MEAN, tensors, "head")
    for number in range(2):
        features = unit_of(features, tensors, f"body.{number}", 0.3)
    features = head + layer(features, tensors, "body.2")
    expected = upsampled(features, tensors, scale) + MEAN
    np.testing.assert_allclose(output_of(network, y, scale), expected, atol=1e-4)


def test_mdsr_has_a_head_for_each_factor():
    network = random_network("mdsr", width=4, blocks=1, scales=(2, 3), small_start=False)
    tensors, y = tensors_of(network), colour()
    for scale in (2, 3):
        features = layer(y - MEAN, tensors, "head")
        for number in range(2):
            name = f"pre.{scale}.{number}"
            assert tensors[f"{name}.first.weight"].shape[-2:] == (5, 5)
            features = unit_of(features, tensors, name)
        body = layer(unit_of(features, tensors, "body.0"), tensors, "body.1")
        expected = upsampled(features + body, tensors, scale) + MEAN
        np.testing.assert_allclose(output_of(network, y, scale), expected, atol=1e-4)


def test_rdn_fuses_dense_blocks():
    network = random_network(
        "rdn", width=4, growth=3, blocks=2, layers=2, scales=(2,), small_start=False
    )
    tensors, y = tensors_of(network), colour()
    shallow = layer(y - MEAN, tensors, "head")
    x, outputs = layer(shallow, tensors, "second"), []
    for block in range(2):
        features = x
        for number in range(2):
            new = relu(layer(features, tensors, f"blocks.{block}.layers.{number}"))
            features = np.concatenate([features, new])
        x = x + layer(features, tensors, f"blocks.{block}.fusion")
        outputs.append(x)
    fused = layer(layer(np.concatenate(outputs), tensors, "fusion.0"), tensors, "fusion.1")
    expected = upsampled(shallow + fused, tensors, 2) + MEAN
    np.testing.assert_allclose(output_of(network, y, 2), expected, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_srdensenet_sees_all_features_before(scale):
    network = random_network(
        "srdensenet", growth=2, first=3, blocks=2, layers=2, width=4, scales=(scale,)
    )
    tensors = tensors_of(network)
    y = np.random.default_rng(0).random((1, 5, 6))
    features = relu(layer(y, tensors, "head"))
    for number in range(4):
        new = relu(layer(features, tensors, f"layers.{number}"))
        features = np.concatenate([features, new])
    x = layer(features, tensors, "fusion")
    for number in range(scale // 2):
        name = f"up.{scale}.{number}"
        x = transposed(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])[:, 1:-1, 1:-1]
    expected = layer(x, tensors, f"tail.{scale}")
    assert expected.std() > 0.01
    np.testing.assert_allclose(output_of(network, y, scale), expected, atol=1e-5)


def test_srdensenet_adds_the_bicubic_enlargement_where_it_is_asked_to():
    image = np.random.default_rng(0).random((1, 16, 14))
    network = random_network(
        "srdensenet", growth=2, first=2, blocks=1, layers=2, width=3, scales=(2,), residual=True
    )
    for parameter in network.parameters():
        parameter.data.zero_()
    inside = (..., slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(
        output_of(network, image, 2)[inside], imresize(image[0], 2)[None][inside], atol=1e-5
    )


def test_srdensenet_has_the_parameters_that_later_papers_quote():
    """A sum by hand: 64 layers, each with 16 outputs and 16 inputs more than the one before."""
    layers = 16 * (9 * 16 * sum(range(1, 65)) + 64)
    ends = 10 * 16 + (65 * 16 + 1) * 128 + 2 * (16 * 128 + 1) * 128 + 9 * 128 + 1
    total, _ = parameters("srdensenet", (4,))
    assert total == layers + ends == 5_452_449


def test_msrn_exchanges_features_of_two_scales():
    network = random_network("msrn", width=3, blocks=2, scales=(2,), small_start=False)
    tensors, y = tensors_of(network), colour()
    x = layer(y - MEAN, tensors, "head")
    outputs = [x]
    for block in range(2):
        features = x
        for step in ("first", "second"):
            name = f"blocks.{block}.{step}"
            sides = [tensors[f"{name}.{number}.weight"].shape[-1] for number in range(2)]
            assert sides == [3, 5]
            features = np.concatenate(
                [relu(layer(features, tensors, f"{name}.{number}")) for number in range(2)]
            )
        x = x + layer(features, tensors, f"blocks.{block}.fusion")
        outputs.append(x)
    fused = layer(layer(np.concatenate(outputs), tensors, "fusion.0"), tensors, "fusion.1")
    expected = upsampled(fused, tensors, 2) + MEAN
    np.testing.assert_allclose(output_of(network, y, 2), expected, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_d_dbpn_corrects_each_projection(scale):
    """Filters of 6×6 for ×2 and of 8×8 for ×4, stride s and padding 2."""
    network = random_network("d-dbpn", width=3, features=4, stages=3, scales=(scale,))
    tensors, y = tensors_of(network), colour(4, 3)
    side = {2: 6, 4: 8}[scale]

    def prelu(x: np.ndarray, name: str) -> np.ndarray:
        return np.where(x > 0, x, tensors[f"{name}.weight"] * x)

    def enlarged(x: np.ndarray, name: str) -> np.ndarray:
        bank, bias = tensors[f"{name}.0.weight"], tensors[f"{name}.0.bias"]
        assert bank.shape[-1] == side
        x = by_numpy.transposed(x, bank, bias, scale)[:, 2:-2, 2:-2]
        return prelu(x, f"{name}.1")

    def shrunk(x: np.ndarray, name: str) -> np.ndarray:
        bank, bias = tensors[f"{name}.0.weight"], tensors[f"{name}.0.bias"]
        x = np.pad(x, ((0, 0), (2, 2), (2, 2)))
        planes = [
            sum(correlate(plane, each, "valid") for plane, each in zip(x, filters, strict=True))
            for filters in bank
        ]
        return prelu((np.stack(planes) + bias[:, None, None])[:, ::scale, ::scale], f"{name}.1")

    def projected(inputs: list[np.ndarray], name: str, forth, back) -> np.ndarray:
        x = np.concatenate(inputs)
        if len(inputs) > 1:
            x = prelu(layer(x, tensors, f"{name}.reduce.0"), f"{name}.reduce.1")
        first = forth(x, f"{name}.project")
        return first + forth(back(first, f"{name}.back") - x, f"{name}.correct")

    name = f"bodies.{scale}"
    x = prelu(layer(y - MEAN, tensors, f"{name}.head.0"), f"{name}.head.1")
    x = prelu(layer(x, tensors, f"{name}.reduce.0"), f"{name}.reduce.1")
    large = [projected([x], f"{name}.ups.0", enlarged, shrunk)]
    small: list[np.ndarray] = []
    for number in range(2):
        small.insert(0, projected(large, f"{name}.downs.{number}", shrunk, enlarged))
        large.insert(0, projected(small, f"{name}.ups.{number + 1}", enlarged, shrunk))
    expected = layer(np.concatenate(large), tensors, f"{name}.tail") + MEAN
    output = output_of(network, y, scale)
    np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["edsr", "mdsr", "rdn", "msrn", "d-dbpn", "carn-m", "imdn"])
def test_the_residual_switch_adds_the_bicubic_enlargement(name):
    """Without weights it is all that is left; without the switch it is the mean, or nothing."""
    image = np.random.default_rng(0).random((3, 16, 14))
    inside = (..., slice(6, -6), slice(6, -6))  # torch treats the border its own way
    bicubic = imresize(image.transpose(1, 2, 0), 2).transpose(2, 0, 1)
    for residual, expected in ((True, bicubic), (False, 0 * MEAN if name == "imdn" else MEAN)):
        sizes = {"blocks": 1} if name in ("rdn", "msrn") else {}
        network = random_network(name, residual=residual, scales=(2,), **sizes)
        for parameter in network.parameters():
            parameter.data.zero_()
        output = output_of(network, image, 2)
        expected = np.broadcast_to(expected, output.shape)
        np.testing.assert_allclose(output[inside], expected[inside], atol=1e-5)
