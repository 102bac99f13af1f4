"""Training of the networks: one loop for every recipe, on CPU or GPU.

Adam, or Muon and Adam, on the mean absolute error, a linear warm-up and a cosine to zero, an
exponential average of the weights, bfloat16 autocast where asked for. The run is resumable
at any evaluation and leaves a CSV row for each. Needs torch, numpy and tqdm, no more.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from tqdm import tqdm

from cscsr import weights
from cscsr.data.datasets import holdout_images, training_images
from cscsr.data.patches import PatchBank, training_pair
from cscsr.device import check_device
from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, imresize, read_image, score
from cscsr.networks import build
from cscsr.training.muon import Muon, inner_convolutions
from cscsr.training.recipe import Optimiser, Recipe

HOLDOUT_CROP = 192
"""Side in pixels of the central crops of the held-out images that a run is followed on."""


PACE_STEPS = 30
"""Steps over which the time of a step is averaged, to plan a run of so many minutes."""


class NonFiniteLoss(RuntimeError):
    """The loss stopped being finite; the last checkpoint is from before."""


@dataclass
class Progress:
    """Where a run stands: what the schedule, the log and a resumed run need to know.

    done: share of the schedule in [0,1]; per_step: what a step adds to it;
    seconds: time spent in training steps so far.
    """

    step: int = 0
    done: float = 0.0
    per_step: float = 0.0
    seconds: float = 0.0


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate when the share `done` of the run lies behind."""
    peak, warmup = recipe.optimiser.learning_rate, recipe.optimiser.warmup
    if done < warmup:
        return peak * done / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def load_banks(
    recipe: Recipe, data: str | os.PathLike, device: str = "cpu", images: list[Path] | None = None
) -> dict[int, PatchBank]:
    """A bank of training patches for each scale of the recipe, read from the folder `data`
    without the images that holdout.txt and leaks.txt list."""
    if images is None:
        images = training_images(Path(data), recipe.sets)
    banks = {}
    originals = [read_image(path) for path in tqdm(images, desc="reading images", leave=False)]
    for scale in recipe.scales:
        pairs = [
            training_pair(image if size == 1 else imresize(image, scale=size), scale, recipe.line)
            for image in tqdm(originals, desc=f"degrading by {scale}", leave=False)
            for size in recipe.sizes
        ]
        banks[scale] = PatchBank(pairs, device)
    return banks


def _optimisers(settings: Optimiser, network: nn.Module) -> list[torch.optim.Optimizer]:
    """Adam for all weights, or Muon for the inner convolutions and Adam for the others."""
    inner = inner_convolutions(network) if settings.method == "muon" else []
    others = [p for p in network.parameters() if not any(p is q for q in inner)]
    adam = torch.optim.Adam(others, lr=settings.learning_rate, fused=True)
    return [adam, Muon(inner, settings.learning_rate)] if inner else [adam]


def _tensors_of(architecture: str | None, network: dict[str, Any] | None) -> tuple:
    """What must agree for weights to fit: all but K, whose recursions share one S."""
    sizes = {key: value for key, value in (network or {}).items() if key != "recursions"}
    return architecture, sizes


