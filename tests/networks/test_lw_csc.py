"""LW-CSC: its equation by numpy, CRNet-A where its gates are open, and its cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from cscsr.networks import blueprint, build
from cscsr.networks.lw_csc import LWCSC

THRESHOLD = 0.01


def iterates_of(network: torch.nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    iterates: list[np.ndarray] = []
    with torch.no_grad():
        network(x, 2, lambda k, z, decode: iterates.append(z[0].numpy().copy()))
    return iterates


def weights_of(layer: torch.nn.Conv2d) -> np.ndarray:
    return layer.weight.detach().double().numpy()


def convolved(planes: np.ndarray, layer: torch.nn.Conv2d) -> np.ndarray:
    return np.stack(
        [
            sum(correlate2d(plane, each, "same") for plane, each in zip(planes, bank, strict=True))
            for bank in weights_of(layer)
        ]
    )


def gated(z: np.ndarray, gate: torch.nn.Module) -> np.ndarray:
    narrow, widen = (weights_of(layer)[:, :, 0, 0] for layer in (gate.narrow, gate.widen))
    return z / (1 + np.exp(-widen @ np.maximum(narrow @ z.mean((1, 2)), 0)))[:, None, None]


def test_the_equation_by_numpy():
    torch.manual_seed(0)
    network = build("lw-csc", n0=3, m0=32, recursions=2, small_start=False, scales=(2,))
    with torch.no_grad():
        network.threshold.fill_(THRESHOLD)
        network.S.weight.mul_(0.5)
    x = torch.rand(1, 1, 9, 8)

    def codes(u: np.ndarray) -> np.ndarray:
        return gated(np.maximum(gated(u, network.first) - THRESHOLD, 0), network.second)

    features = np.maximum(convolved(x[0].double().numpy(), network.F0), 0)
    drive = convolved(np.maximum(convolved(features, network.F1), 0), network.W)
    z = codes(drive)
    iterates = iterates_of(network, x)
    assert len(iterates) == 3
    for k, iterate in enumerate(iterates):
        z = codes(drive + convolved(z, network.S)) if k else z
        np.testing.assert_allclose(iterate, z, atol=1e-4)
    assert 0.1 < np.mean(z == 0) < 0.9
    detail = convolved(np.maximum(convolved(z, network.Wh), 0), network.H)
    with torch.no_grad():
        np.testing.assert_allclose(network(x, 2)[0], x[0].numpy() + detail, atol=1e-4)


def test_with_open_gates_it_is_crnet_a_without_biases():
    """A gate of zero weights halves its channels: S, W and Wh make up for both gates."""
    torch.manual_seed(1)
    sizes = {"n0": 6, "m0": 16, "recursions": 3, "small_start": False, "scales": (2,)}
    ours, other = build("lw-csc", **sizes), build("crnet-a", bias=False, **sizes)
    pairs = {"F0": 1, "F1": 1, "Wh": 4, "H": 1}
    with torch.no_grad():
        for gate in (ours.first, ours.second):
            gate.widen.weight.zero_()
        for name, factor in pairs.items():
            getattr(ours, name).weight.copy_(factor * getattr(other, name).weight)
        ours.W.weight.copy_(other.block.W.weight)
        ours.S.weight.copy_(4 * other.block.S.weight)
        x = torch.rand(1, 1, 12, 10)
        centred = other(x + 0.4415, 2) - 0.4415
        torch.testing.assert_close(ours(x, 2), centred, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("n0", "m0", "recursions"), [(128, 256, 25), (4, 32, 3)])
def test_parameters_and_multiply_adds(n0, m0, recursions):
    network = blueprint("lw-csc", {"n0": n0, "m0": m0, "recursions": recursions, "scales": [2]})
    layers = 9 * (2 * n0 + n0**2 + 2 * n0 * m0)
    gates = 4 * m0 * (m0 // 16)
    assert sum(p.numel() for p in network.parameters()) == layers + 9 * m0**2 + gates + 1
    assert network.multiply_adds(2) == 4 * (layers + recursions * 9 * m0**2)
    assert network.recursions == recursions


def test_parameters_of_the_paper_are_those_of_crnet_a_with_two_gates():
    count = sum(p.numel() for p in blueprint("lw-csc", {"scales": [2]}).parameters())
    crnet = blueprint("crnet-a", {"bias": False, "scales": [2]})
    assert count == sum(p.numel() for p in crnet.parameters()) + 2 * 2 * 256 * 16 + 1 == 1_345_793
    assert f"{count:,}" in (LWCSC.__doc__ or "")


def test_it_learns(losses_of_learning):
    """Gradients reach all parameters, and a few steps lower the error."""
    torch.manual_seed(3)
    losses = losses_of_learning(build("lw-csc", n0=8, m0=96, recursions=3, scales=(2,)))
    assert losses[-1] < 0.6 * losses[0]
