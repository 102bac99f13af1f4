"""Super-resolution on one axis: PSNR against iterations, seconds and operations.

    python -m benchmarks.sr_convergence --data DIR --out reports/latest

CSC-SR with each of its coders and each CRNet are stopped after k iterations (recursions, for a
network) and what there is then is decoded, for k up to twice the number they were
trained with. Only the trained number was trained to be decoded: the map of CSC-SR was fitted to
codes of that many iterations, the layers of CRNet behind z_K to z_K. The figures at all other
k say how the iteration comes there and what it does beyond, not how good a method of k
iterations could be.

`benchmarks._study.followed` makes them go on. Seconds and operations at k are those of a solve
that ends there, its decoding included. Operations are multiply-adds as
`cscsr.Solver.operations` counts them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from benchmarks._study.followed import (
    followed,
    iterative_solvers,
    mean_rows,
    operations_by_iteration,
    weight_hashes,
)
from benchmarks._study.images import bicubic_psnr, central, check_scorable, problem_of
from benchmarks.drawing.sr_convergence import describe_table, draw
from cscsr import InputError, interrupts
from cscsr.compare.machine import describe, load, threads
from cscsr.data.datasets import load_dataset
from cscsr.output import make_folder

BEYOND = 2
"""Iterations are followed up to this many times the trained number."""

NAME = "sr_convergence"
SAME_AS_ISTA = "csc-sr[cista]"
"""Makes the iterates of csc-sr[ista] at M(2s−1)²/(2s²) times the operations, and is followed
only when it is named."""


def follow(
    name: str,
    scale: int,
    images: Sequence[np.ndarray],
    beyond: float,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """A row for each iteration: means over the images.

    Raises InputError if the solver declines one of them.
    """
    curves = []
    with followed(name, scale, beyond) as run:
        for image in images:
            say(f"{name} ×{scale}")
            problem = problem_of(image, scale, run.solver.line)
            reason = run.solver.supports(problem)
            if reason is not None:
                raise InputError(reason)
            run.solver.prepare(problem)
            solution = run.solver.solve(problem)
            trace = solution.trace
            iterations = trace["iteration"].astype(int)
            decoding = solution.seconds - trace["seconds"][-1]
            size = run.codes * math.prod(np.shape(solution.codes)[-2:])
            curves.append(
                {
                    "psnr_db": trace["psnr_db"],
                    "seconds": trace["seconds"] + decoding,
                    "operations": operations_by_iteration(run, problem)[iterations],
                    "nnz_share": trace["nnz"] / size,
                    "relative_change": trace["relative_change"],
                }
            )
    about = {"solver": name, "scale": scale}
    return [
        {**about, "iteration": int(k), "trained_iterations": run.trained, **row}
        | {"images": len(images)}
        for k, row in zip(iterations, mean_rows(curves), strict=True)
    ]


def measure(
    settings: dict[str, Any],
    names: Sequence[str],
    scales: Sequence[int],
    images: Sequence[np.ndarray],
    report: Report,
) -> list[dict[str, Any]]:
    """The rows of sr_convergence.csv; a solver that declines an image of a scale has none of
    that scale."""
    rows: list[dict[str, Any]] = []
    say = counted(report, len(names) * len(scales) * len(images))
    for scale in scales:
        about = {
            "bicubic_psnr_db": round(bicubic_psnr(images, scale), 4),
            "threads": threads(),
            "machine": describe(),
            "load": load(),
        }
        for name in names:
            try:
                curve = follow(name, scale, images, BEYOND, say)
            except InputError as error:
                print(f"{name} ×{scale} is left out: {error}")
                continue
            rows += [settings | row | about for row in curve]
    return rows


def sr_convergence(
    out: str | Path,
    *,
    data: str | Path | None = None,
    dataset: str = "demo",
    scales: Sequence[int] = (2,),
    crop: int = 0,
    solvers: Sequence[str] | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make sr_convergence.csv, .png and .md in the folder `out`; returns their paths.

    crop: side in pixels of the part in the middle of each image that is taken, 0 for all.

    Nothing is solved where the table is there already, with the same settings and weights.
    Raises InputError for an unknown data set or solver, and images too small to be scored.
    """
    names = list(solvers or (n for n in iterative_solvers() if n != SAME_AS_ISTA))
    for name in names:
        with followed(name, scales[0], BEYOND):
            pass
    out = make_folder(out)
    table = out / f"{NAME}.csv"
    settings = {
        "dataset": dataset,
        "scales": " ".join(map(str, scales)),
        "crop": crop,
        "solvers": " ".join(names),
        "beyond": BEYOND,
        "weights": weight_hashes(names),
    }
    if not made_with(table, settings):
        images = [central(image, crop) for _, image in load_dataset(dataset, data)]
        check_scorable(images, max(scales))
        rows = measure(settings, names, scales, images, report)
        if not rows:
            raise InputError("no solver can be followed on these images.")
        write_curves(table, rows)
    draw(table, out / f"{NAME}.png")
    describe_table(table, out / f"{NAME}.md")
    return [table, out / f"{NAME}.png", out / f"{NAME}.md"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.sr_convergence`."""
    parser = study_parser("sr_convergence", __doc__.split("\n\n")[2])
    add_data(parser)
    parser.add_argument("--dataset", default="demo", metavar="NAME", help="(%(default)s)")
    parser.add_argument("--scales", nargs="+", type=int, default=[2], metavar="S")
    parser.add_argument(
        "--crop", type=int, default=0, help="middle of each image in pixels, 0: all (%(default)s)"
    )
    parser.add_argument(
        "--solvers",
        nargs="+",
        metavar="NAME",
        help=f"(default: all that have iterates, without {SAME_AS_ISTA})",
    )
    return run_command(sr_convergence, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
