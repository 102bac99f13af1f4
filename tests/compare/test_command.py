"""The comparison as a person runs it: bad input, runs cut off, and what is said."""

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from cscsr.compare.command import main
from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results, read_results
from cscsr.data.datasets import training_textures
from cscsr.imaging import write_image

COMMAND = [
    sys.executable,
    "-c",
    "from cscsr.compare.command import main; raise SystemExit(main())",
]


def start(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("CSCSR_DATA", None)
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)


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
        (["--metrics", "lpips"], "unknown metric 'lpips'"),
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
        (_no_image, "zebra.png is not a complete PNG"),
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


def test_broken_images_are_named_and_left_out_on_request(folder, tmp_path, capsys):
    command = ["--data", str(folder), "--datasets", "mine", "--solvers", "bicubic"]
    command += ["--scales", "2", "--out", str(tmp_path / "out")]
    _no_image(folder)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "zebra.png" in error
    assert "--skip-broken" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists(), "refused before anything is computed"
    assert main([*command, "--skip-broken"]) == 0
    assert "Left out: mine/zebra: " in capsys.readouterr().err
    assert len(read_results(tmp_path / "out" / FILE_NAME)) == 5
    for name in ("table1.md", "index.html"):
        text = (tmp_path / "out" / name).read_text()
        assert "Left out, as they cannot be read or scored: mine/zebra." in text


def test_a_spoilt_database_is_kept(tmp_path, capsys):
    (tmp_path / FILE_NAME).write_text("my notes, which are no database")
    assert main(["--solvers", "bicubic", "--out", str(tmp_path)]) == 2
    assert "not changed" in capsys.readouterr().err
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


def test_the_wanted_metrics_are_in_the_tables(folder, tmp_path, capsys):
    command = ["--data", str(folder), "--datasets", "mine", "--solvers", "bicubic"]
    command += ["--scales", "2", "--out", str(tmp_path / "out"), "--metrics"]
    assert main([*command, "gmsd"]) == 0
    table = pd.read_csv(tmp_path / "out" / "table1.csv")
    rows = read_results(tmp_path / "out" / FILE_NAME)
    assert table.gmsd[0] == pytest.approx(rows.gmsd.mean(), rel=1e-5)
    assert table.psnr_db[0] == pytest.approx(rows.psnr_db.mean(), rel=1e-5)
    assert table.ssim.isna().all()
    capsys.readouterr()
    assert main([*command, "gmsd"]) == 0
    assert "5 results are in" in capsys.readouterr().out
    assert main([*command, "ssim", "gmsd"]) == 0
    assert pd.read_csv(tmp_path / "out" / "table1.csv").ssim.notna().all()


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


def test_the_recorded_command_has_each_option_once(folder, tmp_path):
    out = tmp_path / "out"
    words = ["--scale", "3", "--scales", "2", "--scales", "2", "--solvers", "bicubic", "--showcase"]
    words += ["6", "--data", str(folder), "--datasets", "mine", "--skip-broken", "--out", str(out)]
    assert main(words, program="python -m benchmarks.compare") == 0
    with Results(out / FILE_NAME, create=False) as results:
        (recorded,) = results.commands().values()
    assert recorded == (
        f"python -m benchmarks.compare --data {folder} --datasets mine --solvers bicubic "
        f"--scales 2 --skip-broken --out {out}"
    )
    again = shlex.split(recorded.removeprefix("python -m benchmarks.compare "))
    assert main(again) == 0
    assert len(read_results(out / FILE_NAME)) == 5, "the command as recorded asks for the same"


def test_the_page_opens_in_a_browser(folder, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address))
    words = ["--data", str(folder), "--datasets", "mine", "--scales", "2", "--solvers", "bicubic"]
    assert main([*words, "--out", str(tmp_path / "a b"), "--open"]) == 0
    assert opened == [(tmp_path / "a b" / "index.html").as_uri()]
    assert "No browser could be started" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "a b")]) == 0
    assert len(opened) == 1


@pytest.mark.slow
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
