"""Commands that are killed at random moments and run again: nothing is lost, doubled or left."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path

import numpy as np
import psutil

from cscsr import weights
from cscsr.compare.records import FILE_NAME, SCORED
from cscsr.compare.results import read_results
from cscsr.locks import NAME
from tests.soak.counts import ACCEPTED, KILLED, REFUSED, Case, Fault
from tests.soak.processes import (
    SIGNALS,
    Command,
    check_clean,
    check_no_orphans,
    killed,
    run,
    workers_of,
)

SOLVERS = ("bicubic", "crnet-a-small")
STEPS = {False: 200, True: 25}
"""Of a training as the command makes it, and of one with a checkpoint after every step, which takes
longer over a step."""

WEIGHTS = "weights.safetensors"

BEFORE_STEPS = "PSNR on held-out images"
"""What a training says after its imports, just before its first step."""

SUFFIXES = (".png", ".jpg", ".tif")

OTHERS = {
    "csc-sr-ista": (
        *("cscsr", "train", "csc-sr", "--scale", 2, "--coder", "ista", "--atoms", 6),
        *("--hr-atoms", 8, "--filter-steps", 20, "--crop", 16, "--rounds", 8, "--iterations", 20),
    ),
    "lista-step": (
        *("cscsr.training.lista", "--form", "step", "--steps", 3, "--updates", 200),
        *("--batch", 2, "--crop", 16),
    ),
}
"""Trainings of what is no network, by the names of their weights: the words after ``-m``."""

_EVERY_STEP = """
import sys
from cscsr import InputError, interrupts
from cscsr.training.recipe import load_recipe
from cscsr.training.run import train
recipe, data, out, steps, resume = sys.argv[1:]
with interrupts.raised():
    try:
        train(load_recipe(recipe), data, out, steps=int(steps), bf16=False, resume=resume == "yes",
              evaluate_every=1e-9)
    except InputError as error:
        sys.exit(f"cscsr: {error}")
    except KeyboardInterrupt as error:
        sys.exit(interrupts.exit_code(error))
