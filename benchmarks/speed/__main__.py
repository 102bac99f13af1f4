"""The command `python -m benchmarks.speed`: inference, training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.curves import make_folder, run_command
from cscsr.device import check_device

NETWORKS = ("inference", "training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named, and write a table of each into ``--out``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Speed of the networks, beside a plain chain of their convolutions.",
    )
    parser.add_argument("what", nargs="+", choices=NETWORKS)
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument("--device", default="cpu", help="%(default)s")
    return run_command(_measure, vars(parser.parse_args(arguments)))


def _measure(out: Path, what: list[str], device: str, report: Any) -> list[Path]:
    from benchmarks.speed.networks import networks

    check_device(device)
    return networks(make_folder(out), what, device, report)


if __name__ == "__main__":
    raise SystemExit(main())
