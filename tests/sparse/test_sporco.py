"""sporco's ADMM behind the adapter: layouts, agreement with our solvers, silence."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cscsr import InputError, SparseCoding, Status
from cscsr.sparse.sporco import SporcoADMM, SporcoPGM


def test_it_agrees_with_fista_on_a_real_image(camera_problem, certified):
    best = certified.trace["objective"][-1]
    assert certified.trace["duality_gap"][-1] <= 1e-5 * best
    admm = SporcoADMM(iterations=300, tol=1e-4).solve(camera_problem)
    assert admm.status is Status.CONVERGED
    assert camera_problem.objective(admm.codes) == pytest.approx(best, rel=1e-4)
    # Their codes are one another's too, and as sparse.
    assert np.abs(admm.codes - certified.codes).max() < 1e-2
    assert 0 < np.count_nonzero(admm.codes) < 0.1 * admm.codes.size


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("lipschitz", [0.0, -1.0, float("inf"), float("nan")])
def test_a_bad_lipschitz_constant(lipschitz):
    with pytest.raises(InputError, match="lipschitz"):
        SporcoPGM(lipschitz=lipschitz)


@pytest.mark.parametrize("tol", [3e-3, 3e-4])
def test_tol_is_the_stopping_rule_of_sporco(tol):
    """As many iterations, and the same codes, as sporco called by itself; the changes of its codes
    are below tol before its residuals are."""
    from sporco.admm import cbpdn

    rng = np.random.default_rng(0)
    signal, dictionary = rng.standard_normal((16, 16)), rng.standard_normal((3, 4, 4))
    options = {
        "Verbose": False,
        "MaxMainIter": 300,
        "RelStopTol": tol,
        "RelaxParam": 1.8,
        "AutoRho": {"Enabled": False},
        "rho": 20.0,
    }
    filters = np.moveaxis(dictionary, 0, -1)
    theirs = cbpdn.ConvBPDN(filters, signal, 1.0, cbpdn.ConvBPDN.Options(options), dimK=0)
    theirs.solve()
    solver = SporcoADMM(iterations=300, tol=tol, rho=20.0, auto_rho=False)
    ours = solver.solve(SparseCoding(signal, dictionary, 1.0))
    assert ours.status is Status.CONVERGED
    assert ours.trace["iteration"][-1] == theirs.k < 300
    codes = np.moveaxis(theirs.Y.squeeze(), -1, 0)
    np.testing.assert_allclose(ours.codes.squeeze(), codes, atol=1e-10)


def test_operations_are_transforms_and_two_inner_products():
    """16·8 = 2⁷ pixels: a transform takes 1.25·2⁷·7 multiply-adds, two inner products 4·2⁷."""
    problem = SparseCoding(np.zeros((2, 1, 16, 8)), np.ones((3, 1, 4, 4)), 0.1)
    each = 2 * 3 * (2 * 1.25 * 2**7 * 7 + 4 * 2**7)
    for solver in (SporcoADMM(iterations=5), SporcoPGM(iterations=5)):
        assert solver.operations(problem) == 5 * each
        assert solver.operations(problem, 11) == 11 * each
        one = SparseCoding(np.zeros((1, 16, 8)), np.ones((3, 1, 4, 4)), 0.1)
        assert solver.operations(one) == 5 * each / 2
