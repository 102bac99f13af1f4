"""What every solver of `SparseCoding` must do, those of other packages included."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from cscsr import InputError, SparseCoding, Status, SuperResolution, list_solvers, make_solver
from cscsr.operators import ConvDictionary
from cscsr.sparse.loop import CONVERGED_GAP, GAP_EVERY, relative_change
from cscsr.weighting import PIECE

OURS = ["cista", "fista", "ista"]


def small_problem(lam=0.3, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "signal": rng.standard_normal((13, 12)),
        "dictionary": rng.standard_normal((4, 3, 3)),
    }
    return SparseCoding(**{**arrays, "lam": lam, **changes})


NAMES = sorted(
    name
    for name in list_solvers("SparseCoding")
    if make_solver(name).supports(small_problem()) is None  # LISTA's may know one dictionary only
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_from_lambda_max_on_the_codes_are_zero_at_once(name, nonnegative):
    problem = small_problem(nonnegative=nonnegative)
    for factor in (1.0, 2.0):
        solution = make_solver(name, gap=True).solve(
            dataclasses.replace(problem, lam=factor * problem.lambda_max())
        )
        assert solution.status is Status.CONVERGED
        assert not solution.codes.any()
        assert solution.trace["iteration"].tolist() == [0]
        assert solution.trace["duality_gap"][0] == pytest.approx(0.0, abs=1e-9)
    below = dataclasses.replace(problem, lam=0.95 * problem.lambda_max())
    assert make_solver(name, iterations=200).solve(below).codes.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_black_image_has_zero_codes(name):
    problem = small_problem(signal=np.zeros((13, 12)))
    assert not make_solver(name).solve(problem).codes.any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kind_and_dtype_of_the_signal_come_back(name, dtype):
    problem = small_problem()
    array = problem.signal.astype(dtype)
    codes = make_solver(name, iterations=5).solve(small_problem(signal=array)).codes
    assert isinstance(codes, np.ndarray)
    assert codes.dtype == array.dtype
    tensor = torch.from_numpy(array)
    again = make_solver(name, iterations=5).solve(small_problem(signal=tensor)).codes
    assert isinstance(again, torch.Tensor)
    assert again.dtype == tensor.dtype
    np.testing.assert_array_equal(again.numpy(), codes)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    converted = make_solver(name, iterations=5, dtype=other).solve(small_problem(signal=array))
    assert converted.codes.dtype == array.dtype
    np.testing.assert_allclose(converted.codes, codes, atol=1e-5)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_a_batch_is_solved_as_its_problems_are(name, boundary):
    rng = np.random.default_rng(1)
    signals, dictionary = rng.standard_normal((3, 1, 13, 12)), rng.standard_normal((4, 1, 3, 3))
    solver = make_solver(name, iterations=20, tol=0, **{"fista": {"restart": False}}.get(name, {}))
    together = solver.solve(SparseCoding(signals, dictionary, 0.2, boundary=boundary)).codes
    for signal, codes in zip(signals, together, strict=True):
        alone = solver.solve(SparseCoding(signal, dictionary, 0.2, boundary=boundary)).codes
        np.testing.assert_allclose(codes, alone, atol=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_a_warm_start_goes_on(name):
    problem = small_problem(lam=2.0)
    solver = make_solver(name, iterations=2000, tol=1e-8)
    cold = solver.solve(problem)
    assert cold.status is Status.CONVERGED
    warm = solver.solve(problem, init=cold.codes)
    assert len(warm.trace) < len(cold.trace) / 2
    assert warm.trace["objective"][-1] == pytest.approx(cold.trace["objective"][-1], rel=1e-6)
    with pytest.raises(InputError, match="codes must have shape"):
        solver.solve(problem, init=cold.codes[:2])
    with pytest.raises(InputError, match="codes must hold real numbers"):
        solver.solve(problem, init=cold.codes + 1j)


@pytest.mark.parametrize("name", OURS)
def test_a_bad_start_is_not_taken_for_divergence(name):
    problem = small_problem()
    start = 1e4 * np.random.default_rng(1).standard_normal(problem.codes_shape)
    solution = make_solver(name, iterations=50).solve(problem, init=start)
    assert solution.status is Status.MAX_ITERATIONS
    assert problem.objective(solution.codes) < 0.5 * problem.objective(start)


def test_a_large_tolerance_is_one_of_the_gap_as_well():
    problem, tol = small_problem(), 0.2
    solution = make_solver("ista", tol=tol, gap=True).solve(problem)
    share = solution.trace["duality_gap"][-1] / solution.trace["objective"][-1]
    assert solution.status is Status.CONVERGED
    assert CONVERGED_GAP < share <= tol


@pytest.mark.parametrize("name", NAMES)
def test_a_start_with_nan_is_refused(name):
    problem = small_problem()
    init = np.zeros(problem.codes_shape)
    init[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="init must be finite"):
        make_solver(name).solve(problem, init=init)


@pytest.mark.parametrize("record_every", [0, 1])
@pytest.mark.parametrize("name", OURS)
def test_too_long_a_step_ends_as_diverged_with_the_last_good_codes(name, record_every):
    problem = small_problem()
    # A step ten times too long, as from a wrong L: the iterates blow up.
    operator = problem.on().operator()
    operator.__dict__["lipschitz"] = ConvDictionary(problem.dictionary, (13, 12)).lipschitz / 10
    solution = make_solver(name, iterations=3000, tol=0, record_every=record_every).solve(problem)
    assert solution.status is Status.DIVERGED
    assert "last good iterate" in solution.status.message
    assert np.isfinite(solution.codes).all()
    assert problem.objective(solution.codes) <= 0.5 * np.sum(problem.signal**2) * (1 + 1e-12)
    assert len(solution.trace) < 100


@pytest.mark.parametrize("name", NAMES)
def test_the_callback_sees_codes_and_ends_the_solve(name):
    problem, objectives = small_problem(), []

    def callback(iteration, codes):
        objectives.append((iteration, problem.objective(codes)))
        return iteration == 7

    solution = make_solver(name, iterations=50, tol=0).solve(problem, callback=callback)
    assert solution.status is Status.STOPPED
    assert solution.status.message == "The callback asked for the end."
    assert [iteration for iteration, _ in objectives] == list(range(1, 8))
    np.testing.assert_allclose([value for _, value in objectives], solution.trace["objective"])
    assert problem.objective(solution.codes) == objectives[-1][1]


@pytest.mark.parametrize("name", NAMES)
def test_the_trace(name):
    problem = small_problem()
    full = make_solver(name, iterations=23, tol=0, gap=True).solve(problem).trace
    assert full["iteration"].tolist() == list(range(1, 24))
    assert np.all(np.diff(full["seconds"]) > 0)
    for column in ("objective", "relative_change", "nnz", "duality_gap"):
        assert np.isfinite(full[column]).all()
    assert np.isnan(full["psnr_db"]).all()
    fifth = make_solver(name, iterations=23, tol=0, record_every=5).solve(problem).trace
    assert fifth["iteration"].tolist() == [5, 10, 15, 20, 23]
    last = make_solver(name, iterations=23, tol=0, record_every=0).solve(problem).trace
    assert last["iteration"].tolist() == [23]
    assert last["objective"][0] == full["objective"][-1]


@pytest.mark.parametrize("name", NAMES)
def test_another_problem_is_refused(name):
    with pytest.raises(InputError, match="solves a SparseCoding, not a SuperResolution"):
        make_solver(name).solve(SuperResolution(np.ones((8, 8)), 2))


@pytest.mark.parametrize("name", NAMES)
def test_lam_zero_has_no_gap(name):
    trace = make_solver(name, iterations=3, gap=True).solve(small_problem(lam=0.0)).trace
    assert np.isnan(trace["duality_gap"]).all()
    assert np.isfinite(trace["objective"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_prepare_makes_no_difference_to_the_answer(name):
    problem = small_problem()
    solver = make_solver(name, iterations=5)
    expected = solver.solve(small_problem()).codes
    solver.prepare(problem)
    np.testing.assert_array_equal(solver.solve(problem).codes, expected)


@pytest.mark.parametrize("name", NAMES)
def test_it_stops_by_the_duality_gap_or_by_time_and_says_so(name):
    problem = small_problem(lam=4.0)
    loose = 1e-1
    solution = make_solver(name, iterations=2000, tol=0, gap_tol=loose).solve(problem)
    assert solution.status is Status.CERTIFIED
    assert solution.status.message == "The duality gap reached its tolerance."
    assert solution.trace["iteration"][-1] < 2000
    assert problem.duality_gap(solution.codes) <= loose * problem.objective(solution.codes)
    hasty = make_solver(name, iterations=100_000, tol=0, max_seconds=1e-9).solve(problem)
    assert hasty.status is Status.MAX_SECONDS
    assert "time allowed" in hasty.status.message
    assert hasty.trace["iteration"].tolist() == [1]
    with pytest.raises(InputError, match="at lam = 0, where there is none"):
        make_solver(name, gap_tol=1e-3).solve(small_problem(lam=0.0))
    for wrong in ({"gap_tol": -1.0}, {"max_seconds": 0.0}, {"max_seconds": float("nan")}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            make_solver(name, **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_of_another_type_is_a_sentence(name):
    for parameter, value in (
        ("iterations", 2.5),
        ("iterations", True),
        ("tol", "a"),
        ("gap", "no"),
        ("gap_tol", None),
        ("max_seconds", "1"),
        ("record_every", 1.5),
    ):
        with pytest.raises(InputError, match=rf"^{parameter} should be .*, got {value!r}\.$"):
            make_solver(name, **{parameter: value})
    for dtype in ("float", "double", np.float32, 32):
        with pytest.raises(InputError, match="dtype must be float32 or float64"):
            make_solver(name, dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_where_it_stops_does_not_depend_on_the_unit_of_the_signal(name):
    """In a unit of 2⁻⁷ the objective is 2¹⁴ times as large; a power of 2 rounds nothing."""
    # sporco's ρ, 50λ + 1, and the ratio of residuals that it adapts it to depend on λ's unit.
    fixed = {"rho": 8.0, "auto_rho": False} if name == "sporco-admm" else {}
    for rule in ({"tol": 0, "gap_tol": 1e-2}, {"tol": 1e-3}):
        solver = make_solver(name, iterations=4000, record_every=0, **rule, **fixed)
        ends = []
        for unit in (1.0, 2.0**7, 2.0**-7):
            signal = unit * small_problem().signal
            solution = solver.solve(small_problem(signal=signal, lam=unit * 4.0))
            ends.append((solution.status, solution.trace["iteration"][-1]))
        assert ends[0][0] is (Status.CERTIFIED if "gap_tol" in rule else Status.CONVERGED)
        assert ends == ends[:1] * 3
        if "gap_tol" in rule:
            assert ends[0][1] % GAP_EVERY == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_relative_change_is_relative_to_the_new_codes(name):
    iterates = [np.zeros(small_problem().codes_shape)]
    solver = make_solver(name, iterations=12, tol=0)
    trace = solver.solve(
        small_problem(lam=2.0), callback=lambda _, codes: iterates.append(codes)
    ).trace
    expected = [
        np.linalg.norm(new - old) / np.linalg.norm(new) for old, new in itertools.pairwise(iterates)
    ]
    np.testing.assert_allclose(trace["relative_change"], expected, rtol=1e-9)


def test_the_relative_change_of_codes_in_many_pieces():
    rng = np.random.default_rng(0)
    new, old = rng.standard_normal((2, 8, 300, 300))
    assert new.size > 2 * PIECE
    expected = np.linalg.norm(new - 3 * old) / np.linalg.norm(new)
    change = relative_change(torch.from_numpy(new), torch.from_numpy(3 * old))
    assert change == pytest.approx(expected, rel=1e-12)
    assert change != pytest.approx(np.linalg.norm(new - 3 * old) / np.linalg.norm(3 * old), rel=0.5)


@pytest.mark.parametrize("record_every", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_nan_that_appears_in_a_solve_ends_it_with_the_last_good_codes(name, record_every):
    problem = small_problem(lam=2.0)
    solver = make_solver(name, iterations=5000, tol=0, record_every=record_every)

    def spoil(iteration, codes):
        if iteration == 30:
            problem.on(solver.target_device).operator().filters.fill_(np.nan)

    solution = solver.solve(problem, callback=spoil)
    assert solution.status is Status.DIVERGED
    assert 30 <= solution.trace["iteration"][-1] <= 55
    assert np.isfinite(solution.codes).all()
    clean = small_problem(lam=2.0)
    assert clean.objective(solution.codes) <= 0.5 * np.sum(clean.signal**2) * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_codes_given_to_a_callback_are_its_own(name):
    iterates = []
    solver = make_solver(name, iterations=6, tol=0)
    problem = small_problem(lam=2.0)
    trace = solver.solve(problem, callback=lambda _, codes: iterates.append(codes)).trace
    assert [problem.objective(codes) for codes in iterates] == trace["objective"].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_where_no_atom_meets_the_signal_the_codes_are_zero_at_once(name):
    """Also at λ = 0, where L may be zero as well."""
    for changes in ({"dictionary": np.zeros((4, 3, 3))}, {"signal": np.zeros((13, 12))}):
        for boundary in ("circular", "zero"):
            problem = small_problem(lam=0.0, boundary=boundary, **changes)
            if make_solver(name).supports(problem) is None:
                solution = make_solver(name).solve(problem)
                assert solution.status is Status.CONVERGED
                assert not solution.codes.any()


EXTREME = [
    {"signal": 1e200},  # no square of it is finite
    {"dictionary": 1e200},
    {"dictionary": 1e-200},  # L is zero
    {"signal": 1e200, "dictionary": 1e200},
]


@pytest.mark.parametrize("changes", EXTREME, ids=str)
@pytest.mark.parametrize("boundary", ["circular", "zero"])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_out_of_range_end_as_diverged_or_at_the_cap(name, boundary, changes):
    problem = small_problem()
    arrays = {name: factor * getattr(problem, name) for name, factor in changes.items()}
    problem = dataclasses.replace(problem, lam=1e-210, boundary=boundary, **arrays)
    solver = make_solver(name, iterations=60, tol=0)
    if solver.supports(problem) is None:
        with np.errstate(all="ignore"):
            solution = solver.solve(problem)
        assert np.isfinite(solution.codes).all()
        if solution.status is Status.DIVERGED:
            assert not problem.objective(solution.codes) > problem.objective(0 * solution.codes)
        else:
            assert np.isfinite(solution.trace["objective"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_diverged_solve_has_its_last_row_without_others(name):
    problem = small_problem(lam=2.0)
    solver = make_solver(name, iterations=5000, tol=0, record_every=0)

    def spoil(iteration, codes):
        problem.on(solver.target_device).operator().filters.fill_(np.nan)

    solution = solver.solve(problem, callback=spoil)
    assert solution.status is Status.DIVERGED
    assert len(solution.trace) == 1
    assert not np.isfinite(solution.trace["objective"][-1])
