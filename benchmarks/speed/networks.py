"""Speed of the networks, in training and in use, beside a plain chain of convolutions.

    python -m benchmarks.speed inference training

What bounds a network is its convolutions. So the yardstick is a chain of the same 3×3
convolutions and no more, of the same widths, precision and image size, in the same process:
no ReLU, no sum, no skip, no pixel shuffle, no colour, no optimiser. Network and chain take
turns, and what is reported is the median of the ratios of neighbours in time. Inference is all
of `solve`, from one array to the other, training all of `Trainer.step`; a chain is run
forward, or forward and backward. The first and the last layer are in float32 on either side.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._study.command import Report, silent
from benchmarks._study.curves import read_curves, write_curves
from cscsr import InputError, SuperResolution
from cscsr.compare import machine
from cscsr.data.datasets import training_textures
from cscsr.output import write_text

if TYPE_CHECKING:
    import torch
    from torch import nn

    from cscsr.network import NetworkSolver

PRECISIONS = ("fp32", "bf16")
SCALE = 2
SIDE = 96
"""Of the low-resolution image that is enlarged."""

ROUNDS = 3


class Clock:
    """Seconds of this process. On a CPU with one thread, those that it computed, so that other
    work on the machine does not count; else those that passed, the GPU's queue emptied."""

    def __init__(self, device: str) -> None:
        import torch

        self.cpu = device == "cpu" and torch.get_num_threads() == 1
        self.name = "processor time" if self.cpu else "wall time"
        self._wait = (lambda: None) if device == "cpu" else torch.cuda.synchronize

    def now(self) -> float:
        self._wait()
        return time.process_time() if self.cpu else time.perf_counter()

    def time(self, run: Callable[[], Any]) -> float:
        start = self.now()
        run()
        return self.now() - start


class Chain:
    """The convolutions of a network on their way through one batch, and nothing between.

    Each layer has random weights of its own and is fed the output of the one before; where the
    sizes do not fit, behind a pixel shuffle, a new chain begins with a random input.
    """

    def __init__(self, network: nn.Module, batch: torch.Tensor, scale: int, bf16: bool) -> None:
        import torch

        self.parts: list[tuple[nn.Sequential, torch.Tensor]] = []
        layers: list[nn.Module] = []
        ends: torch.Tensor | None = None

        def append(
            layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
        ) -> None:
            nonlocal ends
            x = inputs[0].detach()
            half = bf16 and output.dtype == torch.bfloat16
            dtype = torch.bfloat16 if half else torch.float32
            fits = ends is not None and ends.shape == x.shape and layers[-1].weight.dtype == dtype
            if not fits:
                self._close(layers)
                start = torch.rand_like(x.to(dtype))
                self.parts.append((torch.nn.Sequential(), start))
            plain = torch.nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                padding=layer.padding,
                groups=layer.groups,
                bias=layer.bias is not None,
            )
            layers.append(plain.to(x.device, dtype, memory_format=torch.channels_last))
            ends = output

        convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
        handles = [layer.register_forward_hook(append) for layer in convolutions]
        with torch.no_grad(), torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            network(batch, scale)
        for handle in handles:
            handle.remove()
        self._close(layers)

    def _close(self, layers: list[nn.Module]) -> None:
        if layers:
            self.parts[-1][0].extend(layers)
        layers.clear()

    def forward(self) -> None:
        import torch

        with torch.inference_mode():
            for chain, x in self.parts:
                chain(x)

    def backward(self) -> None:
        for chain, x in self.parts:
            output = chain(x)
            output.backward(output.detach())
            chain.zero_grad()


def _paired(clock: Clock, ours: Callable[[], Any], chain: Callable[[], Any]) -> dict[str, Any]:
    ours()
    chain()
    times = [(clock.time(ours), clock.time(chain)) for _ in range(ROUNDS)]
    return {
        "ms": round(1e3 * statistics.median(a for a, _ in times), 2),
        "chain_ms": round(1e3 * statistics.median(b for _, b in times), 2),
        "rate_of_chain": round(statistics.median(b / a for a, b in times), 3),
    }


def photograph() -> np.ndarray:
    """A piece of a photograph, grey, float32 (SIDE,SIDE)."""
    texture = training_textures()["motorcycle_left"]
    return np.ascontiguousarray(texture[:SIDE, :SIDE], np.float32) / 255


def _random_weights(recipe: str, folder: str) -> str:
    """A weight file in `folder` of the recipe's network as training starts with it."""
    from cscsr import weights
    from cscsr.networks import build
    from cscsr.training.recipe import load_recipe

    settings = load_recipe(recipe)
    network = build(settings.architecture, **settings.network, scales=settings.scales)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    metadata = {key: getattr(settings, key) for key in ("architecture", "network", "scales")}
    metadata["line"] = network.line
    path = Path(folder) / f"{settings.name}.safetensors"
    weights.write(path, tensors, metadata)
    return str(path)


