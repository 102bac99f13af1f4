"""Counts of multiply-adds: equal to those counted while a solve runs, or by hand."""

import math

import numpy as np
import pytest
import torch

from cscsr import SparseCoding, SuperResolution, list_solvers, make_solver
from cscsr.convolution import transform_operations
from cscsr.operators import ConvDictionary
from cscsr.patch_operator import largest_patch
from cscsr.registry import is_builtin


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    dictionary = rng.standard_normal((6, 1, 3, 3)) / 3
    return SparseCoding(rng.standard_normal((1, 20, 16)), dictionary, 0.1)


def counted(forward, network, *arguments) -> float:
    """Multiply-adds of the convolutions that `forward` really makes, by hooks."""
    total = 0.0

    def hook(layer, _, output):
        nonlocal total
        total += layer.weight.numel() * output.shape[0] * math.prod(output.shape[2:])

    handles = [
        layer.register_forward_hook(hook)
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    with torch.inference_mode():
        forward(*arguments)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["crnet-a-small", "crnet-b-small", "crnet-b-small+"])
def test_networks_are_counted_as_they_run(name, scale):
    solver = make_solver(name)
    problem = SuperResolution(np.zeros((6, 7), np.float32), scale)
    network = solver.network()
    assert solver.operations(problem) == counted(solver.solve, network, problem)


def test_tiles_are_counted_with_their_halos():
    solver = make_solver("crnet-b-small", tile=8)
    problem = SuperResolution(np.zeros((70, 6), np.float32), 2)
    network = solver.network()
    assert solver.operations(problem) == counted(solver.solve, network, problem)
    whole = network.multiply_adds(2) * 70 * 6
    assert solver.operations(problem) > whole


def test_ista_is_two_products_with_the_filters_an_iteration(problem):
    assert make_solver("ista").operations(problem, 7) == 7 * 2 * 6 * 9 * 20 * 16
    assert make_solver("fista", iterations=3).operations(problem) == 3 * 2 * 6 * 9 * 20 * 16


def test_explicit_cista_pays_for_its_filters(problem):
    ista, cista = make_solver("ista"), make_solver("cista")
    each = cista.operations(problem, 2) - cista.operations(problem, 1)
    assert each == 6 * 6 * 5 * 5 * 20 * 16
    assert each / ista.operations(problem, 1) == 6 * 25 / (2 * 9)


def test_a_batch_costs_as_much_as_its_signals(problem):
    batch = SparseCoding(np.stack([problem.signal] * 3), problem.dictionary, 0.1)
    for name in ("ista", "cista", "admm", "sporco-admm"):
        solver = make_solver(name)
        assert solver.operations(batch, 5) == pytest.approx(3 * solver.operations(problem, 5))


def test_large_filters_are_counted_as_transforms():
    side = math.isqrt(largest_patch(torch.zeros(4, 1, 1, 1))) + 1
    operator = ConvDictionary(torch.zeros(4, 1, side, side), (32, 32))
    pixels = 32 * 32
    assert transform_operations(pixels) == 1.25 * pixels * 10
    assert operator.operations == 2 * 5 * transform_operations(pixels) + 4 * 4 * pixels


def test_every_solver_of_ours_has_a_count():
    small = SuperResolution(np.zeros((16, 16), np.float32), 2)
    for name in filter(is_builtin, list_solvers("SuperResolution")):
        assert make_solver(name).operations(small) > 0, name


def test_csc_sr_costs_its_coder_and_its_map():
    solver = make_solver("csc-sr[ista]")
    problem = SuperResolution(np.zeros((16, 16), np.float32), 2)
    each = solver.operations(problem, 11) - solver.operations(problem, 10)
    atoms, size, _ = solver._weights().filters.shape
    assert each == 2 * atoms * size**2 * 32 * 32
    assert solver.operations(problem, 0) > solver._weights().kernels[2].size * 32 * 32
