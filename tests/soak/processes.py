"""Commands in processes of their own, ended from outside at a moment that the seed chooses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.soak.counts import Fault

ROOT = Path(__file__).parents[2]

LIMIT_SECONDS = 300
"""A command that takes longer hangs."""

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, what it said on standard error, its seconds."""

    code: int
    said: str
    seconds: float

    def check(self, *codes: int) -> Ended:
        """Raises Fault for a traceback and for an exit code that is none of `codes`."""
        for sign in ("Traceback (most recent call last)", "Exception ignored", "Fatal Python"):
            if sign in self.said:
                raise Fault("traceback", self.said[-3000:])
        if self.code not in codes:
            raise Fault("exit code", f"{self.code}, expected one of {codes}: {self.said[-2000:]}")
        return self


class Command:
    """A running command; what it says on standard error goes to a file beside `folder`.

    Parameters
    ----------
    words
        After ``python``.
    folder
        Where its standard error is kept.
    before
        Called in the new process.
    limit
        Seconds that each of the waits below may take.
    """

    def __init__(
        self,
        words: Sequence[object],
        folder: Path,
        before: Callable[[], None] | None = None,
        limit: float = LIMIT_SECONDS,
    ) -> None:
        self._limit = limit
        self._said = folder / f"stderr-{os.urandom(4).hex()}"
        self._since = time.monotonic()
        with self._said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, words)],
                stdout=subprocess.DEVNULL,
                stderr=file,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                preexec_fn=before,
                start_new_session=True,
            )
        _RUNNING.add(self)

    def ready(self) -> bool:
        """Wait until it handles SIGTERM, before which Python itself answers; returns whether it
        still runs.

        Raises Fault if it hangs.
        """
        status = Path(f"/proc/{self.process.pid}/status")

        def handles() -> bool:
            try:
                caught = next(
                    line for line in status.read_text().splitlines() if line.startswith("SigCgt")
                )
            except (OSError, StopIteration):  # no /proc here, or it has just ended
                time.sleep(0.5)
                return True
            return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

        return self.waits(handles, "handler of SIGTERM")

    def waits(self, until: Callable[[], object], text: str) -> bool:
        """Wait until something is true; returns whether the command still runs.

        Raises Fault, which says that there is no `text`, if it hangs.
        """
        deadline = time.monotonic() + self._limit
        while self.process.poll() is None and not until():
            if time.monotonic() > deadline:
                raise self._hangs(f"no {text}")
            time.sleep(0.002)
        return self.process.poll() is None

    def says(self, text: str) -> bool:
        """`waits` until it has said a text."""
        return self.waits(lambda: text in self._said.read_text(errors="replace"), repr(text))

    def starts(self, count: int) -> bool:
        """`waits` until it has so many worker processes."""
        return self.waits(lambda: len(workers_of(self.process.pid)) >= count, f"{count} workers")

    def kill(self, after: float, number: signal.Signals, text: str | None = None) -> bool:
        """Send a signal some seconds after `ready` or, where there is one, after it says `text`;
        returns whether it still ran."""
        if self.ready() and (text is None or self.says(text)):
            try:
                self.process.wait(after)
            except subprocess.TimeoutExpired:
                self.process.send_signal(number)
                return True
        return False

    def end(self) -> Ended:
        """Wait for its end. Raises Fault where it hangs."""
        try:
            code = self.process.wait(self._limit)
        except subprocess.TimeoutExpired:
            raise self._hangs("no end") from None
        _RUNNING.discard(self)
        said = self._said.read_text(errors="replace")
        self._said.unlink()
        return Ended(code, said, time.monotonic() - self._since)

    def stop(self) -> None:
        """Kill it and the processes of its session."""
        _RUNNING.discard(self)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel for good
            self.process.wait(30)

    def _hangs(self, text: str) -> Fault:
        """Stop it; the fault to raise."""
        said = self._said.read_text(errors="replace")
        self.stop()
        return Fault("hang", f"{text} after {self._limit:g} s: {self.process.args}\n{said[-2000:]}")


_RUNNING: set[Command] = set()


def stop_running() -> None:
    """Kill the commands that a trial has started and, because of a fault, not waited for."""
    for command in list(_RUNNING):
        command.stop()


def run(words: Sequence[object], folder: Path, before: Callable[[], None] | None = None) -> Ended:
    """Run a command to its end."""
    return Command(words, folder, before).end()


def killed(
    words: Sequence[object],
    folder: Path,
    after: float,
    number: signal.Signals,
    text: str | None = None,
) -> bool:
    """Run a command that a signal ends some seconds after `Command.ready` or after it says `text`;
    returns whether the signal came in time.

    Raises
    ------
    Fault
        If it does not end as such a signal should end it.
    """
    command = Command(words, folder)
    sent = command.kill(after, number, text)
    # Only Python's own start and end are without a handler: there the signal itself is the code.
    command.end().check(*((0, 128 + number, -number) if sent else (0,)))
    return sent


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a command, in the order of their start; none if it has ended."""
    workers = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any("spawn_main" in word for word in child.cmdline()):
                    workers.append(child)
    return sorted(workers, key=lambda child: child.pid)


def session_of(command: Command) -> list[psutil.Process]:
    """The processes that a command has started and that still run; it must have ended."""
    alive = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == command.process.pid:
                alive.append(process)
    return alive


def check_no_orphans(command: Command, seconds: float = 60) -> None:
    """Raises Fault for processes of a command that has ended which do not end either."""
    until = time.monotonic() + seconds
    while alive := session_of(command):
        if time.monotonic() > until:
            command.stop()
            raise Fault("left behind", f"processes are left after {seconds:g} s: {alive}")
        time.sleep(0.1)


def leftovers(folder: Path) -> list[str]:
    """The temporary files under a folder."""
    marks = (".partial", ".part", "-journal", "-wal", ".cscsr-lock")
    return [str(path) for path in folder.rglob("*") if path.name.endswith(marks)]


def check_clean(folder: Path) -> None:
    """Raises Fault for temporary files under a folder."""
    if left := leftovers(folder):
        raise Fault("left behind", f"left behind: {left}")
