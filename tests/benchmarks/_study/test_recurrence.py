"""What is measured of a recurrent filter bank, on banks whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks._study.recurrence import (
    autocorrelation,
    balanced,
    energy,
    floor_of,
    identity,
    nearest_dictionary,
    random_like,
    symbol,
    watched,
)
from cscsr.networks import CISTABlock
from cscsr.operators import ConvDictionary


def exact(atoms=6, channels=2, size=2, seed=0) -> np.ndarray:
    """n − (1/L) flip(f)⊗f of a random f, as a network's layer holds it."""
    filters = np.random.default_rng(seed).standard_normal((atoms, channels, size, size))
    operator = ConvDictionary(filters, (32, 32))
    gram = autocorrelation(torch.from_numpy(filters), 2 * size - 1).numpy()
    return identity(atoms, 2 * size - 1) - gram / operator.lipschitz


def test_the_target_is_the_recurrent_filters_of_cista():
    filters = np.random.default_rng(0).standard_normal((6, 2, 3, 3))
    _, recurrent = ConvDictionary(filters, (32, 32)).cista_filters()
    # CISTA's are filters of a convolution, a layer's of a correlation.
    np.testing.assert_allclose(exact(size=3), recurrent.numpy()[..., ::-1, ::-1], atol=1e-14)


def test_the_symbol_is_what_the_layer_does():
    filters = np.random.default_rng(1).standard_normal((3, 4, 3, 3))
    maps = np.random.default_rng(2).standard_normal((4, 8, 8))
    padded = torch.from_numpy(np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="wrap"))
    layer = torch.nn.functional.conv2d(padded[None], torch.from_numpy(filters))[0].numpy()
    spectrum = np.einsum("hwij,jhw->ihw", symbol(filters, 8), np.fft.fft2(maps))
    np.testing.assert_allclose(np.fft.ifft2(spectrum), layer, atol=1e-12)


