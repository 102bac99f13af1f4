"""1×1 convolutions: products of channels at each pixel, and gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr.networks.pointwise import PointwiseConvolution


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [False, True])
def test_values(bias, layout):
    layer = PointwiseConvolution(5, 3, bias)
    x = torch.randn(2, 5, 4, 7).contiguous(memory_format=layout)
    weight = layer.weight.detach().numpy()[:, :, 0, 0].astype(float)
    expected = np.einsum("mc,bchw->bmhw", weight, x.numpy().astype(float))
    if bias:
        expected += layer.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-6)


def test_gradients():
    layer = PointwiseConvolution(3, 4).double()
    x = torch.randn(2, 3, 2, 5, dtype=torch.float64, requires_grad=True)
    parameters = tuple(p.detach().requires_grad_() for p in layer.parameters())

    def convolved(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(convolved, (x, *parameters))


def test_an_exported_network_has_no_dilation():
    """Other programs may choose a slow kernel for one."""
    layer = PointwiseConvolution(4, 2)
    graph = torch.export.export(layer, (torch.zeros(1, 4, 8, 8),)).graph
    (node,) = [node for node in graph.nodes if "conv2d" in str(node.target)]
    assert [2, 2] not in [list(a) for a in node.args if isinstance(a, (list, tuple))]
