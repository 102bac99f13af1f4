"""Our ADMM: its x-step, its fixed point, its agreement with the certified optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cscsr import InputError, SparseCoding, Status
from cscsr.sparse.admm import ADMM, FrequencySolver, default_rho, dual_of
from cscsr.sparse.ista import FISTA
from cscsr.sparse.sporco import SporcoADMM


@st.composite
def problems(draw):
    """Random, but with λ where the codes are sparse, so that FISTA can be certified soon."""
    size, channels = draw(st.integers(1, 7)), draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signal = rng.standard_normal((channels, draw(st.integers(7, 12)), draw(st.integers(7, 12))))
    dictionary = rng.standard_normal((draw(st.integers(1, 6)), channels, size, size))
    nonnegative = draw(st.booleans())
    largest = SparseCoding(signal, dictionary, 1.0, nonnegative).lambda_max()
    return SparseCoding(signal, dictionary, draw(st.floats(0.1, 0.9)) * largest, nonnegative)


@pytest.mark.slow
@given(problems())
@settings(max_examples=25, deadline=None)
def test_it_agrees_with_the_certified_optimum(problem):
    reference = FISTA(iterations=4000, tol=1e-12, record_every=0, gap=True).solve(problem)
    best = reference.trace["objective"][-1]
    assert reference.trace["duality_gap"][-1] <= 1e-8 * best
    solution = ADMM(iterations=4000, tol=1e-10, record_every=0, gap=True).solve(problem)
    assert solution.status is Status.CONVERGED
    assert solution.trace["objective"][-1] == pytest.approx(best, rel=1e-6)
    assert -1e-12 * best <= solution.trace["duality_gap"][-1] <= 1e-6 * best
    if problem.nonnegative:
        assert solution.codes.min() >= 0


@given(problems(), st.floats(1e-2, 10.0))
@settings(max_examples=25, deadline=None)
def test_the_x_step_solves_its_linear_system(problem, ratio):
    torch_problem = problem.on()
    operator, observed = torch_problem.operator(), torch_problem.observed()
    rho = ratio * operator.lipschitz
    rng = np.random.default_rng(0)
    point = torch.from_numpy(rng.standard_normal(problem.codes_shape))
    solve = FrequencySolver(torch_problem)
    solved = solve(observed - operator.synthesis(point), rho)
    x = point + operator.adjoint(solved)
    right = operator.adjoint(observed) + rho * point
    left = operator.adjoint(operator.synthesis(x)) + rho * x
    scale = (operator.lipschitz + rho) * x.norm() + right.norm()
    assert float((left - right).norm()) <= 1e-13 * float(scale)
    image = solve.in_range(observed) - rho * solved
    torch.testing.assert_close(operator.synthesis(x), image, rtol=0, atol=1e-13 * float(scale))


def unrepresentable(kind):
    """A signal, and filters that cannot represent all of it at any frequency, or at one."""
    rng = np.random.default_rng(0)
    signal = 0.5 + 0.1 * rng.standard_normal((3, 24, 20)).cumsum(1)
    if kind == "fewer atoms than channels":
        return signal, rng.standard_normal((2, 3, 5, 5))
    differences = np.zeros((2, 3, 3))
    differences[0, 1, 1:] = differences[1, 1:, 1] = 1, -1
    return signal[0], differences


@pytest.mark.parametrize("kind", ["fewer atoms than channels", "zero-mean filters"])
@pytest.mark.parametrize("masked", [False, True])
def test_float32_bears_signals_that_the_filters_cannot_represent(kind, masked):
    """ρ becomes small, and what is divided by it must not drown the rest."""
    signal, dictionary = unrepresentable(kind)
    mask = np.random.default_rng(1).random(signal.shape[-2:]) < 0.7 if masked else None
    problem = SparseCoding(signal, dictionary, 1e-4, mask=mask)
    exact = FISTA(iterations=20000, tol=1e-10, record_every=0).solve(problem)
    single = SparseCoding(*(a.astype(np.float32) for a in (signal, dictionary)), 1e-4, mask=mask)
    codes = ADMM(iterations=1000, record_every=0).solve(single).codes.astype(float)
    best, zero = exact.trace["objective"][-1], problem.objective(np.zeros(problem.codes_shape))
    assert problem.objective(codes) - best <= 2e-4 * (zero - best)


def small_problem(seed=0, channels=1, batch=(), **changes):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((*batch, channels, 13, 12))
    dictionary = rng.standard_normal((5, channels, 4, 4))
    return SparseCoding(**{"signal": signal, "dictionary": dictionary, "lam": 4.0, **changes})


@pytest.mark.parametrize("exponent", [-60, 60])
def test_a_penalty_goes_with_the_square_of_the_unit_of_the_filters(exponent):
    problem, unit = small_problem().on(dtype="float32"), 2.0**exponent
    scaled = SparseCoding(problem.signal, unit * problem.dictionary, unit * problem.lam)
    settings = {"iterations": 40, "tol": 0.0}
    codes = ADMM(rho=3.0, **settings).solve(problem).codes
    others = ADMM(rho=3.0 * unit**2, **settings).solve(scaled).codes
    torch.testing.assert_close(unit * others, codes, rtol=0, atol=0)


def textbook_admm(
    problem: SparseCoding, matrix: np.ndarray, solver: ADMM, rho: float
) -> np.ndarray:
    """z₁, z₂, … of ADMM with over-relaxation (Boyd et al. 2011, sections 3.1.1 and 3.4.3), F as a
    dense matrix; ρ starts at `rho` and changes as the docstring of `ADMM` says."""
    y, identity = problem.signal.ravel(), np.eye(matrix.shape[1])
    z = u = np.zeros(matrix.shape[1])
    iterates = []
    for iteration in range(1, solver.iterations + 1):
        right = matrix.T @ y + rho * (z - u)
        x = np.linalg.solve(matrix.T @ matrix + rho * identity, right)
        v = solver.relaxation * x + (1 - solver.relaxation) * z + u
        before = z
        if problem.nonnegative:
            z = np.maximum(v - problem.lam / rho, 0)
        else:
            z = np.sign(v) * np.maximum(np.abs(v) - problem.lam / rho, 0)
        u = v - z
        factor = 1.0
        if solver.rho_growth > 1:
            factor = solver.rho_growth if iteration > 1 else 1.0
        elif solver.auto_rho and iteration in (16, 32, 64):
            norm = np.linalg.norm
            primal = norm(x - z) / max(norm(x), norm(z))
            ratio = primal / (1.5 * norm(z - before) / norm(u))
            factor = 1.0 if 1 <= ratio <= 10 else min(max(np.sqrt(ratio), 0.1), 10.0)
        rho, u = factor * rho, u / factor
        iterates.append(z.reshape(problem.codes_shape))
    return np.stack(iterates)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {"iterations": 40},
        {"iterations": 40, "rho": 0.5},
        {"iterations": 40, "rho": 900.0},
        {"iterations": 20, "rho": 3.0, "auto_rho": False, "relaxation": 1.0},
        {"iterations": 12, "rho": 0.5, "rho_growth": 1.5, "relaxation": 1.3},
    ],
    ids=str,
)
def test_the_iterates_are_those_of_the_textbook(dense_matrix, nonnegative, parameters):
    """At its default ρ, at one far too small and one far too large, fixed and growing."""
    rng = np.random.default_rng(4)
    signal, dictionary = rng.standard_normal((2, 7, 6)), rng.standard_normal((3, 2, 3, 3))
    problem = SparseCoding(signal, dictionary, 2.0, nonnegative)
    matrix = dense_matrix(problem)
    solver, iterates = ADMM(tol=0, **parameters), []
    solver.solve(problem, callback=lambda _, codes: iterates.append(codes))
    correlation = matrix.T @ signal.ravel()
    largest = correlation.max() if nonnegative else np.abs(correlation).max()
    rho = solver.rho or np.sum(dictionary**2) * np.sqrt(2.0 / largest) / 3
    expected = textbook_admm(problem, matrix, solver, rho)
    assert np.count_nonzero(expected[-1]) > 10
    np.testing.assert_allclose(np.stack(iterates), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_dual_of_a_warm_start_is_held_to_its_bound(dense_matrix, nonnegative):
    problem = small_problem(nonnegative=nonnegative)
    matrix = dense_matrix(problem)
    codes = np.abs(np.random.default_rng(2).standard_normal(problem.codes_shape))
    gradient = matrix.T @ (problem.signal.ravel() - matrix @ codes.ravel())
    expected = np.clip(gradient, -np.inf if nonnegative else -problem.lam, problem.lam)
    assert not np.allclose(expected, gradient)
    dual = dual_of(problem.on(), torch.from_numpy(codes)).numpy().ravel()
    np.testing.assert_allclose(dual, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("auto_rho", [False, True])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_started_at_the_optimum_it_stays_there(nonnegative, auto_rho):
    problem = small_problem(nonnegative=nonnegative)
    optimum = FISTA(iterations=4000, tol=1e-15, record_every=0).solve(problem).codes
    assert optimum.any()
    distances = []
    ADMM(iterations=20, tol=0, auto_rho=auto_rho).solve(
        problem,
        init=optimum,
        callback=lambda _, codes: distances.append(np.abs(codes - optimum).max()),
    )
    assert max(distances) <= 1e-10
    assert ADMM(tol=1e-8).solve(problem, init=optimum).trace["iteration"].tolist() == [1]


@pytest.mark.parametrize("rho", [1e-3, 1e3])
def test_a_bad_rho_delays_but_does_not_end_the_solve(rho):
    """At ρ = 1e-3 the first codes are zero, which is no convergence; nor is, at 1e3, a
    change that is small because the steps are."""
    problem = small_problem()
    best = FISTA(iterations=4000, tol=1e-12, record_every=0).solve(problem).trace["objective"][-1]
    solution = ADMM(rho=rho, iterations=3000, tol=1e-9).solve(problem)
    assert len(solution.trace) > 10
    assert solution.trace["objective"][-1] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_solved_as_its_problems_are(channels):
    problem = small_problem(channels=channels, batch=(3,))
    solver = ADMM(iterations=25, tol=0, rho=8.0, auto_rho=False)
    together = solver.solve(problem).codes
    for signal, codes in zip(problem.signal, together, strict=True):
        alone = solver.solve(SparseCoding(signal, problem.dictionary, problem.lam)).codes
        np.testing.assert_allclose(codes, alone, atol=1e-12)


def test_neither_the_scale_of_the_signal_nor_of_the_atoms_matters():
    problem = small_problem()
    solver = ADMM(iterations=30, tol=0, record_every=0)
    codes = solver.solve(problem).codes
    brighter = SparseCoding(255.0 * problem.signal, problem.dictionary, 255.0 * problem.lam)
    np.testing.assert_allclose(solver.solve(brighter).codes, 255.0 * codes, atol=1e-9)
    longer = SparseCoding(problem.signal, 9.0 * problem.dictionary, 9.0 * problem.lam)
    np.testing.assert_allclose(solver.solve(longer).codes, codes / 9.0, atol=1e-12)


def test_single_precision_follows_double(camera_problem):
    solver = ADMM(iterations=30, tol=0, record_every=0)
    double = solver.solve(camera_problem).trace["objective"][-1]
    single = ADMM(iterations=30, tol=0, record_every=0, dtype="float32").solve(camera_problem)
    assert single.trace["objective"][-1] == pytest.approx(double, rel=1e-5)


def test_on_a_real_image_it_is_near_the_optimum_soon(camera_problem, certified):
    best = certified.trace["objective"][-1]
    objective = ADMM(iterations=60, tol=0).solve(camera_problem).trace["objective"]
    assert objective[30] <= (1 + 1e-2) * best
    assert objective[-1] <= (1 + 1e-3) * best
    fista = FISTA(iterations=60, tol=0).solve(camera_problem).trace["objective"]
    assert objective[-1] < fista[-1]
    stopped = ADMM().solve(camera_problem)
    assert stopped.status is Status.CONVERGED
    assert stopped.trace["objective"][-1] == pytest.approx(best, rel=1e-4)


def test_it_is_sporcos_iteration_at_the_same_rho(camera_problem):
    common = {"iterations": 15, "tol": 0, "rho": 3.5, "auto_rho": False, "record_every": 0}
    common["relaxation"] = 1.8
    ours = ADMM(**common).solve(camera_problem).codes
    theirs = SporcoADMM(**common).solve(camera_problem).codes
    assert np.count_nonzero(ours) > 100
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_from_lambda_max_on_the_codes_are_zero(nonnegative):
    problem = small_problem(nonnegative=nonnegative)
    largest = problem.lambda_max()
    at = ADMM().solve(small_problem(nonnegative=nonnegative, lam=largest))
    assert at.status is Status.CONVERGED
    assert not at.codes.any()
    below = small_problem(nonnegative=nonnegative, lam=0.9 * largest)
    assert ADMM().solve(below).codes.any()


def test_a_step_that_blows_up_ends_as_diverged():
    problem = small_problem()
    operator = problem.on().operator()
    operator.__dict__["gram"] = operator.gram / 10  # a Gram matrix of other filters
    solution = ADMM(iterations=3000, tol=0).solve(problem)
    assert solution.status is Status.DIVERGED
    assert np.isfinite(solution.codes).all()
    assert problem.objective(solution.codes) <= 0.5 * np.sum(problem.signal**2) * (1 + 1e-12)


def test_boundary_zero_is_refused_with_the_reason():
    problem = small_problem(boundary="zero")
    reason = ADMM().supports(problem)
    assert reason.startswith("admm works by Fourier transforms")
    assert "'circular'" in reason
    with pytest.raises(InputError, match="'circular'"):
        ADMM().solve(problem)


def test_rho_by_default_grows_with_lam_and_is_above_zero():
    rhos = [default_rho(small_problem(lam=lam)) for lam in (0.0, 0.1, 1.0, 10.0)]
    assert rhos[0] > 0
    assert rhos == sorted(rhos)


@pytest.mark.parametrize(
    "parameters", [{"rho": 0.0}, {"rho": float("nan")}, {"relaxation": 2.0}, {"iterations": 0}]
)
def test_bad_parameters(parameters):
    with pytest.raises(InputError, match=next(iter(parameters))):
        ADMM(**parameters)