class Trainer:
    """A network in training: one step, one evaluation, one checkpoint at a time."""

    def __init__(
        self,
        recipe: Recipe,
        banks: dict[int, PatchBank],
        *,
        device: str = "cpu",
        bf16: bool = True,
        seed: int = 0,
        init: str | os.PathLike | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.banks, self.bf16 = recipe, banks, bf16
        self.device = torch.device(device)
        self.network = build(recipe.architecture, **recipe.network, scales=recipe.scales)
        self.start: dict[str, Any] | None = None
        if init is not None:
            tensors, metadata = weights.load(init)
            ours = (recipe.architecture, recipe.network)
            theirs = (metadata.get("architecture"), metadata.get("network"))
            if _tensors_of(*theirs) != _tensors_of(*ours):
                raise InputError(
                    f"{init} does not hold the network of the recipe {recipe.name}: expected "
                    f"{ours[0]} with {ours[1]}, got {theirs[0]} with {theirs[1]}."
                )
            self.start = metadata.get("trained")
            self.network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
        self.network.to(self.device, memory_format=torch.channels_last)
        self.average = {k: v.clone().float() for k, v in self.network.state_dict().items()}
        self.optimisers = _optimisers(recipe.optimiser, self.network)
        self.generator = torch.Generator().manual_seed(seed)
        self.progress = Progress()
        self.loss_weight = self._balance()

    def _balance(self) -> dict[int, float]:
        """Weight of each scale's loss: the inverse error of plain bicubic interpolation,
        so that ×4, whose error is twice that of ×2, does not rule the sum."""
        generator = torch.Generator().manual_seed(0)
        errors = {}
        for scale, bank in self.banks.items():
            source, target = bank.sample(32, self.recipe.optimiser.patch, generator)
            if bank.ratio > 1:
                source = torch.nn.functional.interpolate(
                    source, scale_factor=bank.ratio, mode="bicubic"
                )
            errors[scale] = l1_loss(source, target).item()
        mean = sum(errors.values()) / len(errors)
        return {scale: mean / error for scale, error in errors.items()}

    def _forward(self, source: Tensor, scale: int) -> Tensor:
        source = source.contiguous(memory_format=torch.channels_last)
        return self.network(source) if self.recipe.line == "y" else self.network(source, scale)

    def _loss(self) -> Tensor:
        """CRNet-A takes patches of all scales in one batch (they have one size), CRNet-B one
        scale a step, in turn."""
        settings = self.recipe.optimiser
        scales = list(self.banks)
        if self.recipe.line == "y":
            share = settings.batch // len(scales)
        else:
            scales = [scales[self.progress.step % len(scales)]]
            share = settings.batch
        samples = {s: self.banks[s].sample(share, settings.patch, self.generator) for s in scales}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            if self.recipe.line == "y":
                outputs = self._forward(torch.cat([x for x, _ in samples.values()]), 0).split(share)
            else:
                outputs = [self._forward(samples[scales[0]][0], scales[0])]
        losses = [
            self.loss_weight[s] * l1_loss(output, samples[s][1])
            for s, output in zip(scales, outputs, strict=True)
        ]
        return torch.stack(losses).mean()

    def step(self) -> float:
        """One update; returns the loss. Raises NonFiniteLoss."""
        settings = self.recipe.optimiser
        rate = learning_rate(self.recipe, self.progress.done)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.network.train()
        loss = self._loss()
        self.network.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise NonFiniteLoss(f"the loss became {value} at step {self.progress.step}.")
        for optimiser in self.optimisers:
            optimiser.step()
        decay = min(settings.ema, (1 + self.progress.step) / (10 + self.progress.step))
        with torch.no_grad():
            for key, parameter in self.network.state_dict().items():
                self.average[key].lerp_(parameter.float(), 1 - decay)
        self.progress.step += 1
        self.progress.done = min(1.0, self.progress.done + self.progress.per_step)
        return value

    def seconds_per_step(self, steps: int = 4) -> float:
        """Measured time of a step, without changing the network or the random state."""
        state = self.generator.get_state()
        self._loss().backward()
        start = time.perf_counter()
        for _ in range(steps):
            self._loss().backward()
        elapsed = time.perf_counter() - start
        self.network.zero_grad()
        self.generator.set_state(state)
        return elapsed / steps

    def choose_precision(self) -> None:
        """Set `bf16` to whichever precision makes the faster steps here."""
        seconds = {}
        for self.bf16 in (False, True):
            seconds[self.bf16] = self.seconds_per_step()
        self.bf16 = seconds[True] < seconds[False]

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The network with its averaged weights in place, for evaluation."""
        kept = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        try:
            yield self.network.eval()
        finally:
            self.network.load_state_dict(kept)

    @torch.no_grad()
    def evaluate(self, truths: list[np.ndarray]) -> dict[int, float]:
        """Mean PSNR in dB at each scale over uint8 images, by the protocol of the line."""
        psnr: dict[int, list[float]] = {scale: [] for scale in self.recipe.scales}
        with self.averaged():
            for truth in truths:
                for scale in self.recipe.scales:
                    source, _ = training_pair(truth, scale, self.recipe.line)
                    batch = torch.from_numpy(np.ascontiguousarray(source))[None].to(self.device)
                    if batch.dtype == torch.uint8:
                        batch = batch.float() / 255
                    with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                        output = self._forward(batch, scale)[0].float().cpu().numpy()
                    if self.recipe.line == "y":
                        estimate = output[0]
                    else:
                        estimate = output.transpose(1, 2, 0)
                        estimate = estimate.mean(2) if truth.ndim == 2 else estimate
                    cropped = crop_to_multiple(truth, scale)
                    psnr[scale].append(score(estimate, cropped, scale, self.recipe.line).psnr_db)
        return {scale: float(np.mean(values)) for scale, values in psnr.items()}

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to go on along the same curve."""
        return {
            "recipe": self.recipe.as_dict(),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "generator": self.generator.get_state(),
            "progress": vars(self.progress),
            "start": self.start,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`. Raises InputError if it belongs to another recipe."""
        if state["recipe"] != self.recipe.as_dict():
            raise InputError(
                f"the checkpoint was made by another recipe than {self.recipe.name}; "
                "give another --out or take --resume away."
            )
        self.network.load_state_dict(state["network"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.generator.set_state(state["generator"].cpu())
        self.progress = Progress(**state["progress"])
        self.start = state["start"]


def holdout_crops(data: str | os.PathLike) -> list[np.ndarray]:
    """Central crops of the held-out images, uint8, at most `HOLDOUT_CROP` pixels a side."""
    crops = []
    for path in holdout_images(Path(data)):
        image = read_image(path)
        top, left = (max(0, (n - HOLDOUT_CROP) // 2) for n in image.shape[:2])
        crops.append(image[top : top + HOLDOUT_CROP, left : left + HOLDOUT_CROP])
    return crops


def train(
    recipe: Recipe,
    data: str | os.PathLike,
    out: str | os.PathLike,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "cpu",
    bf16: bool | None = None,
    seed: int = 0,
    init: str | os.PathLike | None = None,
    resume: bool = False,
    evaluate_every: float = 4.0,
) -> Path:
    """Train `recipe` on the images in `data` for `minutes` or for `steps`, one of the two.

    With `minutes` the schedule advances by the share of the time left that a step takes, as
    measured over the last `PACE_STEPS`, so that it ends in time even where the machine is
    shared; evaluations (every `evaluate_every` minutes) are off the clock. `bf16` None takes
    bfloat16 autocast where it measures faster (some processors have the instructions and
    are slower with them). `init` starts from the weights of a file, `resume` from the
    checkpoint in `out`.

    Writes to `out`: checkpoint.pt, curve.csv, weights.safetensors (the averaged weights).
    Returns the path of the last. Raises InputError for bad arguments, NonFiniteLoss when
    the run breaks down; the last good checkpoint is kept.
    """
    if (minutes is None) == (steps is None):
        raise InputError("training needs either a number of minutes or a number of steps.")
    given = steps if minutes is None else minutes
    if not 0 < given < math.inf:
        raise InputError(f"training needs a positive budget, got {given}.")
    check_device(device)
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into the folder {out}: {error.strerror}.") from error
    checkpoint, curve = out / "checkpoint.pt", out / "curve.csv"
    if checkpoint.exists() and not resume:
        raise InputError(f"{checkpoint} exists: continue it with --resume or give another --out.")
    banks = load_banks(recipe, data, device)
    trainer = Trainer(recipe, banks, device=device, bf16=bool(bf16), seed=seed, init=init)
    if bf16 is None:
        trainer.choose_precision()
    if resume and checkpoint.exists():
        trainer.restore(torch.load(checkpoint, map_location=device, weights_only=True))
    truths = holdout_crops(data)
    progress = trainer.progress
    budget = None if minutes is None else 60 * minutes
    pace = trainer.seconds_per_step() if budget else 0.0
    if budget is None:
        progress.per_step = 1 / steps
    bar = tqdm(total=1.0, initial=progress.done, desc=recipe.name, bar_format=_BAR)
    losses: list[float] = []
    since = time.perf_counter()
    while progress.done < 1:
        if budget is not None:
            steps_left = max(1.0, (budget - progress.seconds) / pace)
            progress.per_step = (1 - progress.done) / steps_left
        start = time.perf_counter()
        losses.append(trainer.step())
        taken = time.perf_counter() - start
        progress.seconds += taken
        pace += (taken - pace) / PACE_STEPS
        bar.update(progress.done - bar.n)
        finished = progress.done >= 1 - 1e-9
        if finished:
            progress.done = 1.0
        if finished or time.perf_counter() - since > 60 * evaluate_every:
            psnr = trainer.evaluate(truths)
            _record(curve, progress, learning_rate(recipe, progress.done), losses, psnr)
            _save(checkpoint, trainer)
            export(trainer, out / "weights.safetensors", psnr, seed)
            bar.set_postfix_str(" ".join(f"x{s} {v:.2f} dB" for s, v in psnr.items()))
            since = time.perf_counter()
            losses.clear()
    bar.close()
    return out / "weights.safetensors"


_BAR = "{desc} {percentage:5.1f}% |{bar}| {elapsed}, {remaining} left {postfix}"


def _record(
    path: Path, progress: Progress, rate: float, losses: list[float], psnr: dict[int, float]
) -> None:
    row = {
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "done": round(progress.done, 5),
        "learning_rate": f"{rate:.3e}",
        "loss": f"{np.mean(losses):.6f}" if losses else "",
        **{f"holdout_psnr_db_x{scale}": f"{value:.4f}" for scale, value in psnr.items()},
    }
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _save(path: Path, trainer: Trainer) -> None:
    part = path.with_suffix(".part")
    torch.save(trainer.state(), part)
    part.replace(path)


def export(trainer: Trainer, path: Path, psnr: dict[int, float], seed: int) -> None:
    """Write the averaged weights with all that is needed to use them and to judge them."""
    recipe, progress = trainer.recipe, trainer.progress
    metadata = {
        "architecture": recipe.architecture,
        "network": recipe.network,
        "line": recipe.line,
        "scales": recipe.scales,
        "recipe": recipe.as_dict(),
        "trained": {
            "steps": progress.step,
            "minutes": round(progress.seconds / 60, 1),
            "seed": seed,
            "device": trainer.device.type,
            "threads": torch.get_num_threads(),
            "bf16": trainer.bf16,
            "start": trainer.start,
            "holdout_crops_psnr_db": {str(s): round(v, 3) for s, v in psnr.items()},
        },
    }
    tensors = {key: value.cpu().numpy() for key, value in trainer.average.items()}
    weights.write(path, tensors, metadata)
