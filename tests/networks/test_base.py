"""What every network keeps of the protocol, and the lines that its planes and pairs belong to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr import InputError, networks
from cscsr.data.datasets import demo
from cscsr.imaging import crop_to_multiple, imresize, rgb_to_y, rgb_to_ycbcr
from cscsr.networks import CRNetA, CRNetB, LumaRefiner, architectures, build

SMALL = {
    "crnet-a": {"n0": 6, "m0": 8, "recursions": 3},
    "crnet-b": {"n0": 6, "m0": 8},
    "acsc": {"atoms": 6, "kernel": 5, "recursions": 3, "small_start": False},
    "lw-csc": {"n0": 6, "m0": 16, "recursions": 3, "small_start": False},
    "vdsr": {"width": 6, "depth": 5},
    "drrn": {"width": 6, "units": 3, "small_start": False},
    "drcn": {"width": 6, "depth": 3, "small_start": False},
    "memnet": {"width": 6, "blocks": 2, "units": 2, "small_start": False},
    "edsr": {"width": 6, "blocks": 2},
    "mdsr": {"width": 6, "blocks": 2},
    "rdn": {"width": 6, "growth": 4, "blocks": 2, "layers": 2},
    "msrn": {"width": 6, "blocks": 2},
    "d-dbpn": {"width": 6, "features": 8, "stages": 3},
    "scn": {"features": 6, "codes": 8},
    "lapsrn": {"width": 6, "depth": 3, "scales": (2, 4)},
    "srdensenet": {"growth": 3, "first": 4, "blocks": 2, "layers": 3, "width": 6, "scales": (2, 4)},
    "carn-m": {"width": 8},
    "imdn": {"width": 64, "blocks": 1},
}

WHOLE_IMAGE = {"imdn", "lw-csc"}
"""Networks whose output pixels depend on the whole image."""


@pytest.fixture(params=sorted(architectures()))
def network(request):
    torch.manual_seed(1)
    network = build(request.param, **{"scales": (2, 3, 4), **SMALL.get(request.param, {})})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    wanted = request.node.callspec.params.get("scale", 2)
    if wanted not in network.scales:
        pytest.skip(f"{request.param} does not enlarge by {wanted}")
    return network.eval()


def test_architectures_are_the_files_of_the_folder():
    assert architectures()["crnet-a"] is CRNetA
    assert architectures()["crnet-b"] is CRNetB
    assert not {"base", "cista-block"} & set(architectures())


def test_unknown_networks_and_arguments_are_refused():
    with pytest.raises(InputError, match="crnet-a"):
        build("crnet-c")
    with pytest.raises(InputError, match="'recursion': did you mean recursions"):
        build("crnet-a", recursion=3, scales=[2])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [None, 3])
def test_a_network_enlarges_what_it_prepared(network, scale, channels):
    shape = (7, 9) if channels is None else (7, 9, 3)
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    planes = network.prepare(image, scale)
    ratio = network.input_ratio(scale)
    assert planes.dtype == np.float32
    assert planes.shape[1:] == (7 * ratio, 9 * ratio)
    with torch.no_grad():
        output = network(torch.from_numpy(planes)[None], scale)[0].numpy()
    enlarged = network.finish(output, image, scale)
    assert enlarged.shape == (7 * scale, 9 * scale, *shape[2:])
    scored = network.scored(output, image, scale)
    if network.line == "y":
        np.testing.assert_array_equal(scored, output[0])
    else:
        np.testing.assert_array_equal(scored, enlarged)


def test_the_input_is_never_the_callers_own_array(network):
    """A forward pass may write over it, and the caller's may be read-only."""
    for shape in ((6, 5), (6, 5, 3)):
        image = np.zeros(shape, np.float32)
        assert not np.shares_memory(network.prepare(image, 2), image)


