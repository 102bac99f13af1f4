"""The solver on the active codes: certified optima, its fixed point, where it is dense."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cscsr import InputError, SparseCoding, Status, make_solver
from cscsr.data.problems import crop_problem, named_dictionary
from cscsr.sparse.active_set import DENSE, EARLY, ActiveSet, _ActiveCodes
from cscsr.sparse.admm import ADMM


@st.composite
def problems(draw):
    size, channels = draw(st.integers(1, 6)), draw(st.sampled_from([1, 3]))
    batch = draw(st.sampled_from([(), (2,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (*batch, channels, draw(st.integers(7, 12)), draw(st.integers(7, 12)))
    signal = rng.standard_normal(shape)
    dictionary = rng.standard_normal((draw(st.integers(1, 6)), channels, size, size))
    where = draw(st.booleans()), draw(st.sampled_from(["circular", "zero"]))
    largest = SparseCoding(signal, dictionary, 1.0, *where).lambda_max()
    return SparseCoding(signal, dictionary, draw(st.floats(0.1, 0.9)) * largest, *where)


@pytest.mark.slow
@given(problems())
@settings(max_examples=20)
def test_its_duality_gap_goes_to_1e_8_and_below(problem):
    solution = ActiveSet(iterations=300, tol=0, gap_tol=1e-8, gap=True).solve(problem)
    assert solution.status is Status.CERTIFIED
    objective, gap = solution.trace["objective"], solution.trace["duality_gap"]
    assert problem.duality_gap(solution.codes) <= 1e-8 * objective[-1]
    assert np.all(gap >= -1e-12 * objective)
    # Every gap bounds how far its row is from the optimum.
    assert np.all(objective - objective[-1] <= gap + 1e-12)
    if problem.nonnegative:
        assert solution.codes.min() >= 0


@pytest.mark.slow
@given(problems())
@settings(max_examples=4)
def test_all_solvers_with_a_rate_agree_to_1e_6(problem):
    """Each until it is certified itself: the certificates must then hold of one another."""
    stop = {"tol": 0, "gap_tol": 5e-7, "record_every": 0}
    best = ActiveSet(**stop | {"gap_tol": 1e-9}).solve(problem).trace["objective"][-1]
    for name in ("ista", "fista", "cista", "admm", "sporco-admm", "sporco-pgm"):
        solver = make_solver(name, iterations=3000, **stop)
        if name == "sporco-admm":  # adapted, its ρ need not settle on small random problems
            solver = make_solver(name, iterations=3000, auto_rho=False, **stop)
        if solver.supports(problem) is None:
            solution = solver.solve(problem)
            if solution.status is Status.MAX_ITERATIONS and name in ("ista", "cista"):
                continue  # their rate is 1/k: too slow for some of these problems
            assert solution.status is Status.CERTIFIED, name
            assert solution.trace["objective"][-1] == pytest.approx(best, rel=1e-6), name


def small_problem(**changes):
    rng = np.random.default_rng(0)
    arrays = {
        "signal": rng.standard_normal((24, 20)),
        "dictionary": rng.standard_normal((6, 4, 4)),
    }
    return SparseCoding(**{**arrays, "lam": 8.0, **changes})


@pytest.mark.parametrize("nonnegative", [False, True])
def test_started_at_the_optimum_it_stays_there(nonnegative):
    problem = small_problem(nonnegative=nonnegative)
    optimum = ActiveSet(iterations=200, tol=0, gap_tol=1e-11).solve(problem).codes
    assert optimum.any()
    again = ActiveSet(tol=1e-6).solve(problem, init=optimum)
    assert again.trace["iteration"].tolist() == [1]
    np.testing.assert_allclose(again.codes, optimum, atol=1e-5)


def test_the_optimum_is_kkt():
    """|Fᵀ(y − Fz)| ≤ λ everywhere, and = λ·sign(z) where z is not zero."""
    problem = small_problem()
    codes = ActiveSet(iterations=200, tol=0, gap_tol=1e-13).solve(problem).codes
    operator = problem.operator()
    correlation = operator.adjoint(problem.signal[None] - operator.synthesis(codes))
    active = codes != 0
    assert 0 < active.sum() < DENSE * codes.size
    assert np.abs(correlation).max() <= problem.lam * (1 + 1e-5)
    np.testing.assert_allclose(correlation[active], problem.lam * np.sign(codes[active]), rtol=1e-5)


def test_where_codes_are_dense_it_is_the_dense_method():
    problem = small_problem(lam=0.0)
    ours = ActiveSet(iterations=30, tol=0).solve(problem).codes
    np.testing.assert_array_equal(ours, ADMM(iterations=30, tol=0).solve(problem).codes)
    dense = small_problem(lam=1e-3, dictionary=np.random.default_rng(1).standard_normal((1, 4, 4)))
    solution = ActiveSet(iterations=30, tol=0).solve(dense)
    assert solution.trace["nnz"][-1] > DENSE * solution.codes.size
    np.testing.assert_array_equal(solution.codes, ADMM(iterations=30, tol=0).solve(dense).codes)


@pytest.mark.slow
def test_on_a_real_image_it_is_the_sooner_the_closer(camera_problem, certified):
    best = certified.trace["objective"][-1]
    solution = ActiveSet(iterations=60, tol=0, gap_tol=1e-7).solve(camera_problem)
    assert solution.status is Status.CERTIFIED
    assert solution.trace["objective"][-1] <= best * (1 + 1e-12)
    assert solution.trace["objective"][-1] == pytest.approx(best, rel=1e-5)
    single = ActiveSet(iterations=40, tol=0, dtype="float32").solve(camera_problem)
    assert single.trace["objective"][-1] == pytest.approx(best, rel=1e-5)


def test_bad_parameters():
    with pytest.raises(InputError, match="warm_up must be at least 1"):
        ActiveSet(warm_up=0)


def test_its_products_are_counted(monkeypatch):
    """Every product with a sparse matrix as many multiply-adds as the matrix has elements, every
    dense iteration and every look at all the codes as `operations` has it."""
    problem, done = small_problem(), [0.0]
    solver = ActiveSet(iterations=26, tol=0, warm_up=20)
    each = ADMM().operations(problem, 1)
    original = _ActiveCodes._columns

    class Counted:
        def __init__(self, matrix):
            self.matrix, self.nnz, self.shape = matrix, matrix.nnz, matrix.shape

        @property
        def T(self):
            return Counted(self.matrix.T)

        def __getitem__(self, rows):
            return Counted(self.matrix[rows])

        def __matmul__(self, vector):
            done[0] += len(self.matrix.data)
            return self.matrix @ vector

    monkeypatch.setattr(
        _ActiveCodes, "_columns", lambda self, places: Counted(original(self, places))
    )
    counts = solver.solve(problem).trace["operations"]
    np.testing.assert_allclose(counts[:20], each * np.arange(1, 21))
    assert np.all(np.diff(counts) >= each / 2)
    assert counts[-1] == 20 * each + 7 * each / 2 + done[0]


@pytest.mark.parametrize(("share", "dense"), [(0.5, EARLY), (0.01, 20)])
def test_few_active_codes_end_the_warm_up_early(share, dense):
    """Its iterates are ADMM's as long as it is dense, and the next one is not."""
    problem = crop_problem(32, named_dictionary("G:8x8x32"), 1.0)
    problem = dataclasses.replace(problem, lam=share * problem.lambda_max())
    ours = ActiveSet(iterations=dense + 1, tol=0).solve(problem).trace["objective"]
    admm = ADMM(iterations=dense + 1, tol=0).solve(problem).trace["objective"]
    np.testing.assert_array_equal(ours[:dense], admm[:dense])
    assert ours[dense] < admm[dense]
