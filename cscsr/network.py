"""A trained network as a solver: its weights, tiles, self-ensemble, precision and trace.

Properties of the kind of network (colour, cost, receptive field) are its own; see
`cscsr.networks.base`. Needs torch, numpy and safetensors.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cscsr import weights
from cscsr.arrays import check_device, device_to_use, ordinary_torch, to_numpy, to_type_of
from cscsr.errors import InputError
from cscsr.imaging import luma_psnr
from cscsr.networks import Network, Visit, blueprint, build
from cscsr.networks.base import BICUBIC_REACH
from cscsr.published_weights import row_of_solver
from cscsr.schema import check, check_table
from cscsr.self_ensemble import mean_over_orientations
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch, Trace
from cscsr.super_resolution import SuperResolution
from cscsr.tiles import Tile, tiles

PRECISIONS = ("fp32", "bf16")

TILE_BYTES = 2**29
"""The most bytes of a tile's activations; a wide network has smaller tiles."""

SMALLEST_TILE = 16
"""The least side of a tile in low-resolution pixels, even if it exceeds `TILE_BYTES`."""


@dataclass(frozen=True)
class NetworkMetadata:
    """The metadata in the header of a network's weight file.

    Attributes
    ----------
    architecture
        The name of its class; see `cscsr.networks.build`.
    network
        The arguments of its constructor, without its scales.
    scales
        The factors that it enlarges by.
    line
        "y" or "rgb", that of the class.
    recipe, trained, holdout_psnr_db
        How it was trained, and its quality on held-out images.
    """

    architecture: str
    network: dict[str, Any]
    scales: list[int]
    line: Literal["y", "rgb"]
    recipe: dict[str, Any] | None = None
    trained: dict[str, Any] | None = None
    holdout_psnr_db: dict[str, float] | None = None


def read_network(
    source: str | os.PathLike[str], digest: str | None = None
) -> tuple[dict[str, np.ndarray], NetworkMetadata]:
    """Return the tensors and the metadata of a network's weight file, which fit each other.

    They are checked before a network is built, which could take any memory and any time.

    Raises
    ------
    InputError
        As `load_network`.
    """
    tensors, metadata = weights.load(source, digest)
    if "architecture" not in metadata:
        raise weights.of_another_method(source, metadata, "the parameters of a network")
    try:
        about = check_table(NetworkMetadata, metadata, "the metadata")
        plan = blueprint(about.architecture, {**about.network, "scales": about.scales})
    except InputError as error:
        raise InputError(f"weight file {source}: {error}") from error
    if about.line != plan.line:
        raise InputError(
            f"weight file {source}: line should be {plan.line}, that of {about.architecture}, "
            f"got {about.line}."
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in plan.state_dict().items()}
    weights.check_shapes(source, tensors, shapes)
    return tensors, about


def check_architecture(solver: Solver[Any]) -> None:
    """Check that a solver whose weights are a file of the user's is what its name says.

    Raises
    ------
    InputError
        For a `NetworkSolver` with weights of another architecture than those that belong to its
        name, and for a file that holds no network.
    """
    if not isinstance(solver, NetworkSolver) or solver.weights is None:
        return
    row = row_of_solver(solver.model)
    expected = row.architecture if row else read_network(solver.model)[1].architecture
    own = read_network(solver.weights)[1].architecture
    if own != expected:
        raise InputError(
            f"weight file {solver.weights} holds the architecture {own}, but {solver.name} is "
            f"{expected}; name a solver of {own}, or none."
        )


@lru_cache(maxsize=8)
@ordinary_torch()
def load_network(source: str, digest: str, device: str, recursions: int | None = None) -> Network:
    """Return the network of a weight file, in evaluation mode.

    Parameters
    ----------
    source
        Name of shipped weights, or path of a safetensors file.
    digest
        The SHA-256 that the file must have.
    device
        "cpu", "cuda", "cuda:1".
    recursions
        K, in place of the number it was trained with.

    Raises
    ------
    InputError
        For `recursions` of a network that has none, for a file that is not there, that holds
        something other than a network, whose metadata are wrong or do not fit its tensors, or that
        does not have `digest`.
    """
    tensors, about = read_network(source, digest)
    arguments = {**about.network, "scales": about.scales}
    if recursions is not None:
        arguments["recursions"] = recursions
    network = build(about.architecture, **arguments)
    network.load_state_dict({k: torch.from_numpy(v).float() for k, v in tensors.items()})
    network.to(device, torch.float32)
    # (stubs of torch know no memory format without a dtype)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


