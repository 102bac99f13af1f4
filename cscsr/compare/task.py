"""One task of a comparison: degrade an image, enlarge it, score the estimate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cscsr import Status, SuperResolution
from cscsr.compare import machine, showcase
from cscsr.compare.plan import Cell, Image, text_of
from cscsr.compare.records import FAILED, SCORED, Box, Key, Row
from cscsr.contract import checked_operations, checked_solve
from cscsr.errors import InputError, SolverError, described, failures_of
from cscsr.imaging import degrade, luma_of, score, to_uint8, with_luma


@dataclass(frozen=True, eq=False)
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


_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""A network's `precision` to the name of the dtype."""


def _problem(task: Task, truth: np.ndarray) -> SuperResolution:
    """The problem of a true image: shrunk, then degraded if the cell has a degradation."""
    small = degrade(truth, task.cell.scale, task.key.line)
    if task.cell.degradation is not None:
        small = task.cell.degradation.apply(to_uint8(small)).astype(np.float32) / 255
    return SuperResolution(small, task.cell.scale)


class ChangedInput(InputError):
    """A solver or its weights are not those that the result would be stored under."""


def _check_solver(task: Task) -> None:
    """Refuse to go on with a solver that has changed since the task's key was made.

    Called before and after a solve: whatever weights a solver reads in between are those of the
    key.
    """
    solver = task.cell.contender.solver
    with failures_of(f"{solver.name} failed"):
        weights_sha256, version = solver.weights_sha256() or "", solver.version
    if weights_sha256 != task.key.weights_sha256:
        raise ChangedInput(
            f"the weights of {solver.name} were changed while it was compared; "
            "the same command takes them as they are now."
        )
    if version != task.key.solver_version:
        raise ChangedInput(
            f"expected version {task.key.solver_version} of {solver.name} where it is run, got "
            f"version {version}; install the same packages there."
        )


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task: its row, and for a showcase image the luma of the estimate as PNG and
    its colours as JPEG (None for a grey image)."""

    row: Row
    picture: bytes | None = None
    colours: bytes | None = None


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
        _check_solver(task)
        problem = _problem(task, truth)
        with machine.peak_memory(device) as peak:
            start = time.perf_counter()
            with failures_of(f"{solver.name} failed to prepare"):
                solver.prepare(problem)
            prepared = time.perf_counter() - start
            with machine.conditions(device) as conditions:
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
        _check_solver(task)
    except (SolverError, ChangedInput) as error:
        return Outcome(task.row(FAILED, message=str(error), **recorded))
    except (InputError, MemoryError) as error:
        message = f"{solver.name} failed: {described(error)}"
        return Outcome(task.row(FAILED, message=message, **recorded))
    row = task.row(
        SCORED,
        scores=scores,
        seconds=solution.seconds,
        prepare_seconds=prepared,
        processor_seconds=conditions.processor_seconds,
        load=conditions.load,
        busy=conditions.busy,
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
    picture = showcase.as_png(showcase.cut(scored, task.box))
    return Outcome(row, picture, _colours(task, truth, estimate, task.box))


def _colours(task: Task, truth: np.ndarray, estimate: np.ndarray, box: Box) -> bytes | None:
    """The colours of an estimate; those of an estimated luma are bicubic's, as `cscsr upscale` has
    it. None for a grey image."""
    if truth.ndim == 2:
        return None
    if estimate.ndim == 2:
        small = degrade(truth, task.cell.scale, "rgb")
        estimate = with_luma(estimate, small, task.cell.scale)
    return showcase.as_colours(showcase.cut(to_uint8(estimate), box))
