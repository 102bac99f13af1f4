"""The soak's own waits: a command that never does what is awaited is a counted fault."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from tests.soak.counts import Case, Counts, Fault
from tests.soak.processes import Command, stop_running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

WAITS = {
    "ready": lambda command: command.ready(),
    "says": lambda command: command.says("training"),
    "starts": lambda command: command.starts(1),
    "end": lambda command: command.end(),
}


@pytest.mark.slow
@pytest.mark.parametrize("wait", WAITS)
def test_a_command_that_never_comes_is_a_hang_and_is_ended(wait, tmp_path):
    words = ["-c", "import sys, time; sys.stderr.write('importing'); time.sleep(60)"]
    command = Command(words, tmp_path, limit=1)
    since = time.monotonic()
    with pytest.raises(Fault) as fault:
        WAITS[wait](command)
    assert time.monotonic() - since < 20
    assert fault.value.kind == "hang"
    assert "after 1 s" in fault.value.text
    assert not psutil.pid_exists(command.process.pid)


def test_a_command_that_a_faulty_trial_leaves_is_ended(tmp_path):
    commands = []

    def trial(source, folder):
        commands.append(Command(["-c", "import time; time.sleep(60)"], folder))
        (folder / "input").write_text("of the trial")
        yield "accepted"
        raise Fault("exit code", "of another command")

    counts = Counts(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    counts.run(Case("a kind", trial), 7, 3, tmp_path / "files")
    stop_running()
    assert not psutil.pid_exists(commands[0].process.pid)
    assert counts.rows["a kind"] == {"tried": 1, "accepted": 1, "exit code": 1}
    again = "python -m tests.soak --seed 7 --case 'a kind:3'"
    assert counts.faults == [f"exit code: {again}\nof another command"]
    (saved,) = (tmp_path / "saved").iterdir()
    assert (saved / "fault.txt").read_text() == f"{counts.faults[0]}\n"
    errors, own = sorted((saved / "files").iterdir(), reverse=True)
    assert own.read_text() == "of the trial"
    assert errors.name.startswith("stderr-")
