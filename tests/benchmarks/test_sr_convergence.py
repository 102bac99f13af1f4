"""PSNR over iterations: the curves pass through what the shipped solvers do."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from benchmarks._study.followed import followed, iterative_solvers, operations_by_iteration
from benchmarks._study.images import problem_of
from benchmarks.is_crnet_sparse_coding import main as of_crnet
from benchmarks.sr_convergence import follow, main, sr_convergence
from cscsr import InputError, make_solver
from cscsr.data.datasets import demo
from cscsr.imaging import luma_psnr, write_image

NAMES = ["crnet-a-small", "crnet-b-small", "csc-sr[ista]"]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return dict(demo())["chelsea"][100:148, 100:152]


@pytest.mark.parametrize("name", NAMES)
def test_at_the_trained_number_of_iterations_it_is_the_shipped_solver(name, image):
    rows = follow(name, 2, [image], 1.5)
    trained = rows[0]["trained_iterations"]
    assert rows[-1]["iteration"] == int(np.ceil(1.5 * trained))
    (row,) = (row for row in rows if row["iteration"] == trained)
    solver = make_solver(name)
    problem = problem_of(image, 2, solver.line)
    estimate = solver.solve(problem).estimate
    assert row["psnr_db"] == pytest.approx(luma_psnr(estimate, problem.truth, 2), abs=2e-3)
    assert row["operations"] == pytest.approx(solver.operations(problem), rel=1e-5)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert all(0 < row["nnz_share"] <= 1 for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_operations_grow_by_those_of_one_iteration(name, image):
    solver = make_solver(name)
    problem = problem_of(image, 3, solver.line)
    with followed(name, 3, 2) as run:
        counts = operations_by_iteration(run, problem)
        assert run.solver.operations(problem) == pytest.approx(counts[-1])
    assert counts[run.trained] == pytest.approx(solver.operations(problem))
    np.testing.assert_allclose(np.diff(counts), counts[1] - counts[0])


def test_names():
    assert {"csc-sr[ista]", "crnet-a-small"} <= set(iterative_solvers())
    assert not {"bicubic", "crnet-b-small+"} & set(iterative_solvers())
    with pytest.raises(InputError, match="bicubic has no iterates"), followed("bicubic", 2, 2):
        pass


def test_images_too_small_to_be_scored_are_a_sentence(tmp_path, image, capsys):
    (tmp_path / "one").mkdir()
    write_image(tmp_path / "one" / "cat.png", image)
    study = ["--data", str(tmp_path), "--dataset", "one", "--out", str(tmp_path / "out")]
    for command, options in ((main, ["--scales", "2", "4"]), (of_crnet, ["--scale", "4"])):
        assert command([*study, *options, "--crop", "11", "--solvers", "crnet-b-small"]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            "to be scored at x4 an image needs sides of at least 12 pixels, but one has 11."
        )


@pytest.mark.slow
def test_the_command_makes_a_page_once(tmp_path, image, capsys):
    (tmp_path / "data" / "one").mkdir(parents=True)
    write_image(tmp_path / "data" / "one" / "cat.png", (image / 255).astype(np.float32))
    arguments = ["--data", str(tmp_path / "data"), "--dataset", "one", "--scales", "2"]
    arguments += ["--solvers", "crnet-b-small", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    table = tmp_path / "out" / "sr_convergence.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trained = int(rows[0]["trained_iterations"])
    assert [int(row["iteration"]) for row in rows] == list(range(2 * trained + 1))
    at = float(rows[trained]["psnr_db"])
    page = table.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| {at:.2f} |" in page
    before = table.stat().st_mtime_ns
    assert sr_convergence(
        tmp_path / "out", data=tmp_path / "data", dataset="one", solvers=["crnet-b-small"]
    )
    assert table.stat().st_mtime_ns == before
    assert main([*arguments[:-4], "--solvers", "bicubic", "--out", str(tmp_path)]) == 2
    assert "has no iterates" in capsys.readouterr().err
