"""The curve of crnet-b's training against operations, and the line through its ends."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import progress as study
from cscsr import InputError
from cscsr.training.recipe import load_recipe

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"


def curve(path: Path, *rows: tuple[int, float], done: float = 1.0) -> None:
    names = [f"holdout_psnr_db_x{scale}" for scale in (2, 3, 4)]
    lines = [",".join(["step", "done", *names])]
    lines += [f"{step},{done},{psnr + 3},{psnr},{psnr - 3}" for step, psnr in rows]
    path.write_text("\n".join(lines) + "\n")


def test_operations_add_up_and_the_line_is_that_of_least_squares(tmp_path):
    curve(tmp_path / "a.csv", (100, 30.0), (200, 30.2))
    curve(tmp_path / "b.csv", (300, 30.35))
    curve(tmp_path / "stopped.csv", (100, 30.3), done=0.5)
    curve(tmp_path / "c.csv", (400, 30.6), (600, 30.75))
    recipes = dict.fromkeys(("a", "b", "stopped"), "crnet-b-256")
    runs = study.stretches(tmp_path, {**recipes, "c": "crnet-b-small"})
    step = load_recipe("crnet-b-256").step_operations()
    last = load_recipe("crnet-b-small").step_operations() / step
    assert last < 0.5
    steps = [200, 500, 600, 600 + 600 * last]
    assert [run.flop[-1] / step for run in runs] == pytest.approx(steps)
    assert runs[3].flop[0] == pytest.approx((600 + 400 * last) * step)
    assert list(runs[0].psnr_db) == pytest.approx([30.0, 30.2])
    ends = np.log2(np.multiply(step, [200, 500, steps[-1]]))  # the stopped run is no point
    (slope, offset), covariance = np.polyfit(ends, [30.2, 30.35, 30.75], 1, cov="unscaled")
    misfit = np.sum((slope * ends + offset - [30.2, 30.35, 30.75]) ** 2)
    fit = study.fit_of(runs)
    assert fit.slope == pytest.approx(slope)
    assert fit.error == pytest.approx(np.sqrt(misfit * covariance[0, 0]))
    assert study.fit_of(runs[:2]).error == np.inf


def test_a_missing_curve_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        study.stretches(tmp_path, {"nothing": "crnet-b-256"})


def test_the_files_of_the_reference_run_are_made_from_its_curves(tmp_path):
    table, picture = study.progress(tmp_path)
    assert table.read_text() == (REFERENCE / table.name).read_text()
    assert picture.stat().st_size > 10_000
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    flop = [float(row["flop"]) for row in rows]
    assert flop == sorted(flop) and len(rows) >= 3
