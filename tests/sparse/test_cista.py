"""CISTA is ISTA: to the last digits with F as it should be, but for a band with a cropped F."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cscsr import InputError, SparseCoding
from cscsr.operators import ConvDictionary
from cscsr.sparse.cista import CISTA, cista_step
from cscsr.sparse.ista import ISTA
from cscsr.sparse.proximal import shrink


def random_problem(seed, atoms, channels, size, shape, nonnegative, boundary, lam=0.1):
    rng = np.random.default_rng(seed)
    dictionary = rng.standard_normal((atoms, channels, size, size))
    dictionary /= np.sqrt(np.sum(dictionary**2, axis=(1, 2, 3), keepdims=True))
    return SparseCoding(
        rng.standard_normal((channels, *shape)), dictionary, lam, nonnegative, boundary
    )


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32 - 1),
    atoms=st.integers(1, 32),
    channels=st.sampled_from([1, 3]),
    size=st.sampled_from([1, 3, 5, 7]),
    shape=st.tuples(st.integers(7, 18), st.integers(7, 18)),
    nonnegative=st.booleans(),
    boundary=st.sampled_from(["circular", "zero"]),
)
@settings(max_examples=25)
def test_the_same_codes_as_ista_after_50_iterations(
    seed, atoms, channels, size, shape, nonnegative, boundary
):
    problem = random_problem(seed, atoms, channels, size, shape, nonnegative, boundary)
    ista = ISTA(iterations=50, tol=0, record_every=0).solve(problem).codes
    cista = CISTA(iterations=50, tol=0, record_every=0).solve(problem).codes
    assert np.abs(ista - cista).max() <= 1e-12


@pytest.mark.parametrize("boundary", ["circular", "zero"])
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("size", [6, 7])
def test_the_same_codes_with_32_atoms_of_3_channels(size, nonnegative, boundary):
    problem = random_problem(0, 32, 3, size, (24, 20), nonnegative, boundary)
    ista = ISTA(iterations=50, tol=0, record_every=0).solve(problem).codes
    assert np.count_nonzero(ista) > 100
    cista = CISTA(iterations=50, tol=0, record_every=0).solve(problem).codes
    assert np.abs(ista - cista).max() <= 1e-12


def test_it_starts_where_a_network_starts():
    """From zero the first iterate is h(W⊗y); CRNet's block starts there."""
    problem = random_problem(1, 5, 1, 5, (12, 11), True, "zero")
    weights, _ = problem.operator().cista_filters()
    # A network's layer is a 'same' correlation: it is given the flipped filter.
    drive = torch.nn.functional.conv2d(
        torch.from_numpy(problem.signal)[None], weights.flip(-2, -1), padding="same"
    )[0]
    expected = torch.relu(drive - problem.lam / problem.operator().lipschitz)
    first = CISTA(iterations=1, tol=0).solve(problem).codes
    np.testing.assert_allclose(first, expected.numpy(), atol=1e-14)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_a_cropped_synthesis_differs_in_a_band_that_grows(size):
    """F cropped to the signal ('same', a CNN's padding) is not a convolution's Gram at the
    border: one step differs within s//2 pixels of it, and each further one within s−1 more."""
    problem = random_problem(2, 6, 1, size, (64, 60), False, "zero", lam=0.01)
    operator: ConvDictionary = problem.operator()
    crop = operator.filter_shape[0] // 2
    step_size = 1.0 / operator.lipschitz

    def cropped_step(codes):
        residual = problem.observed() - operator.synthesis(codes)
        inside = torch.zeros_like(residual)
        inside[:, crop:-crop, crop:-crop] = residual[:, crop:-crop, crop:-crop]
        return shrink(codes + step_size * operator.adjoint(inside), problem.lam * step_size)

    explicit = cista_step(problem)
    exact = cropped = torch.from_numpy(
        np.random.default_rng(0).standard_normal(problem.codes_shape)
    )
    for iteration in range(4):
        exact, cropped = explicit(exact), cropped_step(cropped)
        band = reach(size, iteration)
        difference = (exact - cropped).abs().amax(0)
        inner = difference[band:-band, band:-band]
        assert inner.max() < 1e-13
        # The band is no wider than it must be: its innermost pixels do differ.
        ring = difference[band - 1 : 1 - band or None, band - 1 : 1 - band or None]
        assert ring.max() > 1e-12


def reach(size: int, iteration: int) -> int:
    return size // 2 + iteration * (size - 1)


def test_step_is_differentiable_and_iterates():
    problem = random_problem(3, 3, 1, 3, (7, 6), False, "circular")
    codes = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 7, 6))).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: CISTA().step(problem, z), codes)
    torch.testing.assert_close(CISTA().step(problem, codes), ISTA().step(problem, codes))


def test_past_its_cost_cap_it_gives_the_reason():
    problem = random_problem(4, 8, 1, 5, (16, 16), False, "circular")
    cost = 8**2 * 9**2 * 16 * 16
    assert CISTA(cost_cap=cost).supports(problem) is None
    reason = CISTA(cost_cap=cost - 1).supports(problem)
    assert "8 atoms of 5x5" in reason
    with pytest.raises(InputError, match="than its cap of"):
        CISTA(cost_cap=cost - 1).solve(problem)
