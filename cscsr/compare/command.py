"""The comparison: every solver on every image at every scale, into one database.

    cscsr compare --scales 2 3 4

All input is checked first, then each scored image is stored as soon as it is there, and at
the end the tables and the report `index.html` are made from the database. A run that was cut
off goes on where it stopped when the same command is given again. `python -m
benchmarks.compare` is the same command, which also draws figures (`Extra`) beside the tables.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn, Protocol

from cscsr.arrays import check_device
from cscsr.compare import machine, showcase
from cscsr.compare.page import PAGE_NAME, keep_figures, write_page
from cscsr.compare.plan import choose_datasets, make_plan, parse_scales
from cscsr.compare.progress import PRIOR_SECONDS, Progress
from cscsr.compare.results import (
    FILE_NAME,
    Results,
)
from cscsr.compare.run import find_work, keep_truths, run
from cscsr.compare.tables import write_tables
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    data_folder,
)
from cscsr.errors import InputError
from cscsr.imaging import PROTOCOLS

DEFAULT_SOLVERS = (
    "bicubic",
    "csc-sr[admm]",
    "csc-ridge",
    "csc-sr[ista]",
    "csc-sr[cista]",
    "crnet-a-small",
    "crnet-b-small",
    "crnet-b-small+",
)


_EXAMPLES = f"""
examples:
  PROGRAM --scales 2 3 4
      all solvers on the paper's sets if {FOLDER_VARIABLE} names a folder with them, else on
      the embedded set demo
  PROGRAM --data images --datasets Set5 --solvers bicubic csc-sr crnet-b-small
      three solvers on images/Set5
  PROGRAM --datasets demo --scales 2 --solvers bicubic
      a few seconds, to see that it works
  PROGRAM --data images --protocol common --device cuda --out reports/common
      every solver given the same 8-bit images, networks on the GPU
  PROGRAM --datasets demo --scales 3 --degrade noise:5 jpeg:40
      one more table, of input that is noisy, and of input that went through JPEG

Exit code: 0; 1 if a solver failed on an image; 2 for bad input; 130 when interrupted.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help explains the options.")


def _parser(program: str, extras: Sequence[Extra]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="Compare solvers of super-resolution: PSNR, SSIM and seconds on whole data "
        "sets, as a page, index.html, and as tables in Markdown, CSV and LaTeX, with Figure 5 "
        "and convergence curves. What was computed before is not computed again.",
        epilog=_EXAMPLES.replace("PROGRAM", program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", metavar="DIR", help=f"folder of data sets (default: ${FOLDER_VARIABLE})"
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        metavar="NAME",
        help="demo, or folders in DIR (default: the paper's sets that are there, else demo)",
    )
    parser.add_argument(
        "--solvers",
        nargs="+",
        metavar="NAME",
        default=list(DEFAULT_SOLVERS),
        help=f"default: {' '.join(DEFAULT_SOLVERS)}",
    )
    parser.add_argument(
        "--scales", nargs="+", metavar="N", default=["2", "3", "4"], help="default: 2 3 4"
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="paper",
        help="paper: each solver scored as the paper scores its kind; common: all given the "
        "same 8-bit RGB images (default: %(default)s)",
    )
    parser.add_argument(
        "--degrade",
        nargs="+",
        default=[],
        metavar="HOW",
        help="harder input in a table of its own: blur:SIGMA (pixels), noise:SIGMA (0-255), "
        "jpeg:QUALITY, of the low-resolution image; every solver is given the same 8-bit image",
    )
    parser.add_argument(
        "--showcase",
        type=int,
        choices=range(showcase.MOST + 1),
        default=showcase.MOST,
        metavar="N",
        help=f"images whose estimates are kept and shown, 0 to {showcase.MOST} (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda or cuda:N, for solvers that can (default: cpu)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reports/latest"),
        metavar="DIR",
        help=f"where {FILE_NAME}, tables and figures go (default: %(default)s)",
    )
    for extra in extras:
        extra.add_arguments(parser)
    return parser


