"""Locks of folders: held, freed, taken over from processes that were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from cscsr import InputError
from cscsr.locks import NAME, folder_lock, runs

HOLD = """
import sys
from cscsr.locks import folder_lock

with folder_lock(sys.argv[1], "trains"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of the folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path, holder):
    with (
        pytest.raises(InputError, match=f"process {holder.pid} on .* trains in .*{tmp_path.name}"),
        folder_lock(tmp_path, "trains"),
    ):
        pytest.fail("two have it")
    holder.communicate()
    assert list(tmp_path.iterdir()) == [], "the end of the block leaves nothing"
    with folder_lock(tmp_path, "trains"):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / NAME).read_text())["pid"] == holder.pid
    with folder_lock(tmp_path, "trains"):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_left_on_another_machine_has_to_be_removed(tmp_path):
    left = {"pid": 12, "host": "a machine of no such name", "doing": "trains"}
    (tmp_path / NAME).write_text(json.dumps(left))
    with pytest.raises(InputError, match=f"process 12 on a machine .* remove .*{NAME}"):
        folder_lock(tmp_path, "trains").__enter__()
    assert json.loads((tmp_path / NAME).read_text()) == left
    (tmp_path / NAME).unlink()
    with folder_lock(tmp_path, "trains"):
        pass


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b'{"pid": "x"}', b'{"pid": 1}'])
def test_a_lock_file_that_names_nobody_is_taken_over(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with folder_lock(tmp_path, "trains"):
        pass


def test_an_error_inside_frees_the_lock_and_comes_through(tmp_path):
    with pytest.raises(OSError, match="the block's own"), folder_lock(tmp_path, "trains"):
        raise OSError("the block's own")
    with folder_lock(tmp_path, "trains"):
        pass


def test_a_folder_that_was_made_for_nothing_is_removed_again(tmp_path):
    with folder_lock(tmp_path / "new", "trains"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with folder_lock(tmp_path / "new", "trains"):
        (tmp_path / "new" / "result").write_text("")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into the folder"):
        folder_lock(tmp_path / "file", "trains").__enter__()
    (tmp_path / NAME).mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        folder_lock(tmp_path, "trains").__enter__()


def test_whether_a_process_runs(holder):
    assert runs(os.getpid())
    assert runs(holder.pid)
    holder.kill()
    holder.wait()
    assert not runs(holder.pid)
    assert not runs(2**70), "no system has such a number"
