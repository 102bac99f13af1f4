"""The speed benchmark of the sparse solvers: its rows, its resumption, its table and picture."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.speed import solvers as speed
from cscsr import InputError
from cscsr.solver import Stopwatch


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A race at 32×32 pixels and the scaling up to there, in a folder."""
    out = tmp_path_factory.mktemp("speed")
    table = speed._Table(out / "speed_solvers.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "SCALING_SIZES", (16, 32))
        patch.setattr(speed, "SCALING_ATOMS", (4, 64))
        patch.setattr(speed, "SCALING_SIDE", 32)
        with speed.own_clock() as clock:
            speed._race(table, clock, 32, 0.05, 1, lambda what: None)
            speed._scaling(table, clock, 1, lambda what: None)
        speed.write_table(table.rows, out / "speed_solvers.md")
        speed.draw_scaling(table.rows, out / "speed_solvers.png")
    return out, table


def test_the_optimum_is_certified_and_every_solver_has_its_rows(made):
    _, table = made
    optimum = next(row for row in table.rows if row["what"] == "optimum")
    assert 0 <= float(optimum["duality_gap"]) <= speed.CERTIFIED * float(optimum["objective"])
    race = {row["solver"]: row for row in table.rows if row["what"] == "race"}
    assert set(race) == set(speed.SOLVERS)
    for name in ("sporco-admm", "admm", "active-set"):
        seconds = [float(race[name][f"seconds_to_{gap:g}"]) for gap in speed.GAPS[:2]]
        assert 0 < seconds[0] <= seconds[1]
    # What the search found is no worse than the defaults, and the race is run with it.
    best = speed.best_rho(table.rows, 32, 0.05)
    assert race[speed.BEST]["rho"] == str(best["rho"])
    assert race[speed.BEST]["auto_rho"] == str(best["auto_rho"])
    count = {name: int(race[name]["iterations_to_0.001"]) for name in (speed.BASE, speed.BEST)}
    assert count[speed.BEST] <= count[speed.BASE]


def test_what_is_measured_is_not_measured_again(made):
    out, table = made
    again = speed._Table(out / "speed_solvers.csv")
    assert again.rows == table.rows
    with speed.own_clock() as clock:
        speed._race(again, clock, 32, 0.05, 1, lambda what: None)
    assert again.rows == table.rows


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
    assert speed.exponent(rows, "pixels") == pytest.approx(1.25)


def test_the_clock_is_put_back():
    before = Stopwatch.clock
    with speed.own_clock() as name:
        one = torch.get_num_threads() == 1
        assert name == ("processor time" if one else "wall time")
        watch = Stopwatch()
        time.sleep(0.2)
        assert (watch.seconds < 0.1) == one
    assert Stopwatch.clock is before


def test_a_size_out_of_range_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="from 16 to 512 pixels a side, got 1000"):
        speed.solvers(tmp_path, [1000], 1, None)
    with pytest.raises(InputError, match="at least 1, got 0"):
        speed.solvers(tmp_path, [64], 0, None)
