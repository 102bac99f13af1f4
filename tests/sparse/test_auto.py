"""The solver that picks: its iterates are those of what it picked, and it says so."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from cscsr import ADMM, ActiveSet, Auto, InputError, SparseCoding
from cscsr.data.problems import crop_problem, named_dictionary
from cscsr.sparse.active_set import EARLY
from cscsr.sparse.auto import FIRST, SHARES, largest_share


def sparse_problem(share: float, **changes) -> SparseCoding:
    problem = crop_problem(32, named_dictionary("G:8x8x32"), 1.0)
    lam = share * problem.lambda_max()
    return dataclasses.replace(problem, lam=lam, **changes)


def share_after_first(problem: SparseCoding) -> float:
    codes = ADMM(iterations=FIRST, tol=0).solve(problem).codes
    return np.count_nonzero(codes) / codes.size


@pytest.mark.parametrize("share", [0.5, 0.01])
@pytest.mark.parametrize("accuracy", [1e-1, 1e-3, 1e-6])
def test_it_picks_by_the_share_of_active_codes(share, accuracy):
    problem = sparse_problem(share)
    newton = share_after_first(problem) <= largest_share(problem, accuracy)
    expected = (ActiveSet if newton else ADMM)(iterations=FIRST + 5, tol=0)
    solution = Auto(accuracy=accuracy, iterations=FIRST + 5, tol=0).solve(problem)
    assert solution.solver == expected.name
    np.testing.assert_array_equal(solution.codes, expected.solve(problem).codes)
    assert f"by {expected.name}" in repr(solution)
    assert expected.name in solution._repr_html_()


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_at_the_boundary_zero_it_picks_the_active_set(share):
    problem = sparse_problem(share, boundary="zero")
    solution = Auto(accuracy=0.1, iterations=FIRST + 5, tol=0).solve(problem)
    assert solution.solver == "active-set"
    expected = ActiveSet(iterations=FIRST + 5, tol=0).solve(problem)
    np.testing.assert_array_equal(solution.codes, expected.codes)


def test_both_picks_occur():
    picks = {
        (share, accuracy): Auto(accuracy=accuracy, iterations=FIRST + 1)
        .solve(sparse_problem(share))
        .solver
        for share in (0.5, 0.01)
        for accuracy in (1e-2, 1e-3)
    }
    assert set(picks.values()) == {"active-set", "admm"}
    assert picks[0.5, 1e-3] == "active-set" and picks[0.01, 1e-2] == "admm"


def test_more_accuracy_and_dear_dense_iterations_allow_more_active_codes():
    problem = sparse_problem(0.5)
    shares = [largest_share(problem, accuracy) for accuracy in (1e-1, 1e-3, 1e-5)]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] < 0.1
    large = crop_problem(32, named_dictionary("G:12x12x36"), 1.0).on(None, "float32")
    # A dense iteration costs 35 + 0.45 * 144 per code, for 64 elements 35 + 0.45 * 64 = 63.8.
    assert largest_share(large, 1e-3) == pytest.approx(99.8 / 144 / (63.8 / 64) * shares[1])


def test_gap_tol_is_the_accuracy_where_it_is_set():
    between = [
        problem
        for problem in map(sparse_problem, (0.4, 0.3, 0.2, 0.15, 0.1))
        if SHARES[1e-2] < share_after_first(problem) < SHARES[1e-5]
    ]
    problem, short = between[0], {"iterations": FIRST + 1, "tol": 0}
    assert Auto(accuracy=1e-2, **short).solve(problem).solver == "admm"
    assert Auto(accuracy=1e-2, gap_tol=1e-5, **short).solve(problem).solver == "active-set"


def test_an_init_is_judged_at_once():
    problem = sparse_problem(0.5)
    start = ADMM(iterations=30, tol=0).solve(problem).codes
    solution = Auto(iterations=2, tol=0).solve(problem, init=start)
    assert solution.solver == "active-set"
    expected = ActiveSet(iterations=2, tol=0).solve(problem, init=start)
    np.testing.assert_array_equal(solution.codes, expected.codes)


def test_without_penalty_it_is_dense():
    problem = dataclasses.replace(sparse_problem(0.5), lam=0.0)
    assert Auto(iterations=FIRST + 2, tol=0).solve(problem).solver == "admm"
    zero = dataclasses.replace(problem, boundary="zero")
    assert Auto(iterations=FIRST + 2, tol=0).solve(zero).solver == "fista"


def test_the_trace_counts_the_multiply_adds_of_both():
    problem = sparse_problem(0.5)
    solution = Auto(iterations=EARLY + 3, tol=0).solve(problem)
    counted = solution.trace["operations"]
    per_iteration = problem.operator().operations
    np.testing.assert_allclose(counted[:EARLY], per_iteration * np.arange(1, EARLY + 1))
    whole = ActiveSet(iterations=EARLY + 3, tol=0).solve(problem).trace["operations"]
    np.testing.assert_allclose(counted[EARLY:], whole[EARLY:])


@pytest.mark.parametrize("accuracy", [0.0, -1.0, math.inf, math.nan])
def test_a_bad_accuracy_is_refused(accuracy):
    with pytest.raises(InputError, match="accuracy must be a finite number above 0"):
        Auto(accuracy=accuracy)
