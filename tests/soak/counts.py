"""What the soak counts, and what counts as a fault."""

from __future__ import annotations

import contextlib
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = ("lost or doubled", "traceback", "exit code", "hang", "memory", "left behind")
"""The kinds of faults, as the columns of the table."""

REFUSED, ACCEPTED, KILLED = "refused", "accepted", "killed"

COLUMNS = ("tried", REFUSED, ACCEPTED, KILLED, *FAULTS)

_MOST_SAVED = 50


class Fault(Exception):
    """Something that must not happen: one of `FAULTS`, and what it was."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind, self.text = kind, text


@dataclass(frozen=True)
class Case:
    """One kind of trial.

    Attributes
    ----------
    name
        Its row in the table.
    run
        Runs the trial with the random numbers and a new folder; yields REFUSED, ACCEPTED or KILLED
        as often as they happen, and raises `Fault`.
    """

    name: str
    run: Callable[[random.Random, Path], Iterator[str]]


@dataclass
class Counts:
    """The table of all trials.

    Attributes
    ----------
    saved
        A folder for the faults, made at the first one: each gets a folder with its text, the
        command that runs it again, and the files of its trial.
    """

    saved: Path | None = None
    rows: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run(self, case: Case, seed: int, number: int, folder: Path) -> None:
        """Run a trial in an empty folder, and count what comes of it."""
        row = self.rows.setdefault(case.name, Counter())
        row["tried"] += 1
        source = random.Random(f"{seed} {case.name} {number}")
        try:
            for outcome in case.run(source, folder):
                row[outcome] += 1
        except Fault as fault:
            self._add(case, seed, number, folder, fault)
        except Exception:  # of the soak itself: the other trials go on
            text = f"in the soak itself: {traceback.format_exc()}"
            self._add(case, seed, number, folder, Fault("traceback", text))

    def _add(self, case: Case, seed: int, number: int, folder: Path, fault: Fault) -> None:
        self.rows[case.name][fault.kind] += 1
        again = f"python -m tests.soak --seed {seed} --case '{case.name}:{number}'"
        self.faults.append(f"{fault.kind}: {again}\n{fault.text}")
        if len(self.faults) > _MOST_SAVED:
            return
        print(self.faults[-1], flush=True)
        if self.saved is not None:
            to = self.saved / f"{len(self.faults)}-{case.name.replace(' ', '-').replace(':', '')}"
            to.mkdir(parents=True)
            (to / "fault.txt").write_text(self.faults[-1] + "\n", errors="backslashreplace")
            with contextlib.suppress(OSError, shutil.Error):  # copies what it can
                shutil.copytree(folder, to / "files", symlinks=True)

    def total(self, column: str) -> int:
        return sum(row[column] for row in self.rows.values())

    def table(self) -> list[Sequence[str]]:
        """The rows as texts, with a header and the sum."""
        lines = [["", *COLUMNS]]
        lines += [[name, *(str(row[c]) for c in COLUMNS)] for name, row in self.rows.items()]
        return [*lines, ["all", *(str(self.total(column)) for column in COLUMNS)]]
