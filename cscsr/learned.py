"""A trained network as a solver: its weights, colour, tiles, self-ensemble and precision.

Needs torch, numpy and safetensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cscsr import weights
from cscsr.device import check_device
from cscsr.errors import InputError
from cscsr.imaging import imresize, luma_of, luma_psnr
from cscsr.imaging.enlarge import as_array, as_image, with_luma
from cscsr.networks import build
from cscsr.problem import SuperResolution
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch, Trace

PRECISIONS = ("fp32", "bf16")


@lru_cache(maxsize=8)
def load_network(source: str, digest: str, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network that a weight file describes, in evaluation mode, and its metadata.

    digest: the file's SHA-256, so that a changed file is read again.
    """
    tensors, metadata = weights.load(source)
    if "architecture" not in metadata:
        raise InputError(
            f"expected the weights of a network in {source}, got those of "
            f"{metadata.get('kind', 'another method')}."
        )
    network = build(metadata["architecture"], **metadata["network"], scales=metadata["scales"])
    network.load_state_dict({k: torch.from_numpy(v).float() for k, v in tensors.items()})
    network.to(device, memory_format=torch.channels_last)
    return network.eval(), metadata


@dataclass(frozen=True)
class CRNet(Solver[SuperResolution]):
    """CRNet-A (on luma) or CRNet-B (on RGB) with trained weights.

    model: "a-small" or "b-small", the shipped weights; weights: a safetensors file to use
    in their place; self_ensemble: the mean over the eight flips and rotations (Sec. 5.3,
    CRNet-B+); device: "cpu", "cuda"; precision: "fp32" or "bf16"; tile: side in pixels of
    the network's input of the tiles that a larger image is cut into, 0 for never.

    A tile is computed with a halo as wide as the receptive field, so tiling does not
    change the answer. A solve that is not tiled nor an ensemble leaves one trace row per
    recursion k; where the truth is given, ``psnr_db`` is that of z_k decoded, which only the
    last was trained for.
    """

    model: str = "b-small"
    self_ensemble: bool = False
    device: str = "cpu"
    precision: str = "fp32"
    weights: str | None = None
    tile: int = 512

    problem_type = SuperResolution

    @property
    def name(self) -> str:
        return f"crnet-{self.model}" + ("+" if self.self_ensemble else "")

    @property
    def line(self) -> str:
        return self._network()[1]["line"]

    def weights_sha256(self) -> str:
        return weights.sha256(self._source())

    def supports(self, problem: SuperResolution) -> str | None:
        reason = super().supports(problem)
        if reason is None:
            scales = self._network()[1]["scales"]
            if problem.scale not in scales:
                known = ", ".join(f"x{scale}" for scale in scales)
                reason = (
                    f"{self.name} was trained for {known}, not for x{problem.scale}; "
                    "bicubic takes any scale."
                )
        return reason

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float:
        """Those of every convolution, halos of tiles and the eight passes of an ensemble
        included. `iterations` changes nothing: a network makes its K recursions."""
        network, metadata = self._network()
        ratio = problem.scale if metadata["line"] == "y" else 1
        height, width = (ratio * n for n in problem.lr.shape[:2])
        if self.tile > 0 and max(height, width) > self.tile:
            halo = receptive_radius(network, problem.scale)
            height, width = (_tiled_length(n, self.tile, halo) for n in (height, width))
        passes = 8 if self.self_ensemble else 1
        return passes * multiply_adds(network, problem.scale) * height * width

    def halo(self, scale: int) -> int:
        """Half the receptive field, in pixels of the low-resolution image."""
        network, metadata = self._network()
        radius = receptive_radius(network, scale)
        return radius if metadata["line"] == "rgb" else -(-radius // scale) + 2

    def prepare(self, problem: SuperResolution) -> None:
        self._network()

    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Enlarge `problem.lr`; float32 inside. `callback(k, image)` is called at each
        recursion, where there is a trace, with the image that its codes z_k decode to.

        Raises InputError for an unsupported scale, an `init` (a network starts from its
        own z₀), an unknown precision, or a device that is not there.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        if init is not None:
            raise InputError(f"{self.name} starts from ReLU(W⊗y): it takes no init.")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision is fp32 or bf16, got {self.precision!r}.")
        run = _Run(self, problem, callback)
        estimate = run.finished(run.enlarged())
        codes = None if run.codes is None else as_image(run.codes, problem.lr)
        return Solution(estimate, Status.DIRECT, run.trace, run.clock.seconds, codes)

    def _source(self) -> str:
        return self.weights or f"crnet-{self.model}"

    def _network(self) -> tuple[nn.Module, dict[str, Any]]:
        check_device(self.device)
        source = self._source()
        return load_network(source, weights.sha256(source), self.device)


def receptive_radius(network: nn.Module, scale: int) -> int:
    """How far, in pixels of the network's input, an input pixel is felt: half the kernel of
    every convolution on the way of `scale`, S counted once a recursion. Layers behind a
    pixel shuffle are counted at input size, which is on the safe side."""
    radius = 0
    for name, layer in network.named_modules():
        branch = name.split(".")
        elsewhere = branch[0] in ("pre", "up") and branch[1:2] != [str(scale)]
        if isinstance(layer, nn.Conv2d) and not elsewhere:
            times = network.block.recursions if name == "block.S" else 1
            radius += times * (layer.kernel_size[0] // 2)
    return radius


def multiply_adds(network: nn.Module, scale: int) -> float:
    """Multiply-adds of all convolutions for each pixel of the network's input, biases left out.

    A layer makes one for each of its weights at each place of its output; layers behind a
    pixel shuffle work on more places than there are pixels, S works K times.
    """
    total, places = 0.0, 1
    for name, layer in network.named_modules():
        branch = name.split(".")
        if branch[0] in ("pre", "up") and branch[1:2] != [str(scale)]:
            continue
        if isinstance(layer, nn.PixelShuffle):
            places *= layer.upscale_factor**2
        elif isinstance(layer, nn.Conv2d):
            times = network.block.recursions if name == "block.S" else 1
            total += times * places * layer.weight.numel()
    return total


def _tiled_length(length: int, tile: int, halo: int) -> int:
    """Rows (or columns) that the tiles of a side of `length` have together."""
    starts = range(0, length, tile)
    return sum(min(n + tile + halo, length) - max(n - halo, 0) for n in starts)


class _Run:
    """One solve: the clock, the trace, and the network applied to arrays."""

    def __init__(self, solver: CRNet, problem: SuperResolution, callback: Callback | None) -> None:
        self.solver, self.problem, self.callback = solver, problem, callback
        self.network, self.metadata = solver._network()
        self.trace, self.codes = Trace(), None
        self.clock = Stopwatch(solver.device)
        self._previous: Tensor | None = None

    def enlarged(self) -> np.ndarray:
        """The network's output (C,sH,sW) for the problem's image."""
        lr, scale = as_array(self.problem.lr), self.problem.scale
        if self.metadata["line"] == "y":
            luma = imresize(luma_of(lr).astype(np.float64), scale).astype(np.float32)
            return self._apply(torch.from_numpy(luma)[None, None], 1, self.network)
        colour = lr if lr.ndim == 3 else np.repeat(lr[..., None], 3, axis=2)
        batch = torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1), np.float32))
        return self._apply(batch[None], scale, lambda x, visit: self.network(x, scale, visit))

    def finished(self, output: np.ndarray) -> Any:
        """An output (C,sH,sW) of the network as the image asked for: its colour, kind, dtype
        and device. The three channels made of a grey image become their mean."""
        lr = as_array(self.problem.lr)
        if self.metadata["line"] == "y":
            image = with_luma(output[0], lr, self.problem.scale)
        else:
            image = output.transpose(1, 2, 0) if lr.ndim == 3 else output.mean(axis=0)
        return as_image(image, self.problem.lr)

    @torch.inference_mode()
    def _apply(
        self,
        batch: Tensor,
        ratio: int,
        forward: Callable[[Tensor, Any], Tensor],
    ) -> np.ndarray:
        tile, halo = self.solver.tile, receptive_radius(self.network, self.problem.scale)
        whole = tile <= 0 or max(batch.shape[2:]) <= tile
        visit = self._visit if whole and not self.solver.self_ensemble else None

        def apply(x: Tensor) -> Tensor:
            x = x.to(self.solver.device).contiguous(memory_format=torch.channels_last)
            bf16 = self.solver.precision == "bf16"
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                return forward(x, visit).float().cpu()

        def cover(x: Tensor) -> Tensor:
            return apply(x) if whole else _tiled(apply, x, tile, halo, ratio)

        output = _ensemble(cover, batch) if self.solver.self_ensemble else cover(batch)
        return output[0].numpy()

    def _visit(self, k: int, z: Tensor, decode: Callable[[], Tensor]) -> None:
        """One trace row of recursion k, off the clock."""
        seconds = self.clock.seconds
        with self.clock.paused():
            row = {"nnz": float(torch.count_nonzero(z))}
            if self._previous is not None:
                change, norm = torch.dist(z, self._previous), z.norm().clamp(min=1e-30)
                row["relative_change"] = float(change / norm)
            self._previous, self.codes = z, z[0].float().cpu().numpy()
            if self.problem.truth is not None or self.callback is not None:
                output = decode()[0].float().cpu().numpy()
                image = self.finished(output)
                if self.problem.truth is not None:
                    estimate = output[0] if self.metadata["line"] == "y" else as_array(image)
                    truth = as_array(self.problem.truth)
                    row["psnr_db"] = luma_psnr(estimate, truth, self.problem.scale)
                if self.callback is not None:
                    self.callback(k, image)
            self.trace.append(k, seconds, **row)


def _tiled(
    apply: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int, ratio: int
) -> Tensor:
    """`apply` to x (B,C,H,W) tile by tile, each with a halo of its neighbours' pixels."""
    height, width = x.shape[2:]
    output: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            above, before = max(top - halo, 0), max(left - halo, 0)
            piece = apply(x[:, :, above : bottom + halo, before : right + halo])
            if output is None:
                output = piece.new_empty(*piece.shape[:2], ratio * height, ratio * width)
            output[:, :, ratio * top : ratio * bottom, ratio * left : ratio * right] = piece[
                :,
                :,
                ratio * (top - above) : ratio * (bottom - above),
                ratio * (left - before) : ratio * (right - before),
            ]
    return output


def _ensemble(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The mean of `apply` over the eight flips and rotations of x, each turned back."""
    total: Tensor | None = None
    for turns in range(4):
        for flip in (False, True):
            turned = torch.rot90(x.flip(3) if flip else x, turns, (2, 3))
            output = torch.rot90(apply(turned), -turns, (2, 3))
            output = output.flip(3) if flip else output
            total = output if total is None else total + output
    return total / 8
