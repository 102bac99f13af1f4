"""The benchmark in benchopt's form, through benchopt's own interface; skips without benchopt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cscsr

pytest.importorskip("benchopt", reason="benchmarks/benchopt_csc/requirements.txt")
from benchopt.benchmark import Benchmark

from benchmarks.benchopt_csc import __main__ as study

SOLVERS = ("active-set", "admm", "fista", "ista", "sporco-admm")


@pytest.fixture(scope="module")
def benchmark():
    return Benchmark(study.FOLDER, no_cache=True)


@pytest.fixture(scope="module")
def objective(benchmark):
    """A small problem of two channels."""
    (make_data,) = benchmark.check_dataset_patterns(["simulated"], class_only=True)
    data = make_data.get_instance(size=8, atoms=3, filter_size=3, channels=2)
    objective = benchmark.get_benchmark_objective().get_instance(reg=0.1)
    objective._set_dataset(data)
    return objective


def dense_dictionary(filters, size):
    """F as a matrix (C·H·W, M·H·W), whose columns are shifted filters."""
    atoms, channels, side, _ = filters.shape
    columns = []
    for atom in filters:
        spread = np.zeros((channels, size, size))
        spread[:, :side, :side] = atom
        columns += [
            np.roll(spread, (row, column), (1, 2)).ravel()
            for row in range(size)
            for column in range(size)
        ]
    matrix = np.stack(columns, 1)
    assert matrix.shape == (channels * size**2, atoms * size**2)
    return matrix


def test_objective_and_gap_are_those_of_a_dense_matrix(objective):
    matrix = dense_dictionary(objective.dictionary, 8)
    signal = objective.signal.ravel().astype(np.float64)
    assert objective.lam == pytest.approx(0.1 * np.abs(matrix.T @ signal).max(), rel=1e-12)
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((3, 8, 8)) * (rng.random((3, 8, 8)) < 0.2)
    measured = objective.evaluate_result(codes)
    residual = signal - matrix @ codes.ravel()
    value = 0.5 * residual @ residual + objective.lam * np.abs(codes).sum()
    assert measured["value"] == pytest.approx(value, rel=1e-12)
    assert measured["nnz"] == np.count_nonzero(codes)
    dual = residual * min(1, objective.lam / np.abs(matrix.T @ residual).max())
    bound = 0.5 * signal @ signal - 0.5 * (signal - dual) @ (signal - dual)
    assert measured["duality_gap"] == pytest.approx(value - bound, rel=1e-10)


@pytest.mark.slow
def test_the_problem_that_is_raced_has_the_same_objective(benchmark):
    problems = dict(study.problems_of(benchmark))
    assert len(problems) == 6
    (data, name), problem = max(problems.items(), key=lambda item: item[0])
    assert data.startswith("simulated[") and name.endswith("[reg=0.1]")
    objective = benchmark.get_benchmark_objective().get_instance(reg=0.1)
    objective.set_data(problem.signal, problem.dictionary)
    codes = np.random.default_rng(0).standard_normal(problem.codes_shape)
    measured = objective.evaluate_result(codes)
    assert measured["value"] == pytest.approx(problem.objective(codes), rel=1e-5)
    assert measured["duality_gap"] == pytest.approx(problem.duality_gap(codes), rel=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_make_the_iterates_that_they_say(benchmark, objective, name):
    (make,) = benchmark.check_solver_patterns([name], class_only=True)
    solver = make.get_instance(**({"auto_rho": False} if name == "sporco-admm" else {}))
    assert solver._set_objective(objective) == (False, None)
    solver.run_once(6)  # the zero codes and six iterations
    parameters = objective.get_objective()
    problem = cscsr.SparseCoding(*parameters.values())
    options = {"auto_rho": False} if name == "sporco-admm" else {}
    expected = cscsr.make_solver(name, iterations=6, tol=0.0, **options).solve(problem).codes
    codes = solver.get_result()["codes"]
    assert np.count_nonzero(codes) > 0
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_all_solvers_are_tried(benchmark):
    assert sorted(solver.name for solver in benchmark.get_solvers()) == sorted(SOLVERS)


@pytest.mark.slow
def test_the_study_of_a_small_problem(tmp_path, monkeypatch, is_drawn):
    small = tmp_path / "small"
    small.mkdir()
    for path in study.FOLDER.rglob("*.py"):
        copy = small / path.relative_to(study.FOLDER)
        copy.parent.mkdir(exist_ok=True)
        text = path.read_text("utf-8").replace('"size": [96]', '"size": [24]')
        copy.write_text(text.replace('"size": [64]', '"size": [16]'), "utf-8")
    monkeypatch.setattr(study, "FOLDER", small)
    before = {
        path for path in Path(study.__file__).parent.rglob("*") if "__pycache__" not in str(path)
    }
    table, picture, page = study.benchopt_study(tmp_path / "out", seconds=0.2)
    after = {
        path for path in Path(study.__file__).parent.rglob("*") if "__pycache__" not in str(path)
    }
    assert before == after
    rows = study.times(table)
    assert len(rows) == 6 * (len(SOLVERS) + 1)
    for row in rows:
        if row["solver"] == "admm":
            assert row["race", 1e-2].relative_gap <= 1e-2
    assert is_drawn(picture)
    assert page.read_text("utf-8").count("| admm |") == 6
