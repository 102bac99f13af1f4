"""sporco's ADMM behind the adapter: layouts, agreement with our solvers, silence."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cscsr import InputError, SparseCoding, Status
from cscsr.sparse.sporco import SporcoADMM


def test_it_agrees_with_fista_on_a_real_image(camera_problem, certified):
    best = certified.trace["objective"][-1]
    assert certified.trace["duality_gap"][-1] <= 1e-5 * best
    admm = SporcoADMM(iterations=300, tol=1e-4).solve(camera_problem)
    assert admm.status is Status.CONVERGED
    assert camera_problem.objective(admm.codes) == pytest.approx(best, rel=1e-4)
    # Their codes are one another's too, and as sparse.
    assert np.abs(admm.codes - certified.codes).max() < 1e-2
    assert 0 < np.count_nonzero(admm.codes) < 0.1 * admm.codes.size


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("batch", [None, 2])
def test_layouts(channels, nonnegative, batch):
    rng = np.random.default_rng(0)
    shape = (channels, 14, 11) if batch is None else (batch, channels, 14, 11)
    dictionary = rng.standard_normal((3, channels, 4, 4))
    problem = SparseCoding(rng.standard_normal(shape), dictionary, 2.0, nonnegative)
    admm = SporcoADMM(iterations=400, tol=0, record_every=0, auto_rho=False, gap=True)
    solution = admm.solve(problem)
    assert solution.codes.shape == problem.codes_shape
    assert solution.trace["duality_gap"][-1] <= 2e-3 * solution.trace["objective"][-1]
    if nonnegative:
        assert solution.codes.min() == 0.0


def test_a_warm_start_goes_on(camera_problem, certified):
    solver = SporcoADMM(iterations=5, tol=0)
    cold = solver.solve(camera_problem).trace["objective"]
    warm = solver.solve(camera_problem, init=certified.codes).trace["objective"]
    best = certified.trace["objective"][-1]
    assert warm[-1] - best < 0.1 * (cold[-1] - best)
    assert warm[0] < cold[-1]


def test_boundary_zero_is_refused_with_the_reason(camera_problem):
    problem = SparseCoding(camera_problem.signal, camera_problem.dictionary, 0.05, boundary="zero")
    assert "'circular'" in SporcoADMM().supports(problem)
    with pytest.raises(InputError, match="'circular'"):
        SporcoADMM().solve(problem)


def test_it_says_nothing_and_leaves_its_input_alone(camera_problem, capfd):
    before = camera_problem.signal.copy(), camera_problem.dictionary.copy()
    SporcoADMM(iterations=3, auto_rho=False).solve(camera_problem)
    assert capfd.readouterr() == ("", "")
    np.testing.assert_array_equal(before[0], camera_problem.signal)
    np.testing.assert_array_equal(before[1], camera_problem.dictionary)


def test_the_callback_is_off_the_clock():
    rng = np.random.default_rng(0)
    problem = SparseCoding(rng.standard_normal((12, 12)), rng.standard_normal((2, 3, 3)), 0.1)
    solution = SporcoADMM(iterations=3, tol=0).solve(
        problem, callback=lambda iteration, codes: time.sleep(0.5)
    )
    assert solution.seconds < 1.0
    assert np.all(np.diff(solution.trace["seconds"]) > 0)


@pytest.mark.parametrize(
    "parameters", [{"rho": 0.0}, {"rho": float("inf")}, {"relaxation": 2.0}, {"iterations": 0}]
)
def test_bad_parameters(parameters):
    with pytest.raises(InputError, match=next(iter(parameters))):
        SporcoADMM(**parameters)
