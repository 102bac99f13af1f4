"""Work spread over processes and machines by Dask: the extra `cscsr[cluster]`.

`connect` starts worker processes on this machine, or connects to a scheduler that others have
started workers for (`dask scheduler`, `dask worker tcp://host:8786`). Workers are started afresh
(spawn) rather than forked: a forked child of a process that has used torch hangs. Each computes
with one thread.

Needs dask and distributed where it is used.
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cscsr.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10

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
        If Dask is not installed, and if no scheduler answers at that address.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError(
            "--jobs and --scheduler need Dask, which is not installed; "
            "pip install 'cscsr[cluster]' installs it."
        ) from None
    settings = {"distributed.worker.multiprocessing-method": "spawn"}
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        if scheduler is None:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            with _without_interrupts():
                cluster = LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            with cluster, Client(cluster) as client:
                yield client
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


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let threads and processes that are started inside the block never get a SIGINT.

    A Ctrl-C in a terminal goes to all processes of a command, of which only the first should say
    something about it. Threads and processes inherit which signals are blocked. One that comes
    inside the block reaches this process at its end.
    """
    if not hasattr(signal, "pthread_sigmask"):
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
            f"the scheduler at {address} was lost; what is done is stored, and the same command "
            "goes on from there."
        )
