"""Runs that work into one database at the same time: each task is done by one of them."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import pytest

from cscsr.compare import claims as claiming
from cscsr.compare.claims import Claims, process_start
from cscsr.compare.progress import Progress
from cscsr.compare.records import FILE_NAME, SCORED, Key
from cscsr.compare.results import Results, read_results
from cscsr.compare.run import find_work, run
from cscsr.data.datasets import demo
from cscsr.errors import InputError
from cscsr.imaging import write_image

KEY = Key("bicubic", "{}", "1", "", "ab" * 32, 2, "y")
OTHER = replace(KEY, scale=3)


@contextmanager
def claims_of(path):
    """The claims of a new run."""
    with Results(path) as results:
        number = results.start_run("a command", {}, {})
        with Claims(results, number) as claims:
            yield claims


def _change(path, statement, *values):
    connection = sqlite3.connect(path)
    with closing(connection), connection:
        return connection.execute(statement, values).fetchall()


def test_a_task_is_one_runs_until_that_run_ends(tmp_path):
    path = tmp_path / FILE_NAME
    with claims_of(path) as second:
        with claims_of(path) as first:
            assert first.take(KEY) is None
            assert first.take(KEY) is None, "its own"
            assert second.take(KEY) == first.run
            assert second.take(OTHER) is None
            assert first.take(OTHER) == second.run
        assert second.take(KEY) is None
    for table in ("claims", "owners"):
        assert _change(path, f"SELECT * FROM {table}") == []


def test_claims_of_a_process_that_was_killed_are_taken_over(tmp_path):
    path = tmp_path / FILE_NAME
    code = (
        "import sys, time\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from tests.compare.test_claims import KEY, claims_of\n"
        "with claims_of(sys.argv[1]) as claims:\n"
        "    print(claims.take(KEY), flush=True)\n"
        "    time.sleep(600)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path), root], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "None\n"
    with claims_of(path) as ours:
        assert ours.take(KEY) == 1
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it stays, as a zombie
        assert ours.take(KEY) is None
        other.communicate()
    assert _change(path, "SELECT * FROM owners") == []


def test_claims_of_another_machine_count_as_long_as_its_heart_beats(tmp_path):
    path = tmp_path / FILE_NAME
    with claims_of(path) as ours, claims_of(path) as theirs:
        theirs.take(KEY)
        _change(path, "UPDATE owners SET host = 'elsewhere', pid = 1 WHERE run = ?", theirs.run)
        assert ours.take(KEY) == theirs.run
        _change(
            path,
            "UPDATE owners SET heartbeat = heartbeat - ? WHERE run = ?",
            claiming.STALE_SECONDS,
            theirs.run,
        )
        assert ours.take(KEY) is None
        assert theirs.take(KEY) == ours.run


def test_a_later_process_of_the_same_number_is_another(tmp_path):
    path = tmp_path / FILE_NAME
    assert process_start(os.getpid())
    with claims_of(path) as ours, claims_of(path) as theirs:
        theirs.take(KEY)
        _change(path, "UPDATE owners SET started = '1' WHERE run = ?", theirs.run)
        assert ours.take(KEY) is None


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(claiming, "HEARTBEAT_SECONDS", 0.05)
    path = tmp_path / FILE_NAME
    with claims_of(path) as ours:
        _change(path, "UPDATE owners SET heartbeat = 0")
        for _ in range(100):
            if _change(path, "SELECT heartbeat FROM owners")[0][0]:
                break
            ours._ended.wait(0.05)
        assert _change(path, "SELECT heartbeat FROM owners")[0][0] > 1e9


@pytest.mark.parametrize(("wrong", "failed"), [("", 0), ("raises", 1)])
def test_two_runs_share_the_work(compare, repeat, monkeypatch, wrong, failed):
    """The second begins while the first is at its first image, and does all the others, which it
    does not find done; then it waits for that image. The first finds the others done."""
    monkeypatch.setattr("cscsr.compare.run.WAIT_SECONDS", 0.01)
    solved, others = [], []

    def whole_run(results):
        plan = compare.plan(Shared(wrong=wrong))
        work = find_work(plan, results)
        number = results.start_run("a command", {}, {})
        with Claims(results, number) as claims, closing(Progress({})) as progress:
            for task in work:
                progress.add(task.kind, task.megapixels)
            return run(work, results, progress, number, claims)

    def second():
        with Results(compare.results.path) as results:
            others.append(whole_run(results))

    thread = threading.Thread(target=second)

    @dataclass(frozen=True)
    class Shared(repeat):
        def solve(self, problem, **options):
            solved.append(problem.lr.shape)
            if len(solved) == 1:
                thread.start()
                for _ in range(2000):
                    if len(solved) == 5:
                        break
                    threading.Event().wait(0.01)
            return super().solve(problem, **options)

    first = whole_run(compare.results)
    thread.join()
    assert len(solved) == 5
    assert [first, *others] == [failed, failed]
    rows = compare.results.frame()
    assert len(rows) == 5
    assert (rows.outcome == SCORED).sum() == 5 - failed
    assert sorted(rows.run.value_counts()) == [1, 4]


def _started(folder, out):
    code = "from cscsr.compare.command import main; raise SystemExit(main())"
    words = ["--data", str(folder), "--datasets", "many", "--solvers", "crnet-a-small"]
    words += ["--scales", "2", "--showcase", "0", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _many(folder, count=40):
    (folder / "many").mkdir(parents=True)
    photographs = [image for _, image in demo()]
    for number in range(count):
        top, left = 7 * number % 150, 11 * number % 150
        crop = photographs[number % 5][top : top + 96, left : left + 96]
        write_image(folder / "many" / f"{number:02}.png", crop)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_two_commands_share_the_work_and_one_may_be_killed(tmp_path, killed):
    folder, out = _many(tmp_path / "data"), tmp_path / "out"
    first, second = _started(folder, out), _started(folder, out)
    if killed:
        while True:
            assert first.poll() is None
            with Results(out / FILE_NAME) as results:
                if 1 in results.frame().run.tolist():
                    break
        owner = _change(out / FILE_NAME, "SELECT pid FROM owners WHERE run = 1")[0][0]
        if owner == second.pid:
            first, second = second, first
        first.send_signal(signal.SIGKILL)
    said = [process.communicate(timeout=200) for process in (first, second)]
    says, error = [text for text, _ in said], [text for _, text in said]
    assert second.returncode == 0, error
    assert first.returncode == (-signal.SIGKILL if killed else 0), error
    rows = read_results(out / FILE_NAME)
    assert sorted(rows.image) == [f"{number:02}" for number in range(40)]
    assert (rows.outcome == SCORED).all()
    computed = [int(n) for text in says for n in re.findall(r"per image.* \((\d+)\)", text)]
    if killed:
        assert len(set(rows.run)) == 2
    else:
        assert sum(computed) == 40, "none is done twice"
    assert not list(out.glob("*.part"))


def test_two_commands_create_one_database(tmp_path):
    """Both have found no table when the first creates them."""
    path = tmp_path / FILE_NAME
    barrier = threading.Barrier(8)
    faults = []

    def opened():
        barrier.wait()
        try:
            Results(path).close()
        except InputError as error:
            faults.append(str(error))

    for _ in range(10):
        path.unlink(missing_ok=True)
        threads = [threading.Thread(target=opened) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


def test_text_that_utf_8_lacks_can_be_claimed(tmp_path):
    with claims_of(tmp_path / FILE_NAME) as claims:
        assert claims.take(replace(KEY, solver_version="\ud800")) is None