"""
"""A training as the command makes it, but with a checkpoint after every step."""


class Kills:
    """The trials with signals.

    Parameters
    ----------
    inputs
        From `tests.soak.inputs.write_inputs`.
    scratch
        A folder for what uninterrupted runs leave, with which the others are compared.
    """

    def __init__(self, inputs: Path, scratch: Path) -> None:
        self._inputs, self._scratch = inputs, scratch
        self._enlarged: dict[str, tuple[dict[str, bytes], float]] = {}
        self._trained: dict[bool, tuple[bytes, list[list[str]], float]] = {}
        self._others: dict[str, tuple[bytes, float]] = {}

    def cases(self) -> list[Case]:
        return [
            Case("kill compare", self._compare),
            Case("kill train", self._train),
            Case("kill upscale", self._upscale),
            Case("kill one of two compares", self._two_compares),
            Case("kill compare --jobs 2 or a worker", self._jobs),
            Case("kill upscale --jobs 2 or a worker", self._upscale_jobs),
            Case("kill one of two trainings", self._two_trainings),
            Case("kill train csc-sr or LISTA", self._train_others),
        ]

    # Comparisons

    def comparison(self, out: Path, *words: object) -> list[object]:
        """The words of a comparison into a folder."""
        sets = ["--data", self._inputs, "--datasets", "mine", "--scales", "2"]
        solvers = ["--solvers", *SOLVERS, "--showcase", "1"]
        return ["-m", "cscsr", "compare", *sets, *solvers, "--out", out, *words]

    @cached_property
    def _compared(self) -> tuple[list[tuple], float]:
        """The rows of an uninterrupted comparison, and its seconds."""
        ended = run(self.comparison(self._scratch / "compared"), self._scratch).check(0)
        return _rows(self._scratch / "compared"), ended.seconds

    def compared_folder(self) -> Path:
        """The folder of an uninterrupted comparison."""
        _ = self._compared
        return self._scratch / "compared"

    def check_rows(self, out: Path) -> None:
        """Compare the database with that of the uninterrupted run."""
        rows, expected = _rows(out), self._compared[0]
        if [row[:-1] for row in rows] != [row[:-1] for row in expected]:
            raise Fault("lost or doubled", f"rows {rows}, expected {expected}")
        if not np.allclose([row[-1] for row in rows], [row[-1] for row in expected], rtol=1e-6):
            raise Fault("lost or doubled", f"other figures {rows}, expected {expected}")
        if len(read_results(out / FILE_NAME)) != len(rows):
            raise Fault("lost or doubled", "the reader gives another number of rows")
        if not (out / "index.html").is_file() or not (out / "table1.csv").is_file():
            raise Fault("lost or doubled", "no page or no table")
        check_clean(out)

    def _compare(self, source: random.Random, folder: Path) -> Iterator[str]:
        seconds, words = self._compared[1], self.comparison(folder / "out")
        for _ in range(source.randint(1, 2)):
            number = source.choice(SIGNALS)
            if killed(words, folder, seconds * source.random(), number):
                yield KILLED
            self.check_stored(folder / "out")
        run(words, folder).check(0)
        self.check_rows(folder / "out")
        yield ACCEPTED

    def check_stored(self, out: Path) -> None:
        """What a killed comparison has stored is part of what an uninterrupted one stores."""
        if not (out / FILE_NAME).is_file():
            return
        expected = {row[:-1] for row in self._compared[0]}
        rows = [row[:-1] for row in _rows(out)]
        if len(set(rows)) != len(rows) or not set(rows) <= expected:
            raise Fault("lost or doubled", f"rows {rows}, expected some of {expected}")

    def _two_compares(self, source: random.Random, folder: Path) -> Iterator[str]:
        seconds, words = self._compared[1], self.comparison(folder / "out")
        number, fraction = source.choice(SIGNALS), source.random()
        gap = source.choice([0, 0, source.random()])
        first = Command(words, folder)
        time.sleep(0.2 * seconds * gap)
        second = Command(words, folder)
        victim, other = (first, second) if source.random() < 0.5 else (second, first)
        sent = victim.kill(1.5 * seconds * fraction, number)
        victim.end().check(*((0, 128 + number, -number) if sent else (0,)))
        other.end().check(0)
        if sent:
            yield KILLED
        self.check_rows(folder / "out")
        run(words, folder).check(0)
        self.check_rows(folder / "out")
        yield ACCEPTED

    def _jobs(self, source: random.Random, folder: Path) -> Iterator[str]:
        number, fraction = source.choice(SIGNALS), source.random()
        worker = source.random() if source.random() < 0.6 else None
        command = Command(self.comparison(folder / "out", "--jobs", "2"), folder)
        command.starts(2)
        time.sleep(self._compared[1] * fraction)
        if _kill_family(command, number, worker):
            yield KILLED
        run(self.comparison(folder / "out"), folder).check(0)
        self.check_rows(folder / "out")
        yield ACCEPTED

    # Training

    def training(self, out: Path, resume: bool, every_step: bool) -> list[object]:
        """The words of a training into a folder."""
        if every_step:
            arguments = [self._inputs / "tiny.toml", self._inputs, out, STEPS[True]]
            return ["-c", _EVERY_STEP, *arguments, "yes" if resume else "no"]
        words = ["train", self._inputs / "tiny.toml", "--data", self._inputs, "--out", out]
        words += ["--steps", STEPS[False], "--precision", "fp32"]
        return ["-m", "cscsr", *words, *(["--resume"] if resume else [])]

    def trained(self, every_step: bool) -> tuple[bytes, list[list[str]], float]:
        """Of an uninterrupted training, by the command or with a checkpoint after every step: the
        weights, the curve and the seconds from the first step."""
        if every_step not in self._trained:
            out = self._scratch / f"trained-{every_step}"
            command = Command(self.training(out, False, every_step), self._scratch)
            command.says(BEFORE_STEPS)
            since = time.monotonic()
            command.end().check(0)
            seconds = time.monotonic() - since
            self._trained[every_step] = (_tensors(out / WEIGHTS), _curve(out), seconds)
        return self._trained[every_step]

    def _train(self, source: random.Random, folder: Path) -> Iterator[str]:
        """Signals during the steps, and one in five at any moment from the start of the imports."""
        every_step = source.random() < 0.6
        seconds = self.trained(every_step)[2]
        out = folder / "out"
        for _ in range(source.randint(1, 2)):
            number, fraction = source.choice(SIGNALS), source.random()
            words = self.training(out, (out / "checkpoint.pt").exists(), every_step)
            text = None if source.random() < 0.2 else BEFORE_STEPS
            if killed(words, folder, seconds * fraction, number, text):
                yield KILLED
            if number != signal.SIGKILL:
                check_clean(folder)
        run(self.training(out, (out / "checkpoint.pt").exists(), every_step), folder).check(0)
        self.check_training(out, every_step)
        yield ACCEPTED

    def check_training(self, out: Path, every_step: bool) -> None:
        """Compare weights and curve with those of an uninterrupted training, bit by bit."""
        tensors, curve, _ = self.trained(every_step)
        if _tensors(out / WEIGHTS) != tensors:
            raise Fault("lost or doubled", "the weights differ from those of an unbroken training")
        if _curve(out) != curve:
            raise Fault("lost or doubled", f"the curve is {_curve(out)}, expected {curve}")
        check_clean(out)

    def _two_trainings(self, source: random.Random, folder: Path) -> Iterator[str]:
        """One training is stopped at any moment of its steps while a second begins in its folder,
        which must be refused; the first then goes on, or it is killed and a third takes over."""
        out = folder / "out"
        fraction, killing = source.random(), source.random() < 0.5
        seconds = self.trained(False)[2]
        first = Command(self.training(out, False, False), folder)
        first.says(BEFORE_STEPS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            first.process.wait(0.7 * seconds * fraction)
        if first.process.poll() is None:
            first.process.send_signal(signal.SIGSTOP)
            process = psutil.Process(first.process.pid)
            first.waits(lambda: process.status() == psutil.STATUS_STOPPED, "stop")
        if not (out / NAME).exists():  # it has just ended
            first.process.send_signal(signal.SIGCONT)
            first.end().check(0)
            self.check_training(out, False)
            yield ACCEPTED
            return
        before = contents(out)
        second = run(self.training(out, source.random() < 0.5, False), folder).check(2)
        lines = second.said.splitlines()
        if len(lines) != 1 or f"process {first.process.pid} " not in lines[0]:
            raise Fault("traceback", f"not one sentence that names the owner: {second.said}")
        yield REFUSED
        if contents(out) != before:
            raise Fault("lost or doubled", "a training that was refused changed the folder")
        if killing:
            first.process.kill()
            first.end().check(-signal.SIGKILL)
            yield KILLED
            if not (out / NAME).exists():
                raise Fault("lost or doubled", "the killed training has left no lock to take over")
            run(self.training(out, (out / "checkpoint.pt").exists(), False), folder).check(0)
        else:
            first.process.send_signal(signal.SIGCONT)
            first.end().check(0)
        self.check_training(out, False)
        yield ACCEPTED

    def other_training(self, name: str, out: Path) -> list[object]:
        """The words of one of `OTHERS` into a folder."""
        return ["-m", *OTHERS[name], "--data", self._inputs, "--out", out]

    def other_trained(self, name: str) -> tuple[bytes, float]:
        """Of an uninterrupted training of `OTHERS`: the weights, and its seconds after imports."""
        if name not in self._others:
            out = self._scratch / f"trained-{name}"
            command = Command(self.other_training(name, out), self._scratch)
            command.ready()
            since = time.monotonic()
            command.end().check(0)
            seconds = time.monotonic() - since
            self._others[name] = (_tensors(out / f"{name}.safetensors"), seconds)
        return self._others[name]

    def _train_others(self, source: random.Random, folder: Path) -> Iterator[str]:
        name = source.choice(list(OTHERS))
        expected, seconds = self.other_trained(name)
        words = self.other_training(name, folder / "out")
        for _ in range(source.randint(1, 2)):
            number = source.choice(SIGNALS)
            if killed(words, folder, seconds * source.random(), number):
                yield KILLED
            if number != signal.SIGKILL:
                check_clean(folder)
        run(words, folder).check(0)
        if _tensors(folder / "out" / f"{name}.safetensors") != expected:
            raise Fault("lost or doubled", f"{name} differs from that of an unbroken training")
        check_clean(folder)
        yield ACCEPTED

    # Enlarging

    def enlarging(self, out: Path, suffix: str, *words: object) -> list[object]:
        """The words of the enlargement of the album into a folder."""
        words = ("--scale", "3", "--solver", "bicubic", "-o", out / f"{{name}}{suffix}", *words)
        return ["-m", "cscsr", "upscale", self._inputs / "album", *words]

    def enlarged(self, suffix: str) -> tuple[dict[str, bytes], float]:
        """The results of an uninterrupted run by their names, and its seconds."""
        if suffix not in self._enlarged:
            out = self._scratch / f"enlarged{suffix}"
            out.mkdir()
            ended = run(self.enlarging(out, suffix), self._scratch).check(0)
            self._enlarged[suffix] = (contents(out), ended.seconds)
        return self._enlarged[suffix]

    def _upscale(self, source: random.Random, folder: Path) -> Iterator[str]:
        suffix = source.choice(SUFFIXES)
        expected, seconds = self.enlarged(suffix)
        out = folder / "out"
        out.mkdir()
        words = self.enlarging(out, suffix)
        for _ in range(source.randint(1, 2)):
            number, fraction = source.choice(SIGNALS), source.random()
            if killed(words, folder, seconds * fraction, number):
                yield KILLED
            if number != signal.SIGKILL:
                check_clean(out)
            check_whole(out, expected)
        run(words, folder).check(0)
        check_all(out, expected)
        yield ACCEPTED

    def _upscale_jobs(self, source: random.Random, folder: Path) -> Iterator[str]:
        """A signal to the command or to a worker: before the first result in three of ten, else
        after any number of them."""
        suffix, number = source.choice(SUFFIXES), source.choice([signal.SIGKILL, signal.SIGTERM])
        expected, _ = self.enlarged(suffix)
        count = source.randrange(len(expected)) if source.random() < 0.7 else None
        pause, worker = source.random(), source.random() if source.random() < 0.3 else None
        out = folder / "out"
        out.mkdir()
        command = Command(self.enlarging(out, suffix, "--jobs", "2"), folder)
        command.starts(2)
        if count is None:
            time.sleep(2 * pause)
        else:
            command.waits(lambda: len(list(out.glob(f"*{suffix}"))) > count, f"{count + 1} files")
        if _kill_family(command, number, worker):
            yield KILLED
        if number != signal.SIGKILL:
            check_clean(out)
        check_whole(out, expected)
        again = ["--jobs", "2"] if source.random() < 0.3 else []
        run(self.enlarging(out, suffix, *again), folder).check(0)
        check_all(out, expected)
        yield ACCEPTED


def check_whole(out: Path, expected: Mapping[str, bytes]) -> None:
    """Raises Fault for a result under its name that is not that of an uninterrupted run."""
    for name, content in contents(out).items():
        if not name.endswith(".partial") and content != expected.get(name):
            raise Fault("lost or doubled", f"{name} is there and not whole")


def check_all(out: Path, expected: Mapping[str, bytes]) -> None:
    """Raises Fault if the files of a folder are not those of an uninterrupted run."""
    if contents(out) != expected:
        raise Fault("lost or doubled", f"{sorted(contents(out))}, expected {sorted(expected)}")
    check_clean(out)


def _kill_family(command: Command, number: signal.Signals, worker: float | None) -> bool:
    """Send a signal to a command with `--jobs` or, where `worker` in [0, 1) chooses one, to a
    worker of it; returns whether one ran to be signalled.

    Raises
    ------
    Fault
        If the command does not end as it should, and if a process of it is left.
    """
    workers = workers_of(command.process.pid)
    if worker is not None and workers:
        sent = _send(workers[int(worker * len(workers))], number)
        command.end().check(0)
    else:
        sent = command.process.poll() is None
        if sent and number == signal.SIGINT:  # as Ctrl-C in a terminal
            os.killpg(command.process.pid, number)
        elif sent:
            command.process.send_signal(number)
        command.end().check(*((0, 128 + number, -number) if sent else (0,)))
    check_no_orphans(command)
    return sent


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _rows(out: Path) -> list[tuple]:
    """The rows of a database as SQLite has them, the PSNR last."""
    query = (
        "SELECT solver, image, scale, input_sha256, weights_sha256, outcome, value FROM results "
        "LEFT JOIN scores USING (solver, params, solver_version, weights_sha256, input_sha256, "
        "scale, line, degradation) WHERE metric = 'psnr' OR metric IS NULL ORDER BY 1, 2, 3"
    )
    with closing(sqlite3.connect(out / FILE_NAME)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return []
        rows = connection.execute(query).fetchall()
    if any(row[5] != SCORED or row[6] is None for row in rows):
        raise Fault("lost or doubled", f"rows without scores: {rows}")
    return rows


def _tensors(path: Path) -> bytes:
    """All numbers of trained weights."""
    tensors, _ = weights.load(path)
    return b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))


def _curve(out: Path) -> list[list[str]]:
    """The rows of a curve without its seconds."""
    with (out / "curve.csv").open(newline="") as file:
        return [[*row[:1], *row[2:]] for row in csv.reader(file)]


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True
