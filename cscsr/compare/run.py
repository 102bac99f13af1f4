"""The work of a comparison: what is left to be done, and the loop over its tasks."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from cscsr import SuperResolution
from cscsr.compare import machine, showcase
from cscsr.compare.claims import Claims
from cscsr.compare.plan import Cell, Plan
from cscsr.compare.progress import Progress
from cscsr.compare.records import SCORED, UNSUPPORTED, Row, colour_key, truth_key
from cscsr.compare.results import Results
from cscsr.compare.task import Outcome, Task, solve
from cscsr.compare.text import two_digits
from cscsr.contract import checked_support
from cscsr.errors import InputError
from cscsr.imaging import METRICS, luma_of


@dataclass(frozen=True)
class Work:
    """The open work of a plan.

    Attributes
    ----------
    tasks
        The tasks of each cell that remain to be solved.
    rows
        The rows known without solving: results of the same pixels under another name, and the
        reasons of solvers that do not support a problem.
    already
        The number of results that are stored already.
    """

    tasks: dict[Cell, list[Task]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    already: int = 0

    def __iter__(self) -> Iterator[Task]:
        return itertools.chain.from_iterable(self.tasks.values())


def find_work(plan: Plan, results: Results) -> Work:
    """Find the open work of a plan, without writing anything.

    Where `Solver.supports` returns a reason, the reason becomes a row instead of a task; where it
    raises, the task remains and `solve` reports the failure.

    Raises
    ------
    InputError
        If no task remains and nothing is stored; its text is the first reason.
    """
    tasks: dict[Cell, list[Task]] = {}
    rows: list[Row] = []
    already = 0
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in plan.cells():
        tasks[cell] = []
        for image in plan.images[cell.dataset]:
            task = Task(cell, image, cell.key(image), plan.metrics, plan.box(cell, image))
            renamed, whole = _stored(task, results)
            if renamed is not None:
                rows.append(renamed)
            if whole:
                already += 1
                continue
            reason = _unsupported(task)
            if reason is None:
                tasks[cell].append(task)
                continue
            reasons.setdefault((cell.contender.name, reason), []).append(str(task))
            rows.append(task.row(UNSUPPORTED, message=reason))
    if not already and not any(tasks.values()):
        raise InputError(next(iter(reasons))[1])
    for (name, reason), where in reasons.items():
        shown = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
        print(f"Left out: {name} on {shown}: {reason}")
    return Work(tasks, rows, already)


def _stored(task: Task, results: Results) -> tuple[Row | None, bool]:
    """The row of the task's pixels that is stored under another name only, renamed, or None; and
    whether the stored results are complete."""
    stored = results.find(task.key, *task.names)
    if stored is None:
        return None, False
    renamed = None
    if (stored.dataset, stored.image) != task.names:
        renamed = replace(stored, dataset=task.names[0], image=task.names[1])
    return renamed, _is_whole(task, stored, results)


def _is_stored(task: Task, results: Results) -> bool:
    """Whether the results of a task are complete by now; stores them under its name."""
    renamed, whole = _stored(task, results)
    if renamed is not None:
        results.add(renamed)
    return whole


def _is_whole(task: Task, stored: Row, results: Results) -> bool:
    """Whether a stored row and its picture are complete for a task."""
    pictured = task.box is None or results.picture(task.key, task.box) is not None
    return pictured and set(task.metrics) <= set(stored.scores)


def _unsupported(task: Task) -> str | None:
    """Why the solver cannot solve the task, or None; from the shape of the image alone."""
    scale = task.cell.scale
    small = (task.image.shape[0] // scale, task.image.shape[1] // scale)
    colours = task.image.shape[2:] if task.key.line == "rgb" else ()
    problem = SuperResolution(np.zeros(small + colours, np.float32), scale)
    try:
        return checked_support(task.cell.contender.solver, problem)
    except InputError:  # `solve` fails too, and is reported
        return None


def keep_truths(plan: Plan, results: Results) -> None:
    """Store the true pictures, which the report shows beside the estimates.

    An image that changed since the plan has none: its tasks fail too, and say so.
    """
    for shown in plan.showcases:
        key = truth_key(shown.image.sha256, shown.scale)
        if results.picture(key, shown.box) is None:
            try:
                truth = showcase.cut(shown.image.read(), shown.box)
            except InputError:
                continue
            results.add_picture(key, shown.box, showcase.as_png(luma_of(truth)))
            if truth.ndim == 3:
                results.add_picture(colour_key(key), shown.box, showcase.as_colours(truth))


class Pool(Protocol):
    """Where tasks are solved.

    Attributes
    ----------
    by_image
        Whether tasks of one image are best started one after the other.
    """

    by_image: bool

    def room(self) -> int:
        """How many more tasks may be started now."""

    def start(self, task: Task) -> None:
        """Have a task solved."""

    def busy(self) -> int:
        """How many tasks have been started and not yet been returned by `finished`."""

    def finished(self) -> list[tuple[Task, Outcome]]:
        """Tasks that have come to their end; waits a moment for one."""


class Here:
    """A pool of this process alone: a task is solved while it is started.

    Parameters
    ----------
    progress
        Where the user sees which one it is.
    number
        Of the run.
    """

    by_image = False

    def __init__(self, progress: Progress, number: int | None) -> None:
        self._progress, self._number = progress, number
        self._version = machine.code_version()
        self._machines: dict[str, str] = {}
        self._done: list[tuple[Task, Outcome]] = []

    def room(self) -> int:
        return 1 - len(self._done)

    def start(self, task: Task) -> None:
        contender = task.cell.contender
        self._progress.begin(f"{contender.name} on {task}", task.kind, task.megapixels)
        if contender.device not in self._machines:
            self._machines[contender.device] = machine.describe(contender.device)
        about = {"machine": self._machines[contender.device], "code_version": self._version}
        self._done.append((task, solve(task, {**about, "run": self._number})))
        self._progress.done()

    def busy(self) -> int:
        return len(self._done)

    def finished(self) -> list[tuple[Task, Outcome]]:
        done, self._done = self._done, []
        return done


WAIT_SECONDS = 0.5
"""How long to wait before asking again for a task that another run computes."""


class _Cells:
    """What has come of the tasks of each cell, said when all of them are done."""

    def __init__(self, work: Work, progress: Progress) -> None:
        self._progress = progress
        self._left = {cell: len(tasks) for cell, tasks in work.tasks.items()}
        self._rows: dict[Cell, list[Row]] = {cell: [] for cell in work.tasks}
        self.failures = 0

    def scored(self, task: Task, row: Row) -> None:
        """Note a scored row."""
        self._rows[task.cell].append(row)
        self.over(task)

    def failed(self, task: Task, message: str) -> None:
        """Note a failure, and say it."""
        self.failures += 1
        self._progress.say(f"{task}: {message}", error=True)
        self.over(task)

    def over(self, task: Task) -> None:
        """Note that a task is done, here or by another run."""
        self._left[task.cell] -= 1
        rows = self._rows[task.cell]
        if not self._left[task.cell] and rows:
            self._progress.say(f"{task.cell}: {_means(rows)} ({len(rows)})")


def run(
    work: Work,
    results: Results,
    progress: Progress,
    number: int | None = None,
    claims: Claims | None = None,
    pool: Pool | None = None,
) -> int:
    """Do all the work, and store each row as soon as it is computed.

    Parameters
    ----------
    work
        The tasks of each cell, from `find_work`.
    results, progress
        The database for the rows, and the progress bar.
    number
        The number of the run (`Results.start_run`).
    claims
        The claims of the run, where others may write to the same database.
    pool
        Where tasks are solved; None: in this process.

    Returns
    -------
    int
        The number of failed tasks.
    """
    for row in work.rows:
        results.add(row)
    pool = Here(progress, number) if pool is None else pool
    cells = _Cells(work, progress)
    waiting = deque(work)
    if pool.by_image:
        waiting = deque(sorted(waiting, key=_order_of_images(waiting).__getitem__))
    elsewhere: list[Task] = []
    while waiting or elsewhere or pool.busy():
        while waiting and pool.room() > 0:
            task = waiting.popleft()
            owner = None if claims is None else claims.take(task.key)
            if claims is not None and _is_stored(task, results):
                progress.finish(task.kind, task.megapixels)
                cells.over(task)
            elif owner is None:
                pool.start(task)
            elif (failure := _failure(task, results, owner)) is not None:
                progress.finish(task.kind, task.megapixels)
                cells.failed(task, failure)
            else:
                elsewhere.append(task)
        if pool.busy():
            for task, outcome in pool.finished():
                _store(task, outcome, results, cells)
        elif elsewhere:
            progress.show(f"waiting for another run, which has {len(elsewhere)} of the images")
            time.sleep(WAIT_SECONDS)
        if not waiting:
            waiting.extend(elsewhere)
            elsewhere.clear()
    return cells.failures


def _order_of_images(tasks: Iterable[Task]) -> dict[Task, int]:
    """Of each task, the place of its image among the images."""
    places: dict[str, int] = {}
    return {task: places.setdefault(task.image.sha256, len(places)) for task in tasks}


def _failure(task: Task, results: Results, owner: int) -> str | None:
    """Why a task failed in another run that is at work; None if it has not (yet)."""
    stored = results.failure(task.key, task.image.dataset, task.image.source.name)
    return stored[0] if stored is not None and stored[1] == owner else None


def _store(task: Task, outcome: Outcome, results: Results, cells: _Cells) -> None:
    """Store what came of a task."""
    row = outcome.row
    if outcome.picture is not None and task.box is not None:
        results.add_picture(task.key, task.box, outcome.picture)
        if outcome.colours is not None:
            results.add_picture(colour_key(task.key), task.box, outcome.colours)
    results.add(row)
    if row.outcome == SCORED:
        cells.scored(task, row)
    else:
        cells.failed(task, row.message)


def _means(rows: Sequence[Row]) -> str:
    """The mean scores and seconds of the images of a cell, in words."""
    texts = []
    for name in rows[0].scores:
        metric = METRICS[name]
        values = np.array([row.scores[name] for row in rows])
        finite = values[np.isfinite(values)]
        if len(finite):
            text = f"{metric.label} {finite.mean():.{metric.digits}f} {metric.unit}".rstrip()
            texts.append(text)
        if len(finite) < len(values):
            texts.append(f"no error on {len(values) - len(finite)}")
    seconds = float(np.mean([row.seconds for row in rows]))
    busy = " (the machine was busy)" if any(row.busy for row in rows) else ""
    return f"{', '.join(texts)}, {two_digits(seconds)} s per image{busy}"
