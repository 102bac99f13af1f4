"""Independent tasks of a study, done in this process or by Dask workers (`cscsr.parallel`).

For studies whose results do not depend on how fast they are computed: with workers side by side, a
time says little. Workers need this repository: they start in its root, as those of ``--jobs`` do,
and one with other code refuses its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from benchmarks._study.command import Report, silent
from cscsr.compare import machine
from cscsr.errors import InputError
from cscsr.parallel import connect, keep, map_unordered, parse_jobs, reason_of

T = TypeVar("T")

code_version = lru_cache(maxsize=1)(machine.code_version)


def on_worker(
    function: Callable[..., Any], version: str, task: Any, arguments: Sequence[Any]
) -> Any:
    """Call ``function(task, *arguments)`` on a worker.

    Raises InputError if the worker's code is not that of `version`.
    """
    if code_version() != version:
        raise InputError(
            f"expected version {version} of this repository on each worker, got {code_version()}."
        )
    return function(task, *arguments)


def results_of(
    function: Callable[..., Any],
    tasks: Sequence[T],
    *arguments: Any,
    jobs: str | int = 1,
    scheduler: str | None = None,
    label: Callable[[T], str] = str,
    report: Report = silent,
) -> Iterator[tuple[T, Any]]:
    """Yield each task with ``function(task, *arguments)`` as soon as that is computed.

    function: of a module, so that workers can import it. arguments: what all tasks need, sent to
    each worker once. jobs: processes on this machine. scheduler: the address of a Dask scheduler,
    whose workers do the tasks; those of a lost worker are done by another. label: how the progress
    names a task.

    Raises InputError for a bad number of jobs, a scheduler that does not answer or was lost, and
    a task that no worker could do; what the function raises in this process.
    """
    number = parse_jobs(str(jobs))
    if scheduler is None and number == 1:
        for done, task in enumerate(tasks):
            report(label(task), done, len(tasks))
            yield task, function(task, *arguments)
        return
    if not tasks:
        return
    with connect(min(number, len(tasks)), scheduler) as client:

        def waiting(unfinished: int, workers: int) -> None:
            message = f"{workers} worker{'s' * (workers != 1)}"
            report(message, len(tasks) - unfinished, len(tasks))

        call = partial(on_worker, function, code_version())
        for task, result, error in map_unordered(
            client, call, tasks, keep(client, arguments), waiting=waiting
        ):
            if isinstance(error, InputError):
                raise error
            if error is not None:
                raise InputError(f"{label(task)} failed on its worker: {reason_of(error)}")
            yield task, result
