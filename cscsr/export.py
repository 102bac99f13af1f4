"""Trained networks as files that other programs run: ONNX, and PyTorch's own exported programs.

A file holds the network at one scale, with a batch, height and width that vary. What a network does
before and after (bicubic interpolation of a luma, colours) is described in the file's metadata and
left to the program that runs it. A file is checked against the network in torch before it appears
under its name. Needs torch; for ONNX the extra cscsr[onnx].
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import cscsr
from cscsr.errors import InputError
from cscsr.network import NetworkSolver
from cscsr.networks.base import LumaEnlarger, LumaRefiner, Network
from cscsr.output import replacing
from cscsr.registry import make_solver
from cscsr.solver import Solver
from cscsr.super_resolution import check_scale

SUFFIXES = (".onnx", ".pt2")

TOLERANCE = 1e-5
"""The largest difference to torch, on the [0,1] scale, with which a file is written."""

_SIZES = ((1, 24, 31), (2, 40, 24), (1, 17, 17))
"""Batch, height and width of the images that a file is checked on."""

_OPSET = 18
"""The first of ONNX's operator sets whose Resize has an antialiased cubic kernel."""


@dataclass(frozen=True)
class Exported:
    """A written file.

    Attributes
    ----------
    path
        The file.
    input
        What it takes, in words.
    output
        What it returns, in words.
    difference
        The largest difference to torch on the images it was checked on, on the [0,1] scale.
    """

    path: Path
    input: str
    output: str
    difference: float


class _AtScale(nn.Module):
    """A network at one scale, as a module of one argument."""

    def __init__(self, network: Network, scale: int) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image, self.scale)


def export(
    solver: str | Solver[Any],
    path: str | Path,
    scale: int,
    *,
    force: bool = False,
    say: Callable[[str], None] | None = None,
) -> Exported:
    """Write a network as an ONNX file (.onnx) or a program of `torch.export` (.pt2).

    Parameters
    ----------
    solver
        A `NetworkSolver`, or the name of a solver that is one.
    path
        The file; its suffix is the format.
    scale
        The factor.
    force
        Whether an existing file may be replaced.
    say
        Called with a line when the checks are done and the work begins.

    Returns
    -------
    Exported
        The file is written when it agrees with torch to `TOLERANCE`.

    Raises
    ------
    InputError
        For a solver that is no single network, a scale that it was not trained for, another suffix,
        an existing file, a missing package, and a file that does not agree with torch.
    """
    path, scale = Path(path), check_scale(scale)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"the file's name must end in {' or '.join(SUFFIXES)}, got {path.name!r}.")
    if path.exists() and not force:
        raise InputError(f"{path} exists; give --force to replace it, or another name.")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}.")
    made: Any = make_solver(solver) if isinstance(solver, str) else solver
    if not isinstance(made, NetworkSolver) or made.self_ensemble:
        raise InputError(
            f"{made.name} is no single network; these can be exported: {', '.join(_exportable())}."
        )
    network = made.network("cpu")
    if scale not in network.scales:
        known = ", ".join(f"x{known}" for known in network.scales)
        raise InputError(f"{made.name} was trained for {known}, not for x{scale}.")
    onnx = path.suffix.lower() == ".onnx"
    if onnx:
        _check_onnx_is_installed()
    # A copy: whoever runs the file need not turn gradients off.
    module = _AtScale(copy.deepcopy(network), scale).eval().requires_grad_(False)
    channels = 3 if network.line == "rgb" else 1
    takes, returns = _words(network, scale)
    facts = {
        "model": made.name,
        "scale": str(scale),
        "input": takes,
        "output": returns,
        "weights_sha256": made.weights_sha256(),
        "cscsr": cscsr.__version__,
    }
    if say is not None:
        say(f"Tracing {made.name} at x{scale}; this takes up to a minute.")
    program = _program(module, channels)
    with replacing(path) as partial:
        if onnx:
            _save_onnx(program, partial, facts)
            run = _onnx_runner(partial)
        else:
            with partial.open("wb") as file, _silent():
                torch.export.save(program, file, extra_files=dict(facts))
            with partial.open("rb") as file:
                loaded = torch.export.load(file).module()
            run = _torch_runner(loaded)
        difference = largest_difference(module, run, channels)
        if not difference <= TOLERANCE:
            raise InputError(
                f"{path} was not written: it would differ from torch by {difference:.1e}, more "
                f"than {TOLERANCE:g}."
            )
    return Exported(path, takes, returns, difference)


