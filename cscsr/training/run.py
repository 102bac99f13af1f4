"""A training run: its budget, checkpoints, curve and signals, on a CPU, a GPU or several.

A run can be resumed from any evaluation, each of which adds a row to a CSV file. Under ``torchrun``
each process computes a part of every batch, and the first process writes. Needs torch, numpy and
tqdm.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from tqdm import tqdm

from cscsr import checkpoints, weights
from cscsr.arrays import check_device
from cscsr.bicubic import Bicubic
from cscsr.data.datasets import holdout_images, load_dataset
from cscsr.errors import InputError
from cscsr.imaging import degrade, read_image, score
from cscsr.interrupts import Terminated
from cscsr.locks import folder_lock
from cscsr.networks import blueprint
from cscsr.schema import Seed, check, check_table
from cscsr.solver import Solver
from cscsr.super_resolution import SuperResolution
from cscsr.training.allocator import keep_freed_memory
from cscsr.training.curve import add_row, cut
from cscsr.training.optim import learning_rate
from cscsr.training.pace import Budget, Pace, Progress
from cscsr.training.patches import load_banks
from cscsr.training.recipe import Recipe
from cscsr.training.trainer import (
    NonFiniteLoss,
    Trainer,
    check_recipe,
    join_processes,
    read_start,
    teacher_of,
)

__all__ = ["HOLDOUT_CROP", "NonFiniteLoss", "export", "holdout_crops", "holdout_psnr", "train"]

RESULTS = ("checkpoint.pt", "weights.safetensors", "stable.safetensors", "curve.csv")
"""The files that a run leaves in its folder."""

HOLDOUT_CROP = 192
"""Side in pixels of the central crops of the held-out images, which evaluate a run."""


def holdout_crops(data: str | os.PathLike[str]) -> list[np.ndarray]:
    """Return central crops of the held-out images, uint8, at most `HOLDOUT_CROP` pixels per
    side."""
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
    seed: int | None = None,
    init: str | os.PathLike[str] | None = None,
    resume: bool = False,
    evaluate_every: float = 4.0,
    watch: str | None = None,
) -> Path:
    """Train `recipe`, for `minutes` or for `steps`, or else for the recipe's own steps.

    The budget is that of the whole run, with what was trained before it was resumed. A resumed run
    keeps its budget if it gets none. With another one it goes on where the schedule is, which then
    ends with the new budget; a run that has spent it already, or is done, says so, and keeps its
    weights.
    With `minutes` the time per step is measured first, and the checkpoint keeps the number of steps
    that follows from it. That number changes only when the time per step, averaged over the last
    `PACE_STEPS`, would end the run too late or too early (`Progress.plan`), as on a shared machine.
    Memory that a step frees stays with this process (`keep_freed_memory`).
    After an interrupt (SIGINT, SIGTERM) the run completes the step, writes the checkpoint and
    raises KeyboardInterrupt, for SIGTERM a `Terminated`. Under ``torchrun`` (see
    `join_processes`), `device` "cuda" means one GPU per process.

    Parameters
    ----------
    recipe
        The recipe.
    data
        The folder of the data sets.
    out
        Folder to write to: checkpoint.pt, curve.csv, weights.safetensors (the averaged weights)
        and, with the schedule "wsd", stable.safetensors: the weights at the start of the cooldown,
        not averaged, which a later run can start from by `init`.
    minutes
        The time in training steps, without evaluations.
    steps
        Updates of the weights, in the whole run.
    device
        "cpu", "cuda", "cuda:1".
    bf16
        Whether to use bfloat16 autocast; None: the faster of the two (some processors with the
        instructions are slower in bfloat16).
    seed
        The random seed; None: 0, or that of a resumed run, which also keeps its precision if `bf16`
        is None.
    init
        Weights to start from, of any scales and K: what they share with the recipe's network is
        taken. A resumed run needs none.
    resume
        Whether to continue from the checkpoint in `out`.
    evaluate_every
        Minutes between evaluations.
    watch
        A data set whose PSNR is recorded in the curve as well, for a plot; it does not affect the
        run.

    Returns
    -------
    Path
        weights.safetensors.

    Raises
    ------
    InputError
        For an invalid budget, seed or device, a missing data set, images without contrast, results
        of a run in `out` without `resume` or without their checkpoint, a resumed run of another
        recipe, `seed` or `init`, and a file or folder that cannot be written; what was written
        before stays.
    NonFiniteLoss
        If the loss or the weights stop being finite; the last good checkpoint remains.
    """
    out = Path(out)
    asked: Budget | None = None
    if minutes is not None or steps is not None or not (resume and _has_checkpoint(out)):
        steps = recipe.steps if minutes is None and steps is None else steps
        asked = check_table(Budget, {"minutes": minutes, "steps": steps}, "the budget")
    if seed is not None:
        check(Seed, seed, "seed")
    recipe.check_network()
    check_device(device)
    leads = os.environ.get("RANK", "0") == "0"  # under torchrun one process writes
    with folder_lock(out, "trains") if leads else nullcontext():
        _check_folder(out, resume)
        watched = [] if watch is None else [truth for _, truth in load_dataset(watch, data)]
        start = None if init is None else read_start(recipe, init)[1]
        device = join_processes(device)
        if recipe.teacher is not None:
            plan = blueprint(recipe.architecture, {**recipe.network, "scales": recipe.scales})
            teacher_of(recipe.teacher, plan, device)
        state, before = None, asked
        if _has_checkpoint(out):
            state = checkpoints.read(out / "checkpoint.pt", device)
            with _faults_of(out / "checkpoint.pt"):
                before = _budget_of(state, asked, recipe)
                check_recipe(state, recipe)
                _check_same_run(state, seed, init, start)
        keep_freed_memory()
        banks = load_banks(recipe, data, device)
        truths = holdout_crops(data)
        trainer = Trainer(recipe, banks, device=device, bf16=bool(bf16), seed=seed or 0, init=init)
        losses: list[float] = []
        if state is not None:
            with _faults_of(out / "checkpoint.pt"):
                trainer.restore(state)
                losses = check(list[float], state["losses"], "losses")
                checkpoints.check_finite(losses, "losses")
            if bf16 is not None:
                trainer.bf16 = bf16
        elif bf16 is None:
            trainer.choose_precision()
        assert before is not None
        others = {str(watch).lower(): watched}
        run = _Run(trainer, out, truths, others, losses, evaluate_every, before)
        run.steps(asked or before)
    if trainer.processes > 1:
        distributed.barrier()
        distributed.destroy_process_group()
    return out / "weights.safetensors"


def _check_folder(out: Path, resume: bool) -> None:
    """Check that a run overwrites no result of another one."""
    results = [out / name for name in RESULTS if (out / name).exists()]
    if not results or (resume and _has_checkpoint(out)):
        return
    if _has_checkpoint(out):
        raise InputError(f"{results[0]} exists: continue it with --resume or give another --out.")
    raise InputError(
        f"{results[0]} is the result of a run whose checkpoint.pt is missing: move it away or give "
        "another --out."
    )


def _has_checkpoint(out: Path) -> bool:
    return os.path.exists(out / "checkpoint.pt")  # False in a folder that is closed to the user


def _budget_of(state: Mapping[str, Any], asked: Budget | None, recipe: Recipe) -> Budget:
    """The budget of a checkpoint. Where it is of an earlier release and states none: `asked`, the
    recipe's steps, or the steps of a run that is done. Raises InputError without these."""
    if "budget" in state:
        return check_table(Budget, state["budget"], "budget")
    if asked is not None:
        return asked
    progress = check_table(Progress, state["progress"], "progress")
    steps = progress.step if progress.done >= 1 else recipe.steps
    if steps is None:
        raise InputError("it states no budget of the run: give --minutes or --steps.")
    return Budget(steps=steps)


