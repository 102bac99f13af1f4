"""What bfloat16 costs a network in decibels, and what a large image takes in memory.

    python -m benchmarks.inference precision --data DIR --out reports/latest
    python -m benchmarks.inference memory --size 4000x6000 --out reports/latest

`precision` scores the shipped networks in both precisions on the held-out images' central crops
and on Set5, each along its own line of the protocol. `memory` enlarges an image of random
pixels, in this process, and tells the most that was resident, image and enlargement included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.curves import make_folder, read_curves, run_command, write_curves
from cscsr import InputError, SuperResolution, make_solver
from cscsr.compare import machine
from cscsr.data.datasets import FOLDER_VARIABLE, data_folder, load_dataset

NETWORKS = ("crnet-a-small", "crnet-b-small")
SCALES = (2, 3, 4)

PRECISION_COLUMNS = [
    "network",
    "dataset",
    "images",
    "scale",
    "fp32_psnr_db",
    "bf16_psnr_db",
    "difference_db",
]
MEMORY_COLUMNS = [
    "network",
    "precision",
    "rows",
    "columns",
    "scale",
    "peak_mb",
    "arrays_mb",
    "seconds",
    "machine",
]


def precision(
    out: Path,
    data: str | Path | None,
    first: int | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make speed-precision.csv in the folder `out`, of the `first` images of each set or of all.
    Raises InputError for missing images."""
    from cscsr.training.run import holdout_crops
    from cscsr.training.ship import holdout_psnr

    folder = data_folder(data)
    if folder is None:
        raise InputError(f"name the folder of the images with --data or {FOLDER_VARIABLE}.")
    images = {
        "holdout": holdout_crops(folder),
        "Set5": [truth for _, truth in load_dataset("Set5", folder)],
    }
    tasks = [(network, name) for network in NETWORKS for name in images]
    rows, path = [], make_folder(out) / "speed-precision.csv"
    for index, (network, name) in enumerate(tasks):
        if report is not None:
            report(f"{network} on {name}", index, len(tasks))
        found, shown = {}, images[name][:first]
        for kind in ("fp32", "bf16"):
            solver = make_solver(network, precision=kind)
            found[kind] = holdout_psnr(solver, shown, list(SCALES), solver.line)
        for scale in SCALES:
            fp32, bf16 = found["fp32"][scale], found["bf16"][scale]
            values = [
                network,
                name,
                len(shown),
                scale,
                f"{fp32:.4f}",
                f"{bf16:.4f}",
                f"{bf16 - fp32:+.4f}",
            ]
            rows.append(dict(zip(PRECISION_COLUMNS, values, strict=True)))
        write_curves(path, PRECISION_COLUMNS, rows)
    return [path]


def memory(
    out: Path,
    size: str,
    network: str,
    precision: str,
    report: Callable[[str, int, int], None] | None = None,
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
    if report is not None:
        report(f"{network} on {size}", 0, 1)
    with machine.peak_memory() as peak:
        solution = solver.solve(SuperResolution(lr, 2))
    path = make_folder(out) / "network-memory.csv"
    arrays = (lr.nbytes + solution.estimate.nbytes) / 1e6
    values = [network, precision, rows, columns, 2, round(peak.megabytes), round(arrays)]
    values += [round(solution.seconds, 1), machine.describe()]
    row = dict(zip(MEMORY_COLUMNS, values, strict=True))
    write_curves(path, MEMORY_COLUMNS, [*read_curves(path), row])
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
        action.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
        if name == "precision":
            action.add_argument("--data", metavar="DIR", help=f"(default: ${FOLDER_VARIABLE})")
            action.add_argument("--first", type=int, metavar="N", help="so many images of each")
        else:
            action.add_argument("--size", default="4000x6000", help="(%(default)s)")
            action.add_argument("--network", default="crnet-b-small", help="(%(default)s)")
            action.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = vars(parser.parse_args(arguments))
    return run_command({"precision": precision, "memory": memory}[options.pop("action")], options)


if __name__ == "__main__":
    raise SystemExit(main())
