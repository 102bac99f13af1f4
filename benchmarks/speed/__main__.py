"""The command `python -m benchmarks.speed`: inference, solvers, training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.curves import make_folder, run_command
from cscsr.arrays import check_device

SMALL = ("crnet-a-small", "crnet-b-small")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named, and write a table of each into ``--out``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Speed of the networks, beside a plain chain of their convolutions, and of "
        "the sparse-coding solvers, beside sporco's.",
    )
    parser.add_argument("what", nargs="+", choices=("inference", "training", "solvers"))
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument("--device", default="cpu", help="of the networks (%(default)s)")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=SMALL,
        metavar="RECIPE",
        help="those of these recipes; with random weights where none are shipped (%(default)s)",
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 512], help="of the solvers' image"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="of the solvers' runs in turn (%(default)s)"
    )
    return run_command(_measure, vars(parser.parse_args(arguments)))


def _measure(
    out: Path,
    what: list[str],
    device: str,
    networks: Sequence[str],
    sizes: list[int],
    rounds: int,
    report: Any,
) -> list[Path]:
    check_device(device)
    out = make_folder(out)
    paths = []
    if "solvers" in what:
        from benchmarks.speed.solvers import solvers

        paths += solvers(out, sizes, rounds, report)
    if names := [name for name in what if name != "solvers"]:
        from benchmarks.speed.networks import measure_networks

        paths += measure_networks(out, names, networks, device, report)
    return paths


if __name__ == "__main__":
    raise SystemExit(main())