def test_luma_is_refined_and_chroma_is_bicubic():
    image = np.random.default_rng(0).random((6, 5, 3))
    network = build("crnet-a", **SMALL["crnet-a"])
    luma = np.full((1, 12, 10), 0.25)
    ycbcr = rgb_to_ycbcr(network.finish(luma, image, 2))
    np.testing.assert_allclose(ycbcr[..., 0], 0.25, atol=1e-12)
    bicubic = imresize(rgb_to_ycbcr(image), 2)
    np.testing.assert_allclose(ycbcr[..., 1:], bicubic[..., 1:], atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_training_pairs_are_planes_as_a_solve_prepares_them(network, scale):
    image = demo().images[0].read()[:61, :62]
    source, target = network.training_pair(image, scale)
    truth = crop_to_multiple(image, scale)
    if network.line == "y":
        luma = rgb_to_y(truth)
        small = (imresize(luma.astype(float), 1 / scale) / 255).astype(np.float32)
        np.testing.assert_array_equal(target[0], luma)
        refined = isinstance(network, LumaRefiner)
        expected = imresize(small.astype(float), scale) if refined else small
        np.testing.assert_allclose(source[0], expected, atol=1e-7)
    else:
        small = imresize(truth, 1 / scale)
        np.testing.assert_array_equal(target.transpose(1, 2, 0), truth)
        np.testing.assert_array_equal(source.transpose(1, 2, 0), small)
        small = (small / 255).astype(np.float32)
    planes = source / np.float32(255) if source.dtype == np.uint8 else source
    np.testing.assert_allclose(network.prepare(small, scale), planes, atol=1e-7)


def reach_of(network, scale: int, side: int) -> int:
    """How far the change of the middle pixel of the input reaches, in pixels of the input."""
    channels = network.prepare(np.zeros((1, 1)), 1).shape[0]
    x = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[..., side // 2, side // 2] += 30
    with torch.no_grad():
        changed = (network(x, scale) - network(y, scale)).abs().amax((0, 1)) > 0
    ratio = changed.shape[0] // side
    return int((changed.nonzero() // ratio - side // 2).abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_pixel_reaches_no_further_than_the_radius(network, scale):
    """Layers at a multiple of the input's pixels count in full, two of them at ×4."""
    radius = network.input_radius(scale)
    reach = reach_of(network, scale, 2 * radius + 5)
    if network.radius(scale) is None:
        assert reach == radius + 2  # the edge
    else:
        assert radius - (2 if scale == 4 else 1) <= reach <= radius


def test_networks_without_a_radius_are_those_whose_pixels_depend_on_the_whole_image():
    for name in architectures():
        network = build(name, **{"scales": (2,), **SMALL.get(name, {})})
        assert (network.radius(2) is None) == (name in WHOLE_IMAGE), name


def test_the_radius_is_of_low_resolution_pixels():
    a, b = (build(name, **SMALL[name]) for name in ("crnet-a", "crnet-b"))
    for scale in (2, 3, 4):
        # the enlarged pixels of the radius, and bicubic's reach of two pixels before them
        assert (
            (a.radius(scale) - 2) * scale >= a.input_radius(scale) > (a.radius(scale) - 3) * scale
        )
        assert b.radius(scale) == b.input_radius(scale)


def test_a_network_may_have_as_many_parameters_as_allowed(monkeypatch):
    """SRCNN 9-1-5 has 8,032 weights and 97 biases (Dong et al. 2014)."""
    monkeypatch.setattr(networks, "MAX_PARAMETERS", 8032 + 97)
    build("srcnn")
    monkeypatch.setattr(networks, "MAX_PARAMETERS", 8032 + 96)
    with pytest.raises(InputError, match="8129 parameters"):
        build("srcnn")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_memory_covers_the_widest_output_and_its_copy(network, scale):
    """As hooks measure it: float32 outputs of the convolutions, per pixel of the input."""
    planes = torch.zeros(1, *network.prepare(np.zeros((5, 6)), scale).shape)
    sizes: list[int] = []
    handles = [
        layer.register_forward_hook(lambda _layer, _input, output: sizes.append(output.numel()))
        for layer in network.modules()
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    ]
    with torch.no_grad():
        network(planes, scale)
    for handle in handles:
        handle.remove()
    pixels = planes.shape[-2] * planes.shape[-1]
    assert network.pixel_bytes(scale) >= 2 * 4 * max(sizes) / pixels


def test_defaults_of_the_tied_network_cost_what_a_factored_s_costs():
    """A dictionary of 64 channels takes the multiply-adds of an S of rank 64."""
    with torch.device("meta"):
        tied, free = build("crnet-b-tied"), build("crnet-b", m0=256, s_rank=64)
    assert tied.multiply_adds(2) == free.multiply_adds(2)
