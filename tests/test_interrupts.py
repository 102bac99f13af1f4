"""Every command ends in a sentence when it is interrupted."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cscsr import interrupts
from cscsr.output import write_text

ROOT = Path(__file__).parents[1]

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

USUAL = (signal.SIG_DFL, signal.default_int_handler)


@pytest.fixture(autouse=True)
def signals_are_free():
    if any(signal.getsignal(number) not in USUAL for number in (signal.SIGINT, signal.SIGTERM)):
        pytest.skip("somebody else handles a signal, as coverage does")


def programs() -> list[Path]:
    """The modules that can be run."""
    paths = [path for name in ("cscsr", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    return [
        path for path in paths if path.stem == "__main__" or "\nif __name__ == " in path.read_text()
    ]


@pytest.mark.parametrize("path", programs(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_that_can_be_run_ends_by_interrupts_in_a_sentence(path):
    tree = ast.parse(path.read_text())
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "interrupts.ended" in called


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_remaking_the_tables_is_interrupted_in_a_sentence(tmp_path, number):
    """The signal comes while the module opens its database."""
    code = (
        "import os, runpy, signal, sys\n"
        "from cscsr.compare import results\n"
        "def opened(*_, **__):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    signal.pause()\n"
        "results.Results.__init__ = opened\n"
        "runpy.run_module('cscsr.compare.tables', run_name='__main__')\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.returncode == 128 + number
    assert outcome.stderr == "cscsr: interrupted.\n"


def test_the_exit_code_of_a_command_is_its_own():
    assert interrupts.ended(lambda: None) == 0
    assert interrupts.ended(lambda: 2) == 2


def test_an_error_of_a_command_is_not_taken_for_an_interrupt():
    def command() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupts.ended(command)


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_error_that_an_interrupt_caused_is_one(number, capsys):
    """Some modules turn an interrupt of their import into an error of another kind."""

    def command() -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("half a module") from None
        return 0

    assert interrupts.ended(command) == 128 + number
    assert capsys.readouterr().err == "cscsr: interrupted.\n"


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_waits_when_the_command_is_done_is_not_lost(number, capsys):
    def command() -> None:
        with interrupts.postponed(60):
            signal.raise_signal(number)

    assert interrupts.ended(command) == 128 + number
    assert capsys.readouterr().err == "cscsr: interrupted.\n"


@POSIX
def test_an_interrupt_that_waits_is_raised_once(capsys):
    """Each of these sends itself again; what comes after the first that is raised is dropped."""

    def command() -> None:
        with interrupts.postponed(0.01):
            for _ in range(5):
                signal.raise_signal(signal.SIGINT)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(0.3)
            raise

    assert interrupts.ended(command) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "cscsr: interrupted.\n"


@POSIX
def test_no_file_is_made_after_an_interrupt_that_came_in_an_import(tmp_path, monkeypatch):
    """Not even at once, before the interrupt that waits for the import has come again."""
    (tmp_path / "interrupted_module.py").write_text(
        f"import signal\nsignal.raise_signal({int(signal.SIGTERM)})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    imported = False
    with pytest.raises(interrupts.Terminated), interrupts.raised():
        importlib.import_module("interrupted_module")
        imported = True
        write_text(tmp_path / "made.txt", "made")
    assert imported
    assert not (tmp_path / "made.txt").exists()
    assert [path.name for path in tmp_path.glob("*.partial")] == []
