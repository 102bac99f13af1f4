"""A comparison on a Dask cluster: the figures of one process, each row once, whoever is lost."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cscsr import weights
from cscsr.compare.cluster import solve_on_worker
from cscsr.compare.command import main
from cscsr.compare.plan import Contender
from cscsr.compare.records import FAILED, FILE_NAME, SCORED
from cscsr.compare.results import read_results
from cscsr.compare.run import find_work
from cscsr.network import NetworkSolver
from cscsr.parallel import connect


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def figures(out):
    """What a database holds that does not depend on who computed it."""
    rows = read_results(out / FILE_NAME).sort_values(["solver", "scale", "image"])
    columns = ["image", "solver", "scale", "input_sha256", "weights_sha256", "outcome"]
    return rows[[*columns, "psnr_db", "ssim"]].reset_index(drop=True)


def _rows(out):
    try:
        return len(read_results(out / FILE_NAME))
    except ValueError:  # not there yet
        return 0


@contextmanager
def _command(*words):
    """The command in a thread; yields a list into which its exit code comes."""
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(list(map(str, words)))))
    thread.start()
    yield codes, thread
    thread.join(timeout=200)
    assert not thread.is_alive()


COMMON = ["--scales", "2", "3", "--solvers", "bicubic", "crnet-a-small", "--showcase", "1"]


@pytest.mark.slow
def test_every_row_is_there_once_though_a_worker_is_killed(cluster, folder, tmp_path, capsys):
    address, _, workers = cluster
    data = ["--data", folder, "--datasets", "mine", *COMMON]
    out = tmp_path / "out"
    with _command(*data, "--out", out, "--scheduler", address) as (codes, thread):
        while _rows(out) < 2:
            assert thread.is_alive(), capsys.readouterr()
            time.sleep(0.01)
        workers[0].kill()
        assert _rows(out) < 20, "it was killed in the middle"
    assert codes == [0], capsys.readouterr()
    there = figures(out)
    assert len(there) == 20
    assert (there.outcome == SCORED).all()
    assert main([*map(str, data), "--out", str(tmp_path / "here")]) == 0
    pd.testing.assert_frame_equal(there, figures(tmp_path / "here"), rtol=1e-6)
    assert "All solvers on mine ×2" in (out / "index.html").read_text()


@pytest.mark.slow
def test_a_lost_scheduler_is_a_sentence_and_the_same_command_goes_on(
    cluster, folder, tmp_path, capsys
):
    address, scheduler, _ = cluster
    data = ["--data", folder, "--datasets", "mine", *COMMON, "--out", tmp_path / "out"]
    with _command(*data, "--scheduler", address) as (codes, thread):
        while _rows(tmp_path / "out") < 2:
            assert thread.is_alive(), capsys.readouterr()
            time.sleep(0.01)
        scheduler.kill()
    assert codes == [2]
    assert "was lost; the same command goes on from what is stored." in capsys.readouterr().err
    assert main([*map(str, data)]) == 0
    assert len(figures(tmp_path / "out")) == 20


@pytest.mark.slow
def test_jobs_give_the_figures_of_one_process(folder, tmp_path):
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    data = ["--data", str(folder), "--datasets", "mine", *COMMON]
    code = "from cscsr.compare.command import main; raise SystemExit(main())"
    process = subprocess.run(
        [sys.executable, "-c", code, *data, "--jobs", "2", "--out", str(tmp_path / "two")],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert main([*data, "--out", str(tmp_path / "one")]) == 0
    pd.testing.assert_frame_equal(figures(tmp_path / "two"), figures(tmp_path / "one"), rtol=1e-6)
    rows = read_results(tmp_path / "two" / FILE_NAME)
    assert set(rows.threads) == {1}
    assert rows.machine.str.contains("Python").all()
    assert set(rows.run) == {1}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes are POSIX's")
def test_ctrl_c_in_a_terminal_reaches_only_the_command(folder, tmp_path):
    """It is sent to the whole group of processes, whose workers have nothing to say."""
    psutil = pytest.importorskip("psutil", reason="the extra cscsr[cluster]")
    code = "from cscsr.compare.command import main; raise SystemExit(main())"
    data = ["--data", str(folder), "--datasets", "mine", *COMMON]
    command = subprocess.Popen(
        [sys.executable, "-c", code, *data, "--jobs", "2", "--out", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while _rows(tmp_path / "out") < 1:
        assert command.poll() is None
        time.sleep(0.01)
    family = psutil.Process(command.pid).children(recursive=True)
    assert len(family) >= 2
    os.killpg(command.pid, signal.SIGINT)
    said = command.communicate(timeout=100)[1]
    assert said.startswith("Interrupted: what is done is in ")
    assert said.count("\n") == 1, said
    assert command.returncode == 130
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


def test_weights_of_a_worker_are_those_that_were_sent(compare, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(weights.weights_path("crnet-b-small").read_bytes())
    solver = NetworkSolver(weights=str(path))
    plan = replace(compare.plan(), contenders=[Contender(solver, "rgb")])
    work = find_work(plan, compare.results)
    task = next(iter(work))
    content, pixels = path.read_bytes(), task.image.read()
    light = replace(task, image=replace(task.image, pixels=None))
    path.unlink()
    outcome, seconds = solve_on_worker(light, pixels, content, 7)
    assert (outcome.row.outcome, outcome.row.run) == (SCORED, 7)
    assert outcome.row.key == task.key
    assert seconds > 0
    changed = bytearray(content)
    changed[-1] ^= 1
    with pytest.raises(ValueError, match="changed on its way"):
        solve_on_worker(light, pixels, bytes(changed), 7)


def test_a_worker_with_another_version_of_a_solver_refuses(compare, repeat):
    work = find_work(compare.plan(repeat()), compare.results)
    task = next(iter(work))
    elsewhere = replace(task, key=replace(task.key, solver_version="0"))
    outcome, _ = solve_on_worker(elsewhere, task.image.read(), None, 1)
    assert outcome.row.outcome == FAILED
    assert "expected version 0 of repeat where it is run, got version 1" in outcome.row.message
    read_only = task.image.read().copy()
    read_only.flags.writeable = False
    assert solve_on_worker(task, np.asarray(read_only), None, 1)[0].row.outcome == SCORED


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--jobs", "0"], "at least 1, got '0'"),
        (["--jobs", "two"], "at least 1, got 'two'"),
        (["--jobs", "99999999999999999999"], "for each processor of this machine, got 9999"),
        (["--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"], "not allowed with argument"),
    ],
)
def test_bad_numbers_of_jobs_are_a_sentence(tmp_path, capsys, words, sentence):
    assert main(["--solvers", "bicubic", "--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "carrier://pigeon"])
def test_an_address_without_a_scheduler_is_a_sentence(tmp_path, capsys, monkeypatch, address):
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    monkeypatch.setattr("cscsr.parallel.CONNECT_SECONDS", 1)
    words = ["--datasets", "demo", "--scales", "2", "--solvers", "bicubic"]
    assert main([*words, "--out", str(tmp_path), "--scheduler", address]) == 2
    error = capsys.readouterr().err
    assert f"no scheduler answers at '{address}'" in error
    assert error.count("\n") == 1


def test_without_dask_a_sentence_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from cscsr.compare.command import main; raise SystemExit(main())"
    )
    words = ["--datasets", "demo", "--scales", "2", "--solvers", "bicubic", "--jobs", "2"]
    process = subprocess.run(
        [sys.executable, "-c", code, *words, "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert process.returncode == 2
    assert "pip install 'cscsr[cluster]'" in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["start", "kill"])
def test_an_interrupt_while_workers_start_or_end_is_a_sentence(folder, tmp_path, moment, number):
    """The signal comes after the start of a worker's process and before its answer, or while it is
    ended, when all is stored."""
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    code = (
        "import os, signal, sys, threading, distributed.nanny as nanny\n"
        f"method = nanny.WorkerProcess.{moment}\n"
        "def interrupted(*arguments, **options):\n"
        f"    timer = threading.Timer(0.2, os.kill, [os.getpid(), {int(number)}])\n"
        "    timer.daemon = True\n"
        "    timer.start()\n"
        "    return method(*arguments, **options)\n"
        f"nanny.WorkerProcess.{moment} = interrupted\n"
        "from cscsr.cli import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main())\n"
    )
    script = tmp_path / "interrupted.py"
    script.write_text(code)
    words = ["compare", "--datasets", "demo", "--scales", "2", "--solvers", "bicubic"]
    words += ["--showcase", "0", "--jobs", "2", "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in ended.stderr
    if moment == "start":
        assert ended.returncode == 128 + number
        assert ended.stderr.count("Interrupted") == 1
    else:
        assert ended.returncode in (0, 128 + number)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 100])
def test_workers_that_are_killed_as_they_start_are_started_again(tmp_path, killed):
    """One is lost without a trace; where all are, a sentence says that they do not start."""
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    script = tmp_path / "killing.py"
    script.write_text(
        "import sys, distributed.nanny as nanny\n"
        "from distributed.process import AsyncProcess\n"
        "start, count = AsyncProcess.start, 0\n"
        "async def killing(self):\n"
        "    global count\n"
        "    await start(self)\n"
        "    count += 1\n"
        f"    if count <= {killed}:\n"
        "        await self.kill()\n"
        "AsyncProcess.start = killing\n"
        "from cscsr.cli import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main())\n"
    )
    words = ["compare", "--datasets", "demo", "--scales", "2", "--solvers", "bicubic"]
    words += ["--showcase", "0", "--jobs", "2", "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=200
    )
    assert "Traceback" not in ended.stderr
    if killed == 1:
        assert ended.returncode == 0, ended.stderr
        assert _rows(tmp_path / "out") == 5
    else:
        assert ended.returncode == 2
        assert "the processes of --jobs 2 do not start" in ended.stderr


@pytest.mark.slow
def test_a_port_that_another_scheduler_has_is_no_news(recwarn):
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    with socket.socket() as taken:
        with suppress(OSError):  # somebody else has it: as well
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        with connect(jobs=1) as client:
            assert client.submit(abs, -1).result() == 1
    assert not [each for each in recwarn if "8787" in str(each.message)]


@pytest.mark.slow
def test_workers_compute_with_one_thread_and_keep_their_memory(monkeypatch):
    """Dask's setting of malloc, with which each large array costs page faults, reaches none."""
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with connect(jobs=1) as client:
        environment = client.submit(dict, client.submit(os.environ.copy)).result()
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "1"
    assert "MALLOC_TRIM_THRESHOLD_" not in environment
