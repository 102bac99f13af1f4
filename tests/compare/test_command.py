"""The comparison as a person runs it: bad input, runs cut off, solvers that fail."""

import hashlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cscsr import InputError, Solution, Solver, Status, SuperResolution
from cscsr.compare.command import main
from cscsr.compare.plan import Contender, make_plan
from cscsr.compare.progress import Progress
from cscsr.compare.results import (
    FAILED,
    FILE_NAME,
    SCORED,
    UNSUPPORTED,
    Key,
    Results,
    read_results,
    truth_key,
)
from cscsr.compare.run import find_work, keep_truths, run
from cscsr.data.datasets import demo, load_dataset, training_textures
from cscsr.imaging import psnr, write_image

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "cscsr", "compare"]


def start(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("CSCSR_DATA", None)
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    """A data folder with one set, `mine`: crops of real photographs, grey and colour."""
    place = tmp_path / "data" / "mine"
    place.mkdir(parents=True)
    for name, image in demo():
        write_image(place / f"{name}.png", image[:48, :60])
    return place.parent


@dataclass(frozen=True)
class Repeat(Solver[SuperResolution]):
    """Each pixel repeated, times `gain`: a solver whose answers are easily told apart."""

    gain: float = 1.0
    weights: str | None = None
    wrong: str = ""
    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "rgb"

    @property
    def name(self):
        return "repeat"

    def weights_sha256(self):
        return hashlib.sha256(Path(self.weights).read_bytes()).hexdigest() if self.weights else None

    def supports(self, problem):
        if self.wrong == "supports raises":
            raise KeyError("supports")
        return (
            "It cannot do grey images." if self.wrong == "grey" and problem.lr.ndim == 2 else None
        )

    def solve(self, problem, *, init=None, callback=None):
        if self.wrong == "raises" and problem.lr.ndim == 2:
            raise RuntimeError("out of\nluck")
        large = problem.lr.repeat(problem.scale, 0).repeat(problem.scale, 1) * self.gain
        estimate = np.full_like(large, np.nan) if self.wrong == "nan" else large
        status = Status.DIVERGED if self.wrong == "diverges" else Status.DIRECT
        return Solution(estimate, status, seconds=0.25)


def carry_out(folder, results, *solvers, line="rgb", degrade=(), shown=0):
    """Compare `solvers` on `mine` at ×2; returns (solved now, found there, failed)."""
    contenders = [Contender(solver, line) for solver in solvers]
    empty = make_plan([load_dataset("mine", folder)], [], [2], degradations=degrade, shown=shown)
    plan = replace(empty, contenders=contenders, protocol="common")
    work, already = find_work(plan, results)
    keep_truths(plan, results)
    progress = Progress({})
    for task in (task for tasks in work.values() for task in tasks):
        progress.add(task.kind, task.megapixels)
    failures = run(work, results, progress)
    progress.close()
    return sum(map(len, work.values())), already, failures


# Bad input


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--solvers", "bicubik"], "unknown solver 'bicubik': did you mean bicubic?"),
        (["--solvers", "fista"], "fista solves a SparseCoding"),
        (["--scales", "0"], "scale must be a whole number of at least 1, got 0"),
        (["--scales", "1"], "at least 2, got 1"),
        (["--scales", "1.5"], "whole number of at least 1, got '1.5'"),
        (["--datasets", "Set5"], "--data or CSCSR_DATA"),
        (["--data", "nowhere-at-all"], "there is nothing there"),
        (["--device", "abacus"], "expected a device among cpu"),
        (["--protocol", "papre"], "invalid choice: 'papre'"),
        (["--frobnicate"], "unrecognized arguments"),
        (["--degrade", "fog:3"], "blur:SIGMA in pixels, noise:SIGMA on the 0-255 scale"),
        (["--showcase", "7"], "invalid choice: 7"),
    ],
)
def test_bad_arguments_get_one_sentence(tmp_path, capsys, arguments, sentence):
    assert main(["--solvers", "bicubic", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists(), "bad input is found before anything is made"


def _no_image(folder):
    (folder / "mine" / "zebra.png").write_text("this is no image")


def _too_small(folder):
    write_image(folder / "mine" / "zebra.png", np.zeros((12, 40), np.uint8))


def _empty(folder):
    for path in (folder / "mine").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_image, "zebra.png is no whole PNG"),
        (_too_small, "at least 16x16 pixels to score at scale 2, but mine/zebra has 12x40"),
        (_empty, "but found none"),
    ],
)
def test_bad_folders_get_one_sentence_and_nothing_computed_is_lost(
    folder, tmp_path, capsys, spoil, sentence
):
    command = ["--data", str(folder), "--datasets", "mine", "--solvers", "bicubic"]
    command += ["--scales", "2", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    before = read_results(tmp_path / "out" / FILE_NAME)
    spoil(folder)
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    pd.testing.assert_frame_equal(before, read_results(tmp_path / "out" / FILE_NAME))


def test_a_spoilt_database_is_kept(tmp_path, capsys):
    (tmp_path / FILE_NAME).write_text("my notes, which are no database")
    assert main(["--solvers", "bicubic", "--out", str(tmp_path)]) == 2
    assert "left as it is" in capsys.readouterr().err
    assert (tmp_path / FILE_NAME).read_text() == "my notes, which are no database"


def test_the_command_prints_no_traceback(tmp_path):
    process = start("--datasets", "Sett5", "--data", tmp_path, "--out", tmp_path / "out")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    assert error.count("\n") == 1
    assert "Traceback" not in error


# Runs


def test_which_data_sets_are_compared_is_said(folder, tmp_path, capsys):
    common = ["--scales", "4", "--solvers", "bicubic", "--out", str(tmp_path / "o")]
    assert main(common) == 0
    assert "embedded set demo" in capsys.readouterr().out
    assert main([*common, "--data", str(folder)]) == 0
    assert "none of Set5, Set14, B100" in capsys.readouterr().out
    (folder / "mine").rename(folder / "Set14")
    assert main([*common, "--data", str(folder)]) == 0
    assert "Comparing on Set14 from" in capsys.readouterr().out
    assert "Set14 ×4" in (tmp_path / "o" / "index.html").read_text()


def test_bicubic_gives_the_papers_figures(shared_data, tmp_path):
    out = tmp_path / "out"
    command = ["--data", str(shared_data), "--datasets", "Set5", "--solvers", "bicubic"]
    assert main([*command, "--out", str(out)]) == 0
    table = pd.read_csv(out / "table1.csv").set_index("method").loc["bicubic"]
    assert table.psnr_db.round(2).tolist() == table.published_psnr_db.tolist()
    assert table.ssim.round(4).tolist() == table.published_ssim.tolist()


def _rows(path):
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM results").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet, or being written to
        return 0


def _wait_for_rows(process, path, count):
    end = time.monotonic() + 120
    while _rows(path) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_run_that_is_killed_goes_on_where_it_stopped(tmp_path):
    place, out = tmp_path / "data" / "textures", tmp_path / "out"
    place.mkdir(parents=True)
    for name, image in training_textures().items():
        if image.size < 3e5:
            write_image(place / f"{name}.png", image)
    images = len(list(place.iterdir()))
    command = ["--data", tmp_path / "data", "--datasets", "textures", "--solvers", "bicubic"]
    command += ["--scales", "2", "3", "4", "--out", out]

    process = start(*command)
    _wait_for_rows(process, out / FILE_NAME, 2)
    process.kill()
    process.communicate()
    killed = read_results(out / FILE_NAME)
    assert 2 <= len(killed) < 3 * images

    process = start(*command)
    _wait_for_rows(process, out / FILE_NAME, len(killed) + 2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "goes on from there" in error
    interrupted = read_results(out / FILE_NAME)
    assert len(killed) < len(interrupted) < 3 * images
    assert "cut off" in (out / "table1.md").read_text()

    assert main([str(argument) for argument in command]) == 0
    finished = read_results(out / FILE_NAME)
    assert len(finished) == 3 * images
    for earlier in (killed, interrupted):
        pd.testing.assert_frame_equal(finished.head(len(earlier)), earlier)
    assert "cut off" not in (out / "table1.md").read_text()


def test_an_unchanged_result_is_not_computed_again_and_a_changed_one_is(folder, tmp_path):
    trained = tmp_path / "weights"
    trained.write_text("first")
    solver = Repeat(weights=str(trained))
    with Results(tmp_path / FILE_NAME) as results:
        assert carry_out(folder, results, solver) == (5, 0, 0)
        assert carry_out(folder, results, solver) == (0, 5, 0)
        assert carry_out(folder, results, replace(solver, gain=0.9)) == (5, 0, 0)
        trained.write_text("second")
        assert carry_out(folder, results, solver) == (5, 0, 0)
        write_image(folder / "mine" / "camera.png", demo().images[1].read()[48:96, :60])
        assert carry_out(folder, results, solver) == (1, 4, 0)
        assert carry_out(folder, results, solver) == (0, 5, 0)
        type(solver).version = "2"
        try:
            assert carry_out(folder, results, solver) == (5, 0, 0)
        finally:
            del type(solver).version


def test_the_same_pixels_under_another_name_are_stored_there_and_not_computed_again(
    folder, tmp_path
):
    with Results(tmp_path / FILE_NAME) as results:
        assert carry_out(folder, results, Repeat()) == (5, 0, 0)
        (folder / "mine" / "camera.png").rename(folder / "mine" / "cameraman.png")
        assert carry_out(folder, results, Repeat()) == (0, 5, 0)
        rows = results.frame().set_index("image")
    assert len(rows) == 6
    assert rows.psnr_db["cameraman"] == rows.psnr_db["camera"]


@pytest.mark.parametrize(
    ("wrong", "failed", "message"),
    [
        ("raises", 1, "RuntimeError: out of luck"),
        ("diverges", 5, Status.DIVERGED.message),
        ("nan", 5, "InputError"),
        ("supports raises", 5, "KeyError: 'supports'"),
    ],
)
def test_a_solver_that_fails_costs_the_others_nothing(
    folder, tmp_path, capsys, wrong, failed, message
):
    with Results(tmp_path / FILE_NAME) as results:
        broken, sound = Repeat(wrong=wrong), Repeat(gain=0.99)
        assert carry_out(folder, results, broken, sound) == (10, 0, failed)
        rows = results.frame()
        assert carry_out(folder, results, broken, sound)[:2] == (failed, 10 - failed)
    assert (rows.outcome == SCORED).sum() == 10 - failed
    failures = rows[rows.outcome == FAILED]
    assert failures.message.str.contains(message, regex=False).all()
    assert failures.psnr_db.isna().all()
    assert message in capsys.readouterr().err


def test_harder_input_has_results_of_its_own(folder, tmp_path):
    solver = Repeat()
    with Results(tmp_path / FILE_NAME) as results:
        assert carry_out(folder, results, solver) == (5, 0, 0)
        assert carry_out(folder, results, solver, degrade=["noise:20", "blur:2"]) == (10, 5, 0)
        assert carry_out(folder, results, solver, degrade=["noise:20"]) == (0, 10, 0)
        assert carry_out(folder, results, solver, degrade=["noise:21"]) == (5, 5, 0)
        rows = results.frame()
        psnr_db = rows.groupby("degradation").psnr_db.mean()
    assert set(psnr_db.index) == {"", "noise:20", "noise:21", "blur:2"}
    assert psnr_db["noise:21"] < psnr_db["noise:20"] < psnr_db[""] - 1
    assert psnr_db["blur:2"] < psnr_db[""]


def test_harder_input_is_the_same_image_for_all_whatever_their_line(folder, tmp_path):
    with Results(tmp_path / FILE_NAME) as results:
        carry_out(folder, results, Repeat(), line="y", degrade=["jpeg:40"])
        rows = results.frame()
    assert set(rows[rows.degradation == ""].protocol) == {"y"}
    assert set(rows[rows.degradation == "jpeg:40"].protocol) == {"rgb"}


def test_pictures_are_the_pixels_that_are_scored(folder, tmp_path):
    solver = Repeat(gain=0.98)
    with Results(tmp_path / FILE_NAME) as results:
        assert carry_out(folder, results, solver) == (5, 0, 0)
        assert carry_out(folder, results, solver, shown=3) == (3, 2, 0), "pictures were lacking"
        assert carry_out(folder, results, solver, shown=3) == (0, 5, 0)
        plan = make_plan([load_dataset("mine", folder)], [], [2], shown=3)
        for shown in plan.showcases:
            name = shown.image.source.name
            (row,) = (row for row in results.frame().itertuples() if row.image == name)
            key = Key(**{field: getattr(row, field) for field in Key.__dataclass_fields__})
            assert shown.box == (2, 2, 44, 56), "a small image is kept whole"
            estimate, truth = (
                np.array(Image.open(io.BytesIO(results.picture(which, shown.box))))
                for which in (key, truth_key(shown.image.sha256, 2))
            )
            assert psnr(estimate, truth) == pytest.approx(row.psnr_db, abs=1e-9)


def test_what_a_solver_does_not_support_is_left_out_with_the_reason(folder, tmp_path, capsys):
    with Results(tmp_path / FILE_NAME) as results:
        assert carry_out(folder, results, Repeat(wrong="grey")) == (4, 0, 0)
        row = results.frame().set_index("image").loc["camera"]
    assert (row.outcome, row.message) == (UNSUPPORTED, "It cannot do grey images.")
    assert "Left out: repeat on mine/camera ×2: It cannot do grey" in capsys.readouterr().out


def test_where_nothing_is_supported_the_reason_is_an_error(folder, tmp_path):
    for path in (folder / "mine").iterdir():
        if path.stem != "camera":
            path.unlink()
    with (
        Results(tmp_path / FILE_NAME) as results,
        pytest.raises(InputError, match="cannot do grey"),
    ):
        carry_out(folder, results, Repeat(wrong="grey"))


def test_a_row_says_how_it_came_about(folder, tmp_path):
    with Results(tmp_path / FILE_NAME) as results:
        carry_out(folder, results, Repeat())
        row = results.frame().iloc[0]
    assert (row.seconds, row.status, row.device, row.precision) == (
        0.25,
        "direct",
        "cpu",
        "float32",
    )
    assert row.threads >= 1
    assert "Python" in row.machine
    assert row.code_version
    assert row.time


def test_the_time_left_follows_from_what_was_measured():
    now = [100.0]
    progress = Progress({"slow": 10.0, "quick": 1.0}, clock=lambda: now[0])
    progress.add(("slow", 2), 2.0)
    progress.add(("slow", 3), 1.0)
    progress.add(("quick", 2), 1.0)
    assert progress.seconds_left() == pytest.approx(31.0)
    progress.begin("slow", ("slow", 2), 1.0)
    now[0] += 4.0
    assert progress.seconds_left() == pytest.approx(27.0)
    progress.done()
    assert progress.seconds_left() == pytest.approx(4.0 + 4.0 + 1.0)
    progress.close()
