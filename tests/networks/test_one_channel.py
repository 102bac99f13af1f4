"""Convolutions from and to one channel: scipy's correlations, and gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from cscsr.networks.one_channel import OneChannelConvolution

SHAPES = [(1, 5, 3), (5, 1, 3), (1, 4, 7), (4, 1, 7), (1, 1, 5)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs", "kernel"), SHAPES)
@pytest.mark.parametrize("size", [(9, 12), (2, 3)])
def test_values(inputs, outputs, kernel, size, bias):
    """Of images also smaller than the filters, and where torch's own convolution takes over."""
    layer = OneChannelConvolution(inputs, outputs, kernel, bias).double()
    x = torch.randn(2, inputs, *size, dtype=torch.float64)
    expected = np.zeros((2, outputs, *size))
    reach = kernel // 2
    for image, result in zip(x.numpy(), expected, strict=True):
        padded = np.pad(image, [(0, 0), (reach, reach), (reach, reach)])
        for filters, plane in zip(layer.weight.detach().numpy(), result, strict=True):
            plane += correlate(padded, filters, "valid", "direct")[0]
    if bias:
        expected += layer.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-12)
    exported = torch.export.export(layer, (x,)).module()
    np.testing.assert_allclose(exported(x).detach(), expected, atol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), SHAPES)
def test_gradients(inputs, outputs, kernel):
    layer = OneChannelConvolution(inputs, outputs, kernel).double()
    x = torch.randn(2, inputs, 6, 5, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().requires_grad_()

    def convolved(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(convolved, (x, weight))
    assert torch.autograd.gradgradcheck(convolved, (x, weight))


def test_an_exported_network_has_the_convolution():
    """Which other programs know, where a product and a fold would be theirs to compute."""
    layer = OneChannelConvolution(4, 1, 3)
    graph = torch.export.export(layer, (torch.zeros(1, 4, 8, 8),)).graph
    assert any("conv2d" in str(node.target) for node in graph.nodes)
