"""A trained network as a solver: its weights, colour, tiles, self-ensemble and precision.

Needs torch, numpy and safetensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cscsr import weights
from cscsr.arrays import check_device, to_numpy, to_type_of
from cscsr.errors import InputError
from cscsr.imaging import imresize, luma_of, luma_psnr, with_luma
from cscsr.networks import build
from cscsr.networks.crnet import Visit
from cscsr.problem import SuperResolution
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch, Trace
from cscsr.tiles import cuts

PRECISIONS = ("fp32", "bf16")

TILE_BYTES = 2**29
"""What the codes and features of a tile may take in memory; a wide network has smaller tiles."""


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
    CRNet-B+); device: "cpu", "cuda"; precision: "fp32", or "bf16" for all layers but the
    first and the last (about twice as fast on a processor that has it, for less than 0.01 dB);
    on a GPU torch multiplies float32 convolutions in TF32, unless told otherwise;
    tile: largest side, in pixels of the network's input, of the tiles that a larger image is
    cut into, 0 for never.

    A tile is computed with a halo as wide as the receptive field, so tiling does not
    change the answer, and what it takes in memory does not depend on the image. A solve that
    is not tiled nor an ensemble leaves its codes and one trace row per recursion k; where the
    truth or a callback is given, the row says how z_k is, and ``psnr_db`` is that of z_k decoded,
    which only the last was trained for.
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
        scale, shape = problem.scale, problem.lr.shape[:2]
        side, halo = self._tile_side(scale), self.halo(scale)
        if side and max(shape) > side:
            shape = [sum(w.stop - w.start for _, w in _windows(n, side, halo)) for n in shape]
        ratio = scale if metadata["line"] == "y" else 1
        passes = 8 if self.self_ensemble else 1
        return passes * multiply_adds(network, scale) * ratio**2 * math.prod(shape)

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
        self._check(problem)
        if init is not None:
            raise InputError(f"{self.name} starts from ReLU(W⊗y): it takes no init.")
        run = _Run(self, problem, callback)
        estimate = to_type_of(run.enlarged(), problem.lr)
        codes = None if run.codes is None else to_type_of(run.codes, problem.lr)
        return Solution(estimate, Status.DIRECT, run.trace, run.clock.seconds, codes)

    def solve_batch(self, problems: Sequence[SuperResolution]) -> list[Solution]:
        """Enlarge images of one shape and scale together, as many at a time as `TILE_BYTES`
        holds, for small images on a processor that one of them does not fill. The estimates
        are those of `solve`, without traces and codes; the time is divided evenly.

        Raises InputError as `solve`, and where shapes or scales differ.
        """
        if len({(p.scale, tuple(p.lr.shape)) for p in problems}) > 1:
            raise InputError("images of a batch must have one shape and one scale.")
        for problem in problems:
            self._check(problem)
        if not problems:
            return []
        first = problems[0]
        side = self._tile_side(first.scale)
        if side and max(first.lr.shape[:2]) > side:
            return [self.solve(problem) for problem in problems]
        network, metadata = self._network()
        ratio = first.scale if metadata["line"] == "y" else 1
        pixels = ratio**2 * math.prod(first.lr.shape[:2])
        together = max(1, TILE_BYTES // (pixels * _pixel_bytes(network, first.scale)))
        solutions = []
        for start in range(0, len(problems), together):
            part = problems[start : start + together]
            run = _Run(self, first, None)
            images = run.batch([to_numpy(problem.lr) for problem in part])
            seconds = run.clock.seconds / len(part)
            solutions += [
                Solution(to_type_of(image, problem.lr), Status.DIRECT, Trace(), seconds)
                for image, problem in zip(images, part, strict=True)
            ]
        return solutions

    def _check(self, problem: SuperResolution) -> None:
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        if self.precision not in PRECISIONS:
            raise InputError(f"precision is fp32 or bf16, got {self.precision!r}.")

    def _tile_side(self, scale: int) -> int:
        """Largest side of a tile in pixels of the low-resolution image, 0 for no tiles."""
        network, metadata = self._network()
        ratio = scale if metadata["line"] == "y" else 1
        fits = math.isqrt(TILE_BYTES // (ratio**2 * _pixel_bytes(network, scale)))
        return min(self.tile // ratio, max(fits - 2 * self.halo(scale), 16)) if self.tile else 0

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
            times = network.block.recursions if name.startswith("block.S") else 1
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
            times = network.block.recursions if name.startswith("block.S") else 1
            total += times * places * layer.weight.numel()
    return total


def _pixel_bytes(network: nn.Module, scale: int) -> int:
    """Memory of the largest tensors that are there at a time, for a pixel of the network's
    input: W⊗y, z and S⊗z; behind them the features, enlarged, twice."""
    block = network.block
    enlarged = scale**2 if hasattr(network, "up") else 1
    return 4 * max(3 * block.W.out_channels, 2 * enlarged * block.W.in_channels)


def _windows(length: int, side: int, halo: int) -> list[tuple[slice, slice]]:
    """0…length cut into parts of at most `side`, and each with `halo` more on either side."""
    return [
        (slice(first, last), slice(max(first - halo, 0), min(last + halo, length)))
        for first, last in cuts(length, side)
    ]


class _Run:
    """One solve: the clock, the trace, and the network applied to arrays."""

    def __init__(self, solver: CRNet, problem: SuperResolution, callback: Callback | None) -> None:
        self.solver, self.problem, self.callback = solver, problem, callback
        self.network, self.metadata = solver._network()
        self.trace, self.codes = Trace(), None
        self.clock = Stopwatch(solver.device)
        self._previous: Tensor | None = None

    def enlarged(self) -> np.ndarray:
        """The problem's image enlarged, float32, whole or tile by tile into one array."""
        lr, scale = to_numpy(self.problem.lr), self.problem.scale
        side, halo = self.solver._tile_side(scale), self.solver.halo(scale)
        if not side or max(lr.shape[:2]) <= side:
            visit = None if self.solver.self_ensemble else self._visit
            return self._coloured(self._outputs([lr], visit)[0], lr)
        height, width = lr.shape[:2]
        image = np.empty((scale * height, scale * width, *lr.shape[2:]), np.float32)
        for rows, tall in _windows(height, side, halo):
            for columns, wide in _windows(width, side, halo):
                window = lr[tall, wide]
                part = self._coloured(self._outputs([window])[0], window)
                image[_enlarged(rows, scale), _enlarged(columns, scale)] = part[
                    _enlarged(rows, scale, tall.start), _enlarged(columns, scale, wide.start)
                ]
        return image

    def batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Images of one shape enlarged in one pass."""
        outputs = self._outputs(images)
        return [self._coloured(o, lr) for o, lr in zip(outputs, images, strict=True)]

    def _planes(self, lr: np.ndarray) -> np.ndarray:
        """The network's input (C,H,W) for an image or a part of it, float32."""
        if self.metadata["line"] == "y":
            planes = imresize(luma_of(lr).astype(np.float64), self.problem.scale)[None]
        else:
            colour = lr if lr.ndim == 3 else np.repeat(lr[..., None], 3, axis=2)
            planes = colour.transpose(2, 0, 1)
        return np.ascontiguousarray(planes, np.float32)

    @torch.inference_mode()
    def _outputs(self, images: Sequence[np.ndarray], visit: Visit | None = None) -> np.ndarray:
        """The network's outputs (B,C,sH,sW) for images, or parts of them, of one shape."""
        scale = self.problem.scale
        arguments = () if self.metadata["line"] == "y" else (scale,)

        def apply(x: Tensor) -> Tensor:
            x = x.to(self.solver.device).contiguous(memory_format=torch.channels_last)
            bf16 = self.solver.precision == "bf16"
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                return self.network(x, *arguments, visit=visit).float().cpu()

        batch = torch.from_numpy(np.stack([self._planes(image) for image in images]))
        output = _ensemble(apply, batch) if self.solver.self_ensemble else apply(batch)
        return output.numpy()

    def _coloured(self, output: np.ndarray, lr: np.ndarray) -> np.ndarray:
        """An output (C,sH,sW) of the network as an image of the colours of `lr`. The three
        channels made of a grey image become their mean."""
        if self.metadata["line"] == "y":
            return with_luma(output[0], lr, self.problem.scale)
        return output.transpose(1, 2, 0) if lr.ndim == 3 else output.mean(axis=0)

    def _visit(self, k: int, z: Tensor, decode: Callable[[], Tensor]) -> None:
        """One trace row of recursion k, off the clock."""
        seconds = self.clock.seconds
        with self.clock.paused():
            row = {}
            if k == self.network.block.recursions:
                self.codes = z[0].float().cpu().numpy()
            if self.problem.truth is not None or self.callback is not None:
                row = self._seen(k, z, decode)
            self.trace.append(k, seconds, **row)

    def _seen(self, k: int, z: Tensor, decode: Callable[[], Tensor]) -> dict[str, float]:
        """What z_k is like: its share of a trace row."""
        row = {"nnz": float(torch.count_nonzero(z))}
        if self._previous is not None:
            change, norm = torch.dist(z, self._previous), z.norm().clamp(min=1e-30)
            row["relative_change"] = float(change / norm)
        self._previous = z.clone()
        output = decode()[0].float().cpu().numpy()
        image = to_type_of(self._coloured(output, to_numpy(self.problem.lr)), self.problem.lr)
        if self.problem.truth is not None:
            estimate = output[0] if self.metadata["line"] == "y" else to_numpy(image)
            truth = to_numpy(self.problem.truth)
            row["psnr_db"] = luma_psnr(estimate, truth, self.problem.scale)
        if self.callback is not None:
            self.callback(k, image)
        return row


def _enlarged(part: slice, scale: int, origin: int = 0) -> slice:
    """A range of low-resolution pixels, counted from `origin`, in the enlarged image."""
    return slice(scale * (part.start - origin), scale * (part.stop - origin))


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
