"""Training of the networks: one loop for every recipe, on CPU or GPU, or several of them.

Adam, SGD, or Muon and Adam; a rate that warms up and falls; an exponential average of the
weights; bfloat16 autocast where it is faster. The run is resumable at any evaluation and
leaves a CSV row for each. Under ``torchrun`` each process takes its part of every batch, and
the first writes. Needs torch, numpy and tqdm, no more.
"""

from __future__ import annotations

import csv
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import l1_loss, mse_loss
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from cscsr import weights
from cscsr.arrays import check_device
from cscsr.data.datasets import holdout_images, load_dataset, training_images
from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, imresize, read_image, score
from cscsr.networks import build
from cscsr.training.optim import Muon, inner_convolutions
from cscsr.training.patches import Partition, PatchBank, training_pair
from cscsr.training.recipe import Optimiser, Recipe

HOLDOUT_CROP = 192
"""Side in pixels of the central crops of the held-out images that a run is followed on."""


PACE_STEPS = 30
"""Steps over which the time of a step is averaged, to keep a run of so many minutes to them."""

OFF_PLAN = 0.1
"""The plan of a run is made anew when it would end by this share of the time left too late
or too early."""


class NonFiniteLoss(RuntimeError):
    """The loss or the weights stopped being finite; the last checkpoint is from before."""


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

    def plan(self, pace: float, budget: float) -> None:
        """Fix `per_step` so that the run ends after `budget` seconds where a step takes `pace`
        seconds; a plan that is no more than `OFF_PLAN` off is left as it is."""
        left = max(budget - self.seconds, 0.0)
        needed = (1 - self.done) / self.per_step * pace if self.per_step else math.inf
        if abs(needed - left) > OFF_PLAN * left:
            self.per_step = (1 - self.done) / max(1.0, left / pace)


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate when the share `done` of the run lies behind."""
    settings = recipe.optimiser
    peak, warmup = settings.learning_rate, settings.warmup
    if done < warmup:
        return peak * done / warmup
    if settings.schedule == "step":
        return peak * settings.decay ** math.floor(done / settings.decay_every + 1e-9)
    if settings.schedule == "wsd":
        return peak * min(1.0, (1 - done) / settings.cooldown)
    return peak * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def begins_cooldown(recipe: Recipe, progress: Progress) -> bool:
    """Whether the step just made was the last before the cooldown of the schedule "wsd"."""
    if recipe.optimiser.schedule != "wsd":
        return False
    begin = 1 - recipe.optimiser.cooldown
    return progress.done - progress.per_step < begin <= progress.done


def load_banks(
    recipe: Recipe, data: str | os.PathLike, device: str = "cpu", images: list[Path] | None = None
) -> dict[int, PatchBank]:
    """A bank of training patches for each scale of the recipe, read from the folder `data`
    without the images that holdout.txt and leaks.txt list. A recipe that takes a partition
    has one bank for all scales, under the key 0."""
    if images is None:
        images = training_images(Path(data), recipe.sets)
    originals = [read_image(path) for path in tqdm(images, desc="reading images", leave=False)]
    pairs = {
        scale: [
            training_pair(image if size == 1 else imresize(image, scale=size), scale, recipe.line)
            for image in tqdm(originals, desc=f"degrading by {scale}", leave=False)
            for size in recipe.sizes
        ]
        for scale in recipe.scales
    }
    if recipe.sampling == "partition":
        pairs = {0: [pair for scale in recipe.scales for pair in pairs[scale]]}
    return {scale: PatchBank(found, device) for scale, found in pairs.items()}


def _error(loss: str, output: Tensor, target: Tensor) -> Tensor:
    """The loss of a batch by the name that `Optimiser` gives it."""
    if loss == "l1":
        return l1_loss(output, target)
    if loss == "charbonnier":
        return ((output - target).square() + 1e-6).sqrt().mean()
    if loss == "mse":
        return mse_loss(output, target)
    return mse_loss(output, target, reduction="sum") / (2 * len(output))


def _optimisers(settings: Optimiser, network: nn.Module) -> list[torch.optim.Optimizer]:
    """Adam or SGD for all weights, or Muon for the inner convolutions and Adam for the others."""
    inner = inner_convolutions(network) if settings.method == "muon" else []
    others = [p for p in network.parameters() if not any(p is q for q in inner)]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.method == "sgd":
        return [torch.optim.SGD(others, rate, momentum=0.9, weight_decay=decay, fused=True)]
    adam = torch.optim.Adam(others, rate, weight_decay=decay, fused=True)
    return [adam, Muon(inner, rate)] if inner else [adam]


def _tensors_of(architecture: str | None, network: dict[str, Any] | None) -> tuple:
    """What must agree for weights to fit: all but K, whose recursions share one S."""
    sizes = {key: value for key, value in (network or {}).items() if key != "recursions"}
    return architecture, sizes


def join_processes(device: str) -> str:
    """Under ``torchrun``, join its processes; returns this one's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def _processes() -> tuple[int, int]:
    """Which of the processes this is, and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


class Trainer:
    """A network in training: one step, one evaluation, one checkpoint at a time.

    Where processes have been joined (`join_processes`), all draw the same batch, each
    computes its part, and the gradients are averaged: the steps of one process, up to
    rounding.
    """

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
        self.recipe, self.banks, self.bf16, self.seed = recipe, banks, bf16, seed
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
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.progress = Progress()
        self.rank, self.processes = _processes()
        self._parallel = self.network
        if self.processes > 1:
            self._parallel = DistributedDataParallel(
                self.network,
                broadcast_buffers=False,  # they are constants
                find_unused_parameters=recipe.line == "rgb",  # the other scales' branches
            )
        self.partition: Partition | None = None
        if recipe.sampling == "partition":
            self.partition = Partition(banks[0], recipe.optimiser.patch, seed)
        self.loss_weight = self._balance()

    def _balance(self) -> dict[int, float]:
        """Weight of each scale's loss: the inverse error of plain bicubic interpolation,
        so that ×4, whose error is twice that of ×2, does not rule the sum."""
        if not self.recipe.optimiser.balance:
            return dict.fromkeys(self.banks, 1.0)
        generator = torch.Generator(self.device).manual_seed(0)
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

    def _forward(self, network: nn.Module, source: Tensor, scale: int) -> Tensor:
        source = source.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return network(source) if self.recipe.line == "y" else network(source, scale)

    def _part(self, count: int) -> slice:
        """This process's part of a batch of `count`."""
        if count % self.processes or not count:
            raise InputError(
                f"a batch of {self.recipe.optimiser.batch} patches for {len(self.banks)} scales "
                f"cannot be divided among {self.processes} processes."
            )
        share = count // self.processes
        return slice(self.rank * share, (self.rank + 1) * share)

    def batch(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Inputs and targets of the next step, by scale. CRNet-A takes patches of all scales in
        one step (they have one size), CRNet-B one scale a step, in turn."""
        settings = self.recipe.optimiser
        if self.partition is not None:
            part = self._part(settings.batch)
            return {0: self.partition.batch(self.progress.step, settings.batch, part)}
        scales = list(self.banks)
        share = settings.batch // len(scales)
        if self.recipe.line == "rgb":
            scales = [scales[self.progress.step % len(scales)]]
            share = settings.batch
        part = self._part(share)
        return {
            scale: self.banks[scale].sample(share, settings.patch, self.generator, part)
            for scale in scales
        }

    def loss(self, batch: dict[int, tuple[Tensor, Tensor]]) -> Tensor:
        """The recipe's loss of a batch, the mean over its scales."""
        scales = list(batch)
        sources = [source for source, _ in batch.values()]
        output = self._forward(self._parallel, torch.cat(sources), scales[0])
        outputs = output.split([len(source) for source in sources])
        losses = [
            self.loss_weight[s] * _error(self.recipe.optimiser.loss, found, batch[s][1])
            for s, found in zip(scales, outputs, strict=True)
        ]
        return torch.stack(losses).mean()

    def step(self) -> float:
        """One update; returns the loss. Raises NonFiniteLoss; on a GPU the weights are lost then,
        on a CPU they stay as they were."""
        rate = learning_rate(self.recipe, self.progress.done)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.network.train()
        loss = self.loss(self.batch())
        self.network.zero_grad()
        loss.backward()
        seen = torch.stack([loss.detach(), self._clip(rate)])
        late = self.device.type == "cuda"  # what follows is queued while the GPU is still busy
        value = 0.0 if late else self._finite(seen)
        for optimiser in self.optimisers:
            optimiser.step()
        self._update_average()
        if late:
            value = self._finite(seen)
        self.progress.step += 1
        self.progress.done = min(1.0, self.progress.done + self.progress.per_step)
        return value

    def _finite(self, seen: Tensor) -> float:
        """The loss, of loss and gradient norm; waits for a GPU. Raises NonFiniteLoss."""
        value, norm = seen.tolist()
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise NonFiniteLoss(f"the loss became {value} at step {self.progress.step}.")
        return value

    def _clip(self, rate: float) -> Tensor:
        """Clip the gradient as the recipe says; returns the norm that it had."""
        settings, parameters = self.recipe.optimiser, list(self.network.parameters())
        if settings.clip_by == "norm":
            return nn.utils.clip_grad_norm_(parameters, settings.clip)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if rate > 0:
            nn.utils.clip_grad_value_(parameters, settings.clip / rate)
        return norm

    @torch.no_grad()
    def _update_average(self) -> None:
        step = self.progress.step
        decay = min(self.recipe.optimiser.ema, (1 + step) / (10 + step))
        current = [parameter.detach() for parameter in self.network.parameters()]
        torch._foreach_lerp_(list(self.average.values()), current, 1 - decay)

    def seconds_per_step(self, steps: int = 4) -> float:
        """Measured time of a step, without changing the network or the random state."""
        state = self.generator.get_state()
        self.loss(self.batch()).backward()
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            self.loss(self.batch()).backward()
        self._wait()
        elapsed = time.perf_counter() - start
        self.network.zero_grad()
        self.generator.set_state(state)
        return elapsed / steps

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def choose_precision(self) -> None:
        """Set `bf16` to whichever precision makes the faster steps here."""
        seconds = {}
        for self.bf16 in (False, True):
            seconds[self.bf16] = self.seconds_per_step()
        self.bf16 = bool(self.from_first(float(seconds[True] < seconds[False])))

    def from_first(self, value: float) -> float:
        """`value` as the first of the processes has it."""
        if self.processes == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(told, 0)
        return told.item()

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
                    output = self._forward(self.network, batch, scale)[0].float().cpu().numpy()
                    if self.recipe.line == "y":
                        estimate = output[0]
                    else:
                        estimate = output.transpose(1, 2, 0)
                        estimate = estimate.mean(2) if truth.ndim == 2 else estimate
                    cropped = crop_to_multiple(truth, scale)
                    psnr[scale].append(score(estimate, cropped, scale, self.recipe.line)["psnr"])
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
            "seed": self.seed,
            "bf16": self.bf16,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`. Raises InputError if it belongs to another recipe."""
        if Recipe.from_dict(state["recipe"]) != self.recipe:
            raise InputError(
                f"the checkpoint was made by another recipe than {self.recipe.name}; "
                "give another --out or take --resume away."
            )
        self.network.load_state_dict(state["network"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.progress = Progress(**state["progress"])
        self.start = state["start"]
        self.seed = state.get("seed", self.seed)  # checkpoints of before lack these two
        random_state = state["generator"].cpu()
        if len(random_state) == len(self.generator.get_state()):
            self.generator.set_state(random_state)
        else:  # that of another kind of device: the patches to come are others
            self.generator.manual_seed(self.seed + self.progress.step)
        self.bf16 = state.get("bf16", self.bf16)
        if self.partition is not None:
            self.partition = Partition(self.banks[0], self.recipe.optimiser.patch, self.seed)

    def check_finite(self) -> None:
        """Raises NonFiniteLoss if a weight, or its average, is not finite."""
        tensors = [*self.network.parameters(), *self.average.values()]
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise NonFiniteLoss(f"the weights became infinite at step {self.progress.step}.")


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
    watch: str | None = None,
) -> Path:
    """Train `recipe` on the images in `data` for `minutes` or for `steps`, one of the two, or
    else for the recipe's own number of steps.

    With `minutes` the time of a step is measured first, and the number of steps fixed from it
    and kept in the checkpoint; it is fixed anew only when the time of a step, averaged over
    the last `PACE_STEPS`, would end the run too late or too early (`Progress.plan`), as on a
    machine that is shared. Evaluations (every `evaluate_every` minutes) are off the clock.
    `bf16` None takes bfloat16 autocast where it measures faster (some processors have the
    instructions and are slower with them). `init` starts from the weights of a file, `resume`
    from the checkpoint in `out`. `watch` names a data set whose PSNR is put into the curve
    beside that of the held-out images, for a plot; nothing depends on it.
    An interrupt (SIGINT, SIGTERM) lets the step end, writes the checkpoint and raises
    KeyboardInterrupt. A resumed run keeps its seed, and its precision where `bf16` is None.

    Under ``torchrun`` (see `join_processes`), `device` "cuda" is a GPU for each process.

    Writes to `out`: checkpoint.pt, curve.csv, weights.safetensors (the averaged weights), and
    with the schedule "wsd" also stable.safetensors: the weights as they were, not averaged, when
    the cooldown began, for a later run to go on from by `init`.
    Returns the path of the last. Raises InputError for bad arguments, NonFiniteLoss when
    the run breaks down; the last good checkpoint is kept.
    """
    if minutes is None and steps is None:
        steps = recipe.steps
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
    watched = [] if watch is None else [truth for _, truth in load_dataset(watch, data)]
    device = join_processes(device)
    banks = load_banks(recipe, data, device)
    truths = holdout_crops(data)
    trainer = Trainer(recipe, banks, device=device, bf16=bool(bf16), seed=seed, init=init)
    kept: dict[str, Any] = {}
    if resume and checkpoint.exists():
        kept = torch.load(checkpoint, map_location=device, weights_only=True)
        trainer.restore(kept)
    if bf16 is not None:
        trainer.bf16 = bf16
    elif "bf16" not in kept:
        trainer.choose_precision()
    progress, first = trainer.progress, trainer.rank == 0
    if first:
        _cut(curve, progress.step)
    budget = None if minutes is None else 60 * minutes
    pace = trainer.seconds_per_step() if budget else 0.0
    if budget is None:
        progress.per_step = 1 / steps
    bar = tqdm(
        total=1.0, initial=progress.done, desc=recipe.name, bar_format=_BAR, disable=not first
    )
    losses: list[float] = list(kept.get("losses", []))
    since = time.perf_counter()
    with _interrupts_noted() as interrupted:
        while progress.done < 1:
            if budget is not None:
                progress.plan(pace, budget)
                progress.per_step = trainer.from_first(progress.per_step)
            start = time.perf_counter()
            losses.append(trainer.step())
            taken = time.perf_counter() - start
            progress.seconds += taken
            if first and begins_cooldown(recipe, progress):
                export(trainer, out / "stable.safetensors", {}, trainer.network.state_dict())
            pace += (min(taken, 3 * pace) - pace) / PACE_STEPS  # a first step makes plans too
            bar.update(progress.done - bar.n)
            finished = progress.done >= 1 - 1e-9
            if finished:
                progress.done = 1.0
            if first and (finished or time.perf_counter() - since > 60 * evaluate_every):
                trainer.check_finite()
                psnr = trainer.evaluate(truths)
                seen = trainer.evaluate(watched) if watched else {}
                _record(
                    curve,
                    progress,
                    learning_rate(recipe, progress.done),
                    losses,
                    {"holdout": psnr, str(watch).lower(): seen},
                )
                _save(checkpoint, trainer, [])
                export(trainer, out / "weights.safetensors", psnr)
                bar.set_postfix_str(" ".join(f"x{s} {v:.2f} dB" for s, v in psnr.items()))
                since = time.perf_counter()
                losses.clear()
            if interrupted.is_set():
                if first:
                    trainer.check_finite()
                    _save(checkpoint, trainer, losses)
                raise KeyboardInterrupt
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
    columns, fresh = list(row), not path.exists()
    if not fresh:
        with path.open(newline="") as file:
            columns = next(csv.reader(file))
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _cut(path: Path, step: int) -> None:
    """Take the rows of a curve away that are from after `step`: a run that was killed between
    its row and its checkpoint makes the row again."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    kept = [row for row in rows[1:] if len(row) == len(rows[0]) and int(row[0]) <= step]
    if not kept:
        path.unlink()
        return
    part = path.with_suffix(".csv.part")
    with part.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *kept])
    part.replace(path)


@contextmanager
def _interrupts_noted() -> Iterator[threading.Event]:
    """Inside, SIGINT and SIGTERM are noted and not obeyed, so that no step is left half done;
    not so outside of the main thread, where handlers cannot be set."""
    noted = threading.Event()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: noted.set())
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(path: Path, trainer: Trainer, losses: list[float]) -> None:
    """The checkpoint; losses: those since the last row of the curve."""
    part = path.with_suffix(".part")
    torch.save({**trainer.state(), "losses": losses}, part)
    part.replace(path)


def export(
    trainer: Trainer,
    path: Path,
    psnr: dict[int, float],
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write the averaged weights, or those of `state`, with all that is needed to use them and to
    judge them."""
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
