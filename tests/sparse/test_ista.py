"""ISTA and FISTA: descent, rates, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cscsr import InputError, SparseCoding, Status
from cscsr.sparse.ista import FISTA, ISTA
from cscsr.sparse.loop import GAP_EVERY
from cscsr.sparse.proximal import shrink


def textbook_fista(
    problem: SparseCoding, matrix: np.ndarray, iterations: int, restart: bool
) -> np.ndarray:
    """x₁, x₂, … of Beck and Teboulle (2009), eqs. 4.1 to 4.3, F as a dense matrix:

        xₖ = p_L(yₖ),   tₖ₊₁ = (1 + √(1 + 4tₖ²))/2,   yₖ₊₁ = xₖ + (tₖ − 1)/tₖ₊₁ (xₖ − xₖ₋₁).

    restart: where ⟨yₖ − xₖ, xₖ − xₖ₋₁⟩ > 0, yₖ₊₁ = xₖ and t begins anew (O'Donoghue and Candès
    2015, eq. 12).
    """
    lipschitz = np.linalg.norm(matrix, 2) ** 2
    y = x = np.zeros(matrix.shape[1])
    t, iterates = 1.0, []
    for _ in range(iterations):
        point = y - matrix.T @ (matrix @ y - problem.signal.ravel()) / lipschitz
        before = x
        if problem.nonnegative:
            x = np.maximum(point - problem.lam / lipschitz, 0)
        else:
            x = np.sign(point) * np.maximum(np.abs(point) - problem.lam / lipschitz, 0)
        if restart and (y - x) @ (x - before) > 0:
            t = 1.0
        t_next = (1 + np.sqrt(1 + 4 * t**2)) / 2
        y = x + (t - 1) / t_next * (x - before)
        t = t_next
        iterates.append(x.reshape(problem.codes_shape))
    return np.stack(iterates)


@st.composite
def problems(draw):
    size, channels = draw(st.integers(1, 6)), draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dictionary = rng.standard_normal((draw(st.integers(1, 6)), channels, size, size))
    return SparseCoding(
        rng.standard_normal((channels, draw(st.integers(7, 12)), draw(st.integers(7, 12)))),
        dictionary,
        draw(st.floats(0.05, 2.0)),
        draw(st.booleans()),
        draw(st.sampled_from(["circular", "zero"])),
    )


@pytest.mark.parametrize("nonnegative", [False, True])
def test_shrink_is_the_proximal_map(nonnegative):
    rng = np.random.default_rng(0)
    values, threshold = torch.from_numpy(rng.standard_normal(50)), 0.4
    grid = torch.linspace(0.0 if nonnegative else -4.0, 4.0, 8001, dtype=torch.float64)
    cost = 0.5 * (grid[:, None] - values) ** 2 + threshold * grid[:, None].abs()
    best = grid[cost.argmin(0)]
    assert (shrink(values, threshold, nonnegative) - best).abs().max() < 1e-3


@given(problems())
@settings(max_examples=25)
def test_the_objective_of_ista_never_rises(problem):
    trace = ISTA(iterations=40, tol=0).solve(problem).trace
    objective = np.concatenate([[0.5 * np.sum(problem.signal**2)], trace["objective"]])
    assert np.all(np.diff(objective) <= 1e-12 * objective[0])


@pytest.mark.slow
@given(problems())
@settings(max_examples=5)
def test_rates(problem):
    best = FISTA(iterations=1000, tol=0, record_every=0).solve(problem)
    lowest = best.trace["objective"][-1]
    constant = problem.operator().lipschitz * np.sum(best.codes**2)  # L‖z₀ − z*‖² from z₀ = 0
    k = np.arange(1, 61)
    ista = ISTA(iterations=60, tol=0).solve(problem).trace["objective"]
    fista = FISTA(iterations=60, tol=0, restart=False).solve(problem).trace["objective"]
    slack = 1e-6 * lowest
    assert np.all(ista - lowest <= constant / (2 * k) + slack)
    assert np.all(fista - lowest <= 2 * constant / (k + 1) ** 2 + slack)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize(("restart", "iterations"), [(False, 20), (True, 50)])
def test_the_iterates_of_fista_are_those_of_the_textbook(
    dense_matrix, restart, iterations, nonnegative
):
    rng = np.random.default_rng(5)
    signal, dictionary = rng.standard_normal((2, 7, 6)), rng.standard_normal((3, 2, 3, 3))
    problem = SparseCoding(signal, dictionary, 2.0, nonnegative)
    iterates = []
    FISTA(iterations=iterations, tol=0, restart=restart).solve(
        problem, callback=lambda _, codes: iterates.append(codes)
    )
    matrix = dense_matrix(problem)
    expected = textbook_fista(problem, matrix, iterations, restart)
    assert 10 < np.count_nonzero(expected[-1]) < expected[-1].size
    np.testing.assert_allclose(np.stack(iterates), expected, rtol=0, atol=1e-12)
    if restart:  # it did restart, and then went another way
        plain = textbook_fista(problem, matrix, iterations, False)
        assert np.abs(plain[-1] - expected[-1]).max() > 1e-6


def test_a_single_unit_impulse_has_a_closed_form():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((1, 9, 8))
    for nonnegative in (False, True):
        problem = SparseCoding(signal, np.ones((1, 1, 1, 1)), 0.5, nonnegative)
        expected = np.sign(signal) * np.maximum(np.abs(signal) - 0.5, 0)
        if nonnegative:
            expected = np.maximum(signal - 0.5, 0)
        for solver in (ISTA(), FISTA()):
            np.testing.assert_allclose(solver.solve(problem).codes, expected, atol=1e-15)


def test_without_l1_it_is_least_squares():
    rng = np.random.default_rng(0)
    signal, atom = rng.standard_normal((8, 8)), np.zeros((1, 3, 3))
    atom[0] = np.eye(3) * [4, 1, 1]  # invertible: its transform is nowhere zero
    problem = SparseCoding(signal, atom, 0.0)
    codes = FISTA(iterations=2000, tol=1e-12).solve(problem).codes
    transform = np.fft.fft2(atom[0], (8, 8))
    expected = np.fft.ifft2(np.fft.fft2(signal) / transform).real
    np.testing.assert_allclose(codes[0], expected, atol=1e-8)


def test_fista_is_certified_on_a_real_image(certified):
    gap, objective = certified.trace["duality_gap"], certified.trace["objective"]
    assert np.all(gap >= -1e-12)
    assert gap[-1] <= 1e-5 * objective[-1]
    # Every recorded gap bounds the true suboptimality of its row.
    assert np.all(objective - objective[-1] <= gap + 1e-12)
    assert certified.trace["nnz"][-1] == np.count_nonzero(certified.codes)


@pytest.mark.slow
@given(problems())
@settings(max_examples=5)
def test_a_fixed_point_is_optimal(problem):
    codes = FISTA(iterations=2000, tol=1e-13, record_every=0).solve(problem).codes
    step = ISTA().step(problem, torch.from_numpy(codes)).numpy()
    np.testing.assert_allclose(step, codes, atol=1e-6)


def test_step_is_differentiable():
    rng = np.random.default_rng(0)
    problem = SparseCoding(rng.standard_normal((6, 7)), rng.standard_normal((2, 3, 3)), 0.1)
    codes = torch.from_numpy(rng.standard_normal((2, 6, 7))).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: ISTA().step(problem, z), codes)


def test_restart_does_not_move_the_answer(camera_problem, certified):
    plain = FISTA(iterations=500, tol=0, record_every=0, restart=False).solve(camera_problem)
    ratio = plain.trace["objective"][-1] / certified.trace["objective"][-1]
    assert ratio == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    "parameters", [{"iterations": 0}, {"tol": -1.0}, {"tol": float("nan")}, {"record_every": -1}]
)
def test_bad_parameters(parameters):
    for solver in (ISTA, FISTA):
        with pytest.raises(InputError, match=next(iter(parameters))):
            solver(**parameters)


def test_stopping_by_tolerance_is_reported(camera_problem):
    """It ends where the change is small and the gap is too, looked at once in ten iterations."""
    solution = FISTA(iterations=3000, tol=1e-2, gap=True).solve(camera_problem)
    assert solution.status is Status.CONVERGED
    trace = solution.trace
    small = trace["relative_change"] <= 1e-2
    near = trace["duality_gap"] <= 1e-2 * trace["objective"]
    assert small[:-1].any(), "the change alone would have ended it before"
    looked = -GAP_EVERY
    for iteration, (settled, certified) in enumerate(zip(small, near, strict=True)):
        if settled and iteration >= looked + GAP_EVERY:
            looked = iteration
            assert certified == (iteration == len(trace) - 1)
    assert looked == len(trace) - 1


@pytest.mark.slow
def test_ista_agrees_with_fista_on_a_real_image(camera_problem, certified):
    ista = ISTA(iterations=6000, tol=1e-6, record_every=0).solve(camera_problem)
    best = certified.trace["objective"][-1]
    assert camera_problem.objective(ista.codes) == pytest.approx(best, rel=1e-4)
