"""The command `cscsr compare`: every solver on every image at every scale, into one database.

    cscsr compare --scales 2 3 4

The command checks all input first and stores each image as soon as it is scored. At the end it
makes the tables and the report `index.html` from the database. The same command resumes an
interrupted run. `python -m benchmarks.compare` is the same command, which also draws figures
(`Extra`) beside the tables.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

from cscsr import interrupts
from cscsr.arrays import check_device
from cscsr.compare import machine, showcase
from cscsr.compare.claims import Claims
from cscsr.compare.cluster import cluster_pool
from cscsr.compare.page import PAGE_NAME, keep_figures, write_page
from cscsr.compare.plan import Plan, make_plan
from cscsr.compare.progress import PRIOR_SECONDS, Progress
from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results
from cscsr.compare.run import find_work, keep_truths, run
from cscsr.compare.summary import summarise
from cscsr.compare.tables import write_tables
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    PAPER_SETS,
    Dataset,
    data_folder,
    find_datasets,
    load_dataset,
)
from cscsr.errors import InputError
from cscsr.imaging import METRICS, PROTOCOLS
from cscsr.imaging.metrics import DEFAULT_METRICS
from cscsr.limits import add_max_pixels_option
from cscsr.output import print_any_name, printable
from cscsr.parallel import add_worker_options, parse_jobs
from cscsr.super_resolution import check_scale

DEFAULT_SOLVERS = (
    "bicubic",
    "csc-sr[admm]",
    "csc-ridge",
    "csc-sr[ista]",
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
  PROGRAM --jobs 2
      two images at a time, each in a process of its own
  PROGRAM --datasets demo --metrics psnr ssim gmsd
      gradient magnitude similarity deviation too

Exit code: 0; 1 if a solver failed on an image; 2 for bad input; 130 when interrupted, 143 by
SIGTERM.
"""


def _parse_scales(texts: Sequence[str]) -> list[int]:
    """The scales without repeats. Raises InputError for anything below 2."""
    scales = []
    for text in texts:
        try:
            number: Any = int(text)
        except ValueError:
            number = text
        if check_scale(number) < 2:
            raise InputError(f"expected scales of at least 2, got {text}.")
        scales.append(number)
    return list(dict.fromkeys(scales))


def _choose_datasets(names: Sequence[str] | None, folder: Path | None) -> list[Dataset]:
    """The named data sets; without names, the paper's or else demo, and prints which."""
    if names:
        return [load_dataset(name, folder) for name in dict.fromkeys(names)]
    if folder is None:
        print(
            f"Comparing on the embedded set demo; --data or {FOLDER_VARIABLE} names a folder "
            f"with {', '.join(PAPER_SETS)}."
        )
        return [load_dataset("demo")]
    folders = find_datasets(folder)
    paper_sets = [name for name in PAPER_SETS if name in folders]
    if not paper_sets:
        print(
            f"Comparing on the embedded set demo: none of {', '.join(PAPER_SETS)} is in {folder}; "
            "--datasets names others."
        )
        return [load_dataset("demo")]
    print(f"Comparing on {', '.join(paper_sets)} from {folder}.")
    return [load_dataset(name, folder) for name in paper_sets]


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help explains the options.")


def _parser(program: str, extras: Sequence[Extra]) -> argparse.ArgumentParser:
    """The options of the command."""
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
        "--metrics",
        nargs="+",
        default=list(DEFAULT_METRICS),
        metavar="NAME",
        help=f"any of {', '.join(METRICS)}; PSNR is always measured (default: "
        f"{' '.join(DEFAULT_METRICS)})",
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
        "--skip-broken",
        action="store_true",
        help="leave out images that cannot be read or scored, and name them (default: refuse them "
        "before anything is computed)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu, cuda or cuda:N, for solvers that can choose (default: cpu)",
    )
    add_worker_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reports/latest"),
        metavar="DIR",
        help=f"where {FILE_NAME}, tables and figures go (default: %(default)s)",
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="show only this selection (default: also what earlier runs into the folder compared)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser at the end")
    add_max_pixels_option(parser)
    for extra in extras:
        extra.add_arguments(parser)
    return parser