@dataclass(frozen=True)
class NetworkSolver(Solver[SuperResolution]):
    """A network of any architecture with trained weights.

    Tiles have a halo as wide as the receptive field, so that tiling does not change the answer and
    bounds the memory for any size of image; a network whose receptive field is the whole image has
    none. For a network with recursions, a solve without tiles
    and self-ensemble returns its codes and one trace row per recursion k. With a truth or a
    callback, the row describes z_k; its ``psnr_db`` is that of the decoded z_k, although only the
    last z_k was trained to be decoded.

    Parameters
    ----------
    model
        Name of shipped weights, and of the solver.
    self_ensemble
        Return the mean over the eight flips and rotations (Sec. 5.3 of the paper, CRNet-B+).
    device
        "cpu", "cuda", "cuda:1"; None: the image's.
    precision
        "fp32", or "bf16" for all layers but the first and the last (about twice as fast on a
        processor with bfloat16 instructions, slower than "fp32" on others; the loss is below
        0.01 dB). On a GPU torch computes float32 convolutions in TF32 by default.
    weights
        A safetensors file to use in place of the shipped one.
    tile
        The largest side of a tile without its halo, in pixels of the network's input; 0: no tiles.
    recursions
        K, in place of the number that the network was trained with; None: that number. All
        recursions share S, so the same weights make more or fewer.

    Raises
    ------
    InputError
        For an unknown precision, and a tile that is no whole number of at least 0.
    """

    model: str = "crnet-b-small"
    self_ensemble: bool = False
    device: str | None = None
    precision: str = "fp32"
    weights: str | None = None
    tile: int = 512
    recursions: int | None = None

    problem_type = SuperResolution

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be fp32 or bf16, got {self.precision!r}.")
        if check(int, self.tile, "tile") < 0:
            raise InputError(f"tile must be at least 0, got {self.tile!r}.")

    @property
    def name(self) -> str:
        return self.model + ("+" if self.self_ensemble else "")

    @property
    def line(self) -> str:
        return self.network().line

    def network(self, device: str | None = None) -> Network:
        """Return the network with its weights.

        Parameters
        ----------
        device
            The device of the weights; None: the solver's device, or the CPU if it names none.

        Raises
        ------
        InputError
            For missing weights, and a device that this machine lacks.
        """
        source = self._source()
        device = device or check_device(self.device or "cpu")
        return load_network(source, weights.sha256(source), device, self.recursions)

    def weights_sha256(self) -> str:
        return weights.sha256(self._source())

    def supports(self, problem: SuperResolution) -> str | None:
        reason = super().supports(problem)
        if reason is None:
            scales = self.network().scales
            if problem.scale not in scales:
                known = ", ".join(f"x{scale}" for scale in scales)
                reason = (
                    f"{self.name} was trained for {known}, not for x{problem.scale}; "
                    "bicubic supports any scale."
                )
        return reason

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float:
        """Return the multiply-adds of all convolutions, with the halos of tiles and all passes of
        the self-ensemble.

        `iterations` has no effect: a network makes its K recursions.
        """
        scale, passes = problem.scale, 8 if self.self_ensemble else 1
        height, width = problem.lr.shape[:2]
        pixels = sum(tile.pixels for tile in self._tiles(height, width, scale))
        return passes * self.network().multiply_adds(scale) * pixels

    def halo(self, scale: int) -> int | None:
        """Return half the receptive field, in pixels of the low-resolution image.

        None for a scale that the network was not trained for (see `supports`), and for a network
        whose receptive field is the whole image.
        """
        network = self.network()
        radius = network.radius(scale) if scale in network.scales else None
        return None if radius is None else max(radius, BICUBIC_REACH)

    def tile_side(self, scale: int) -> int | None:
        """Return the largest side of a tile without its halo, in low-resolution pixels; None for no
        tiles."""
        network, halo = self.network(), self.halo(scale)
        if not self.tile or halo is None:
            return None
        ratio = network.input_ratio(scale)
        fits = math.isqrt(TILE_BYTES // (ratio**2 * network.pixel_bytes(scale)))
        return min(max(self.tile // ratio, 1), max(fits - 2 * halo, SMALLEST_TILE))

    @ordinary_torch()
    def prepare(self, problem: SuperResolution) -> None:
        self.network(self._device(problem))

    def _device(self, problem: SuperResolution) -> str:
        return device_to_use(self.device, problem.lr)

    @ordinary_torch()
    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Enlarge `problem.lr`, computing in float32.

        Where the solve has a trace, `callback(k, image)` is called at each recursion with the image
        decoded from z_k.

        Raises
        ------
        InputError
            For an unsupported scale, an `init` (a network starts from its input alone), or a
            device that this machine lacks.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        if init is not None:
            raise InputError(f"{self.name} starts from the image alone and takes no init.")
        run = _Run(self, problem, callback)
        estimate = to_type_of(run.enlarged(), problem.lr)
        codes = None if run.codes is None else to_type_of(run.codes, problem.lr)
        return Solution(estimate, Status.DIRECT, run.trace, run.clock.seconds, codes)

    def _tiles(self, height: int, width: int, scale: int) -> list[Tile]:
        """The tiles of an image; a single one if the image is not cut."""
        side, halo = self.tile_side(scale) or max(height, width), self.halo(scale) or 0
        return list(itertools.chain.from_iterable(tiles(height, width, side, halo)))

    def _source(self) -> str:
        return self.weights or self.model


class _Run:
    """One solve: the clock, the trace, and the network applied to arrays."""

    def __init__(
        self, solver: NetworkSolver, problem: SuperResolution, callback: Callback | None
    ) -> None:
        self.solver, self.problem, self.callback = solver, problem, callback
        self.device = solver._device(problem)
        self.network = solver.network(self.device)
        self.trace = Trace()
        self.codes: np.ndarray | None = None
        self.clock = Stopwatch(self.device)
        self._previous: Tensor | None = None

    def enlarged(self) -> np.ndarray:
        """The enlarged image, float32, computed whole or tile by tile."""
        lr, scale = to_numpy(self.problem.lr), self.problem.scale
        height, width = lr.shape[:2]
        parts = self.solver._tiles(height, width, scale)
        if len(parts) == 1:
            visit = None if self.solver.self_ensemble else self._visit
            return self.network.finish(self._output(lr, visit), lr, scale)
        image = np.empty((scale * height, scale * width, *lr.shape[2:]), np.float32)
        for tile in parts:
            window = lr[tile.window]
            part = self.network.finish(self._output(window), window, scale)
            image[tile.target(scale)] = part[tile.inside(scale)]
        return image

    @torch.inference_mode()
    def _output(self, lr: np.ndarray, visit: Visit | None = None) -> np.ndarray:
        """The network's output (C,sH,sW) for an image or a part of one."""
        scale = self.problem.scale

        def apply(x: Tensor) -> Tensor:
            x = x.to(self.device).contiguous(memory_format=torch.channels_last)
            bf16 = self.solver.precision == "bf16"
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                return self.network(x, scale, visit).float().cpu()

        planes = torch.from_numpy(self.network.prepare(lr, scale))[None]
        ensemble = self.solver.self_ensemble
        output = mean_over_orientations(apply, planes) if ensemble else apply(planes)
        return output[0].numpy()

    def _visit(self, k: int, z: Tensor, decode: Callable[[], Tensor]) -> None:
        """Append the trace row of recursion k, with the clock paused."""
        seconds = self.clock.seconds
        with self.clock.paused():
            row = {}
            if k == self.network.recursions:
                self.codes = z[0].float().cpu().numpy()
            if self.problem.truth is not None or self.callback is not None:
                row = self._described(k, z, decode)
            self.trace.append(k, seconds, **row)

    def _described(self, k: int, z: Tensor, decode: Callable[[], Tensor]) -> dict[str, float]:
        """The columns of a trace row that describe z_k."""
        row = {"nnz": float(torch.count_nonzero(z))}
        if self._previous is not None:
            change, norm = torch.dist(z, self._previous), z.norm().clamp(min=1e-30)
            row["relative_change"] = float(change / norm)
        self._previous = z.clone()
        output, scale = decode()[0].float().cpu().numpy(), self.problem.scale
        lr = to_numpy(self.problem.lr)
        if self.problem.truth is not None:
            estimate = self.network.scored(output, lr, scale)
            row["psnr_db"] = luma_psnr(estimate, to_numpy(self.problem.truth), scale)
        if self.callback is not None:
            self.callback(k, to_type_of(self.network.finish(output, lr, scale), self.problem.lr))
        return row
