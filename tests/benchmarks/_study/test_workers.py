"""Studies whose tasks workers do: the files of one process, whoever is lost."""

from __future__ import annotations

import csv
import subprocess
import sys
import time

import pytest

from benchmarks import interval_coverage, levers, parameters, pins
from benchmarks._study.workers import code_version, on_worker, results_of
from cscsr import InputError
from tests.conftest import REPOSITORY


def square(number, offset):
    return number**2 + offset


def refuse(number):
    raise InputError(f"{number} is refused.")


def fail(number):
    raise KeyError(number)


def wait_and_square(number, seconds):
    time.sleep(seconds)
    return number**2


def test_in_this_process_tasks_are_done_in_turn():
    said = []
    results = results_of(square, [3, 1, 2], 10, report=lambda *words: said.append(words))
    assert list(results) == [(3, 19), (1, 11), (2, 14)]
    assert said == [("3", 0, 3), ("1", 1, 3), ("2", 2, 3)]


def test_a_worker_with_other_code_refuses():
    assert on_worker(square, code_version(), 3, [10]) == 19
    with pytest.raises(InputError, match=r"expected version 0\.0 of this repository"):
        on_worker(square, "0.0", 3, [10])


def test_numbers_of_jobs_are_checked(tmp_path, capsys):
    assert interval_coverage.main(["--jobs", "0", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip().endswith("at least 1, got '0'.")
    options = ["--jobs", "2", "--device", "meta", "--out", str(tmp_path)]
    assert parameters.main(["fig9", *options]) == 2


def test_a_study_of_seconds_has_no_jobs(tmp_path, capsys):
    with pytest.raises(SystemExit):
        levers.main(["--jobs", "2", "--out", str(tmp_path)])
    assert "unrecognized arguments: --jobs 2" in capsys.readouterr().err


def by_command(module, *words):
    """Run a study in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=REPOSITORY,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr


def rows_of(path):
    """The rows of a table, without the seconds."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_jobs_write_the_files_of_one_process(tmp_path, data, shared_data):
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    two, one = tmp_path / "two", tmp_path / "one"
    simulated = ["--trials", 20, "--resamples", 30]
    by_command("interval_coverage", *simulated, "--jobs", 2, "--out", two)
    interval_coverage.main([*map(str, simulated), "--out", str(one)])
    for name in ("interval_coverage.csv", "interval_coverage.md"):
        assert (two / name).read_bytes() == (one / name).read_bytes()

    trained = ["fig9", "--data", data, "--steps", 2, "--width", 2, "--seeds", 2]
    by_command("parameters", *trained, "--jobs", 2, "--out", two)
    parameters.main([*map(str, trained), "--out", str(one)])
    assert rows_of(two / "fig9.csv") == rows_of(one / "fig9.csv")
    assert len(rows_of(one / "fig9.csv")) > 8

    pinned = ["--solvers", "bicubic", "--data", shared_data]
    by_command("pins", *pinned, "--jobs", 2, "--out", two)
    pins.main([*map(str, pinned), "--out", str(one)])
    assert (two / "pins.csv").read_bytes() == (one / "pins.csv").read_bytes()


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(cluster, tmp_path):
    address, _, workers = cluster
    results = {}
    for number, result in results_of(wait_and_square, range(20), 0.2, scheduler=address):
        assert number not in results
        results[number] = result
        if len(results) == 5:
            workers[0].kill()
    assert workers[0].wait(timeout=10) != 0
    assert results == {number: number**2 for number in range(20)}
    interval_coverage.simulate(tmp_path / "one", 20, 30)
    interval_coverage.simulate(tmp_path / "there", 20, 30, scheduler=address)
    name = "interval_coverage.csv"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


@pytest.mark.slow
def test_what_a_task_raises_on_a_worker_is_a_sentence(cluster):
    address, scheduler, _ = cluster
    with pytest.raises(InputError, match=r"^7 is refused\.$"):
        list(results_of(refuse, [7], scheduler=address))
    with pytest.raises(InputError, match=r"^number 7 failed on its worker: KeyError: 7$"):
        list(results_of(fail, [7], scheduler=address, label=lambda task: f"number {task}"))
    results = results_of(wait_and_square, range(20), 0.2, scheduler=address)
    next(results)
    scheduler.kill()
    with pytest.raises(InputError, match="was lost"):
        list(results)
