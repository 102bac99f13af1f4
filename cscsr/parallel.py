"""Work spread over processes and machines by Dask: the extra `cscsr[cluster]`.

`connect` starts worker processes on this machine, or connects to a scheduler that others have
started workers for (`dask scheduler`, `dask worker tcp://host:8786`). Workers are started afresh
(spawn) rather than forked: a forked child of a process that has used torch hangs. Each computes
with one thread. `map_unordered` has them do independent tasks.

Needs dask and distributed where it is used.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from cscsr import interrupts
from cscsr.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

T = TypeVar("T")

CONNECT_SECONDS = 10

WAIT_SECONDS = 1.0
"""How long `ended` waits for a task before it returns without one."""

STARTS = 3
"""How often processes on this machine are started before that is given up."""

START_SECONDS = 60
"""How long an interrupt waits for the start or the end of the processes on this machine."""

WORKER_ENVIRONMENT = {f"{name}_NUM_THREADS": 1 for name in ("OMP", "MKL", "OPENBLAS")}
"""Of the processes on this machine. Dask's own also has malloc return memory at once
(MALLOC_TRIM_THRESHOLD_), after which a solve may take twice as long."""

JOBS_PER_PROCESSOR = 4
"""Processes that may be started for each processor of this machine; each takes hundreds of MB."""


def parse_jobs(text: str) -> int:
    """A number of processes.

    Raises
    ------
    InputError
        If it is no whole number of at least 1, or above `JOBS_PER_PROCESSOR` per processor.
    """
    jobs = int(text) if text.isascii() and text.isdigit() else 0
    if jobs < 1:
        raise InputError(f"expected a whole number of jobs, at least 1, got {text!r}.")
    most = JOBS_PER_PROCESSOR * (os.cpu_count() or 1)
    if jobs > most:
        raise InputError(
            f"expected at most {most} jobs, {JOBS_PER_PROCESSOR} for each processor of this "
            f"machine, got {text}."
        )
    return jobs


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--jobs`` (a text for `parse_jobs`) and ``--scheduler``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs",
        default="1",
        metavar="N",
        help="solve in N processes of one thread each (default: in this one; more need the extra "
        "cscsr[cluster])",
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="solve on the workers of a Dask scheduler, such as tcp://host:8786 (needs "
        "cscsr[cluster] here and there)",
    )


@contextmanager
def connect(jobs: int = 1, scheduler: str | None = None) -> Iterator[Client]:
    """A client of a cluster, for the `with` block.

    Parameters
    ----------
    jobs
        Processes to start on this machine, where no scheduler is named.
    scheduler
        The address of one, such as tcp://host:8786.

    Raises
    ------
    InputError
        If Dask is not installed, if processes do not start, and if no scheduler answers at that
        address.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise InputError(
            "--jobs and --scheduler need Dask, which is not installed; "
            "pip install 'cscsr[cluster]' installs it."
        ) from None
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    }
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        # Of the scheduler's web server, which takes another port then.
        warnings.filterwarnings("ignore", r"Port \d+ is already in use", UserWarning)
        if scheduler is None:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            with interrupts.postponed(START_SECONDS):
                cluster = _started(jobs)
                try:
                    client = Client(cluster)
                except BaseException:
                    cluster.close()
                    raise
            try:
                yield client
            finally:
                with interrupts.postponed(START_SECONDS):  # Dask closes what is half closed badly
                    try:
                        client.close()
                    finally:
                        cluster.close()
            return
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"no scheduler answers at {scheduler!r}: {reason.rstrip('.')}."
            ) from error
        with client:
            yield client


def _started(jobs: int) -> LocalCluster:
    """Processes on this machine. Where one ends before it has begun, all are started again."""
    from distributed import LocalCluster

    for attempt in range(1, STARTS + 1):
        try:
            with _without_interrupts():
                return LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
        except (RuntimeError, OSError, TimeoutError) as error:
            if attempt == STARTS:
                raise InputError(
                    f"the processes of --jobs {jobs} do not start ({reason_of(error)}); give fewer "
                    "jobs, or none."
                ) from error
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let threads and processes that are started inside the block never get a SIGINT.

    A Ctrl-C in a terminal goes to all processes of a command, of which only the first should say
    something about it. Threads and processes inherit which signals are blocked. One that comes
    inside the block reaches this process at its end.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def reached(client: Client, address: str) -> Iterator[None]:
    """Turn the errors of a lost scheduler, in the `with` block, into an InputError."""
    from asyncio import CancelledError
    from concurrent.futures import CancelledError as FutureCancelledError

    try:
        yield
        lost = client.status != "running"
    except (OSError, CancelledError, FutureCancelledError):
        lost = True
    if lost:
        raise InputError(
            f"the scheduler at {address} was lost; the same command goes on from what is stored."
        )


def address_of(client: Client) -> str:
    """Return the address of a client's scheduler."""
    return str(client.scheduler.address) if client.scheduler else "?"


def _itself(content: Any) -> Any:
    return content


def keep(client: Client, content: Any, key: str | None = None) -> Future:
    """Have the workers keep `content`, as an argument of many tasks.

    A worker gets it once, from another worker or from the scheduler, and again where it was lost
    with a worker: it is the result of a task, which is run again then.

    Parameters
    ----------
    client
        Of the cluster.
    content
        What the tasks get.
    key
        A name that tells its content from any other's; by default a new one.
    """
    if key is None:
        return client.submit(_itself, content, pure=False)
    return client.submit(_itself, content, key=key)


def ended(client: Client, futures: Iterable[Future]) -> list[Future]:
    """Return those that have ended, and wait at most `WAIT_SECONDS` for the first one.

    Raises
    ------
    InputError
        If the scheduler was lost.
    """
    from distributed import wait

    waiting = list(futures)
    with reached(client, address_of(client)):
        try:
            wait(waiting, timeout=WAIT_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return []
        return [future for future in waiting if future.done()]


def map_unordered(
    client: Client,
    function: Callable[..., Any],
    tasks: Iterable[T],
    *arguments: Any,
    waiting: Callable[[int, int], None] = lambda unfinished, workers: None,
) -> Iterator[tuple[T, Any, BaseException | None]]:
    """Have the workers call ``function(task, *arguments)`` for each of `tasks`.

    The tasks of a worker that is lost are run again by others.

    Parameters
    ----------
    client
        Of the cluster.
    function, tasks, arguments
        What is called. An argument may be a future, such as one of `keep`.
    waiting
        Called about once a second with the number of tasks that have not ended and the number of
        threads of the workers.

    Yields
    ------
    tuple
        A task, as soon as it has ended, its result, and its error or None.

    Raises
    ------
    InputError
        If the scheduler was lost.
    """
    task_of: dict[Future, T] = {}

    def submit(task: T) -> None:
        with reached(client, address_of(client)):
            task_of[client.submit(function, task, *arguments, pure=False)] = task

    for task in tasks:
        submit(task)
    while task_of:
        with reached(client, address_of(client)):
            threads = sum(client.nthreads().values())
        waiting(len(task_of), threads)
        for future in ended(client, task_of):
            task = task_of.pop(future)
            if future.status not in ("finished", "error"):  # the scheduler has forgotten it
                submit(task)
                continue
            with reached(client, address_of(client)):
                error = future.exception()
                result = future.result() if error is None else None
            yield task, result, error


def reason_of(error: BaseException) -> str:
    """Return what a task's error says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
