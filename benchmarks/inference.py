"""What bfloat16 costs a network in decibels, and what a large image takes in memory.

    python -m benchmarks.inference precision --data DIR --out reports/latest
    python -m benchmarks.inference memory --size 4000x6000 --out reports/latest

`precision` scores the shipped networks in both precisions on the held-out images' central crops
and on Set5, each along its own line of the protocol. `memory` enlarges an image of random
pixels, in this process, and tells the most that was resident, image and enlargement included.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._study.command import Report, add_data, add_out, needed_data, run_command, silent
from benchmarks._study.curves import read_curves, write_curves
from cscsr import InputError, SuperResolution, interrupts, make_solver
from cscsr.compare import machine
from cscsr.data.datasets import load_dataset
from cscsr.output import make_folder

NETWORKS = ("crnet-a-small", "crnet-b-small")
SCALES = (2, 3, 4)


def precision(
    out: Path,
    data: str | Path | None,
    first: int | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make speed-precision.csv in the folder `out`, of the `first` images of each set or of all.
    Raises InputError for missing images."""
    from cscsr.training.run import holdout_crops
    from cscsr.training.ship import holdout_psnr

    folder = needed_data(data)
    images = {
        "holdout": holdout_crops(folder),
        "Set5": [truth for _, truth in load_dataset("Set5", folder)],
    }
    tasks = [(network, name) for network in NETWORKS for name in images]
    rows, path = [], make_folder(out) / "speed-precision.csv"
    for index, (network, name) in enumerate(tasks):
        report(f"{network} on {name}", index, len(tasks))
        truths = images[name][:first]
        solvers = [make_solver(network, precision=kind) for kind in ("fp32", "bf16")]
        by_scale = [holdout_psnr(solver, truths, list(SCALES), solver.line) for solver in solvers]
        for scale in SCALES:
            fp32, bf16 = (psnr[scale] for psnr in by_scale)
            rows.append(
                {
                    "network": network,
                    "dataset": name,
                    "images": len(truths),
                    "scale": scale,
                    "fp32_psnr_db": f"{fp32:.4f}",
                    "bf16_psnr_db": f"{bf16:.4f}",
                    "difference_db": f"{bf16 - fp32:+.4f}",
                }
            )
        write_curves(path, rows)
    return [path]


def memory(
    out: Path,
    size: str,
    network: str,
    precision: str,
    report: Report = silent,
) -> list[Path]:
    """Add a row to network-memory.csv in the folder `out`, for an image of `size` ("ROWSxCOLUMNS")
    enlarged two times. Raises InputError for a size that is none."""
    try:
        rows, columns = (int(n) for n in size.split("x"))
    except ValueError:
        raise InputError(f"expected a size such as 4000x6000, got {size!r}.") from None
    solver = make_solver(network, precision=precision)
    solver.prepare(SuperResolution(np.zeros((8, 8, 3), np.float32), 2))
    lr = np.random.default_rng(0).random((rows, columns, 3), dtype=np.float32)
    report(f"{network} on {size}", 0, 1)
    with machine.peak_memory() as peak:
        solution = solver.solve(SuperResolution(lr, 2))
    path = make_folder(out) / "network-memory.csv"
    arrays = (lr.nbytes + solution.estimate.nbytes) / 1e6
    row = {
        "network": network,
        "precision": precision,
        "rows": rows,
        "columns": columns,
        "scale": 2,
        "peak_mb": round(peak.megabytes),
        "arrays_mb": round(arrays),
        "seconds": round(solution.seconds, 1),
        "machine": machine.describe(),
    }
    write_curves(path, [*read_curves(path), row])
    print(", ".join(f"{key} {value}" for key, value in row.items()))
    return [path]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.inference`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference", description=__doc__.split("\n\n")[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("precision", "memory"):
        action = actions.add_parser(name)
        add_out(action)
        if name == "precision":
            add_data(action)
            action.add_argument("--first", type=int, metavar="N", help="so many images of each")
        else:
            action.add_argument("--size", default="4000x6000", help="(%(default)s)")
            action.add_argument("--network", default="crnet-b-small", help="(%(default)s)")
            action.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = vars(parser.parse_args(arguments))
    return run_command({"precision": precision, "memory": memory}[options.pop("action")], options)


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