def _exportable() -> list[str]:
    """The names of the solvers that are single networks."""
    names = []
    for name in cscsr.list_solvers("SuperResolution"):
        made = make_solver(name)
        if isinstance(made, NetworkSolver) and not made.self_ensemble:
            names.append(name)
    return names


def _check_onnx_is_installed() -> None:
    missing = [
        name
        for name in ("onnx", "onnxruntime", "onnxscript")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise InputError(
            f"ONNX files need the extra cscsr[onnx] (pip install 'cscsr[onnx]'): there is no "
            f"{', '.join(missing)}; .pt2 files need torch alone."
        )


def _words(network: Network, scale: int) -> tuple[str, str]:
    """What a network takes and returns."""
    if isinstance(network, LumaRefiner):
        return (
            f"image: (batch, 1, height, width), luma (ITU-R BT.601, 16/255 to 235/255) of an image "
            f"that bicubic interpolation has enlarged x{scale}",
            "large: the refined luma, of the same size",
        )
    if isinstance(network, LumaEnlarger):
        takes = "luma (ITU-R BT.601, 16/255 to 235/255)"
        return f"image: (batch, 1, height, width), {takes}", f"large: the luma, x{scale}"
    return "image: (batch, 3, height, width), RGB in [0, 1]", f"large: RGB, x{scale}, not clipped"


def _program(module: nn.Module, channels: int) -> torch.export.ExportedProgram:
    """The network as a graph whose batch, height and width vary."""
    batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "height", "width"))
    example = torch.rand(2, channels, 24, 28)
    with torch.no_grad():
        return torch.export.export(
            module, (example,), dynamic_shapes=({0: batch, 2: height, 3: width},), strict=False
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Silence what the exporter prints, logs and warns of."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _save_onnx(program: torch.export.ExportedProgram, path: Path, facts: dict[str, str]) -> None:
    """Translate a program into an ONNX file with metadata."""
    with _silent():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=_OPSET,
            input_names=["image"],
            output_names=["large"],
            verbose=False,
        )
        assert made is not None
        made.model.metadata_props.update(facts)
        made.save(str(path))


def _onnx_runner(path: Path) -> Callable[[Tensor], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda image: session.run(["large"], {"image": image.numpy()})[0]


def _torch_runner(loaded: Any) -> Callable[[Tensor], np.ndarray]:
    def run(image: Tensor) -> np.ndarray:
        with torch.no_grad():
            return loaded(image).numpy()

    return run


def largest_difference(
    module: nn.Module, run: Callable[[Tensor], np.ndarray], channels: int
) -> float:
    """Return the largest difference between a module and another runner of it, on parts of an
    embedded photograph of several sizes; infinite where the shapes differ."""
    from cscsr.data.datasets import demo
    from cscsr.imaging import luma_of

    photograph = dict(demo())["astronaut"]
    planes = photograph if channels == 3 else luma_of(photograph)[..., None]
    largest = 0.0
    for batch, height, width in _SIZES:
        parts = [planes[60 * n : 60 * n + height, 90 : 90 + width] for n in range(batch)]
        image = torch.from_numpy(np.stack(parts).transpose(0, 3, 1, 2) / np.float32(255))
        with torch.no_grad():
            expected = module(image).numpy()
        output = run(image)
        if output.shape != expected.shape:
            return float("inf")
        largest = max(largest, float(np.abs(output - expected).max()))
    return largest
