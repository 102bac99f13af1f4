"""The comparison with its figures: `cscsr compare`, Figure 5 and the convergence curves beside it.

    python -m benchmarks.compare --scales 2 3 4

`cscsr.compare` does the work; the two figures are studies of this folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.convergence import convergence
from benchmarks.figure5 import (
    DEFAULT_SECONDS,
    DEFAULT_STEPS,
    DEFAULT_WIDTH,
    check_budget,
    cut_off,
    figure5,
)
from cscsr import interrupts
from cscsr.compare import command
from cscsr.compare.command import Report
from cscsr.compare.plan import Plan


class Figure5:
    """Figure 5 of the paper in small."""

    name = "figure 5"
    seconds = 100.0

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--figures",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="make fig5.png and convergence.png too (default: yes)",
        )
        parser.add_argument(
            "--fig5-width",
            type=int,
            default=DEFAULT_WIDTH,
            metavar="N",
            help="feature channels of Figure 5's networks (default: %(default)s)",
        )
        parser.add_argument(
            "--fig5-steps",
            type=int,
            default=DEFAULT_STEPS,
            metavar="N",
            help="training steps of each of them (default: %(default)s)",
        )
        parser.add_argument(
            "--fig5-seconds",
            type=float,
            default=DEFAULT_SECONDS,
            metavar="S",
            help="time for all four, after which their curves end (default: %(default)s)",
        )

    def check(self, options: argparse.Namespace) -> bool:
        if options.figures:
            check_budget(options.fig5_width, options.fig5_steps, options.fig5_seconds)
            self.seconds = min(self.seconds, options.fig5_seconds)
        return options.figures

    def make(self, options: argparse.Namespace, plan: Plan, report: Report) -> list[Path]:
        paths = figure5(
            options.out,
            options.data,
            width=options.fig5_width,
            steps=options.fig5_steps,
            seconds=options.fig5_seconds,
            device=options.device,
            read=plan.images,
            report=report,
        )
        if sentence := cut_off(paths[0]):
            print(sentence, file=sys.stderr)
        return paths


class Convergence:
    """How fast the sparse solvers converge on one problem."""

    name = "convergence"
    seconds = 45.0

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """It has none: --figures is for both."""

    def check(self, options: argparse.Namespace) -> bool:
        return options.figures

    def make(self, options: argparse.Namespace, plan: Plan, report: Report) -> list[Path]:
        return convergence(options.out, report=report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.compare`."""
    return command.main(arguments, "python -m benchmarks.compare", [Figure5(), Convergence()])


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
