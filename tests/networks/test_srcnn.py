"""SRCNN: the published number of weights, and its three layers computed by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from cscsr.networks import build
from cscsr.training.recipe import load_recipe


def test_the_published_network_has_8032_weights():
    """9·9·64 + 1·1·64·32 + 5·5·32."""
    recipe = load_recipe("srcnn")
    network = build("srcnn", **recipe.network)
    sizes = {True: 0, False: 0}
    for parameter in network.parameters():
        sizes[parameter.ndim == 4] += parameter.numel()
    assert sizes == {True: 8032, False: 64 + 32 + 1}
    assert network.multiply_adds(3) == 9 * 8032
    assert network.input_radius(3) == 4 + 0 + 2


def test_its_layers_are_those_of_the_paper():
    """F(Y) = W₃ ∗ max(0, W₂ ∗ max(0, W₁ ∗ Y + B₁) + B₂) + B₃, without a skip."""
    torch.manual_seed(0)
    network = build("srcnn", n1=3, n2=2, scales=(2,)).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    y = np.random.default_rng(0).random((1, 12, 15))
    x = y
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in layers] == [9, 1, 5]
    for index, layer in enumerate(layers):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        x = np.stack(
            [
                sum(correlate(plane, taps, "same") for plane, taps in zip(x, bank, strict=True)) + b
                for bank, b in zip(weight, bias, strict=True)
            ]
        )
        x = np.maximum(x, 0) if index < 2 else x
    with torch.no_grad():
        output = network.float()(torch.from_numpy(y).float()[None], 2)[0].numpy()
    np.testing.assert_allclose(output, x, atol=1e-5)
    assert np.abs(output).max() == pytest.approx(np.abs(x).max(), rel=1e-4)
