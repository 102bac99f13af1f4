"""Is CRNet sparse coding? Measured on the trained weights.

    python -m benchmarks.is_crnet_sparse_coding --data DIR --out reports/latest

CRNet's block is CISTA with W and S set free: z ← ReLU(W⊗y + S⊗z + b). If it still codes, then
the codes are sparse, S is n − (1/L) flip(f)⊗f for some f, the biases are thresholds, and more
recursions than it was trained with go on towards a minimum. Each of these is measured here,
for every network that is shipped; docs/is-crnet-sparse-coding.md reads the result.

Everything about S is in its symbol Ŝ(ω), an m₀×m₀ matrix at each frequency: by Parseval the
squared Frobenius distance of two filter banks is the mean over the frequencies of that of their
symbols, and ‖S‖ = max ‖Ŝ(ω)‖₂ on a torus.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks._study.command import (
    Report,
    add_data,
    counted,
    run_command,
    silent,
    study_parser,
)
from benchmarks._study.curves import made_with, write_curves
from benchmarks._study.followed import followed, mean_rows, networks, weight_hashes
from benchmarks._study.images import central, check_scorable, problem_of
from benchmarks._study.recurrence import (
    balanced,
    best_scale,
    floor_of,
    identity,
    largest_gram,
    nearest_dictionary,
    random_like,
    symbol,
    symmetric_eigenvalues,
    tied_distance,
    watched,
)
from benchmarks.drawing.is_crnet_sparse_coding import describe_tables, draw
from cscsr import InputError, interrupts, weights
from cscsr.data.datasets import load_dataset
from cscsr.output import make_folder

NAME = "is_crnet_sparse_coding"
BEYOND = 3
"""Recursions are followed up to this many times the trained number."""

SIDES = (2, 3)
"""Of the dictionaries that are fitted to S: what the paper's 3×3 S can hold, and W's own."""


class Recurrence(NamedTuple):
    """W and S of a network's block, each as one bank of filters.

    Attributes
    ----------
    W, S
        (m₀, n₀, k, k) and (m₀, m₀, j, j), float64.
    bias
        The sum of both biases (m₀,), 0 for one that is not there.
    rank
        Filters in B of a factored S, None for a free one.
    recursions
        K.
    """

    W: np.ndarray
    S: np.ndarray
    bias: np.ndarray
    rank: int | None
    recursions: int


def free_block(network: Any) -> Any:
    """The block of a network with W and S as layers of their own."""
    return network.block.untied() if hasattr(network.block, "untied") else network.block


@contextmanager
def freed(network: Any) -> Iterator[Any]:
    """The network with its `free_block`, which is its own again afterwards."""
    own = network.block
    network.block = free_block(network)
    try:
        yield network
    finally:
        network.block = own


def recurrence(name: str) -> Recurrence:
    """What the block of a shipped network applies at each recursion."""
    import torch

    from cscsr.network import load_network

    block = free_block(load_network(name, weights.sha256(name), "cpu"))
    with torch.no_grad():
        W, S = (layer.weight.double().contiguous().numpy() for layer in (block.W, block.S))
        bias = np.zeros(len(W))
        for layer in (block.W, block.S):
            bias += 0 if layer.bias is None else layer.bias.double().numpy()
    rank = block.S.B.out_channels if hasattr(block.S, "B") else None
    return Recurrence(W, S, bias, rank, block.recursions)


def spectrum(name: str) -> np.ndarray:
    """Eigenvalues of the symmetric part of a network's S, `balanced`, at every frequency."""
    return symmetric_eigenvalues(symbol(balanced(recurrence(name).S)[0]))