@contextmanager
def _faults_of(checkpoint: Path) -> Iterator[None]:
    """Name the checkpoint in the sentence on a fault of its content."""
    try:
        yield
    except InputError as error:
        raise InputError(f"checkpoint {checkpoint}: {error}") from error


def _check_same_run(
    state: Mapping[str, Any],
    seed: int | None,
    init: str | os.PathLike[str] | None,
    start: dict[str, Any] | None,
) -> None:
    """Check that a checkpoint has the seed and the start that a resumed run is asked for, if it is.

    `start` is the origin of the weights `init`, as in `Trainer.start`; the SHA-256 is compared, or
    with a checkpoint of an earlier release, which has none, the training of these weights.
    """
    own = check(Seed, state["seed"], "seed")
    if seed is not None and seed != own:
        raise InputError(f"the run has the seed {own}, not {seed}: leave out --seed.")
    before = check(dict[str, Any] | None, state["start"], "start")
    if start is None:
        return
    if before is not None and "sha256" not in before:  # of an earlier release
        same = before == start["trained"]
    else:
        same = before is not None and before["sha256"] == start["sha256"]
    if not same:
        raise InputError(f"the run did not start from the weights {init}: leave out --init.")


class _Run:
    """A training run: its steps, and what it leaves in its folder.

    Parameters
    ----------
    trainer
    out
    truths
        The held-out images.
    watched
        Other images to score, by the name of their set.
    losses
        Those since the last row of the curve.
    evaluate_every
        Minutes between evaluations.
    budget
        That of the steps so far.
    """

    def __init__(
        self,
        trainer: Trainer,
        out: Path,
        truths: list[np.ndarray],
        watched: dict[str, list[np.ndarray]],
        losses: list[float],
        evaluate_every: float,
        budget: Budget,
    ) -> None:
        self.trainer, self.out, self.truths, self.watched = trainer, out, truths, watched
        self.losses, self.evaluate_every, self.budget = losses, evaluate_every, budget
        self.bicubic: dict[int, float] = {}

    def steps(self, budget: Budget) -> None:
        """Make all steps that are left of a budget."""
        trainer = self.trainer
        recipe, progress, first = trainer.recipe, trainer.progress, trainer.rank == 0
        if first:
            if not _has_checkpoint(self.out):  # else a kill could leave weights alone
                self._save()
            cut(self.out / "curve.csv", progress.step)
            self._say_start()
        if progress.done >= 1 or budget.spent(progress):
            if first:
                self._say_end(budget)
            return
        self.budget = budget
        pace = Pace(0.0 if budget.minutes is None else trainer.seconds_per_step())
        if budget.steps is not None:
            progress.plan_steps(budget.steps)
        since = time.perf_counter()
        settings = {"desc": recipe.name, "bar_format": _BAR, "disable": not first}
        with (
            tqdm(total=1.0, initial=progress.done, **settings) as bar,
            _interrupts_noted() as interrupted,
        ):
            while progress.done < 1:
                if budget.minutes is not None:
                    progress.plan(pace.seconds, 60 * budget.minutes)
                    progress.per_step = trainer.broadcast_from_rank0(progress.per_step)
                pace.start()
                self.losses.append(trainer.step())
                progress.seconds += pace.stop()
                if first and begins_cooldown(recipe, progress):
                    stable = trainer.network.state_dict()
                    export(trainer, self.out / "stable.safetensors", {}, stable)
                bar.update(progress.done - bar.n)
                finished = progress.done >= 1 - 1e-9
                if finished:
                    progress.done = 1.0
                due = time.perf_counter() - since > 60 * self.evaluate_every
                if first and (finished or due):
                    bar.set_postfix_str(self._described(self._evaluate()))
                    since = time.perf_counter()
                if interrupted:
                    if first:
                        trainer.check_finite()
                        self._save()
                    raise Terminated if interrupted[0] == signal.SIGTERM else KeyboardInterrupt

    def _say_start(self) -> None:
        """Print what bicubic interpolation reaches on the held-out images, and the network now."""
        trainer, step = self.trainer, self.trainer.progress.step
        scales, line = trainer.recipe.scales, trainer.network.line
        self.bicubic = holdout_psnr(Bicubic(), self.truths, scales, line)
        start = self._described(trainer.evaluate(self.truths))
        when = f"after {step} steps" if step else "before training"
        text = f"{trainer.recipe.name}: PSNR on held-out images {when} {start}"
        tqdm.write(text, file=sys.stderr)

    def _say_end(self, budget: Budget) -> None:
        """Print why no step is made, after writing the weights if they were not yet."""
        trainer, progress = self.trainer, self.trainer.progress
        path = self.out / "weights.safetensors"
        if self.losses:
            self._evaluate()
        elif not path.exists():
            export(trainer, path, trainer.evaluate(self.truths))
        reason = f"the run has {budget.spent(progress)} of {budget} already"
        if progress.done >= 1:
            reason = f"the run is done after {progress.step} steps, at the end of its schedule"
        remedy = f"to train on from {path}, give it to --init, with another --out"
        tqdm.write(f"{trainer.recipe.name}: {reason}; {remedy}.", file=sys.stderr)

    def _described(self, psnr: dict[int, float]) -> str:
        return ", ".join(
            f"x{scale} {value:.2f} dB (bicubic {self.bicubic[scale]:.2f})"
            for scale, value in psnr.items()
        )

    def _evaluate(self) -> dict[int, float]:
        """Add a row to the curve, write checkpoint and weights; returns the held-out PSNR."""
        trainer, progress = self.trainer, self.trainer.progress
        trainer.check_finite()
        psnr = trainer.evaluate(self.truths)
        others = {name: trainer.evaluate(images) for name, images in self.watched.items() if images}
        rate = learning_rate(trainer.recipe.optimiser, progress.done)
        add_row(self.out / "curve.csv", progress, rate, self.losses, {"holdout": psnr, **others})
        export(trainer, self.out / "weights.safetensors", psnr)
        self.losses.clear()
        self._save()  # last: what is done has its weights
        return psnr

    def _save(self) -> None:
        """Write the checkpoint, with the losses since the last row of the curve."""
        state = {**self.trainer.state(), "budget": asdict(self.budget), "losses": self.losses}
        checkpoints.write(self.out / "checkpoint.pt", state)


