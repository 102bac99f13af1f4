"""The tied block against sparse coding written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.signal import correlate2d

from cscsr.networks import CISTABlock, build
from cscsr.networks.tied_block import TiedCISTABlock, lipschitz_bound

SHAPE = (5, 6)


def random_block(recursions: int, seed: int = 0, kernel: int = 3) -> TiedCISTABlock:
    """A block in float64 of 6 atoms on 3 channels, with filters and thresholds drawn at random."""
    torch.manual_seed(seed)
    block = TiedCISTABlock(3, 6, recursions, kernel).double()
    with torch.no_grad():
        block.g.weight.normal_()
        block.raw_threshold.normal_(std=0.05)
    return block


def dense(filters: np.ndarray) -> np.ndarray:
    """The matrix (C·H·W, m₀·H·W) of the zero-padded correlation by filters (C, m₀, k, k)."""
    channels, atoms = filters.shape[:2]
    columns = []
    for atom in range(atoms):
        for place in range(np.prod(SHAPE)):
            unit = np.zeros(SHAPE)
            unit.flat[place] = 1.0
            planes = [correlate2d(unit, filters[c, atom], mode="same") for c in range(channels)]
            columns.append(np.stack(planes).ravel())
    return np.stack(columns, axis=1)


def problem(block: TiedCISTABlock) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Its dictionary and thresholds as matrix and vector, and a random signal (1, 3, H, W)."""
    with torch.no_grad():
        D = dense(block.dictionary().numpy())
        theta = np.repeat(np.abs(block.raw_threshold.numpy()), np.prod(SHAPE))
    return D, theta, torch.randn(1, 3, *SHAPE, dtype=torch.float64)


def iterates(block: TiedCISTABlock | CISTABlock, y: torch.Tensor) -> list[np.ndarray]:
    visited: list[np.ndarray] = []
    with torch.no_grad():
        block(y, lambda k, z: visited.append(z.numpy().copy().ravel()))
    return visited


def test_recursions_are_ista_with_step_one():
    block = random_block(recursions=7)
    D, theta, y = problem(block)
    target, z = y.numpy().ravel(), np.zeros(D.shape[1])
    for iterate in iterates(block, y):
        z = np.maximum(z + D.T @ (target - D @ z) - theta, 0)
        np.testing.assert_allclose(iterate, z, atol=1e-12)


def test_untied_it_is_a_free_block_of_the_same_iterates():
    block = random_block(recursions=5)
    _, _, y = problem(block)
    for tied, free in zip(iterates(block, y), iterates(block.untied(), y), strict=True):
        np.testing.assert_allclose(free, tied, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_objective_falls_at_every_recursion_and_reaches_the_minimum(seed):
    block = random_block(recursions=4000, seed=seed)
    D, theta, y = problem(block)
    target = y.numpy().ravel()

    def objective(z: np.ndarray) -> float:
        return float(((target - D @ z) ** 2).sum() / 2 + theta @ z)

    visited = iterates(block, y)
    values = np.array([objective(z) for z in visited])
    assert (np.diff(values) <= 1e-12).all()
    assert values[0] > values[8] > values[-1]
    solution = minimize(
        objective,
        np.zeros(D.shape[1]),
        jac=lambda z: D.T @ (D @ z - target) + theta,
        bounds=[(0, None)] * D.shape[1],
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10},
    )
    assert solution.fun * (1 - 1e-9) <= values[-1] <= solution.fun * (1 + 1e-3)
    z = torch.from_numpy(visited[8]).view(1, 6, *SHAPE)
    assert block.objective(y, z).item() == pytest.approx(values[8], rel=1e-12)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("channels, atoms", [(1, 1), (3, 8), (8, 3)])
def test_bound_lies_above_the_norm_and_at_most_an_eighth_or_so_beyond(kernel, channels, atoms):
    rng = np.random.default_rng(kernel)
    for _ in range(5):
        filters = rng.standard_normal((channels, atoms, kernel, kernel))
        bound = lipschitz_bound(torch.from_numpy(filters)).item()
        spectrum = np.fft.fft2(filters, (96, 96)).transpose(2, 3, 0, 1)
        largest = np.linalg.norm(spectrum, 2, axis=(-2, -1)).max() ** 2
        assert largest * (1 - 1e-12) <= bound <= 1.172 * largest
        if kernel == 1:  # the transform is constant: nothing lies between the frequencies
            assert bound == pytest.approx(largest, rel=1e-12)
        if channels * atoms < 20:
            assert np.linalg.norm(dense(filters), 2) ** 2 <= bound


def test_gradient_of_the_bound_is_that_of_finite_differences():
    filters = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lipschitz_bound, filters)


def test_gradient_reaches_filters_and_thresholds():
    block = random_block(recursions=3)
    block(torch.randn(2, 3, *SHAPE, dtype=torch.float64)).square().sum().backward()
    assert block.g.weight.grad.abs().sum() > 0
    assert block.raw_threshold.grad.abs().sum() > 0


def test_inference_computes_what_training_computes():
    network = build(
        "crnet-b-tied", n0=16, m0=32, signal=16, recursions=4, scales=[2], small_start=False
    )
    x = torch.rand(1, 3, 9, 7).contiguous(memory_format=torch.channels_last)
    trained = network(x, 2).detach()
    with torch.inference_mode():
        torch.testing.assert_close(network(x, 2), trained, atol=1e-5, rtol=1e-4)


def test_it_costs_what_the_free_network_of_the_same_rank_costs():
    widths = {"n0": 48, "m0": 128, "recursions": 8, "residual": True, "scales": [2, 3, 4]}
    free = build("crnet-b", s_rank=32, **widths)
    tied = build("crnet-b-tied", signal=32, **widths)
    narrower = (48 - 32) * 9 * (48 + 128)  # F1 has 32 outputs, and W 32 inputs, in place of 48
    for scale in (2, 3, 4):
        assert free.multiply_adds(scale) - tied.multiply_adds(scale) == narrower
        assert free.radius(scale) == tied.radius(scale)
