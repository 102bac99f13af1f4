"""Levers of the sparse-coding solvers: each moves what it names, and the page shows the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import solver_levers as study
from benchmarks._study.curves import read_curves
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
        return (*constants, dict(BLOCK_BYTES), study.make)

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
