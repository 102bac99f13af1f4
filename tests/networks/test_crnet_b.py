"""CRNet-B: shapes, recursions, the bicubic skip."""

from __future__ import annotations

import pytest
import torch

from cscsr.imaging import imresize
from cscsr.networks import CRNetB


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shapes_and_the_recursions_visited(scale):
    torch.manual_seed(0)
    visited: list[int] = []
    network = CRNetB(8, 12, recursions=3).eval()
    image = torch.rand(2, 3, 9, 7)
    decoded = {}

    def visit(k, z, decode):
        visited.append(k)
        assert z.shape == (2, 12, 9, 7)
        assert (z >= 0).all()
        decoded[k] = decode()

    with torch.no_grad():
        output = network(image, scale, visit)
    assert output.shape == (2, 3, 9 * scale, 7 * scale)
    assert visited == [0, 1, 2, 3]
    assert torch.equal(decoded[3], output)
    assert not torch.equal(decoded[2], output)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_residual_switch_of_crnet_b_adds_matlabs_bicubic(scale):
    torch.manual_seed(0)
    network = CRNetB(6, 6, 1, residual=True).eval()
    plain = CRNetB(6, 6, 1).eval()
    plain.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 16, 14)
    with torch.no_grad():
        added = network(image, scale) - plain(image, scale) + plain.mean
    expected = imresize(image[0].permute(1, 2, 0).numpy(), scale)
    inside = slice(3 * scale, -3 * scale)  # torch treats the border its own way
    difference = added[0].permute(1, 2, 0).numpy() - expected
    assert abs(difference[inside, inside]).max() < 1e-5