def _command(program: str, arguments: Sequence[str]) -> str:
    variable = f"{FOLDER_VARIABLE}=DIR " if os.environ.get(FOLDER_VARIABLE) else ""
    return f"{variable}{shlex.join([*program.split(), *arguments])}"


Report = Callable[[str, int, int], None]
"""Called with (message, done, total)."""


class Extra(Protocol):
    """Something that is drawn beside the tables, by a program that brings it along.

    name: what it is called while it is drawn. seconds: roughly what it takes.
    """

    name: str
    seconds: float

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that it has."""

    def check(self, options: argparse.Namespace) -> bool:
        """Whether it is wanted. Raises InputError for options that cannot be."""

    def make(self, options: argparse.Namespace, report: Report) -> list[Path]:
        """Draw it into ``options.out``; returns the files."""


def _draw(
    extras: Sequence[Extra], options: argparse.Namespace, progress: Progress
) -> tuple[list[Path], int]:
    """Draw the extras; returns what was written, and how many failed."""
    paths: list[Path] = []
    failures = 0
    for extra in extras:

        def report(message: str, done: int, total: int, name: str = extra.name) -> None:
            progress.show(f"{name}: {message}, {done} of {total}")

        progress.begin(extra.name, (extra.name, 0), 1.0)
        try:
            paths += extra.make(options, report)
        except Exception as error:  # the tables are there: a figure that fails costs no more
            failures += 1
            progress.say(f"{extra.name} failed: {type(error).__name__}: {error}", error=True)
        progress.done()
    return paths, failures


def compare(arguments: Sequence[str], program: str, extras: Sequence[Extra]) -> int:
    """Run the command; returns its exit code. Raises InputError for bad input."""
    options = _parser(program, extras).parse_args(arguments)
    scales = parse_scales(options.scales)
    device = check_device(options.device)
    extras = [extra for extra in extras if extra.check(options)]
    datasets = choose_datasets(options.datasets, data_folder(options.data))
    plan = make_plan(
        datasets,
        options.solvers,
        scales,
        options.protocol,
        device,
        options.degrade,
        options.showcase,
    )
    with Results(options.out / FILE_NAME) as results:
        work, already = find_work(plan, results)
        about = {"machine": machine.describe(device)}
        number = results.start_run(_command(program, arguments), about, plan.as_dict())
        if already:
            print(f"{already} results are in {results.path} already.")
        with closing(
            Progress(PRIOR_SECONDS | {extra.name: extra.seconds for extra in extras})
        ) as progress:
            for task in (task for tasks in work.values() for task in tasks):
                progress.add(task.kind, task.megapixels)
            for extra in extras:
                progress.add((extra.name, 0), 1.0)
            try:
                keep_truths(plan, results)
                failures = run(work, results, progress, number)
                results.finish_run(number)
                drawn, undrawn = _draw(extras, options, progress)
                for name in keep_figures(results, options.out):
                    progress.say(f"{name}.png is too large for the page, which goes without it.")
                paths = [*write_tables(results, options.out), write_page(results, options.out)]
            except KeyboardInterrupt:
                write_tables(results, options.out)
                write_page(results, options.out)
                progress.say(
                    f"Interrupted: what is done is in {results.path} and in the tables beside "
                    "it, and the same command goes on from there.",
                    error=True,
                )
                return 130
    names = [path.name for path in (*paths, *drawn, results.path)]
    print(f"Written to {options.out}: {', '.join(names)}.")
    print(f"The report: {options.out / PAGE_NAME}")
    return 1 if failures or undrawn else 0


def main(
    arguments: Sequence[str] | None = None,
    program: str = "cscsr compare",
    extras: Sequence[Extra] = (),
) -> int:
    """The command `program`; returns its exit code."""
    try:
        return compare(sys.argv[1:] if arguments is None else arguments, program, extras)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted before anything was computed.", file=sys.stderr)
        return 130
