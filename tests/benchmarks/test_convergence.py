"""The convergence benchmark: its problems, its certificates, its files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks._study.race import BEST_RHO
from benchmarks.convergence import Case, convergence, grid, main, sparse_solvers
from benchmarks.drawing.convergence import draw_convergence, times_to_gaps, write_times
from cscsr import InputError, make_solver

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"
SMALL = {"iterations": 12, "case": Case("camera", 32, 0.05, 4, 3)}


def rows_of(table):
    return pd.read_csv(table, dtype=str, keep_default_na=False).to_dict("records")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("convergence")
    reports = []
    table, picture, page = convergence(out, **SMALL, report=lambda *words: reports.append(words))
    return table, picture, page, rows_of(table), reports


def test_every_solver_that_takes_the_problem_has_its_iterations(made):
    _, _, _, rows, reports = made
    problem = SMALL["case"].problem()
    takes = [n for n in sparse_solvers() if make_solver(n).supports(problem) is None]
    assert list(dict.fromkeys(row["solver"] for row in rows)) == takes
    for name in takes:
        iterations = [int(row["iteration"]) for row in rows if row["solver"] == name]
        assert iterations == list(range(1, 13)), name
    assert reports[-1][0] == "done"
    assert reports[-1][1] == reports[-1][2]


def test_the_gaps_are_to_a_certified_optimum(made):
    rows = made[3]
    lowest = float(rows[0]["reference_objective"])
    certified = float(rows[0]["reference_duality_gap"]) / lowest
    assert -1e-12 <= certified <= 1e-8
    for row in rows:
        gap = float(row["relative_gap"])
        assert gap == pytest.approx(float(row["objective"]) / lowest - 1.0, abs=1e-12)
        assert gap >= -1e-8
        assert float(row["codes_distance"]) > 0
    by_solver = {row["solver"]: [r for r in rows if r["solver"] == row["solver"]] for row in rows}
    gaps = {name: [float(r["relative_gap"]) for r in part] for name, part in by_solver.items()}
    assert np.all(np.diff(gaps["ista"]) < 0)
    np.testing.assert_allclose(gaps["ista"], gaps["cista"], atol=1e-12)
    assert gaps["fista"][-1] < gaps["ista"][-1]
    nearer = [float(row["codes_distance"]) for row in by_solver["ista"]]
    assert np.all(np.diff(nearer) < 0)  # proximal gradient steps are nonexpansive


def test_operations_are_those_that_the_solvers_count(made):
    rows = made[3]
    problem = SMALL["case"].problem()
    for row in rows:
        counted = make_solver(row["solver"]).operations(problem, int(row["iteration"]))
        if counted is None:  # what its steps take depends on the codes; here they are ADMM's
            assert row["solver"] in ("active-set", "auto")
            counted = make_solver("admm").operations(problem, int(row["iteration"]))
        assert float(row["operations"]) == pytest.approx(counted, rel=1e-3)


def test_the_picture_is_made_from_the_table_alone(made, tmp_path):
    table, picture = made[:2]
    again = tmp_path / "again.png"
    draw_convergence(table, again)
    first, second = (np.asarray(Image.open(path).convert("L")) for path in (picture, again))
    np.testing.assert_array_equal(first, second)
    # Nothing touches the edge, so nothing is cut off there.
    for edge in (first[:3], first[-3:], first[:, :3], first[:, -3:]):
        assert edge.min() == 255


NAMES = ("convergence", "convergence_grid")


def pages() -> list[tuple[str, str]]:
    """The pages of the reference run, with the command that each names."""
    texts = [(name, (REFERENCE / f"{name}.md").read_text("utf-8")) for name in NAMES]
    return [(name, re.search("Made by `(.*?)`", text)[1]) for name, text in texts]


@pytest.mark.parametrize(("name", "command"), pages())
def test_the_pages_of_the_reference_run_are_made_from_their_tables(tmp_path, name, command):
    (table,) = REFERENCE.glob(f"{name}.csv*")
    write_times(table, tmp_path / "again.md", command)
    text = (REFERENCE / f"{name}.md").read_text(encoding="utf-8")
    assert (tmp_path / "again.md").read_text(encoding="utf-8") == text


def test_nothing_is_solved_twice(made):
    table = made[0]
    before = table.read_bytes()
    reports = []
    convergence(table.parent, **SMALL, report=lambda *words: reports.append(words))
    assert reports == []
    assert table.read_bytes() == before


@pytest.mark.slow
def test_a_table_that_lacks_a_solver_is_made_again(made, tmp_path):
    table = tmp_path / "convergence.csv"
    text = made[0].read_text(encoding="utf-8").replace(" admm ", " ")
    rest = [line for line in text.splitlines(keepends=True) if ",admm," not in line]
    table.write_text("".join(rest), encoding="utf-8")
    convergence(tmp_path, **SMALL)
    assert ",admm,," in table.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_grid_has_every_problem_and_the_best_rho_of_each(tmp_path):
    table, picture, page = grid(
        tmp_path,
        iterations=16,
        lams=(0.2, 0.3),
        sizes=(16,),
        dictionaries=("camera", "G:8x8x64"),
        solvers=("sporco-admm", "fista"),
    )
    rows = rows_of(table)
    curves = {(row["dictionary"], row["lam"], row["solver"]) for row in rows}
    assert curves == {
        (dictionary, lam, solver)
        for dictionary in ("camera", "G:8x8x64")
        for lam in ("0.2", "0.3")
        for solver in ("sporco-admm", "fista", BEST_RHO)
    }
    assert {row["atoms"] for row in rows if row["dictionary"] == "G:8x8x64"} == {"64"}
    assert all(float(row["rho"]) > 0 for row in rows if row["solver"] == BEST_RHO)
    for row in times_to_gaps(table):
        part = [
            r
            for r in rows
            if (r["dictionary"], float(r["lam"]), r["solver"])
            == (row["dictionary"], row["lam"], row["solver"])
        ]
        within = [r for r in part if float(r["relative_gap"]) <= 1e-2]
        assert (row[1e-2] is None) == (not within)
        if within:
            assert row[1e-2].iteration == int(within[0]["iteration"])
            assert f"({int(row[1e-2].iteration)})" in page.read_text(encoding="utf-8")
    assert Image.open(picture).size[0] > 500


def test_bad_settings(tmp_path, capsys):
    with pytest.raises(InputError, match=r"from 7 .* to 256 pixels, got 300"):
        convergence(tmp_path, case=Case(size=300, filter_size=7))
    with pytest.raises(InputError, match=r"unknown dictionary 'G:8x8x65': did you mean .*G:8x8x64"):
        grid(tmp_path, dictionaries=("G:8x8x65",))
    with pytest.raises(InputError, match="bicubic does not solve a SparseCoding"):
        grid(tmp_path, solvers=("bicubic",))
    assert main(["--out", str(tmp_path), "--iterations", "0"]) == 2
    assert capsys.readouterr().err.strip().endswith("start at 1.")


def test_an_output_folder_that_is_a_file_is_one_sentence(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["--out", str(file)]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("cannot write into")
