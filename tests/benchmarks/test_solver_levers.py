"""Levers of the sparse-coding solvers: each moves what it names, and the page shows the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

import cscsr
from benchmarks import solver_levers as study
from benchmarks._study.curves import read_curves
from benchmarks._study.dropped_levers import (
    CoordinateDescent,
    HalfFirstADMM,
    ScaledADMM,
    preconditioned_direction,
)
from benchmarks._study.problems import image_problem
from cscsr import InputError, operators
from cscsr.patch_operator import BLOCK_BYTES
from cscsr.sparse import active_set, admm

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_file():
    rows = read_curves(ROOT / "reports" / "reference" / "solver_levers.csv")
    assert rows and study.table(rows) in (ROOT / "docs" / "solvers.md").read_text("utf-8")


@pytest.mark.parametrize("lever", study.LEVERS, ids=lambda lever: lever.name)
def test_a_lever_is_moved_only_inside(lever):
    """Inside, one of what the levers patch is another; afterwards all is as before."""

    def state() -> tuple[Any, ...]:
        constants = (operators.largest_patch, admm.shrink_into, active_set.INDEX, active_set.EARLY)
        functions = (admm.adapts_after, active_set._ActiveCodes._newton_direction)
        return (*constants, *functions, dict(BLOCK_BYTES), study.make)

    before = state()
    with lever.moved():
        assert sum(a != b for a, b in zip(state(), before, strict=True)) == 1
    assert state() == before


def test_every_lever_has_been_measured():
    rows = read_curves(ROOT / "reports" / "reference" / "solver_levers.csv")
    measured = {(row["solver"], row["lever"], row["kept"] == "yes") for row in rows}
    assert measured == {(lever.solver, lever.name, lever.kept) for lever in study.LEVERS}


def test_ratios_are_without_over_with(monkeypatch):
    point = study.Point(16, "G:8x8x64", 0.2)
    times = iter([1.0, 2.0, 1.0, 2.0])
    monkeypatch.setattr(study, "seconds", lambda *_: next(times))
    optimum = study.Optimum(1.0, 0.0)
    kept = study.LEVERS[0]
    assert study.compare(kept, point, optimum, 1) == (2.0, 1.0)
    assert study.compare(kept._replace(kept=False), point, optimum, 1) == (1.0, 2.0)


@pytest.mark.slow
def test_a_row_replaces_the_one_of_the_same_point(tmp_path):
    grid = {"size": 32, "dictionaries": ["G:8x8x64"], "lams": [0.2], "rounds": 1}
    for _ in range(2):
        study.solver_levers(tmp_path, levers=["32 bits"], **grid)
    (row,) = read_curves(tmp_path / "solver_levers.csv")
    without, with_it = float(row["seconds_without"]), float(row["seconds_with"])
    assert 0 < with_it < 60 and float(row["ratio"]) == pytest.approx(without / with_it, abs=0.1)


def test_unknown_levers_are_named():
    with pytest.raises(InputError, match="nonsense"):
        study.solver_levers("nowhere", levers=["nonsense"])


@pytest.fixture(scope="module")
def optimum():
    """A problem and its certified optimum by the solver as it stands."""
    problem = image_problem(32, 0.1, "G:8x8x32").on(None, "float64")
    solution = cscsr.ActiveSet(iterations=300, tol=0, gap_tol=1e-9, gap=True).solve(problem)
    assert solution.trace["duality_gap"][-1] <= 1e-9 * solution.trace["objective"][-1]
    return problem, float(solution.trace["objective"][-1])


@pytest.mark.parametrize(
    "solver",
    [
        CoordinateDescent(iterations=1500, tol=0, record_every=0),
        ScaledADMM(factor=0.5, iterations=800, tol=0, record_every=0),
        HalfFirstADMM(half=20, iterations=1000, tol=0, record_every=0),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_a_dropped_method_reaches_the_optimum(solver, optimum):
    problem, objective = optimum
    assert solver.solve(problem).trace["objective"][-1] == pytest.approx(objective, rel=1e-4)


def test_coordinate_descent_is_left_out_where_squares_do_not_fit(tmp_path):
    assert "multiples of 16" in CoordinateDescent().supports(image_problem(24, 0.1, "G:8x8x32"))
    grid = {"size": 24, "dictionaries": ["G:8x8x32"], "lams": [0.2], "rounds": 1}
    study.solver_levers(tmp_path, levers=["coordinate"], **grid)
    assert not (tmp_path / "solver_levers.csv").exists()


def test_ratios_of_what_is_out_of_time_are_bounds():
    late = float("inf")
    assert study._ratio(3.0, late) == f"< {3 / study.MAX_SECONDS:.2f}"
    assert study._ratio(late, 3.0) == f"> {study.MAX_SECONDS / 3:.2f}"
    assert (study._ratio(late, late), study._ratio(3.0, 2.0)) == ("–", "1.50")


def test_the_preconditioned_direction_solves_newtons_system(optimum):
    problem, _ = optimum
    with (
        patch.multiple(active_set._ActiveCodes, _newton_direction=preconditioned_direction),
        patch.multiple(active_set, GRADIENT_ACCURACY=1e-10),
    ):
        codes = torch.as_tensor(cscsr.ADMM(iterations=20, tol=0).solve(problem).codes)
        active = active_set._ActiveCodes(problem.on(None, "float64"), codes, 0.0)
        columns = active._columns(active._places)
        gradient = np.random.default_rng(0).standard_normal(32 * 32)
        direction = active._newton_direction(columns, gradient)
    matrix = columns.toarray()
    system = np.eye(32 * 32) + active._sigma * matrix.T @ matrix
    np.testing.assert_allclose(system @ direction, -gradient, atol=1e-6)


def test_screening_discards_no_active_code(optimum):
    problem, _ = optimum
    codes = np.asarray(cscsr.ActiveSet(iterations=300, tol=0, gap_tol=1e-9).solve(problem).codes)
    active = np.abs(codes) > 1e-9
    zero = 1 - active.mean()
    for iterations in (1, 20, 100, 400):
        solver = cscsr.FISTA(iterations=iterations, tol=0, record_every=0)
        safe = study.safely_zero(problem, solver.solve(problem).codes).numpy()
        assert not (safe & active).any()
    assert safe.mean() > 0.5
    shares = study.discarded(study.Point(32, "G:8x8x32", 0.1), gaps=(1e-2, 1e-4, 1e-8))
    assert shares[1e-2] <= shares[1e-4] <= shares[1e-8] <= zero
    assert shares[1e-8] > 0.9 * zero