def holdout_psnr(
    solver: Solver[SuperResolution], truths: list[np.ndarray], scales: list[int], line: str
) -> dict[int, float]:
    """Return the mean PSNR of a solver at each scale.

    Parameters
    ----------
    solver
        The solver to measure.
    truths
        uint8 images, (H, W) or (H, W, 3).
    scales
        The factors.
    line
        "y" or "rgb": the line to degrade and score on.

    Returns
    -------
    dict
        Scale to mean PSNR in dB.
    """
    values: dict[int, list[float]] = {scale: [] for scale in scales}
    with tqdm(truths, desc=f"{solver.name} on held-out images", leave=False) as remaining:
        for truth in remaining:
            for scale in scales:
                problem = SuperResolution(degrade(truth, scale, line), scale)
                estimate = solver.solve(problem).estimate.clip(0, 1)  # one far off is scored
                values[scale].append(score(estimate, truth, scale, line)["psnr"])
    return {scale: float(np.mean(psnr)) for scale, psnr in values.items()}


_BAR = "{desc} {percentage:5.1f}% |{bar}| {elapsed}, {remaining} left {postfix}"


def begins_cooldown(recipe: Recipe, progress: Progress) -> bool:
    """Return whether the last step was the last one before the cooldown of the schedule "wsd"."""
    if recipe.optimiser.schedule != "wsd":
        return False
    begin = 1 - recipe.optimiser.cooldown - 1e-9  # whatever the rounding, one step begins it
    return progress.done - progress.per_step < begin <= progress.done


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM only join the list inside the block, so that the step completes.

    A signal that is ignored, as SIGINT is in a background job, stays so. Outside of the main
    thread, where handlers cannot be set, the signals act as usual.
    """
    noted: list[int] = []
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, lambda sent, _: noted.append(sent))
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def export(
    trainer: Trainer,
    path: Path,
    psnr: dict[int, float],
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write a weight file, with the metadata needed to use and to judge the weights.

    Parameters
    ----------
    trainer
        The training to export from.
    path
        The file.
    psnr
        PSNR in dB on the held-out crops at each scale.
    state
        The weights; None: the averaged ones.
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
