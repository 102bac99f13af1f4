"""Races to a certified gap, against a dense computation of the optimum."""

from __future__ import annotations

import csv
import math
import os
import re

import numpy as np
import pytest
import torch

import cscsr
from cscsr import ADMM, ActiveSet, InputError, SparseCoding, race
from cscsr.compare import machine
from cscsr.data.problems import camera_problem
from cscsr.imaging import read_image
from cscsr.racing import certified_optimum

GAP = 1e-3


@pytest.fixture(scope="module")
def problem():
    return camera_problem(16, 4, 3, lam=0.1)


@pytest.fixture(scope="module")
def raced(problem):
    return race(problem, ["fista", "active-set", "ista"], gap=GAP)


def dense_optimum(problem):
    """P* by coordinate descent on a dense matrix whose columns are shifted filters."""
    signal, filters = np.asarray(problem.signal).reshape(16, 16), np.asarray(problem.dictionary)
    columns = []
    for atom in filters.reshape(4, 3, 3):
        spread = np.zeros((16, 16))
        spread[:3, :3] = atom
        columns += [
            np.roll(spread, (row, column), (0, 1)).ravel()
            for row in range(16)
            for column in range(16)
        ]
    matrix = np.stack(columns, 1)
    squares = np.square(matrix).sum(0)
    codes, residual = np.zeros(matrix.shape[1]), signal.ravel().copy()
    for _ in range(400):
        for j in range(len(codes)):
            towards = codes[j] + matrix[:, j] @ residual / squares[j]
            new = np.sign(towards) * max(abs(towards) - problem.lam / squares[j], 0.0)
            if new != codes[j]:
                residual -= (new - codes[j]) * matrix[:, j]
                codes[j] = new
    return 0.5 * residual @ residual + problem.lam * np.abs(codes).sum()


@pytest.mark.slow
def test_gaps_bound_those_to_a_dense_optimum(problem, raced):
    exact = dense_optimum(problem)
    assert raced.optimum.lower_bound <= exact * (1 + 1e-9)
    assert raced.optimum.lower_bound >= exact * (1 - GAP / 10)
    assert set(raced.runs) == {"fista", "active-set", "ista"}
    for run in raced.runs.values():
        actual = run.objective / exact - 1
        assert (run.gap >= actual - 1e-9).all()
        assert (run.gap <= actual + GAP / 9).all()
        assert run.gap[-1] <= GAP


def test_a_row_is_the_first_iteration_within_the_gap(problem, raced):
    objectives, nonzero = [], []

    def note(iteration, codes):
        objectives.append(problem.objective(codes))
        nonzero.append(np.count_nonzero(codes))

    solver = cscsr.FISTA(iterations=200, tol=0)
    solver.solve(problem, callback=note)
    (row,) = [row for row in raced.rows() if row["solver"] == "fista"]
    steps = row["iterations"]
    lower = raced.optimum.lower_bound
    assert row["reached"]
    assert objectives[steps - 1] <= (1 + GAP) * lower < min(objectives[: steps - 1])
    assert row["nnz"] == nonzero[steps - 1]
    assert row["gap"] == pytest.approx(objectives[steps - 1] / lower - 1, abs=1e-12)
    assert row["multiply_adds"] == solver.operations(problem, steps)
    assert row["seconds"] == raced.runs["fista"].seconds[steps - 1] > 0
    seconds = [row["seconds"] for row in raced.rows()]
    assert seconds == sorted(seconds)


def test_who_does_not_arrive_or_declines_is_said(problem):
    masked = SparseCoding(
        problem.signal, problem.dictionary, problem.lam, boundary="zero", mask=np.ones((16, 16))
    )
    result = race(masked, ["ista", "admm", "cista"], gap=1e-5, iterations=3)
    (row,) = result.rows()
    assert (row["solver"], row["reached"], row["iterations"]) == ("ista", False, 3)
    assert row["gap"] > 1e-5
    assert set(result.declined) == {"admm", "cista"}
    lines = result.table().splitlines()
    assert any(re.match(r"\| ista +\| +– \(", line) for line in lines)
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1, "the columns are aligned"
    assert sum(line.startswith("Not in the race: ") for line in lines) == 2
    assert "solves only the boundary" in result.table()


def test_a_solver_stops_at_its_seconds(problem):
    result = race(problem, ["ista"], gap=1e-9, max_seconds=0.02, iterations=10**6)
    (row,) = result.rows()
    assert not row["reached"]
    assert row["seconds"] < 1


def test_solvers_with_parameters_race_beside_each_other(problem):
    result = race(problem, [ADMM(), ADMM(rho=50.0, auto_rho=False), "admm"], gap=GAP)
    assert list(result.runs) == ["admm", "admm (2)", "admm (3)"]
    first, slow, again = (result.runs[name] for name in result.runs)
    np.testing.assert_array_equal(first.objective, again.objective)
    assert len(slow.gap) > len(first.gap)


