"""The measuring core of the races: its optimum, its runs, its search, its clock."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from benchmarks._study.race import (
    GAPS,
    Optimum,
    certified_optimum,
    own_clock,
    run_solver,
    search_rho,
)
from benchmarks.convergence import RHOS, best_rho
from cscsr import make_solver
from cscsr.data.problems import camera_problem
from cscsr.solver import Stopwatch


@pytest.fixture(scope="module")
def problem():
    return camera_problem(24, 4, 3, lam=0.1)


@pytest.fixture(scope="module")
def optimum(problem):
    return certified_optimum(problem, 1e-9)


@pytest.mark.slow
def test_the_optimum_is_that_of_another_solver(problem, optimum):
    other = make_solver("fista", iterations=4000, tol=0, record_every=0).solve(problem)
    lowest = problem.objective(other.codes)
    assert 0 <= optimum.certified <= 1e-9
    assert optimum.objective == pytest.approx(lowest, rel=2e-9)
    assert optimum.duality_gap == pytest.approx(problem.duality_gap(optimum.codes), abs=1e-12)
    np.testing.assert_allclose(optimum.codes, other.codes, atol=1e-5)


def test_a_run_is_the_solvers_own_and_its_gaps_are_to_the_optimum(problem, optimum):
    codes = []
    solver = make_solver("ista", iterations=30, tol=0)
    solver.solve(problem, callback=lambda _, z: codes.append(z.copy()))
    run = run_solver(problem, optimum, "ista", 30)
    assert run.iteration.tolist() == list(range(1, 31))
    objectives = np.array([problem.objective(z) for z in codes])
    np.testing.assert_allclose(run.gap, objectives / optimum.objective - 1, atol=1e-12)
    away = [np.linalg.norm(z - optimum.codes) / np.linalg.norm(optimum.codes) for z in codes]
    np.testing.assert_allclose(run.distance, away, rtol=1e-10)
    np.testing.assert_array_equal(run.nnz, [np.count_nonzero(z) for z in codes])
    assert np.all(np.diff(run.seconds) > 0)
    for gap in GAPS:
        first = run.first_within(gap)
        if first is None:
            assert run.gap.min() > gap
        else:
            assert run.gap[first] <= gap < run.gap[:first].min(initial=math.inf)


def test_a_run_ends_soon_after_the_gap_that_it_is_to_reach(problem, optimum):
    whole = run_solver(problem, optimum, "fista", 200)
    needed = int(whole.iteration[whole.first_within(1e-3)])
    run = run_solver(problem, Optimum(optimum.objective, optimum.duality_gap), "fista", 200, 1e-3)
    assert run.iteration[run.first_within(1e-3)] == needed
    assert needed <= run.iteration[-1] < needed + 5 < 200
    assert np.isnan(run.distance).all()


def test_a_solver_that_declines_the_problem_has_no_run(optimum):
    problem = camera_problem(24, 4, 3)
    problem = type(problem)(problem.signal, problem.dictionary, 0.05, boundary="zero")
    assert run_solver(problem, optimum, "sporco-admm", 5) is None


def test_the_best_rho_is_best(problem, optimum):
    rho, count = best_rho(problem, optimum, iterations=50)

    def needed(rho):
        solver = make_solver("sporco-admm", iterations=50, tol=0, rho=rho, auto_rho=False)
        gaps = solver.solve(problem).trace["objective"] / optimum.objective - 1
        return 1 + int(np.argmax(gaps <= 1e-3)) if (gaps <= 1e-3).any() else np.inf

    assert needed(rho) == count
    assert count <= min(needed(other) for other in RHOS)


def test_the_search_gives_up_at_the_best_so_far():
    caps = []

    def needed(rho, cap):
        caps.append(cap)
        count = {1: 40, 2: 9, 3: 12}[rho]
        return (count, 0.0) if count <= cap else (math.inf, 0.5)

    assert search_rho((1, 2, 3), needed, 100) == (2, 9)
    assert caps == [100, 40, 9]
    assert search_rho((1, 3), needed, 5) == (1, math.inf)


def test_the_clock_is_put_back():
    before = Stopwatch.clock
    with own_clock() as name:
        one = torch.get_num_threads() == 1
        assert name == ("processor time" if one else "wall time")
        watch = Stopwatch()
        time.sleep(0.2)
        assert (watch.seconds < 0.1) == one
    assert Stopwatch.clock is before
