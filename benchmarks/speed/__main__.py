"""The command `python -m benchmarks.speed`: inference, solvers, training, processors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks._study.command import Report, run_command, study_parser
from cscsr import interrupts
from cscsr.arrays import check_device
from cscsr.output import make_folder

SMALL = ("crnet-a-small", "crnet-b-small")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named, and write a table of each into ``--out``."""
    parser = study_parser(
        "speed",
        "Speed of the networks, beside a plain chain of their convolutions, and of the "
        "sparse-coding solvers, beside sporco's. processors: of both, on this processor, in "
        "units of sporco's ADMM.",
    )
    parser.add_argument(
        "subjects", nargs="+", choices=("inference", "training", "solvers", "processors")
    )
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
    parser.add_argument("--rounds", type=int, default=3, help="of the runs in turn (%(default)s)")
    return run_command(_measure, vars(parser.parse_args(arguments)))


def _measure(
    out: Path,
    subjects: list[str],
    device: str,
    networks: Sequence[str],
    sizes: list[int],
    rounds: int,
    report: Report,
) -> list[Path]:
    check_device(device)
    out = make_folder(out)
    paths = []
    if "solvers" in subjects:
        from benchmarks.speed.solvers import solvers

        paths += solvers(out, sizes, rounds, report)
    if "processors" in subjects:
        from benchmarks.speed.processors import processors

        paths += processors(out, rounds, report)
    if names := [name for name in subjects if name in ("inference", "training")]:
        from benchmarks.speed.networks import measure_networks

        paths += measure_networks(out, names, networks, device, report)
    return paths


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
