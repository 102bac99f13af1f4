"""A training run: its budget, checkpoints, curve and signals, on a CPU, a GPU or several.

The run is resumable at any evaluation and leaves a row of a CSV file for each. Under ``torchrun``
each process takes its part of every batch, and the first one writes. Needs torch, numpy and tqdm.
"""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from tqdm import tqdm

from cscsr import weights
from cscsr.arrays import check_device
from cscsr.data.datasets import holdout_images, load_dataset
from cscsr.errors import InputError
from cscsr.imaging import read_image
from cscsr.interrupts import Terminated
from cscsr.output import make_folder, write_bytes, write_text
from cscsr.training.optim import learning_rate
from cscsr.training.patches import load_banks
from cscsr.training.recipe import Recipe
from cscsr.training.trainer import NonFiniteLoss, Progress, Trainer, join_processes

__all__ = ["HOLDOUT_CROP", "NonFiniteLoss", "export", "holdout_crops", "train"]

HOLDOUT_CROP = 192
"""Side in pixels of the central crops of the held-out images that a run is evaluated on."""

PACE_STEPS = 30
"""Steps over which the time per step is averaged, to keep a run to its minutes."""


def holdout_crops(data: str | os.PathLike[str]) -> list[np.ndarray]:
    """Central crops of the held-out images, uint8, at most `HOLDOUT_CROP` pixels per side."""
    crops = []
    for path in holdout_images(Path(data)):
        image = read_image(path)
        top, left = (max(0, (n - HOLDOUT_CROP) // 2) for n in image.shape[:2])
        crops.append(image[top : top + HOLDOUT_CROP, left : left + HOLDOUT_CROP])
    return crops


def train(
    recipe: Recipe,
    data: str | Path,
    out: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "cpu",
    bf16: bool | None = None,
    seed: int = 0,
    init: str | os.PathLike[str] | None = None,
    resume: bool = False,
    evaluate_every: float = 4.0,
    watch: str | None = None,
) -> Path:
    """Train `recipe`, for `minutes` or for `steps`, or else for the recipe's own steps.

    With `minutes` the time per step is measured first; the number of steps that follows from it is
    kept in the checkpoint. It changes only when the time per step, averaged over the last
    `PACE_STEPS`, would end the run too late or too early (`Progress.plan`), as on a shared machine.
    An interrupt (SIGINT, SIGTERM) lets the step end, writes the checkpoint and raises
    KeyboardInterrupt, for SIGTERM a `Terminated`. Under ``torchrun`` (see `join_processes`),
    `device` "cuda" is a GPU per process.

    Parameters
    ----------
    recipe
    data
        Folder of the data sets.
    out
        Folder to write to: checkpoint.pt, curve.csv, weights.safetensors (the averaged weights)
        and, with the schedule "wsd", stable.safetensors: the weights as they were, not averaged,
        when the cooldown began, for a later run to go on from by `init`.
    minutes
        Time in training steps; evaluations do not count.
    steps
        Updates of the weights.
    device
        "cpu", "cuda", "cuda:1".
    bf16
        Whether to use bfloat16 autocast; None for whichever is faster (some processors have the
        instructions and are slower with them).
    seed
        Of all that is random. A resumed run keeps its own, and its precision where `bf16` is None.
    init
        Weights to start from.
    resume
        Go on from the checkpoint in `out`.
    evaluate_every
        Minutes between evaluations.
    watch
        A data set whose PSNR goes into the curve beside that of the held-out images, for a plot;
        nothing depends on it.

    Returns
    -------
    Path
        weights.safetensors.

    Raises
    ------
    InputError
        For bad arguments, and for a disk that refuses a file: what was written before stays.
    NonFiniteLoss
        When the run breaks down; the last good checkpoint is kept.
    """
    if minutes is None and steps is None:
        steps = recipe.steps
    if (minutes is None) == (steps is None):
        raise InputError("training needs either a number of minutes or a number of steps.")
    budget = steps if minutes is None else 60 * minutes
    if budget is None or not 0 < budget < math.inf:
        raise InputError(f"training needs a positive budget, got {steps or minutes}.")
    check_device(device)
    out = Path(out)
    make_folder(out)
    checkpoint, curve = out / "checkpoint.pt", out / "curve.csv"
    if checkpoint.exists() and not resume:
        raise InputError(f"{checkpoint} exists: continue it with --resume or give another --out.")
    watched = [] if watch is None else [truth for _, truth in load_dataset(watch, data)]
    device = join_processes(device)
    banks = load_banks(recipe, data, device)
    truths = holdout_crops(data)
    trainer = Trainer(recipe, banks, device=device, bf16=bool(bf16), seed=seed, init=init)
    losses: list[float] = []
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        trainer.restore(state)
        losses = state["losses"]
        if bf16 is not None:
            trainer.bf16 = bf16
    elif bf16 is None:
        trainer.choose_precision()
    progress, first = trainer.progress, trainer.rank == 0
    if first:
        _cut(curve, progress.step)
    timed = minutes is not None
    pace = trainer.seconds_per_step() if timed else 0.0
    if not timed:
        progress.per_step = 1 / budget
    bar = tqdm(
        total=1.0, initial=progress.done, desc=recipe.name, bar_format=_BAR, disable=not first
    )
    since = time.perf_counter()
    with _interrupts_noted() as interrupted:
        while progress.done < 1:
            if timed:
                progress.plan(pace, budget)
                progress.per_step = trainer.broadcast_from_rank0(progress.per_step)
            start = time.perf_counter()
            losses.append(trainer.step())
            seconds = time.perf_counter() - start
            progress.seconds += seconds
            if first and begins_cooldown(recipe, progress):
                export(trainer, out / "stable.safetensors", {}, trainer.network.state_dict())
            pace += (min(seconds, 3 * pace) - pace) / PACE_STEPS  # a first step makes plans too
            bar.update(progress.done - bar.n)
            finished = progress.done >= 1 - 1e-9
            if finished:
                progress.done = 1.0
            if first and (finished or time.perf_counter() - since > 60 * evaluate_every):
                trainer.check_finite()
                psnr = trainer.evaluate(truths)
                watched_psnr = trainer.evaluate(watched) if watched else {}
                _record(
                    curve,
                    progress,
                    learning_rate(recipe.optimiser, progress.done),
                    losses,
                    {"holdout": psnr, str(watch).lower(): watched_psnr},
                )
                _save(checkpoint, trainer, [])
                export(trainer, out / "weights.safetensors", psnr)
                bar.set_postfix_str(" ".join(f"x{s} {v:.2f} dB" for s, v in psnr.items()))
                since = time.perf_counter()
                losses.clear()
            if interrupted:
                if first:
                    trainer.check_finite()
                    _save(checkpoint, trainer, losses)
                raise Terminated if interrupted[0] == signal.SIGTERM else KeyboardInterrupt
    bar.close()
    if trainer.processes > 1:
        distributed.barrier()
        distributed.destroy_process_group()
    return out / "weights.safetensors"


_BAR = "{desc} {percentage:5.1f}% |{bar}| {elapsed}, {remaining} left {postfix}"


def _record(
    path: Path,
    progress: Progress,
    rate: float,
    losses: list[float],
    psnr: dict[str, dict[int, float]],
) -> None:
    """Add a row to the curve, which is whole at any time."""
    row = {
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "done": round(progress.done, 5),
        "learning_rate": f"{rate:.3e}",
        "loss": f"{np.mean(losses):.6f}" if losses else "",
        **{
            f"{images}_psnr_db_x{scale}": f"{value:.4f}"
            for images, values in psnr.items()
            for scale, value in values.items()
        },
    }
    rows = _rows(path) or [list(row)]
    _write_rows(path, [*rows, [row.get(column, "") for column in rows[0]]])


def _cut(path: Path, step: int) -> None:
    """Remove the rows of a curve after `step`: a run that was killed between a row and its
    checkpoint makes the row again."""
    rows = _rows(path)
    if not rows:
        return
    earlier = [row for row in rows[1:] if len(row) == len(rows[0]) and int(row[0]) <= step]
    if not earlier:
        path.unlink()
        return
    _write_rows(path, [rows[0], *earlier])


def _rows(path: Path) -> list[list[Any]]:
    """The rows of a CSV file, none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write_rows(path: Path, rows: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())


def begins_cooldown(recipe: Recipe, progress: Progress) -> bool:
    """Whether the step just made was the last before the cooldown of the schedule "wsd"."""
    if recipe.optimiser.schedule != "wsd":
        return False
    begin = 1 - recipe.optimiser.cooldown
    return progress.done - progress.per_step < begin <= progress.done


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """Inside, SIGINT and SIGTERM are only put on the list, so that no step is left half done.

    Outside of the main thread, where handlers cannot be set, they work as ever.
    """
    noted: list[int] = []
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda sent, _: noted.append(sent))
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(path: Path, trainer: Trainer, losses: list[float]) -> None:
    """The checkpoint; losses: those since the last row of the curve."""
    content = io.BytesIO()  # in whose errors torch does not hide those of the disk
    torch.save({**trainer.state(), "losses": losses}, content)
    write_bytes(path, content.getbuffer())


def export(
    trainer: Trainer,
    path: Path,
    psnr: dict[int, float],
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write a weight file, with what is needed to use and to judge the weights.

    Parameters
    ----------
    trainer
    path
    psnr
        PSNR in dB on the held-out crops at each scale.
    state
        The weights; the averaged ones by default.
    """
    recipe, progress = trainer.recipe, trainer.progress
    metadata = {
        "architecture": recipe.architecture,
        "network": recipe.network,
        "line": trainer.network.line,
        "scales": recipe.scales,
        "recipe": recipe.as_dict(),
        "trained": {
            "steps": progress.step,
            "minutes": round(progress.seconds / 60, 1),
            "seed": trainer.seed,
            "device": trainer.device.type,
            "threads": torch.get_num_threads(),
            "bf16": trainer.bf16,
            "start": trainer.start,
            "holdout_crops_psnr_db": {str(s): round(v, 3) for s, v in psnr.items()},
        },
    }
    tensors = {key: value.cpu().numpy() for key, value in (state or trainer.average).items()}
    weights.write(path, tensors, metadata)
