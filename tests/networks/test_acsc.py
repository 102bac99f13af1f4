"""ACSC: ISTA where wₑ is the adjoint of w_d, its equation by numpy, and its cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from cscsr import ISTA, SparseCoding
from cscsr.networks import blueprint, build
from cscsr.networks.acsc import ACSC, Shrinkage

MEAN = 0.4415


def codes_of(network: ACSC, x: torch.Tensor) -> list[np.ndarray]:
    iterates: list[np.ndarray] = []
    with torch.no_grad():
        network(x, 2, lambda k, z, decode: iterates.append(z[0].numpy().copy()))
    return iterates


def shrunk(z: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    return np.sign(z) * np.maximum(np.abs(z) - threshold, 0)


def test_the_equation_by_numpy():
    """All filters and thresholds are their own; convolutions are torch's, zero-padded."""
    torch.manual_seed(0)
    network = build("acsc", atoms=4, kernel=5, recursions=3, scales=(2,))
    with torch.no_grad():
        network.encode.weight.normal_(std=0.1)
        network.decode.weight.normal_(std=0.3)
        network.raw_threshold.copy_(torch.tensor([0.05, 0.1, -0.2, 0.0]))
    x = torch.rand(1, 1, 9, 8)
    encode, synthesis, decode = (
        layer.weight.detach().double().numpy()
        for layer in (network.encode, network.synthesis, network.decode)
    )
    y, threshold = x[0, 0].double().numpy() - MEAN, np.array([0.05, 0.1, 0.2, 0])[:, None, None]

    def combined(z, filters):
        return sum(correlate2d(plane, each, "same") for plane, each in zip(z, filters, strict=True))

    def analysed(image):
        return np.stack([correlate2d(image, each, "same") for each in encode[:, 0]])

    z = np.zeros((4, 9, 8))
    iterates = codes_of(network, x)
    assert len(iterates) == 4
    for iterate in iterates:
        z = shrunk(z + analysed(y - combined(z, synthesis[0])), threshold)
        np.testing.assert_allclose(iterate, z, atol=1e-5)
    assert 0.1 < np.mean(z[:3] == 0) < 0.9
    with torch.no_grad():
        output = network(x, 2)[0, 0].numpy()
        network.residual = False
        plain = network(x, 2)[0, 0].numpy()
    np.testing.assert_allclose(output, y + MEAN + combined(z, decode[0]), atol=1e-5)
    np.testing.assert_allclose(plain, MEAN + combined(z, decode[0]), atol=1e-5)


def test_with_the_adjoint_it_is_ista():
    """The package's ISTA on a larger torus, where pixels outside the image are not observed and
    codes outside are forbidden, which is what zero padding makes of a network's layers."""
    kernel, atoms, side, lam, reach = 5, 6, 12, 0.5, 2
    torch.manual_seed(1)
    network = build("acsc", atoms=atoms, kernel=kernel, recursions=19, scales=(2,))
    image = torch.rand(1, 1, side, side)
    inside = slice(kernel, kernel + side)  # of the torus: pixels
    shifted = slice(kernel - reach, kernel - reach + side)  # an atom begins left of its middle
    wide = side + 2 * kernel
    signal, mask = np.zeros((wide, wide), np.float32), np.zeros((wide, wide), bool)
    signal[inside, inside], mask[inside, inside] = image[0, 0].numpy() - MEAN, True
    weights = np.full((atoms, wide, wide), 1e6, np.float32)
    weights[:, shifted, shifted] = lam
    with torch.no_grad():
        network.synthesis.weight.normal_()
        dictionary = network.synthesis.weight[0].flip(-2, -1).numpy().copy()
        problem = SparseCoding(signal, dictionary, weights, mask=mask)
        step = problem.operator().step
        network.encode.weight.copy_(step * network.synthesis.weight.transpose(0, 1).flip(-2, -1))
        network.raw_threshold.fill_(lam * step)
    solution = ISTA(iterations=20, tol=0).solve(problem)
    codes = codes_of(network, image)[-1]
    np.testing.assert_allclose(solution.codes[:, shifted, shifted], codes, atol=1e-5)
    assert 0.1 < np.mean(codes != 0) < 0.9


def test_it_starts_as_ista_with_a_step_that_is_safe():
    """The objective ½‖y − w_d⊗z‖² + θ‖z‖₁ falls at each recursion, and some codes are active."""
    torch.manual_seed(2)
    network = build("acsc", atoms=16, recursions=12, scales=(2,))
    x = torch.rand(1, 1, 20, 20)
    objectives = []
    for z in codes_of(network, x):
        with torch.no_grad():
            misfit = (x - MEAN) - network.synthesis(torch.from_numpy(z)[None])
        objectives.append(float(misfit.square().sum() / 2 + 1e-3 * np.abs(z).sum()))
    assert (np.diff(objectives) < 1e-4).all()
    assert objectives[-1] < 0.8 * objectives[0]
    assert np.count_nonzero(z) > 0.2 * z.size


@pytest.mark.parametrize(("atoms", "kernel", "recursions"), [(64, 7, 25), (5, 3, 2)])
def test_parameters_and_multiply_adds(atoms, kernel, recursions):
    """Three banks and the thresholds; K + 1 encodings, K syntheses and one decoding."""
    network = blueprint(
        "acsc", {"atoms": atoms, "kernel": kernel, "recursions": recursions, "scales": [2]}
    )
    assert sum(p.numel() for p in network.parameters()) == 3 * atoms * kernel**2 + atoms
    assert network.multiply_adds(2) == 4 * atoms * kernel**2 * (2 * recursions + 2)
    assert network.recursions == recursions
    assert network.input_radius(2) == (2 * recursions + 2) * (kernel // 2)


def test_it_learns(losses_of_learning):
    """Gradients reach all parameters, and a few steps lower the error."""
    torch.manual_seed(3)
    losses = losses_of_learning(build("acsc", atoms=8, kernel=5, recursions=4, scales=(2,)))
    assert losses[-1] < 0.6 * losses[0]


def test_gradients_of_shrinkage_with_one_threshold_per_channel():
    """By differences; entries within 0.05 of their threshold would cross it."""
    generator = torch.Generator().manual_seed(4)
    threshold = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)[:, None, None]
    z = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    z = torch.where((z.abs() - threshold).abs() < 0.05, z + 0.2, z)
    assert 0.2 < (z.abs() < threshold).double().mean() < 0.8
    arguments = (z.requires_grad_(), threshold.requires_grad_())
    assert torch.autograd.gradcheck(lambda z, t: Shrinkage.apply(z, t.abs()), arguments, eps=1e-4)