def test_an_s_of_cista_is_known_as_one():
    recurrent = exact()
    transfer = symbol(recurrent)
    np.testing.assert_allclose(transfer, np.conj(np.swapaxes(transfer, -1, -2)), atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(transfer)
    assert eigenvalues.max() == pytest.approx(1.0)
    assert eigenvalues.min() == pytest.approx(0.0, abs=1e-12)
    assert sum(floor_of(recurrent, 2).values()) < 1e-20
    filters, distance = nearest_dictionary(recurrent, 2, 2)
    assert distance < 1e-3
    assert ConvDictionary(filters, (32, 32)).lipschitz == pytest.approx(1.0, abs=1e-3)
    # One channel is not enough for the dictionary of two, and the floor knows by how much.
    away = np.linalg.norm(identity(6, 3) - recurrent)
    _, distance = nearest_dictionary(recurrent, 1, 2)
    assert (distance / away) ** 2 >= floor_of(recurrent, 1)["rank"] > 0.01


def test_scaled_channels_are_scaled_back():
    recurrent = exact()
    scales = np.exp(np.random.default_rng(3).standard_normal(6))
    scaled = recurrent * (scales[:, None] / scales)[..., None, None]
    assert floor_of(scaled, 2)["asymmetric"] > 0.05
    back, diagonal = balanced(scaled)
    np.testing.assert_allclose(back, recurrent, atol=1e-9)
    np.testing.assert_allclose(diagonal * scales / (diagonal * scales)[0], 1.0, atol=1e-9)


def test_no_dictionary_is_nearer_than_the_floor():
    recurrent = np.random.default_rng(4).standard_normal((5, 5, 3, 3))
    floor = floor_of(recurrent, 2)
    assert floor["asymmetric"] > 0.3
    away = np.linalg.norm(identity(5, 3) - recurrent)
    for size in (2, 3):
        filters, distance = nearest_dictionary(recurrent, 2, size)
        # Cut to 3×3 lags the autocorrelation of 3×3 filters is no longer semidefinite.
        if size == 2:
            assert (distance / away) ** 2 >= sum(floor.values())
        gram = autocorrelation(torch.from_numpy(filters), 3).numpy()
        assert distance == pytest.approx(np.linalg.norm(identity(5, 3) - gram - recurrent))


def block_of_ista(recursions: int = 8) -> CISTABlock:
    """W free, S = n − (1/L) flip(f)⊗f, and biases of either sign in both."""
    torch.manual_seed(0)
    block = CISTABlock(2, 5, recursions, s_rank=3).double()
    with torch.no_grad():
        block.W.bias.normal_(std=0.3)
        block.S.A.bias.normal_(std=0.3)
    return block


def dense(block: CISTABlock, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """S as a matrix on the codes of an image of `shape`, zeros at its border and all, and what
    the layer adds to it: both from what it returns, for each unit vector and for zero."""
    size = len(block.W.bias), *shape
    units = torch.eye(int(np.prod(size)), dtype=torch.float64).reshape(-1, *size)
    with torch.no_grad():
        added = block.S(torch.zeros(1, *size, dtype=torch.float64))
        return (block.S(units) - added).flatten(1).T, added.flatten()


def test_the_gradient_of_the_energy_is_minus_the_update():
    block = block_of_ista()
    with torch.no_grad():
        drive = block.W(torch.rand(1, 2, 5, 4, dtype=torch.float64))
        ones = torch.ones(5)

        def value(z: torch.Tensor) -> float:
            return energy(z, block.S(z), drive, block.S.bias, ones)

        z = torch.rand_like(drive)
        update = block.S(z) + drive - z
        step = 1e-5
        for place in np.random.default_rng(0).integers(0, z.numel(), 20):
            moved = torch.zeros_like(z)
            moved.view(-1)[place] = step
            slope = (value(z + moved) - value(z - moved)) / (2 * step)
            assert slope == pytest.approx(-float(update.view(-1)[place]), abs=1e-8)


def test_the_energy_of_ista_falls_and_is_that_of_a_dense_matrix():
    block = block_of_ista()
    y = torch.rand(1, 2, 6, 5, dtype=torch.float64)
    matrix, added = dense(block, (6, 5))
    torch.testing.assert_close(matrix, matrix.T)
    walk = []
    with torch.inference_mode(), watched(block, np.ones(5)) as (norms, energies):
        drive = block.W(y).flatten()
        block(y, lambda k, z: walk.append(z.flatten().clone()))
    expected = [float(z @ (z - matrix @ z) / 2 - z @ (drive + added)) for z in walk[:-1]]
    np.testing.assert_allclose(energies, expected, rtol=1e-10)
    np.testing.assert_allclose(norms, [float(z.norm()) for z in walk[:-1]], rtol=1e-12)
    # A projected gradient step of length 1/‖n − S‖ = 1 lowers E by half its square, or more.
    steps = [float((b - a).square().sum()) for a, b in pairwise(walk[:-1])]
    assert min(steps) > 0
    assert np.all(-np.diff(energies) >= 0.49 * np.array(steps))


def test_the_energy_does_not_change_with_the_scale_of_channels():
    """Channels scaled by D compute the same: what is measured must not depend on D either."""
    block, scaled = block_of_ista(), block_of_ista()
    scales = torch.tensor([0.2, 3.0, 1.0, 0.5, 7.0], dtype=torch.float64)[:, None, None, None]
    with torch.no_grad():
        for layer in (scaled.W, scaled.S.A):
            layer.weight.mul_(scales)
            layer.bias.mul_(scales.flatten())
        scaled.S.B.weight.div_(scales[None, :, 0])
        _, balance = balanced(scaled.S.weight.numpy())
    y = torch.rand(1, 2, 6, 5, dtype=torch.float64)
    curves = []
    for network, diagonal in ((block, np.ones(5)), (scaled, balance)):
        with torch.inference_mode(), watched(network, diagonal) as (_, energies):
            network(y)
        curves.append(np.array(energies) / energies[0])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-6)
    assert np.ptp(curves[0]) > 0.1


def test_a_random_s_has_the_form_of_the_other_and_its_distance():
    recurrent = np.random.default_rng(5).standard_normal((6, 6, 5, 5))
    away = np.linalg.norm(identity(6, 5) - recurrent)
    for rank in (None, 2):
        drawn = random_like(recurrent, rank)
        assert np.linalg.norm(identity(6, 5) - drawn) == pytest.approx(away)
        ranks = np.linalg.matrix_rank(np.eye(6) - symbol(drawn), tol=1e-6 * away)
        assert np.all(ranks == (rank or 6))
