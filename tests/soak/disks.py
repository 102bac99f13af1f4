"""Every writer where there is too little room: on a small disk, or under a quota."""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cscsr.imaging.encoders import SUFFIXES
from tests.soak.counts import ACCEPTED, REFUSED, Case, Fault
from tests.soak.kills import Kills, check_all, check_whole, contents
from tests.soak.processes import Ended, check_clean, run
from tests.test_output import WRITERS

_WRITER = """
import sys
from pathlib import Path
import numpy as np
from cscsr import InputError
path = Path(sys.argv[1])
try:
{body}
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def _mount(folder: Path, bytes_: int) -> bool:
    """Make a folder a small disk; returns whether that is allowed here."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={bytes_}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def can_mount(folder: Path) -> bool:
    """Whether disks can be made here."""
    if not _mount(folder, 2**16):
        return False
    subprocess.run(["umount", str(folder)], check=True, timeout=60)
    return True


class Disks:
    """The trials with full disks.

    Parameters
    ----------
    inputs
        From `tests.soak.inputs.write_inputs`.
    kills
        Whose commands and uninterrupted runs are used.
    mounting
        Whether small disks can be mounted; else, and in one trial of three, a quota of the size of
        a file stands for them.
    """

    def __init__(self, inputs: Path, kills: Kills, mounting: bool) -> None:
        self._inputs, self._kills, self._mounting = inputs, kills, mounting

    def cases(self) -> list[Case]:
        commands: dict[str, Callable[[random.Random, Path, Any], Iterator[str]]] = {
            "upscale": self._upscale,
            "compare": self._compare,
            "page": self._page,
            "train": self._train,
            "single writers": self._writer,
            "train csc-sr": self._train_csc_sr,
        }
        return [
            Case(f"full disk: {name}", partial(self._with_disk, trial))
            for name, trial in commands.items()
        ]

    def _with_disk(
        self,
        trial: Callable[[random.Random, Path, Any], Iterator[str]],
        source: random.Random,
        folder: Path,
    ) -> Iterator[str]:
        """Run a trial on a disk, `folder`/disk, with a function that makes it full or free."""
        disk = folder / "disk"
        disk.mkdir()
        mounted = self._mounting and source.random() < 2 / 3
        if mounted and not _mount(disk, 2**26):
            raise OSError("a disk could be mounted before and cannot be now")
        try:
            yield from trial(source, disk, partial(_limited, disk, mounted))
        finally:
            if mounted:
                subprocess.run(["umount", str(disk)], check=True, timeout=60)

    def _outcome(self, ended: Ended, disk: Path) -> str:
        """Check how a command ended that may have been too large for its disk."""
        ended.check(0, 1, 2)
        check_clean(disk)
        if not ended.code:
            return ACCEPTED
        last = ended.said.rstrip("\n").replace("\r", "\n").split("\n")[-1]
        if not last.endswith((".", ";", "above.")) and "cannot" not in last:
            raise Fault("traceback", f"not a sentence: {ended.said[-1000:]}")
        return REFUSED

    def _upscale(self, source: random.Random, disk: Path, limited: Any) -> Iterator[str]:
        suffix = source.choice(sorted(SUFFIXES))
        expected = self._kills.enlarged(suffix)[0]
        words = self._kills.enlarging(disk, suffix)
        yield self._outcome(limited(words, _room(source, 3_000_000)), disk)
        check_whole(disk, expected)
        limited(words, None).check(0)
        check_all(disk, expected)
        yield ACCEPTED

    def _compare(self, source: random.Random, disk: Path, limited: Any) -> Iterator[str]:
        words = self._kills.comparison(disk / "out")
        yield self._outcome(limited(words, _room(source, 5_000_000)), disk)
        self._kills.check_stored(disk / "out")
        limited(words, None).check(0)
        self._kills.check_rows(disk / "out")
        yield ACCEPTED

    def _page(self, source: random.Random, disk: Path, limited: Any) -> Iterator[str]:
        """The page and the tables, made again beside whole ones from the database."""
        shutil.copytree(self._kills.compared_folder(), disk / "out")
        before = contents(disk / "out")
        module = source.choice(["page", "tables"])
        words = ["-m", f"cscsr.compare.{module}", disk / "out"]
        yield self._outcome(limited(words, _room(source, 3_000_000)), disk)
        if contents(disk / "out") != before:
            raise Fault("lost or doubled", "another page or table from the same database")

    def _train(self, source: random.Random, disk: Path, limited: Any) -> Iterator[str]:
        every_step = source.random() < 0.5
        out = disk / "out"
        words = self._kills.training(out, False, every_step)
        yield self._outcome(limited(words, _room(source, 100_000)), disk)
        words = self._kills.training(out, (out / "checkpoint.pt").exists(), every_step)
        limited(words, None).check(0)
        self._kills.check_training(out, every_step)
        yield ACCEPTED

    def _train_csc_sr(self, source: random.Random, disk: Path, limited: Any) -> Iterator[str]:
        words = ["-m", "cscsr", "train", "csc-sr", "--data", self._inputs, "--scale", "2"]
        words += ["--coder", "ista", "--atoms", "6", "--hr-atoms", "8", "--filter-steps", "1"]
        words += ["--crop", "16", "--rounds", "1", "--iterations", "5", "--out", disk / "out"]
        yield self._outcome(limited(words, _room(source, 60_000)), disk)
        limited(words, None).check(0)
        if not (disk / "out" / "csc-sr-ista.safetensors").is_file():
            raise Fault("lost or doubled", f"no weights: {sorted(contents(disk / 'out'))}")
        check_clean(disk)
        yield ACCEPTED

    def _writer(self, source: random.Random, disk: Path, limited: Any) -> Iterator[str]:
        """The functions that write one file, over an old one."""
        for name, body in WRITERS.items():
            path = disk / f"{name.replace(' ', '-')}.pt"
            old = name != "checkpoint of CSC-SR"
            if old:
                path.write_bytes(b"old")
            body = textwrap.indent(textwrap.dedent(body), "    ")
            words = ["-c", _WRITER.format(body=body), path]
            outcome = self._outcome(limited(words, _room(source, 200_000)), disk)
            yield outcome
            if outcome == REFUSED and old and path.read_bytes() != b"old":
                raise Fault("lost or doubled", f"{name}: the old file is gone")
            if outcome == REFUSED and not old and path.exists():
                raise Fault("left behind", f"{name}: a file that is not whole")


def _limited(disk: Path, mounted: bool, words: list[object], room: int | None) -> Ended:
    """Run a command with so many bytes left on the disk or, where none is mounted, in a file, or
    (None) with enough."""
    before, ballast = None, disk / "ballast"
    if room is not None and mounted:
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            file.truncate(0)
            free = shutil.disk_usage(disk).free
            file.write(bytes(max(0, free - room)))
    elif room is not None:
        before = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
    try:
        return run(words, disk.parent, before)
    finally:
        ballast.unlink(missing_ok=True)


def _room(source: random.Random, most: int) -> int:
    """Bytes, from 4 KB on evenly on a logarithmic scale."""
    return int(4096 * (most / 4096) ** source.random())
