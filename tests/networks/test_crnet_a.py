"""CRNet-A: parameter counts of the paper, the start, the skip."""

from __future__ import annotations

import pytest
import torch

from cscsr.networks import CRNetA, CRNetB


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "arguments", "parameters"),
    [
        (CRNetA, {}, 1_330_305),
        (CRNetA, {"bias": False}, 1_329_408),
        (CRNetA, {"n0": 64}, 923_457),
        (CRNetA, {"m0": 128}, 592_769),
        (CRNetB, {"m0": 256}, 1_996_675),
        (CRNetB, {}, 11_730_307),
    ],
)
def test_parameters_of_the_paper(network, arguments, parameters):
    with torch.device("meta"):
        assert count(network(**arguments)) == parameters


def test_recursions_share_their_parameters():
    assert count(CRNetA(8, 8, recursions=1)) == count(CRNetA(8, 8, recursions=25))


@pytest.mark.parametrize("network", [CRNetA, CRNetB])
def test_without_a_small_start_every_layer_is_drawn_as_in_the_paper(network):
    """Appendix A.4: variance 2 / n_out, n_out = k² × output channels (He et al., 2015, eq. 14)."""
    torch.manual_seed(0)
    layers = network(24, 32, 1, residual=True, small_start=False).named_modules()
    for name, layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            deviation = (2 / (9 * layer.out_channels)) ** 0.5
            assert layer.weight.detach().std() == pytest.approx(deviation, rel=0.15), name
    small = network(24, 32, 1, residual=True)
    last = small.H if network is CRNetA else small.tail
    assert last.weight.detach().std() < 0.005


def test_residual_switch_adds_the_enlarged_image():
    torch.manual_seed(0)
    network = CRNetA(8, 8, 2, residual=True).eval()
    plain = CRNetA(8, 8, 2, residual=False).eval()
    plain.load_state_dict(network.state_dict())
    image = torch.rand(1, 1, 12, 12)
    with torch.no_grad():
        difference = network(image, 2) - plain(image, 2)
    offset = difference - image
    assert offset.std() < 1e-6
    assert network(torch.zeros_like(image), 2).abs().max() < 0.1
