"""A network in training: one step, one evaluation, one checkpoint at a time.

It provides Adam, SGD, or Muon with Adam; an exponential average of the weights; bfloat16 autocast
where it is faster; and gradients averaged over the processes of ``torchrun``. Needs torch and
numpy.
"""

from __future__ import annotations

import inspect
import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import interpolate, l1_loss
from torch.nn.parallel import DistributedDataParallel

from cscsr import checkpoints, weights
from cscsr.errors import InputError
from cscsr.imaging import degrade, score
from cscsr.network import NetworkSolver, read_network
from cscsr.networks import Network, architecture, blueprint, build
from cscsr.registry import make_solver
from cscsr.schema import Seed, check, check_table, shown
from cscsr.training.optim import Muon, clip_gradient, learning_rate, loss_of, make_optimisers
from cscsr.training.pace import Progress
from cscsr.training.patches import Partition, PatchBank
from cscsr.training.recipe import Recipe, Teacher

MOMENTA: dict[type, set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
    Muon: {"momentum"},
}
"""The names of the state that each optimiser keeps of a parameter."""


ROUNDING = 1e-6
"""The largest error of bicubic interpolation, of pixels in [0, 1], that rounding alone causes."""


class NonFiniteLoss(RuntimeError):
    """The loss or the weights stopped being finite; the last checkpoint is still finite."""


