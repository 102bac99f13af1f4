"""Tasks of a comparison solved on a cluster (`cscsr.parallel`), each by whichever worker is free.

Results come back to this process, which alone writes to the database. What a task needs goes to a
worker once, under the hash of its content: the pixels of an image, and weight files that do not
come with the package; shipped weights are read from the worker's own package, and a worker that
has other ones refuses the task. Pixels are the result of a task of their own, so that those lost
with a worker are sent again, as the tasks themselves are. Only a few tasks for each worker are with
the scheduler at a time, and those of one image follow each other.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cscsr.compare import machine
from cscsr.compare.progress import Progress
from cscsr.compare.records import FAILED
from cscsr.compare.task import Outcome, Task, solve
from cscsr.errors import InputError
from cscsr.output import write_bytes
from cscsr.parallel import address_of, connect, ended, keep, reached, reason_of

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = 2
"""Tasks with the scheduler for each thread of a worker: one to compute, and the next one."""

LEAST_AHEAD = 2
"""Tasks with the scheduler while it has no workers yet."""

_ASK_SECONDS = 1.0


@lru_cache(maxsize=64)
def _weight_file(digest: str, content: bytes) -> str:
    """A weight file of this content in the worker's folder for temporary files."""
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError("a weight file was changed on its way to a worker.")
    folder = Path(tempfile.gettempdir(), "cscsr-weights")
    if sys.platform != "win32":  # where users share the folder of temporary files
        folder = folder.with_name(f"cscsr-weights-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{digest}.safetensors"
    if not (path.is_file() and path.stat().st_size == len(content)):
        write_bytes(path, content)
    return str(path)


@lru_cache(maxsize=4)
def _about(device: str) -> dict[str, str]:
    """What is recorded of a worker."""
    return {"machine": machine.describe(device), "code_version": machine.code_version()}


def solve_on_worker(
    task: Task, pixels: np.ndarray, weights: bytes | None, number: int | None
) -> tuple[Outcome, float]:
    """Solve a task on a worker.

    Parameters
    ----------
    task
        Without the image's pixels.
    pixels
        They.
    weights
        The content of the solver's weight file, if it does not come with the package.
    number
        Of the run.

    Returns
    -------
    tuple
        What came of it, and the seconds that it took.
    """
    start = time.perf_counter()
    contender = task.cell.contender
    solver: Any = contender.solver
    if weights is not None:
        solver = replace(solver, weights=_weight_file(task.key.weights_sha256, weights))
    task = replace(
        task,
        image=replace(task.image, pixels=pixels),
        cell=replace(task.cell, contender=replace(contender, solver=solver)),
    )
    outcome = solve(task, {**_about(contender.device), "run": number})
    return outcome, time.perf_counter() - start


class ClusterPool:
    """A pool (`cscsr.compare.run.Pool`) of a cluster's workers.

    Parameters
    ----------
    client
        Of the cluster.
    progress
        Where the user sees how far it is.
    number
        Of the run.
    """

    by_image = True

    def __init__(self, client: Client, progress: Progress, number: int | None) -> None:
        self._client, self._progress, self._number = client, progress, number
        self._address = address_of(client)
        self._tasks: dict[Future, Task] = {}
        self._done: list[tuple[Task, Outcome]] = []
        self._images: dict[str, Future] = {}
        self._weights: dict[str, Future] = {}
        self._threads, self._asked = 0, -_ASK_SECONDS

    def room(self) -> int:
        if time.monotonic() - self._asked >= _ASK_SECONDS:
            with reached(self._client, self._address):
                self._threads = sum(self._client.nthreads().values())
            self._progress.workers = max(1, self._threads)
            self._asked = time.monotonic()
        return max(LEAST_AHEAD, AHEAD * self._threads) - len(self._tasks) - len(self._done)

    def start(self, task: Task) -> None:
        try:
            sha256 = task.key.input_sha256
            pixels = None if sha256 in self._images else task.image.read()
            weights = self._weight_file(task)
        except InputError as error:
            self._done.append((task, Outcome(task.row(FAILED, message=str(error)))))
            return
        light = replace(task, image=replace(task.image, pixels=None))
        with reached(self._client, self._address):
            image = self._image(sha256, pixels)
            future = self._client.submit(
                solve_on_worker, light, image, weights, self._number, pure=False
            )
            self._tasks[future] = task

    def _image(self, sha256: str, pixels: np.ndarray | None) -> Future:
        """The pixels of an image; those that no task needs any more are let go."""
        if sha256 not in self._images:
            needed = {other.key.input_sha256 for other in self._tasks.values()}
            for old in self._images.keys() - needed:
                del self._images[old]
            self._images[sha256] = keep(self._client, pixels, f"image-{sha256}")
        return self._images[sha256]

    def _weight_file(self, task: Task) -> Future | None:
        """The content of a weight file that does not come with the package."""
        path = getattr(task.cell.contender.solver, "weights", None)
        if not isinstance(path, str) or not path.endswith(".safetensors"):
            return None
        digest = task.key.weights_sha256
        if digest not in self._weights:
            try:
                content = Path(path).read_bytes()
            except OSError as error:
                raise InputError(f"weight file {path} cannot be read: {error.strerror}.") from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(f"weight file {path} was changed while it was in use.")
            self._weights[digest] = keep(self._client, content, f"weights-{digest}")
        return self._weights[digest]

    def busy(self) -> int:
        return len(self._tasks) + len(self._done)

    def finished(self) -> list[tuple[Task, Outcome]]:
        done, self._done = self._done, []
        if not self._tasks:
            return done
        workers = f"{self._threads} worker{'s' if self._threads != 1 else ''}"
        self._progress.show(f"{len(self._tasks)} images with {workers}")
        with reached(self._client, self._address):
            for future in ended(self._client, self._tasks):
                task = self._tasks.pop(future)
                if future.status == "finished":
                    outcome, seconds = future.result()
                    self._progress.finish(task.kind, task.megapixels, seconds)
                    done.append((task, outcome))
                elif future.status == "error":
                    self._progress.finish(task.kind, task.megapixels)
                    done.append((task, Outcome(task.row(FAILED, message=_reason(task, future)))))
                else:  # the scheduler has forgotten it
                    self.start(task)
        return done


def _reason(task: Task, future: Future) -> str:
    """Why a task ended without an outcome."""
    return f"{task.cell.contender.name} failed on its worker: {reason_of(future.exception())}"


@contextmanager
def cluster_pool(
    jobs: int, scheduler: str | None, progress: Progress, number: int | None
) -> Iterator[ClusterPool]:
    """A pool of `jobs` processes of this machine, or of a scheduler's workers.

    Raises
    ------
    InputError
        As `cscsr.parallel.connect` does.
    """
    with connect(jobs, scheduler) as client:
        yield ClusterPool(client, progress, number)