def inference(network: str, precision: str, device: str = "cpu") -> dict[str, Any]:
    """A row of the table for `solve` of one image of `SIDE`×`SIDE` at ×2."""
    from cscsr import weights
    from cscsr.network import NetworkSolver

    with tempfile.TemporaryDirectory() as folder:
        source = None if network in weights.manifest() else _random_weights(network, folder)
        solver = NetworkSolver(network, device=device, precision=precision, weights=source)
        return _inference(solver, device)


def _inference(solver: NetworkSolver, device: str) -> dict[str, Any]:
    import torch

    module = solver.network()
    image = photograph()
    if module.line == "rgb":
        image = np.repeat(image[..., None], 3, axis=2)
    batch = torch.from_numpy(module.prepare(image, SCALE))[None].to(device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    chain = Chain(module, batch, SCALE, solver.precision == "bf16")
    problem = SuperResolution(image, SCALE)
    return _paired(Clock(device), lambda: solver.solve(problem), chain.forward)


def training(network: str, precision: str, device: str = "cpu") -> dict[str, Any]:
    """A row of the table for a step of the recipe `network` on patches of embedded images."""
    from cscsr.networks import architecture
    from cscsr.training.patches import PatchBank
    from cscsr.training.recipe import load_recipe
    from cscsr.training.trainer import Trainer

    recipe, bf16 = load_recipe(network), precision == "bf16"
    training_pair = architecture(recipe.architecture).training_pair
    textures = list(training_textures().values())
    banks = {
        scale: PatchBank([training_pair(image, scale) for image in textures], device)
        for scale in recipe.scales
    }
    trainer = Trainer(recipe, banks, device=device, bf16=bf16)
    trainer.progress.per_step = 1e-4
    clock = Clock(device)
    joint = trainer.network.joint_scales
    if not joint:  # the scales take turns: one of them is measured
        trainer.banks = {SCALE: banks[SCALE]}
    source = next(iter(trainer.batch().values()))[0]
    if joint:
        source = source.repeat(len(recipe.scales), 1, 1, 1)
    chain = Chain(trainer.network, source.contiguous(), SCALE, bf16)
    row = _paired(clock, trainer.step, chain.backward)
    data = statistics.median(clock.time(trainer.batch) for _ in range(ROUNDS))
    return {**row, "data_share": round(1e3 * data / row["ms"], 4)}


MEASURES = {"inference": inference, "training": training}


def measure(
    kinds: Sequence[str],
    networks: Sequence[str],
    device: str = "cpu",
    report: Report = silent,
) -> Iterator[dict[str, Any]]:
    """The rows of the table for "inference", "training" or both, one by one."""
    import torch

    common = {
        "device": device,
        "threads": torch.get_num_threads(),
        "clock": Clock(device).name,
        "rounds": ROUNDS,
        "machine": machine.describe(device),
    }
    tasks = [(k, n, p) for k in kinds for n in networks for p in PRECISIONS]
    fp32 = 0.0
    for index, (kind, network, precision) in enumerate(tasks):
        report(f"{kind} of {network}, {precision}", index, len(tasks))
        row = {"measurement": kind, "network": network, "precision": precision, **common}
        row.update(MEASURES[kind](network, precision, device))
        fp32 = row["ms"] if precision == PRECISIONS[0] else fp32
        row["times_fp32"] = round(fp32 / row["ms"], 2)
        yield row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| measurement | network | precision | ms | plain chain, ms | rate of the chain "
        "| times fp32 | data side |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        data = f"{float(row['data_share']):.1%}" if row.get("data_share") else ""
        lines.append(
            f"| {row['measurement']} | {row['network']} | {row['precision']} "
            f"| {float(row['ms']):.1f} "
            f"| {float(row['chain_ms']):.1f} | {float(row['rate_of_chain']):.0%} "
            f"| {float(row['times_fp32']):.2f} "
            f"| {data} |"
        )
    first = rows[0]
    note = f"{first['machine']}; threads: {first['threads']}; {first['clock']}; median of {ROUNDS}."
    return "\n".join([*lines, "", note])


def measure_networks(
    out: str | Path,
    kinds: Sequence[str],
    networks: Sequence[str],
    device: str = "cpu",
    report: Report = silent,
) -> list[Path]:
    """Measure, and write speed-networks.csv and .md into the folder `out` as it goes; rows
    that stand there of what is not measured now are kept. Raises InputError for a recipe that
    is none, or takes no random patches."""
    from cscsr.training.recipe import load_recipe

    csv, page = Path(out) / "speed-networks.csv", Path(out) / "speed-networks.md"
    for name in networks:
        if load_recipe(name).sampling != "random":
            raise InputError(f"{name} takes no random patches: name a recipe that does.")
    anew = {(kind, name) for kind in kinds for name in networks}
    rows = [row for row in read_curves(csv) if (row["measurement"], row["network"]) not in anew]
    for row in measure(kinds, networks, device, report):
        rows.append(row)
        write_curves(csv, rows)
        write_text(page, table(rows) + "\n")
    return [csv, page]
