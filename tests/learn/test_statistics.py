"""The sums of correlations, against the objective and a dense least-squares problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr import SparseCoding
from cscsr.learn.statistics import Quadratic, Statistics
from cscsr.learn.update import project, update_filters


def coded(boundary, channels, seed=0, density=0.3):
    random = np.random.default_rng(seed)
    signal = random.standard_normal((2, channels, 9, 11))
    filters = random.standard_normal((5, channels, 4, 4))
    problem = SparseCoding(
        torch.from_numpy(signal), torch.from_numpy(filters), 0.3, False, boundary
    )
    codes = random.standard_normal(problem.codes_shape)
    codes *= random.random(codes.shape) < density
    return problem, torch.from_numpy(codes)


def summed():
    """A problem, its codes and their quadratic function."""
    problem, codes = coded("circular", 2, density=0.2)
    sums = Statistics.empty(5, 2, 4)
    sums.add(problem, codes)
    return problem, codes, Quadratic(sums)


@pytest.mark.parametrize("boundary", ["circular", "zero"])
@pytest.mark.parametrize("channels", [1, 3])
def test_quadratic_function_of_the_sums_is_the_objective(boundary, channels):
    problem, codes = coded(boundary, channels)
    sums = Statistics.empty(5, channels, 4)
    sums.add(problem, codes)
    for seed in range(3):
        random = np.random.default_rng(seed)
        filters = torch.from_numpy(random.standard_normal((5, channels, 4, 4)))
        other = SparseCoding(problem.signal, filters, problem.lam, False, boundary)
        constant = 0.5 * float(problem.signal.square().sum()) + 0.3 * float(codes.abs().sum())
        value = Quadratic(sums).value(filters.float()) + constant
        assert value == pytest.approx(other.objective(codes), rel=1e-5)


@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_with_a_mask_the_quadratic_function_majorises_the_objective(boundary):
    """Its change from the problem's filters to others is never below that of the objective, and
    along a short step both change alike, however large what is missing is."""
    problem, codes = coded(boundary, 2)
    random = np.random.default_rng(1)
    mask = random.choice([0.0, 0.5, 1.0], size=(1, 9, 11))
    signal = problem.signal.numpy() + 100 * (mask == 0)

    def objective(filters):
        return SparseCoding(signal, filters, 0.3, False, boundary, mask).objective(codes)

    filters = problem.dictionary.numpy()
    sums = Statistics.empty(5, 2, 4)
    sums.add(SparseCoding(torch.from_numpy(signal), filters, 0.3, False, boundary, mask), codes)
    quadratic = Quadratic(sums)

    def value(filters):
        return quadratic.value(torch.from_numpy(filters).float())

    for _ in range(5):
        step = random.standard_normal(filters.shape)
        rise = objective(filters + step) - objective(filters)
        assert value(filters + step) - value(filters) > rise
        slope = float((quadratic.gradient(torch.from_numpy(filters).float()).numpy() * step).sum())
        short = (objective(filters + 1e-5 * step) - objective(filters - 1e-5 * step)) / 2e-5
        assert slope == pytest.approx(short, rel=1e-3, abs=1e-2)


def test_sums_are_those_of_the_definition():
    problem, codes = coded("zero", 1)
    sums = Statistics.empty(5, 1, 4)
    sums.add(problem, codes)
    z, y = codes.numpy(), problem.observed().numpy()
    padded = np.pad(z, ((0, 0), (0, 0), (3, 3), (3, 3)))
    for down, across in [(0, 0), (2, -3), (-1, 3), (3, 3)]:
        shifted = padded[:, :, 3 + down : 12 + down, 3 + across : 14 + across]
        expected = np.einsum("bihw,bjhw->ij", z, shifted)
        np.testing.assert_allclose(sums.codes[:, :, 3 + down, 3 + across], expected, atol=1e-12)
    window = y[:, :, 2:11, 1:12]
    np.testing.assert_allclose(
        sums.signal[:, :, 2, 1], np.einsum("bihw,bchw->ic", z, window), atol=1e-12
    )


def test_sums_of_codes_of_two_signals_add_up():
    problem, codes = coded("circular", 1)
    both, one_by_one = Statistics.empty(5, 1, 4), Statistics.empty(5, 1, 4)
    both.add(problem, codes)
    for signal, code in zip(problem.signal, codes, strict=True):
        one_by_one.add(SparseCoding(signal, problem.dictionary, problem.lam), code)
    torch.testing.assert_close(both.codes, one_by_one.codes)
    torch.testing.assert_close(both.signal, one_by_one.signal)


def test_no_codes_give_no_sums():
    problem, codes = coded("circular", 1)
    sums = Statistics.empty(5, 1, 4)
    sums.add(problem, torch.zeros_like(codes))
    assert not sums.codes.any()
    assert not sums.signal.any()


def test_update_is_the_minimiser_in_the_unit_balls():
    """No feasible direction of a dense matrix of the quadratic function leads downhill."""
    problem, codes, quadratic = summed()
    start = torch.zeros(5, 2, 4, 4)
    filters = update_filters(quadratic, start, 5000, tol=0.0)
    columns = []  # of the operator: filters to signal, codes fixed
    for index in range(start.numel()):
        unit = torch.zeros(start.numel(), dtype=torch.float64)
        unit[index] = 1.0
        columns.append(
            SparseCoding(problem.signal, unit.view(start.shape), 0.3)
            .operator()
            .synthesis(codes)
            .flatten()
        )
    matrix = torch.stack(columns, 1)
    residual = matrix @ filters.double().flatten() - problem.signal.flatten()
    gradient = (matrix.T @ residual).view(start.shape)
    norms = filters.flatten(1).norm(dim=1)
    assert (norms <= 1 + 1e-6).all()
    assert (norms < 0.99).any() or (norms > 0.99).any()
    scale = float((matrix.T @ problem.signal.flatten()).abs().max())
    for filter_, slope, norm in zip(filters.double(), gradient, norms, strict=True):
        if norm < 1 - 1e-4:
            assert float(slope.abs().max()) < 1e-3 * scale
        else:  # −gradient points outwards along the filter
            along = -float((slope * filter_).sum())
            assert along >= 0
            assert float((slope + along * filter_).norm()) < 3e-3 * scale


def test_update_is_faster_than_plain_gradient_steps():
    """Momentum that is dropped where it helps, or kept where it points uphill, does no better."""
    _, _, quadratic = summed()
    start = torch.zeros(5, 2, 4, 4)
    best = quadratic.value(update_filters(quadratic, start, 5000, tol=0.0))
    plain = start
    for _ in range(40):  # each call takes one step, without momentum
        plain = update_filters(quadratic, plain, 1, tol=0.0)
    accelerated = quadratic.value(update_filters(quadratic, start, 40, tol=0.0))
    assert accelerated - best < 0.1 * (quadratic.value(plain) - best)


def test_projection_is_onto_the_unit_ball_of_each_filter():
    filters = torch.tensor([3.0, 0.1]).view(2, 1, 1, 1) * torch.ones(2, 1, 2, 2)
    np.testing.assert_allclose(project(filters).flatten(1).norm(dim=1), [1.0, 0.2], rtol=1e-6)