def describe_weights(name: str) -> dict[str, float]:
    """What the weights of a network say by themselves, S as `balanced` gives it.

    Raises InputError for one whose S is not a bank of square filters of odd size.
    """
    drive, recurrent, bias, rank, recursions = recurrence(name)
    atoms, channels = drive.shape[:2]
    if recurrent.shape[:2] != (atoms, atoms) or recurrent.shape[-1] % 2 == 0:
        raise InputError(f"{name} has an S of shape {recurrent.shape}, which is not one of CISTA.")
    recurrent, scales = balanced(recurrent)
    drive = drive * scales[:, None, None, None]
    size = recurrent.shape[-1]
    transfer = symbol(recurrent)
    eigenvalues = symmetric_eigenvalues(transfer)
    away = np.linalg.norm(identity(atoms, size) - recurrent)
    facts = {
        "recursions": recursions,
        "atoms": atoms,
        "channels": channels,
        "size": size,
        "norm": float(np.linalg.svd(transfer, compute_uv=False).max()),
        "radius": float(np.abs(np.linalg.eigvals(transfer)).max()),
        "largest_eigenvalue": float(eigenvalues.max()),
        "least_eigenvalue": float(eigenvalues.min()),
        "eigenvalues_above_one": float((eigenvalues > 1 + 1e-6).mean()),
        "identity_distance": float(away / np.linalg.norm(recurrent)),
        "diagonal": float(recurrent[:, :, size // 2, size // 2].diagonal().mean()),
        **{f"floor_{key}": value for key, value in floor_of(recurrent, channels).items()},
    }
    for side in SIDES:
        scaled = [] if side != drive.shape[-1] else [drive * best_scale(drive, recurrent)]
        fitted, distance = nearest_dictionary(recurrent, channels, side, starts=scaled)
        facts[f"fit_{side}x{side}"] = distance / float(np.linalg.norm(recurrent))
        facts[f"explained_{side}x{side}"] = 1.0 - (distance / float(away)) ** 2
        facts[f"gram_{side}x{side}"] = largest_gram(fitted)
    if drive.shape[-1] in SIDES:
        tied = tied_distance(drive, recurrent)
        facts["fit_W"] = tied / float(np.linalg.norm(recurrent))
        facts["explained_W"] = 1.0 - (tied / float(away)) ** 2
    drawn, _ = balanced(random_like(recurrent, rank))
    drawn_away = float(np.linalg.norm(identity(atoms, size) - drawn))
    for side in SIDES:
        _, distance = nearest_dictionary(drawn, channels, side)
        facts[f"random_explained_{side}x{side}"] = 1.0 - (distance / drawn_away) ** 2
    facts["random_asymmetric"] = floor_of(drawn, channels)["asymmetric"]
    if bias.any():
        thresholds = -scales * bias
        facts["positive_thresholds"] = float((thresholds > 0).mean())
        median = np.median(thresholds)
        near = (thresholds > median / 2) & (thresholds < median * 2)
        facts["thresholds_near_median"] = float(near.mean())
    return facts


def recursions(
    name: str,
    scale: int,
    images: Sequence[np.ndarray],
    beyond: float,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """A row for each recursion k, means over the images: PSNR of z_k decoded, share of its
    elements that are not zero, ‖z_k‖ over that of the trained K, relative change, and
    (E(z_k) − E(z_K)) / |E(z₀) − E(z_K)| of `energy`."""
    curves = []
    _, scales = balanced(recurrence(name).S)
    with followed(name, scale, beyond) as run, freed(run.solver.network()) as network:
        for image in images:
            say(f"{name}, recursions")
            problem = problem_of(image, scale, run.solver.line)
            with watched(network.block, scales) as (norms, energies):
                solution = run.solver.solve(problem)
            trace, size = solution.trace, run.codes * np.prod(solution.codes.shape[-2:])
            above = np.array(energies) - energies[run.trained]
            curve = {
                "psnr_db": trace["psnr_db"],
                "nnz_share": trace["nnz"] / size,
                "norm": np.array(norms) / norms[run.trained],
                "relative_change": trace["relative_change"],
                "energy": above / abs(above[0]),
            }
            curves.append({column: values[: run.iterations] for column, values in curve.items()})
    return [
        {"solver": name, "recursion": k, "trained_recursions": run.trained, **row}
        | {"images": len(images)}
        for k, row in enumerate(mean_rows(curves))
    ]


def measure(
    settings: dict[str, Any],
    names: Sequence[str],
    images: Sequence[np.ndarray],
    report: Report = silent,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the table of recursions and those of the table of weights."""
    say = counted(report, len(names) * (len(images) + 1))
    walks, facts = [], []
    for name in names:
        say(f"{name}, weights")
        facts.append({**settings, "solver": name, **describe_weights(name)})
        rows = recursions(name, int(settings["scale"]), images, settings["beyond"], say)
        walks += [settings | row for row in rows]
    return walks, facts


def is_crnet_sparse_coding(
    out: str | Path,
    *,
    data: str | Path | None = None,
    dataset: str = "demo",
    scale: int = 2,
    crop: int = 192,
    solvers: Sequence[str] | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make is_crnet_sparse_coding.csv (recursions), _weights.csv, .png and .md in the folder
    `out`; returns their paths.

    crop: side in pixels of the part in the middle of each image that is taken, 0 for all.

    Nothing is measured where the tables are there already, of the same settings and weights.
    Raises InputError for an unknown data set or network.
    """
    names = list(solvers or networks())
    for name in names:
        with followed(name, scale, BEYOND):
            pass
    out = make_folder(out)
    walks, facts = out / f"{NAME}.csv", out / f"{NAME}_weights.csv"
    settings = {
        "dataset": dataset,
        "scale": scale,
        "crop": crop,
        "solvers": " ".join(names),
        "beyond": BEYOND,
        "weights": weight_hashes(names),
    }
    if not (made_with(walks, settings) and made_with(facts, settings)):
        images = [central(image, crop) for _, image in load_dataset(dataset, data)]
        check_scorable(images, scale)
        walk_rows, fact_rows = measure(settings, names, images, report)
        write_curves(facts, fact_rows)
        write_curves(walks, walk_rows)
    draw(walks, out / f"{NAME}.png", spectrum)
    describe_tables(walks, facts, out / f"{NAME}.md")
    return [walks, facts, out / f"{NAME}.png", out / f"{NAME}.md"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.is_crnet_sparse_coding`."""
    parser = study_parser("is_crnet_sparse_coding", __doc__.split("\n\n")[2])
    add_data(parser)
    parser.add_argument("--dataset", default="demo", metavar="NAME", help="(%(default)s)")
    parser.add_argument("--scale", type=int, default=2, help="(%(default)s)")
    parser.add_argument(
        "--crop", type=int, default=192, help="middle of each image in pixels, 0: all (%(default)s)"
    )
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="(default: all networks)")
    return run_command(is_crnet_sparse_coding, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
