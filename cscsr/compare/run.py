"""The work of a comparison: what is left to be done, one task, and the loop over all of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cscsr import Status, SuperResolution
from cscsr.compare import machine, showcase
from cscsr.compare.plan import Cell, Image, Plan, text_of
from cscsr.compare.progress import Progress
from cscsr.compare.records import FAILED, SCORED, UNSUPPORTED, Box, Key, Row, truth_key
from cscsr.compare.results import Results
from cscsr.compare.text import two_digits
from cscsr.contract import checked_operations, checked_solve, checked_support
from cscsr.errors import InputError, SolverError, described, failures_of
from cscsr.imaging import METRICS, degrade, luma_of, score, to_uint8


@dataclass(frozen=True)
class Task:
    """One image of a cell, to be enlarged and scored.

    Attributes
    ----------
    cell, image
        The cell, which names the solver, and the image.
    key
        The key of the result.
    metrics
        The names of the metrics to score it by.
    box
        The part of the estimate to store as a picture, or None.
    """

    cell: Cell
    image: Image
    key: Key
    metrics: Sequence[str]
    box: Box | None = None

    @property
    def kind(self) -> tuple[str, int]:
        """The kind of work: tasks of one kind take about the same time per megapixel."""
        return self.cell.contender.name, self.cell.scale

    @property
    def megapixels(self) -> float:
        """The size of the large image in megapixels."""
        return self.image.shape[0] * self.image.shape[1] / 1e6

    def __str__(self) -> str:
        return f"{self.image} ×{self.cell.scale} {text_of(self.cell.degradation)}".rstrip()

    @property
    def names(self) -> tuple[str, str]:
        """The names of the data set and of the image."""
        return self.image.dataset, self.image.source.name

    def row(self, outcome: str, **values: Any) -> Row:
        """Return the row that records the outcome of this task."""
        return Row(self.key, *self.names, outcome, **values)


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
            stored = results.find(task.key, image.dataset, image.source.name)
            if stored is not None and (stored.dataset, stored.image) != task.names:
                stored = replace(stored, dataset=image.dataset, image=image.source.name)
                rows.append(stored)
            if stored is not None and _is_whole(task, stored, results):
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


_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""A network's `precision` to the name of the dtype."""


def _problem(task: Task, truth: np.ndarray) -> SuperResolution:
    """The problem of a true image: shrunk, then degraded if the cell has a degradation."""
    small = degrade(truth, task.cell.scale, task.key.line)
    if task.cell.degradation is not None:
        small = task.cell.degradation.apply(to_uint8(small)).astype(np.float32) / 255
    return SuperResolution(small, task.cell.scale)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task: its row, and a picture to store or None."""

    row: Row
    picture: bytes | None = None


def solve(task: Task, about: Mapping[str, Any]) -> Outcome:
    """Degrade, enlarge and score one image.

    Parameters
    ----------
    task
        The task.
    about
        The `machine`, `code_version` and `run` to record.

    Returns
    -------
    Outcome
        Whatever goes wrong becomes a row that says so; KeyboardInterrupt alone passes.
    """
    solver, device = task.cell.contender.solver, task.cell.contender.device
    recorded = {**about, "device": device}
    try:
        truth = task.image.read()
    except InputError as error:
        return Outcome(task.row(FAILED, message=str(error), **recorded))
    try:
        problem = _problem(task, truth)
        with machine.peak_memory(device) as peak:
            start = time.perf_counter()
            with failures_of(f"{solver.name} failed to prepare"):
                solver.prepare(problem)
            prepared = time.perf_counter() - start
            solution = checked_solve(solver, problem)
        estimate = np.asarray(solution.estimate)
        if solution.status is Status.DIVERGED:
            return Outcome(task.row(FAILED, message=solution.status.message, **recorded))
        with failures_of(f"{solver.name} failed"):
            scores = score(estimate, truth, task.cell.scale, task.key.line, task.metrics)
            trace = solution.trace["iteration"]
            iterations = int(trace[-1]) if len(trace) else None
            precision = str(solver.params().get("precision", ""))
        operations = checked_operations(solver, problem, iterations)
    except SolverError as error:
        return Outcome(task.row(FAILED, message=str(error), **recorded))
    except (InputError, MemoryError) as error:
        message = f"{solver.name} failed: {described(error)}"
        return Outcome(task.row(FAILED, message=message, **recorded))
    row = task.row(
        SCORED,
        scores=scores,
        seconds=solution.seconds,
        prepare_seconds=prepared,
        iterations=iterations,
        operations=operations,
        status=solution.status.value,
        threads=machine.threads(),
        precision=_PRECISIONS.get(precision, str(estimate.dtype)),
        memory_mb=peak.megabytes,
        **recorded,
    )
    if task.box is None:
        return Outcome(row)
    scored = luma_of(to_uint8(estimate))
    return Outcome(row, showcase.as_png(showcase.cut(scored, task.box)))


def keep_truths(plan: Plan, results: Results) -> None:
    """Store the true pictures, which the report shows beside the estimates."""
    for shown in plan.showcases:
        key = truth_key(shown.image.sha256, shown.scale)
        if results.picture(key, shown.box) is None:
            luma = luma_of(shown.image.read())
            results.add_picture(key, shown.box, showcase.as_png(showcase.cut(luma, shown.box)))


def run(
    work: Work,
    results: Results,
    progress: Progress,
    number: int | None = None,
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

    Returns
    -------
    int
        The number of failed tasks.
    """
    for row in work.rows:
        results.add(row)
    failures = 0
    version = machine.code_version()
    devices = {cell.contender.device for cell in work.tasks}
    abouts = {
        device: {"machine": machine.describe(device), "code_version": version, "run": number}
        for device in devices
    }
    for cell, tasks in work.tasks.items():
        rows = []
        for task in tasks:
            progress.begin(f"{cell.contender.name} on {task}", task.kind, task.megapixels)
            outcome = solve(task, abouts[cell.contender.device])
            row = outcome.row
            if outcome.picture is not None and task.box is not None:
                results.add_picture(task.key, task.box, outcome.picture)
            results.add(row)
            progress.done()
            if row.outcome == SCORED:
                rows.append(row)
            else:
                failures += 1
                progress.say(f"{task}: {row.message}", error=True)
        if rows:
            progress.say(f"{cell}: {_means(rows)} ({len(rows)})")
    return failures


def _means(rows: Sequence[Row]) -> str:
    """The mean scores and seconds of the images of a cell, in words."""
    texts = []
    for name in rows[0].scores:
        metric, mean = METRICS[name], float(np.mean([row.scores[name] for row in rows]))
        texts.append(f"{metric.label} {mean:.{metric.digits}f} {metric.unit}".rstrip())
    seconds = float(np.mean([row.seconds for row in rows]))
    return f"{', '.join(texts)}, {two_digits(seconds)} s per image"
