"""Solvers of super-resolution that run past the number of iterations they were trained with.

A longer run is the same weight file with another number of iterations in its header: CRNet's
S is shared by all recursions and a coder's step does not depend on its cap.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cscsr import InputError, Solver, SuperResolution, list_solvers, make_solver, weights


class Followed(NamedTuple):
    """A solver that runs past the number of iterations it was trained with.

    solver: with `iterations` of them; trained: the number its weights were made for.
    codes: M, its code channels.
    """

    solver: Solver
    trained: int
    iterations: int
    codes: int


def iterative_solvers() -> list[str]:
    """The registered solvers of super-resolution that have iterates: CSC-SR with each coder
    and the networks, without self-ensemble."""
    names = list_solvers("SuperResolution")
    return [n for n in names if n.startswith(("csc-sr[", "crnet-")) and not n.endswith("+")]


@contextmanager
def followed(name: str, scale: int, beyond: float) -> Iterator[Followed]:
    """The solver `name`, made to go on to `beyond` times its trained number of iterations.

    Raises InputError for a solver without iterates, or without the scale.
    """
    if name not in iterative_solvers():
        raise InputError(
            f"{name} has no iterates to follow; these have: {', '.join(iterative_solvers())}."
        )
    if name.startswith("crnet-"):
        trained = make_solver(name).network().recursions
        longest = math.ceil(beyond * trained)
        solver = make_solver(name, recursions=longest, tile=0)
        codes = weights.load(name)[1]["network"]["m0"]
        yield Followed(solver, trained, longest, codes)
        return
    from cscsr.csc_sr.weight_file import weights_name

    tensors, metadata = weights.load(weights_name(name[len("csc-sr[") : -1]))
    if str(scale) not in metadata["scales"]:
        raise InputError(f"{name} has no map for x{scale}.")
    settings = metadata["scales"][str(scale)]["settings"]
    trained = int(settings["iterations"])
    longest = settings["iterations"] = math.ceil(beyond * trained)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "longer.safetensors")
        weights.write(path, tensors, metadata)
        solver = make_solver(name, weights=path, trace=True)
        yield Followed(solver, trained, longest, len(tensors["filters"]))


def operations_by_iteration(followed: Followed, problem: SuperResolution) -> np.ndarray:
    """Multiply-adds of a solve of `problem` that ends after k = 0 … iterations."""
    solver, longest = followed.solver, followed.iterations
    k = np.arange(longest + 1)
    if not solver.name.startswith("crnet-"):
        none, one = (solver.operations(problem, n) for n in (0, 1))
        if none is None or one is None:
            return np.full(len(k), math.nan)
        return none + k * (one - none)
    network = solver.network()
    places = network.input_ratio(problem.scale) ** 2 * math.prod(problem.lr.shape[:2])
    size = sum(
        (convolution.times // longest) * convolution.layer.weight.numel()
        for convolution in network.block.convolutions()
    )
    return solver.operations(problem) - (longest - k) * size * places


def networks() -> list[str]:
    """The shipped networks, without self-ensemble."""
    return [name for name in iterative_solvers() if name.startswith("crnet-")]


def weight_hashes(names: Sequence[str]) -> str:
    """The first digits of each solver's weights, to tell tables of other weights by."""
    return " ".join((make_solver(name).weights_sha256() or "")[:8] for name in names)


def mean_rows(curves: Sequence[dict[str, np.ndarray]]) -> list[dict[str, float]]:
    """A row for each iteration: every column's mean over the curves of several images."""
    means = {name: np.mean([curve[name] for curve in curves], axis=0) for name in curves[0]}
    count = len(next(iter(means.values())))
    return [{name: float(f"{v[k]:.6g}") for name, v in means.items()} for k in range(count)]