def join_processes(device: str) -> str:
    """Join the processes of ``torchrun``, if it runs, and return the device of this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


class Trainer:
    """A network in training.

    After `join_processes`, all processes draw the same batch, each computes its part, and the
    gradients are averaged: the steps equal those of a single process, up to rounding.

    Parameters
    ----------
    recipe
        The recipe.
    banks
        Patches for each scale; see `cscsr.training.patches.load_banks`.
    device
        "cpu", "cuda", "cuda:1".
    bf16
        Whether to compute in bfloat16 autocast.
    seed
        The random seed.
    init
        Weights to start from, a name or a file; see `read_start`.

    Attributes
    ----------
    network
        The network with its current weights.
    average
        The averaged parameters, float32, and the current buffers, by their names in the state.
    progress
        The progress of the run.
    start
        The origin of the `init` weights, as `read_start` returns it; None without `init`.

    Raises
    ------
    InputError
        For an unknown architecture or argument, a seed out of range, `init` weights of another
        network, a teacher that is no network, takes another input or lacks a scale, and training
        images without contrast, whose losses cannot be balanced.
    """

    def __init__(
        self,
        recipe: Recipe,
        banks: dict[int, PatchBank],
        *,
        device: str = "cpu",
        bf16: bool = True,
        seed: int = 0,
        init: str | os.PathLike[str] | None = None,
    ) -> None:
        torch.manual_seed(check(Seed, seed, "seed"))
        self.recipe, self.banks, self.bf16, self.seed = recipe, banks, bf16, seed
        self.device = torch.device(device)
        self.network: Network = build(recipe.architecture, **recipe.network, scales=recipe.scales)
        self.start: dict[str, Any] | None = None
        if init is not None:
            tensors, self.start = read_start(recipe, init)
            self.network.load_state_dict(
                self.network.state_dict() | {k: torch.from_numpy(v) for k, v in tensors.items()}
            )
        self.teacher: Network | None = None
        if recipe.teacher is not None:
            self.teacher = teacher_of(recipe.teacher, self.network, str(self.device))
        # (stubs of torch know no memory format without a dtype)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = dict(self.network.named_parameters())
        self.average = {
            name: tensor.clone().float() if name in self._parameters else tensor.clone()
            for name, tensor in self.network.state_dict().items()
        }
        self.optimisers = make_optimisers(recipe.optimiser, self.network)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.progress = Progress()
        self.rank, self.processes = 0, 1
        self._parallel: nn.Module = self.network
        if distributed.is_initialized():
            self.rank, self.processes = distributed.get_rank(), distributed.get_world_size()
            self._parallel = DistributedDataParallel(
                self.network,
                broadcast_buffers=False,  # each process has its own; those of rank 0 are saved
                find_unused_parameters=not self.network.joint_scales,  # other scales' layers
            )
        self.partition: Partition | None = None
        if recipe.sampling == "partition":
            self.partition = Partition(banks[0], recipe.optimiser.patch, seed)
        self.loss_weight = self._balance()

    def _balance(self) -> dict[int, float]:
        """The weight of each scale's loss: the inverse error of bicubic interpolation. Otherwise
        ×4, whose error is twice that of ×2, would dominate the sum."""
        if not self.recipe.optimiser.balance:
            return dict.fromkeys(self.banks, 1.0)
        generator = torch.Generator(self.device).manual_seed(0)
        errors = {}
        for scale, bank in self.banks.items():
            source, target = bank.sample(32, self.recipe.optimiser.patch, generator)
            if bank.ratio > 1:
                source = interpolate(source, scale_factor=bank.ratio, mode="bicubic")
            errors[scale] = l1_loss(source, target).item()
        if min(errors.values()) < ROUNDING:
            raise InputError(
                "the training images have too little contrast to balance the losses of the scales: "
                "add images with detail, or set balance = false in the recipe's [optimiser]."
            )
        mean = sum(errors.values()) / len(errors)
        return {scale: mean / error for scale, error in errors.items()}

    def _forward(self, network: nn.Module, source: Tensor, scale: int) -> Tensor:
        source = source.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return network(source, scale)

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
        """Return the inputs and targets of the next step, by scale.

        A network with `joint_scales` gets patches of all scales in each step; any other gets one
        scale per step, in turn.
        """
        settings = self.recipe.optimiser
        if self.partition is not None:
            part = self._part(settings.batch)
            return {0: self.partition.batch(self.progress.step, settings.batch, part)}
        scales = list(self.banks)
        share = settings.batch // len(scales)
        if not self.network.joint_scales:
            scales = [scales[self.progress.step % len(scales)]]
            share = settings.batch
        part = self._part(share)
        return {
            scale: self.banks[scale].sample(share, settings.patch, self.generator, part)
            for scale in scales
        }

    def loss(self, batch: dict[int, tuple[Tensor, Tensor]]) -> Tensor:
        """Return the loss of a batch, averaged over its scales."""
        scales = list(batch)
        sources = [source for source, _ in batch.values()]
        output = self._forward(self._parallel, torch.cat(sources), scales[0])
        outputs = output.split([len(source) for source in sources])
        losses = [
            self.loss_weight[scale] * self._loss_of(part, *batch[scale], scale)
            for scale, part in zip(scales, outputs, strict=True)
        ]
        return torch.stack(losses).mean()

    def _loss_of(self, output: Tensor, source: Tensor, target: Tensor, scale: int) -> Tensor:
        """The loss of an output against the target and, if there is one, the teacher's output."""
        kind, settings = self.recipe.optimiser.loss, self.recipe.teacher
        loss = loss_of(kind, output, target)
        if self.teacher is None or settings is None:
            return loss
        with torch.no_grad():
            taught = self._forward(self.teacher, source, scale).float()
        return torch.lerp(loss, loss_of(kind, output, taught), settings.weight)

    def step(self) -> float:
        """Make one update, and return the loss.

        Raises
        ------
        NonFiniteLoss
            If the loss or the gradient is not finite. On a CPU the weights then stay unchanged; on
            a GPU they are lost.
        """
        settings = self.recipe.optimiser
        rate = learning_rate(settings, self.progress.done)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.network.train()
        loss = self.loss(self.batch())
        self.network.zero_grad()
        loss.backward()
        norm = clip_gradient(settings, list(self.network.parameters()), rate)
        late = self.device.type == "cuda"  # queue more work before waiting for the GPU
        value = 0.0 if late else self._check_loss(loss, norm)
        for optimiser in self.optimisers:
            optimiser.step()
        self._update_average()
        if late:
            value = self._check_loss(loss, norm)
        self.progress.step += 1
        self.progress.done = min(1.0, self.progress.done + self.progress.per_step)
        return value

    def _check_loss(self, loss: Tensor, gradient_norm: Tensor) -> float:
        """The loss as a number, which waits for a GPU. Raises NonFiniteLoss."""
        value, norm = torch.stack([loss.detach(), gradient_norm]).tolist()
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise NonFiniteLoss(f"the loss became {value} at step {self.progress.step}.")
        return value

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the averaged parameters towards the current ones; copy the buffers."""
        step = self.progress.step
        decay = min(self.recipe.optimiser.ema, (1 + step) / (10 + step))
        averages = [self.average[name] for name in self._parameters]
        torch._foreach_lerp_(averages, list(self._parameters.values()), 1 - decay)
        for name, tensor in self.network.state_dict().items():
            if name not in self._parameters:
                self.average[name].copy_(tensor)

    def seconds_per_step(self, steps: int = 4) -> float:
        """Measure the seconds per step, without changing the network or the random state."""
        state = self.generator.get_state()
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        self.loss(self.batch()).backward()
        self._wait()
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            self.loss(self.batch()).backward()
            self._wait()
            seconds.append(time.perf_counter() - start)
        self.network.zero_grad()
        self.generator.set_state(state)
        for buffer, before in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        return statistics.median(seconds)  # of a process that was stopped meanwhile, too

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def choose_precision(self) -> None:
        """Set `bf16` to the precision whose steps are faster on this machine."""
        seconds = {}
        for self.bf16 in (False, True):
            seconds[self.bf16] = self.seconds_per_step()
        self.bf16 = bool(self.broadcast_from_rank0(float(seconds[True] < seconds[False])))

    def broadcast_from_rank0(self, value: float) -> float:
        """Return the `value` of the first process, in every process."""
        if self.processes == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return shared.item()

    @contextmanager
    def averaged(self) -> Iterator[Network]:
        """Yield the network with its averaged weights in place, for evaluation."""
        current = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        try:
            yield self.network.eval()
        finally:
            self.network.load_state_dict(current)

    @torch.no_grad()
    def evaluate(self, truths: list[np.ndarray]) -> dict[int, float]:
        """Return the mean PSNR in dB at each scale over uint8 images, on the network's line."""
        psnr: dict[int, list[float]] = {scale: [] for scale in self.recipe.scales}
        with self.averaged() as network:
            for truth in truths:
                for scale, values in psnr.items():
                    lr = degrade(truth, scale, network.line)
                    planes = torch.from_numpy(network.prepare(lr, scale))[None].to(self.device)
                    output = self._forward(network, planes, scale)[0].float().cpu().numpy()
                    # A network at the start of its training may be far off: that is its score.
                    estimate = network.scored(output, lr, scale).clip(0, 1)
                    values.append(score(estimate, truth, scale, network.line)["psnr"])
        return {scale: float(np.mean(values)) for scale, values in psnr.items()}

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs to continue along the same curve."""
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
        """Restore a `state`.

        Raises
        ------
        InputError
            If the state belongs to another recipe, lacks something, or holds a value of another
            type, out of its bounds or not finite.
        """
        check_recipe(state, self.recipe)
        for part in ("network", "average"):
            checkpoints.check_like(state[part], self.average, part)
        progress = check_table(Progress, state["progress"], "progress")
        start = check(dict[str, Any] | None, state["start"], "start")
        seed, bf16 = check(Seed, state["seed"], "seed"), check(bool, state["bf16"], "bf16")
        random_state = state["generator"]
        if not (isinstance(random_state, Tensor) and random_state.dtype == torch.uint8):
            raise InputError(f"generator should be a random state, got {shown(random_state)}.")
        random_state = random_state.cpu()
        self._restore_optimisers(state["optimisers"])
        self.network.load_state_dict(state["network"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        self.progress, self.start, self.seed, self.bf16 = progress, start, seed, bf16
        if len(random_state) == len(self.generator.get_state()):
            try:
                self.generator.set_state(random_state)
            except RuntimeError as error:
                raise InputError("generator should be a random state, but is not.") from error
        else:  # of another kind of device: the next patches differ
            self.generator.manual_seed(self.seed + self.progress.step)
        if self.partition is not None:
            self.partition = Partition(self.banks[0], self.recipe.optimiser.patch, self.seed)

    def _restore_optimisers(self, states: Any) -> None:
        """Restore the optimisers' state of each parameter; their settings are the recipe's."""
        if not isinstance(states, list) or len(states) != len(self.optimisers):
            raise InputError(f"optimisers should be a list of {len(self.optimisers)}.")
        for optimiser, state in zip(self.optimisers, states, strict=True):
            momenta = state.get("state") if isinstance(state, dict) else None
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            if not isinstance(momenta, dict) or not momenta.keys() <= set(range(len(parameters))):
                raise InputError("optimisers should hold a state of each parameter.")
            for number, values in momenta.items():
                like = {
                    name: torch.zeros(()) if name == "step" else parameters[number]
                    for name in MOMENTA[type(optimiser)]
                }
                checkpoints.check_like(values, like, f"optimisers.{number}")
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": momenta, "param_groups": groups})

    def check_finite(self) -> None:
        """Check the weights and their average.

        Raises
        ------
        NonFiniteLoss
            If any of them is not finite.
        """
        tensors = [*self.network.parameters(), *self.average.values()]
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise NonFiniteLoss(f"the weights stopped being finite at step {self.progress.step}.")


def check_recipe(state: Mapping[str, Any], recipe: Recipe) -> None:
    """Check that a `Trainer.state` belongs to a recipe, whatever its name.

    Raises
    ------
    InputError
        If it belongs to another one.
    """
    own = check(dict[str, Any], state["recipe"], "recipe")
    if {**own, "name": recipe.name} != recipe.as_dict():
        raise InputError(
            f"the checkpoint belongs to another recipe than {recipe.name}; give another --out."
        )


def read_start(
    recipe: Recipe, init: str | os.PathLike[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors of weights to start from, and their origin, for the metadata of others.

    The origin has the name of the weights, or of their file and its folder, their SHA-256 and
    scales, and where
    the file states them, else None, the data sets and the teacher of their recipe, and their
    training ("trained"), with the origin of the weights that they started from.

    K may differ from the recipe's, as all recursions share S. So may the scales, as when EDSR's
    ×3 and ×4 start from its ×2 (Lim et al. 2017, section 4.2): the tensors are those that both
    networks have, without the parts of scales that only one of them has.

    Raises
    ------
    InputError
        For weights that cannot be read, of another network than the recipe's, or of other scales
        where each scale has a network of its own.
    """
    digest = weights.sha256(init)
    tensors, about = read_network(init, digest)
    name, arguments = about.architecture, about.network
    if name != recipe.architecture or _but_recursions(name, arguments) != _but_recursions(
        name, recipe.network
    ):
        raise InputError(
            f"{init} does not hold the network of the recipe {recipe.name}: expected "
            f"{recipe.architecture} with {recipe.network}, got {name} with {arguments}."
        )
    names = blueprint(name, {**recipe.network, "scales": recipe.scales}).state_dict()
    shared = {key: tensor for key, tensor in tensors.items() if key in names}
    if not shared:
        raise InputError(
            f"{init} holds nothing for the scales {list(recipe.scales)} of the recipe "
            f"{recipe.name}: {name} has a network of its own for each of {list(about.scales)}."
        )
    stated = about.recipe or {}
    return shared, {
        "name": "/".join(Path(init).parts[-2:]),
        "sha256": digest,
        "scales": about.scales,
        "sets": stated.get("sets"),
        "teacher": stated.get("teacher"),
        "trained": about.trained,
    }


def _but_recursions(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an architecture, without K and with the defaults of those left out."""
    parameters = inspect.signature(architecture(name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {**defaults, **arguments, "recursions": 0}


def teacher_of(settings: Teacher, network: Network, device: str) -> Network:
    """Return the network of a `Teacher` on `device`, for the training of `network`.

    Raises
    ------
    InputError
        If it is no network, takes another input, or lacks a scale.
    """
    solver = make_solver(settings.solver)
    if not isinstance(solver, NetworkSolver) or solver.self_ensemble:
        raise InputError(
            f"{settings.solver} cannot teach: a teacher is a network, without the self-ensemble."
        )
    teacher = solver.network(device)
    if type(teacher).training_pair is not type(network).training_pair:
        raise InputError(
            f"{settings.solver} cannot teach {type(network).__name__}: it takes another input."
        )
    if lacking := [f"x{scale}" for scale in network.scales if scale not in teacher.scales]:
        raise InputError(
            f"{settings.solver} cannot teach {', '.join(lacking)}: it was not trained for it."
        )
    return teacher
