"""The memory of a solve, against the arrays that a method is known to hold."""

from __future__ import annotations

import csv
import math
import sys

import numpy as np
import pytest

import cscsr
from cscsr import SparseCoding
from cscsr.memory import solve_megabytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux"),
]


def problem_of(size: int, atoms: int) -> SparseCoding:
    random = np.random.default_rng(0)
    signal = random.standard_normal((size, size)).astype(np.float32)
    return SparseCoding(signal, random.standard_normal((atoms, 8, 8)).astype(np.float32), 20.0)


def test_a_solve_takes_the_arrays_of_its_method():
    megabytes = 64 * 256**2 * 4 / 1e6  # one array of the codes
    problem = problem_of(256, 64)
    admm = solve_megabytes(problem, cscsr.ADMM(tol=0.0))
    assert 3 * megabytes < admm < 8 * megabytes  # v and two iterates of z
    sporco = solve_megabytes(problem, cscsr.SporcoADMM(tol=0.0))
    assert 10 * megabytes < sporco  # sporco's X, Y, U and their spectra


def test_earlier_solves_are_not_used_again():
    problem = problem_of(128, 16)
    first, second = (solve_megabytes(problem, cscsr.FISTA(tol=0.0)) for _ in range(2))
    assert first > 2 * 16 * 128**2 * 4 / 1e6
    assert second == pytest.approx(first, rel=0.5)


def test_a_race_has_a_column_of_memory_where_it_is_asked_for(tmp_path):
    problem = problem_of(64, 8)
    raced = cscsr.race(problem, ["admm", "fista"], gap=1e-2, memory=True)
    assert all(row["megabytes"] > 0.5 for row in raced.rows())
    header, _, *lines = [line for line in str(raced).splitlines() if line.startswith("|")]
    assert header.endswith("| memory (MB) |")
    shown = {line.split(" | ")[0].strip("| "): float(line.split(" | ")[-1][:-2]) for line in lines}
    for row in raced.rows():
        assert shown[row["solver"]] == pytest.approx(row["megabytes"], rel=0.01)
    paths = raced.save(tmp_path)
    with paths[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["megabytes"]) for row in rows] == [r["megabytes"] for r in raced.rows()]
    without = cscsr.race(problem, ["admm"], gap=1e-2)
    assert "memory" not in str(without)
    assert math.isnan(without.rows()[0]["megabytes"])