def _command(program: str, parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The command line to record, from which the run can be repeated: the options that differ from
    their defaults, each once."""
    words = program.split()
    defaults = vars(parser.parse_args([]))
    for name, value in vars(options).items():
        option = f"--{name.replace('_', '-')}"
        if value == defaults[name]:
            continue
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            words += [option, *map(str, value if isinstance(value, list) else [value])]
    variable = f"{FOLDER_VARIABLE}=DIR " if os.environ.get(FOLDER_VARIABLE) else ""
    return f"{variable}{shlex.join(words)}"


Report = Callable[[str, int, int], None]
"""Called with (message, done, total)."""


class Extra(Protocol):
    """A figure that a program draws beside the tables.

    Attributes
    ----------
    name
        Its label in the progress bar.
    seconds
        A rough estimate of the time it takes.
    """

    name: str
    seconds: float

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the figure."""

    def check(self, options: argparse.Namespace) -> bool:
        """Return whether to draw the figure; raise InputError for impossible options."""

    def make(self, options: argparse.Namespace, plan: Plan, report: Report) -> list[Path]:
        """Draw the figure into ``options.out``, and return the files; `plan` holds the images that
        have been read."""


def _draw(
    extras: Sequence[Extra], options: argparse.Namespace, plan: Plan, progress: Progress
) -> tuple[list[Path], int]:
    """Draw the extras; return the written files and the number of failures."""
    paths: list[Path] = []
    failures = 0
    for extra in extras:

        def report(message: str, done: int, total: int, name: str = extra.name) -> None:
            progress.show(f"{name}: {message}, {done} of {total}")

        progress.begin(extra.name, (extra.name, 0), 1.0)
        try:
            paths += extra.make(options, plan, report)
        except Exception as error:  # a figure that fails leaves the tables as they are
            failures += 1
            progress.say(f"{extra.name} failed: {type(error).__name__}: {error}", error=True)
        progress.done()
    return paths, failures


def compare(arguments: Sequence[str], program: str, extras: Sequence[Extra]) -> int:
    """Run the command; parameters as `main`.

    Returns
    -------
    int
        The exit code: 0; 1 if a solver or a figure failed; 130 when interrupted.

    Raises
    ------
    InputError
        For bad input.
    """
    parser = _parser(program, extras)
    options = parser.parse_args(arguments)
    command = _command(program, parser, options)
    scales = _parse_scales(options.scales)
    device = check_device(options.device)
    jobs = parse_jobs(options.jobs)
    extras = [extra for extra in extras if extra.check(options)]
    plan = make_plan(
        _choose_datasets(options.datasets, data_folder(options.data)),
        options.solvers,
        scales,
        options.protocol,
        device,
        options.metrics,
        options.degrade,
        options.showcase,
        options.skip_broken,
    )
    plan = replace(plan, alone=options.alone)
    for image in plan.left_out:
        print(f"Left out: {image.dataset}/{image.image}: {image.reason}", file=sys.stderr)
    with Results(options.out / FILE_NAME) as results:
        work = find_work(plan, results)
        about = {"machine": machine.describe(device)}
        number = results.start_run(command, about, plan.as_dict())
        if work.already:
            print(f"{work.already} results are in {results.path} already.")
        prior = PRIOR_SECONDS | {extra.name: extra.seconds for extra in extras}
        with closing(Progress(prior)) as progress:
            for task in work:
                progress.add(task.kind, task.megapixels)
            for extra in extras:
                progress.add((extra.name, 0), 1.0)
            progress.workers = jobs
            progress.announce(len(list(work)), [extra.name for extra in extras])
            try:
                keep_truths(plan, results)
                with ExitStack() as stack:
                    claims = stack.enter_context(Claims(results, number))
                    pool = None
                    if any(work.tasks.values()) and (jobs > 1 or options.scheduler):
                        pool = stack.enter_context(
                            cluster_pool(jobs, options.scheduler, progress, number)
                        )
                    failures = run(work, results, progress, number, claims, pool)
                results.finish_run(number)
                drawn, undrawn = _draw(extras, options, plan, progress)
                for name in keep_figures(results, options.out):
                    progress.say(f"{name}.png is too large for the page, which goes without it.")
                paths = _write(results, options.out)
            except KeyboardInterrupt as error:
                _write(results, options.out)
                progress.say(
                    f"Interrupted: what is done is in {results.path} and in the tables beside "
                    "it, and the same command goes on from there.",
                    error=True,
                )
                return interrupts.exit_code(error)
    names = [path.name for path in (*paths, *drawn, results.path)]
    print(f"Written to {options.out}: {', '.join(names)}.")
    print(f"The report: {options.out / PAGE_NAME}")
    if options.open and not webbrowser.open((options.out / PAGE_NAME).resolve().as_uri()):
        print("No browser could be started; open the file in one.", file=sys.stderr)
    return 1 if failures or undrawn else 0


def _write(results: Results, out: Path) -> list[Path]:
    """Write the tables and the page of what is stored; return the files."""
    summary = summarise(results)
    return [*write_tables(summary, out), write_page(summary, results, out)]


def main(
    arguments: Sequence[str] | None = None,
    program: str = "cscsr compare",
    extras: Sequence[Extra] = (),
) -> int:
    """Run the command, and print an error as one sentence.

    Parameters
    ----------
    arguments
        The words after the program's name; None takes them from the process.
    program
        The name in the help and in the report.
    extras
        Figures that the program draws too.

    Returns
    -------
    int
        0; 1 if a solver or a figure failed; 2 for bad input; 130 when interrupted, 143 by SIGTERM.
    """
    print_any_name()
    with interrupts.raised():
        try:
            return compare(sys.argv[1:] if arguments is None else arguments, program, extras)
        except (Exception, KeyboardInterrupt) as error:
            if interrupts.caused(error):
                print("Interrupted before anything was computed.", file=sys.stderr)
                return interrupts.exit_code(error)
            if not isinstance(error, InputError):
                raise
            print(printable(str(error)), file=sys.stderr)
            return 2
