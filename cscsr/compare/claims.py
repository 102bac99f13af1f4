"""Which run does which task, where several compare into one database at the same time.

Each run that works has a row in the table `owners`, with its host and process and a heartbeat. What
it sets out to compute it claims before, and keeps claimed until it ends. A run finds the tasks of
others claimed, does the rest, and waits for those that are still being computed. Claims of an owner
that is gone (its process is not there, or its heartbeat has stopped) are taken over. A claim only
saves work: should two runs compute one task all the same, it is one row of the database.

Needs the standard library.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import threading
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

from cscsr.compare.database import IS_KEY, KEY_FIELDS
from cscsr.compare.records import Key
from cscsr.compare.results import Results, storable
from cscsr.locks import runs

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""An owner without a heartbeat for so long is gone."""


def host() -> str:
    """The machine since it was started, and what numbers of processes mean in it."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def process_start(pid: int) -> str | None:
    """When a process of this machine began, to tell it from a later one of its number.

    Returns
    -------
    str or None
        "" where the system does not say; None if there is no such process, or it has ended.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    return "" if runs(pid) else None


class Claims:
    """The claims of one run, to be used in a `with` statement; its end gives them up.

    Parameters
    ----------
    results
        The database.
    run
        The number of the run (`Results.start_run`).
    """

    def __init__(self, results: Results, run: int) -> None:
        self.run = run
        self._results = results
        self._ended = threading.Event()
        pid = os.getpid()
        with results.exclusive() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)",
                (run, host(), pid, process_start(pid) or "", time.time()),
            )
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def _beat(self) -> None:
        """Renew the heartbeat until the end; a database that is busy is tried again."""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(sqlite3.Error):
                connection = sqlite3.connect(self._results.path, timeout=HEARTBEAT_SECONDS)
                with contextlib.closing(connection), connection:
                    connection.execute(
                        "UPDATE owners SET heartbeat = ? WHERE run = ?", (time.time(), self.run)
                    )

    def take(self, key: Key) -> int | None:
        """Claim a task; returns None if it is ours now, else the run that has it."""
        columns = [storable(value) for value in astuple(key)]
        with self._results.exclusive() as connection:
            row = connection.execute(
                "SELECT claims.run, host, pid, started, heartbeat FROM claims "
                f"LEFT JOIN owners ON owners.run = claims.run WHERE {IS_KEY}",
                columns,
            ).fetchone()
            if row is not None and row[0] != self.run and _is_alive(*row[1:]):
                return int(row[0])
            marks = ", ".join("?" * (len(KEY_FIELDS) + 1))
            connection.execute(
                f"INSERT OR REPLACE INTO claims VALUES ({marks})", (*columns, self.run)
            )
        return None

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beating.join()
        with self._results.exclusive() as connection:
            connection.execute("DELETE FROM claims WHERE run = ?", (self.run,))
            connection.execute("DELETE FROM owners WHERE run = ?", (self.run,))
            # What runs that were killed have left behind.
            owners = connection.execute(
                "SELECT run, host, pid, started, heartbeat FROM owners"
            ).fetchall()
            for run, *owner in owners:
                if not _is_alive(*owner):
                    connection.execute("DELETE FROM claims WHERE run = ?", (run,))
                    connection.execute("DELETE FROM owners WHERE run = ?", (run,))


def _is_alive(where: str | None, pid: int, started: str, heartbeat: Any) -> bool:
    """Whether the owner of a claim is still at work."""
    if where is None or time.time() - heartbeat > STALE_SECONDS:
        return False
    return where != host() or process_start(pid) == started
