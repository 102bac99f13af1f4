"""The speed benchmark of the sparse solvers: its rows, its resumption, its table and picture."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks._study.problems import resized_problem
from benchmarks._study.race import BEST_RHO, GAPS, SPORCO, own_clock
from benchmarks.drawing.speed_solvers import draw_scaling, exponent, write_table
from benchmarks.speed import solvers as speed
from cscsr import InputError, make_solver

REFERENCE = Path(__file__).parents[3] / "reports" / "reference" / "speed"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A race at 32×32 pixels and the scaling up to there, in a folder."""
    out = tmp_path_factory.mktemp("speed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "SCALING_SIZES", (16, 32))
        patch.setattr(speed, "SCALING_ATOMS", (4, 64))
        patch.setattr(speed, "SCALING_SIDE", 32)
        with own_clock() as clock:
            table = speed.Table(out / "speed_solvers.csv", clock)
            speed._race(table, 32, 0.05, 1, lambda message: None)
            speed._scaling(table, 1, lambda message: None)
        write_table(table.rows, out / "speed_solvers.md", "An introduction.")
        draw_scaling(table.rows, out / "speed_solvers.png")
    return out, table


@pytest.mark.slow
def test_the_optimum_is_certified_and_every_solver_has_its_rows(made):
    _, table = made
    optimum = next(row for row in table.rows if row["measurement"] == "optimum")
    assert 0 <= float(optimum["duality_gap"]) <= speed.CERTIFIED * float(optimum["objective"])
    race = {row["solver"]: row for row in table.rows if row["measurement"] == "race"}
    assert set(race) == set(speed.SOLVERS)
    for name in ("sporco-admm", "admm", "active-set"):
        seconds = [float(race[name][f"seconds_to_{gap:g}"]) for gap in GAPS[:2]]
        assert 0 < seconds[0] <= seconds[1]


@pytest.mark.slow
def test_sporco_is_raced_with_the_best_rho_where_it_beats_the_defaults(made):
    _, table = made
    optimum = next(row for row in table.rows if row["measurement"] == "optimum")
    problem, lowest = resized_problem(32, 0.05), float(optimum["objective"])
    race = {row["solver"]: row for row in table.rows if row["measurement"] == "race"}

    def needed(**options):
        solver = make_solver(SPORCO, iterations=speed.CAP, tol=0, **options)
        within = solver.solve(problem).trace["objective"] <= 1.001 * lowest
        return 1 + int(np.argmax(within)) if within.any() else math.inf

    rhos = [factor * (50 * 0.05 + 1) for factor in speed.SEARCH]
    counts = {rho: needed(rho=rho, auto_rho=False) for rho in rhos}
    best, default = min(counts, key=counts.get), needed()
    expected = str(best) if counts[best] < default else "None"
    assert race[BEST_RHO]["rho"] == expected
    assert int(race[BEST_RHO]["iterations_to_0.001"]) == min(counts[best], default)
    assert int(race[SPORCO]["iterations_to_0.001"]) == default


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(made):
    out, table = made
    again = speed.Table(out / "speed_solvers.csv", table.clock)
    assert again.rows == table.rows
    speed._race(again, 32, 0.05, 1, lambda message: None)
    assert again.rows == table.rows


@pytest.mark.slow
def test_the_table_and_the_picture(made):
    out, table = made
    text = (out / "speed_solvers.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| sporco-admm | "))
    assert row.rstrip(" |").endswith("1.0 / " + row.rstrip(" |").split(" / ")[-1])
    assert table.rows[-1]["machine"] in text
    with Image.open(out / "speed_solvers.png") as picture:
        edge = np.asarray(picture.convert("L"))[:3]
    assert edge.min() == 255


def test_exponents_are_fitted():
    rows = [{"pixels": str(n), "seconds_per_iteration": str(3.0 * n**1.25)} for n in (10, 40, 90)]
    assert exponent(rows, "pixels") == pytest.approx(1.25)


def test_a_size_out_of_range_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="from 16 to 512 pixels a side, got 1000"):
        speed.solvers(tmp_path, [1000], 1, None)
    with pytest.raises(InputError, match="at least 1, got 0"):
        speed.solvers(tmp_path, [64], 0, None)


def test_the_page_of_the_reference_run_is_made_from_its_table(tmp_path):
    with (REFERENCE / "speed_solvers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    write_table(rows, tmp_path / "again.md", speed.__doc__.split("\n\n")[2])
    text = (REFERENCE / "speed_solvers.md").read_text(encoding="utf-8")
    assert (tmp_path / "again.md").read_text(encoding="utf-8") == text
