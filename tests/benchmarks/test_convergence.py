"""The convergence benchmark: its problem, its certificate, its files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from benchmarks.convergence import SETTINGS, SOLVERS, convergence, draw_convergence, main
from cscsr import InputError

SMALL = {"iterations": 12, "size": 32, "atoms": 4, "filter_size": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("convergence")
    told = []
    table, picture = convergence(out, **SMALL, report=lambda *words: told.append(words))
    with table.open(newline="", encoding="utf-8") as file:
        return table, picture, list(csv.DictReader(file)), told


def test_every_iteration_of_every_solver_is_a_row(made):
    _, _, rows, told = made
    for name in SOLVERS:
        iterations = [int(row["iteration"]) for row in rows if row["solver"] == name]
        assert iterations == list(range(1, 13))
    assert told[-1] == ("done", 7, 7)


def test_the_gaps_are_to_a_certified_optimum(made):
    _, _, rows, _ = made
    lowest = float(rows[0]["reference_objective"])
    certified = float(rows[0]["reference_duality_gap"]) / lowest
    assert 0 <= certified <= 1e-8
    for row in rows:
        gap = float(row["relative_gap"])
        assert gap == pytest.approx(float(row["objective"]) / lowest - 1.0, abs=1e-12)
        assert gap >= -1e-8
    gaps = {
        name: [float(r["relative_gap"]) for r in rows if r["solver"] == name] for name in SOLVERS
    }
    assert np.all(np.diff(gaps["ista"]) < 0)
    np.testing.assert_allclose(gaps["ista"], gaps["cista"], atol=1e-12)
    assert gaps["fista"][-1] < gaps["ista"][-1]


def test_the_picture_is_made_from_the_table_alone(made, tmp_path):
    table, picture, _, _ = made
    again = tmp_path / "again.png"
    draw_convergence(table, again)
    first, second = (np.asarray(Image.open(path).convert("L")) for path in (picture, again))
    np.testing.assert_array_equal(first, second)
    # Nothing touches the edge, so nothing is cut off there.
    for edge in (first[:3], first[-3:], first[:, :3], first[:, -3:]):
        assert edge.min() == 255


def test_nothing_is_solved_twice(made):
    table = made[0]
    before = table.read_bytes()
    told = []
    convergence(table.parent, **SMALL, report=lambda *words: told.append(words))
    assert told == []
    assert table.read_bytes() == before
    assert set(SETTINGS) <= set(before.decode().splitlines()[0].split(","))


def test_a_table_that_lacks_a_solver_is_made_again(made, tmp_path):
    table = tmp_path / "convergence.csv"
    text = (
        made[0].read_text(encoding="utf-8").replace("sporco-admm admm fista", "sporco-admm fista")
    )
    kept = [line for line in text.splitlines(keepends=True) if ",admm," not in line]
    table.write_text("".join(kept), encoding="utf-8")
    convergence(tmp_path, **SMALL)
    assert ",admm,12," in table.read_text(encoding="utf-8")


def test_bad_settings(tmp_path, capsys):
    with pytest.raises(InputError, match=r"from 7 .* to 256 pixels, got 300"):
        convergence(tmp_path, size=300, filter_size=7)
    assert main(["--out", str(tmp_path), "--iterations", "0"]) == 2
    assert capsys.readouterr().err.strip().endswith("start at 1.")


def test_an_output_folder_that_is_a_file_is_one_sentence(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["--out", str(file)]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("cannot write into")