@pytest.mark.slow
def test_files_hold_the_rows_and_every_iteration(raced, tmp_path):
    paths = raced.save(tmp_path / "new")
    assert [path.name for path in paths] == ["race.csv", "curves.csv", "race.md", "race.png"]
    with paths[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, expected in zip(rows, raced.rows(), strict=True):
        assert row["solver"] == expected["solver"]
        for key in ("seconds", "iterations", "gap", "nnz", "multiply_adds"):
            assert float(row[key]) == expected[key]
    with paths[1].open(newline="") as file:
        curves = list(csv.DictReader(file))
    assert len(curves) == sum(len(run.gap) for run in raced.runs.values())
    for name, run in raced.runs.items():
        own = [float(row["gap"]) for row in curves if row["solver"] == name]
        np.testing.assert_array_equal(own, run.gap)
    assert paths[2].read_text(encoding="utf-8").endswith(f"\n\n{raced}\n")
    picture = read_image(paths[3])
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_where_zero_is_optimal_all_are_there_at_once(problem, tmp_path):
    zero = SparseCoding(problem.signal, problem.dictionary, 1.1 * problem.lambda_max())
    result = race(zero, ["fista", "active-set"])
    assert [(r["reached"], r["iterations"], r["nnz"]) for r in result.rows()] == [(True, 0, 0)] * 2
    assert result.optimum.objective == pytest.approx(
        0.5 * float(np.square(np.asarray(zero.signal)).sum())
    )
    assert result.figure().axes[0].texts[0].get_text() == "every solver is there at the start"
    assert all(path.stat().st_size for path in result.save(tmp_path))


def test_a_dictionary_of_zeros_is_raced(problem, tmp_path):
    result = race(SparseCoding(problem.signal, 0 * problem.dictionary, 0.1), ["fista"])
    assert [row["reached"] for row in result.rows()] == [True]
    assert all(path.stat().st_size for path in result.save(tmp_path))


def test_tensors_are_raced_as_arrays_are(problem):
    tensors = SparseCoding(
        torch.from_numpy(np.asarray(problem.signal)),
        torch.from_numpy(np.asarray(problem.dictionary)),
        problem.lam,
    )
    (row,) = race(tensors, ["fista"], gap=GAP).rows()
    (other,) = race(problem, ["fista"], gap=GAP).rows()
    assert (row["iterations"], row["gap"]) == (other["iterations"], other["gap"])


def test_the_optimum_has_its_certificate(problem):
    optimum = certified_optimum(problem, 1e-8)
    assert 0 <= optimum.certified <= 1e-8
    assert optimum.duality_gap == pytest.approx(problem.duality_gap(optimum.codes), abs=1e-12)


@pytest.mark.parametrize(
    ("solvers", "options", "sentence"),
    [
        (["fista"], {"gap": 0.0}, "gap must be a finite number above 0, got 0.0"),
        (["fista"], {"gap": math.nan}, "gap must be a finite number above 0"),
        (["fista"], {"iterations": 0}, "iterations must be at least 1"),
        (["fista"], {"max_seconds": 0}, "max_seconds must be above 0"),
        ([], {}, "at least one name or solver"),
        ("fista", {}, "a list of at least one name or solver, got 'fista'"),
        (["bicubic"], {}, "bicubic does not solve a SparseCoding"),
        (["fistar"], {}, "fistar"),
        ([3], {}, "expected the name of a solver or a solver, got 3"),
        ([ActiveSet], {}, "expected the name of a solver or a solver"),
    ],
)
def test_bad_input_is_a_sentence(problem, solvers, options, sentence):
    with pytest.raises(InputError, match=sentence):
        race(problem, solvers, **options)


def test_a_gap_that_cannot_be_certified_is_a_sentence(problem, monkeypatch):
    monkeypatch.setattr("cscsr.racing.OPTIMUM_ITERATIONS", 25)
    with pytest.raises(InputError, match=r"certified to .* only; race to a gap of at least ten"):
        race(problem, ["fista"], gap=1e-15)


def test_problems_without_a_gap_are_a_sentence(problem):
    with pytest.raises(InputError, match="lam above 0"):
        race(SparseCoding(problem.signal, problem.dictionary, 0.0))
    with pytest.raises(InputError, match="the optimum is 0"):
        race(SparseCoding(np.zeros((16, 16)), problem.dictionary, 0.1))
    with pytest.raises(InputError, match="a race needs a SparseCoding, got SuperResolution"):
        race(cscsr.SuperResolution(np.zeros((8, 8)), 2), ["fista"])


def test_a_race_without_a_solver_that_can_is_a_sentence(problem):
    with pytest.raises(InputError, match=r"no solver can race: lista\[tied\] .*; lista\[untied\] "):
        race(problem, ["lista[tied]", "lista[untied]"])


def test_repr_is_one_line(raced):
    assert repr(raced).startswith("Race(SparseCoding(")
    assert "\n" not in repr(raced)


@pytest.mark.parametrize(("load", "busy"), [(0.0, False), (50.0, True)])
def test_wall_time_of_a_busy_machine_is_not_shown_without_a_word(problem, monkeypatch, load, busy):
    """A machine whose load average is `load` per core; processor time needs no such word."""
    monkeypatch.setattr(machine, "load", lambda: load * (os.cpu_count() or 1))
    monkeypatch.setattr(machine, "MOST_WAITING", 1e6)  # what else runs here is no part of the test
    for threads, said in ((2, busy), (1, False)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            result = race(problem, ["fista"], gap=GAP)
        finally:
            torch.set_num_threads(before)
        assert result.busy is said
        assert ("OMP_NUM_THREADS=1" in str(result)) is said
