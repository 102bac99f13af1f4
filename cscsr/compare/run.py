"""The run of a comparison: each image degraded, solved and scored, its row stored at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cscsr import Status, SuperResolution
from cscsr.compare import machine, showcase
from cscsr.compare.grid import two_digits
from cscsr.compare.plan import Cell, Plan, Task, degradation_text
from cscsr.compare.progress import Progress
from cscsr.compare.results import (
    FAILED,
    SCORED,
    UNSUPPORTED,
    Key,
    Results,
    Row,
    truth_key,
)
from cscsr.errors import InputError
from cscsr.imaging import degrade, luma_of, score, to_uint8


def _as_row(task: Task, outcome: str, **values: Any) -> Row:
    return Row(task.key, task.image.dataset, task.image.source.name, outcome, **values)


def find_work(plan: Plan, results: Results) -> tuple[dict[Cell, list[Task]], int]:
    """The tasks of each cell that have yet to be done, and how many already are.

    What was scored under another data set's name, the same pixels, is stored under this one too.
    A solver that says it cannot solve a problem is left out there, its reason stored; one
    that cannot even say so is left to fail when its turn comes.
    Raises InputError with the first reason if nothing at all can be solved.
    """
    work: dict[Cell, list[Task]] = {}
    already = 0
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in plan.cells():
        contender, scale = cell.contender, cell.scale
        identity = {**contender.identity(), "protocol": cell.line}
        tasks = work.setdefault(cell, [])
        for image in plan.images[cell.dataset]:
            key = Key(
                **identity,
                input_sha256=image.sha256,
                scale=scale,
                degradation=degradation_text(cell.degradation),
            )
            box = plan.box(image, scale, cell.degradation)
            task = Task(cell, image, key, box)
            stored = results.find(key, cell.dataset, image.source.name)
            if stored and (stored.dataset, stored.image) != (cell.dataset, image.source.name):
                results.add(replace(stored, dataset=cell.dataset, image=image.source.name))
            if stored and (box is None or results.picture(key, box)):
                already += 1
                continue
            small = (image.shape[0] // scale, image.shape[1] // scale)
            colours = image.shape[2:] if cell.line == "rgb" else ()
            problem = SuperResolution(np.zeros(small + colours, np.float32), scale)
            try:
                reason = contender.solver.supports(problem)
            except Exception:  # a solver may be anyone's: `solve` meets it again, and reports it
                reason = None
            if reason is None:
                tasks.append(task)
                continue
            reasons.setdefault((contender.name, reason), []).append(str(task))
            results.add(_as_row(task, UNSUPPORTED, message=reason))
    if not already and not any(work.values()):
        raise InputError(next(iter(reasons))[1])
    for (name, reason), where in reasons.items():
        shown = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
        print(f"Left out: {name} on {shown}: {reason}")
    return work, already


_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""What networks call their precision, by the name that arrays have for it."""


def _problem(task: Task, truth: np.ndarray) -> SuperResolution:
    """The problem that a true image makes: shrunk, and degraded where the cell says so."""
    small = degrade(truth, task.scale, task.cell.line)
    if task.cell.degradation is not None:
        small = task.cell.degradation.apply(to_uint8(small)).astype(np.float32) / 255
    return SuperResolution(small, task.scale)


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its row, and the picture to be kept of it, if one is."""

    row: Row
    picture: bytes | None = None


def solve(task: Task, about: Mapping[str, Any]) -> Outcome:
    """Degrade, enlarge and score one image; what goes wrong becomes a row that says so.

    about: the `machine`, `code_version` and `run` to record.
    """
    contender, scale, line = task.contender, task.scale, task.cell.line
    device = contender.device
    recorded = {**about, "device": device}
    try:
        truth = task.image.source.read()
        problem = _problem(task, truth)
        reason = contender.solver.supports(problem)
        if reason is not None:
            return Outcome(_as_row(task, UNSUPPORTED, message=reason))
        with machine.peak_memory(device) as peak:
            start = time.perf_counter()
            contender.solver.prepare(problem)
            prepared = time.perf_counter() - start
            solution = contender.solver.solve(problem)
        estimate = np.asarray(solution.estimate)
        if solution.status is Status.DIVERGED:
            return Outcome(_as_row(task, FAILED, message=solution.status.message, **recorded))
        figures = score(estimate, truth, scale, line)
        trace = solution.trace["iteration"]
        iterations = int(trace[-1]) if len(trace) else None
        operations = contender.solver.operations(problem, iterations)
    except Exception as error:  # a solver may be anyone's: whatever it raises, the run goes on
        message = f"{task.contender.name} failed: {type(error).__name__}: {error}"
        return Outcome(_as_row(task, FAILED, message=" ".join(message.split()), **recorded))
    row = _as_row(
        task,
        SCORED,
        psnr_db=figures.psnr_db,
        ssim=figures.ssim,
        seconds=solution.seconds,
        prepare_seconds=prepared,
        iterations=iterations,
        operations=operations,
        status=solution.status.value,
        threads=machine.threads(),
        precision=_PRECISIONS.get(
            str(contender.solver.params().get("precision")), str(estimate.dtype)
        ),
        memory_mb=peak.megabytes,
        **recorded,
    )
    if task.box is None:
        return Outcome(row)
    scored = luma_of(to_uint8(estimate))
    return Outcome(row, showcase.as_png(showcase.cut(scored, task.box)))


def keep_truths(plan: Plan, results: Results) -> None:
    """Keep the true pictures that the estimates are shown beside."""
    for shown in plan.showcases:
        key = truth_key(shown.image.sha256, shown.scale)
        if results.picture(key, shown.box) is None:
            luma = luma_of(shown.image.source.read())
            results.add_picture(key, shown.box, showcase.as_png(showcase.cut(luma, shown.box)))


def run(
    work: Mapping[Cell, Sequence[Task]],
    results: Results,
    progress: Progress,
    number: int | None = None,
) -> int:
    """Do all the work, each row stored as soon as it is there; returns how many failed.

    number: of the run, as `Results.start_run` gave it.
    """
    failures = 0
    abouts: dict[str, dict[str, Any]] = {}
    version = machine.code_version()
    for cell, tasks in work.items():
        rows = []
        for task in tasks:
            progress.begin(f"{task.contender.name} on {task}", task.kind, task.megapixels)
            device = task.contender.device
            if device not in abouts:
                about = {"machine": machine.describe(device), "code_version": version}
                abouts[device] = {**about, "run": number}
            outcome = solve(task, abouts[device])
            row = outcome.row
            if outcome.picture is not None and task.box is not None:
                results.add_picture(task.key, task.box, outcome.picture)
            results.add(row)
            progress.done()
            if row.outcome == SCORED:
                rows.append(row)
            elif row.outcome == FAILED:
                failures += 1
                progress.say(f"{task}: {row.message}", error=True)
        if rows:
            psnr_db, ssim, seconds = (
                sum(getattr(row, value) for row in rows) / len(rows)
                for value in ("psnr_db", "ssim", "seconds")
            )
            progress.say(
                f"{cell}: {psnr_db:.2f} dB, {ssim:.4f}, "
                f"{two_digits(seconds)} s an image ({len(rows)})"
            )
    return failures
