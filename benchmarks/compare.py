"""The comparison: every solver on every image at every scale, into one database.

    python -m benchmarks.compare --scales 2 3 4

All input is checked first, then each scored image is stored as soon as it is there, and at
the end Table 1 is made from the database, Figure 5 and the convergence curves beside it. A
run that was cut off goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from benchmarks import machine
from benchmarks.convergence import convergence
from benchmarks.figure5 import (
    DEFAULT_SECONDS,
    DEFAULT_STEPS,
    DEFAULT_WIDTH,
    check_budget,
    figure5,
)
from benchmarks.results import FAILED, FILE_NAME, SCORED, UNSUPPORTED, Key, Results, Row, canonical
from benchmarks.tables import two_digits, write_tables
from cscsr import Status, SuperResolution, list_solvers, make_solver
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    PAPER_SETS,
    Dataset,
    ImageSource,
    data_folder,
    find_datasets,
    load_dataset,
)
from cscsr.device import check_device
from cscsr.errors import InputError
from cscsr.imaging import PROTOCOLS, degrade, line_of, score
from cscsr.imaging.metrics import SSIM_WINDOW
from cscsr.problem import check_scale
from cscsr.solver import Solver

DEFAULT_SOLVERS = (
    "bicubic",
    "csc-sr[sporco-admm]",
    "csc-sr[ista]",
    "csc-sr[cista]",
    "crnet-a-small",
    "crnet-b-small",
    "crnet-b-small+",
)

SCORING_VERSION = "1"
"""Raised whenever `degrade` or `score` would give other figures: it is part of an input's
hash, so that what is stored is then made again."""

_EXAMPLES = f"""
examples:
  python -m benchmarks.compare --scales 2 3 4
      all solvers on the paper's sets if {FOLDER_VARIABLE} names a folder with them, else on
      the embedded set demo, and both figures
  python -m benchmarks.compare --data images --datasets Set5 --solvers bicubic csc-sr crnet-b-small
      three solvers on images/Set5
  python -m benchmarks.compare --datasets demo --scales 2 --solvers bicubic --no-figures
      a few seconds, to see that it works
  python -m benchmarks.compare --data images --protocol common --device cuda --out reports/common
      every solver given the same 8-bit images, networks on the GPU

Exit code: 0; 1 if a solver failed on an image; 2 for bad input; 130 when interrupted.
"""


@dataclass(frozen=True)
class Image:
    """An image of the comparison: where it is read from, and what it was when checked."""

    dataset: str
    source: ImageSource
    sha256: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dataset}/{self.source.name}"


@dataclass(frozen=True)
class Contender:
    """A solver of the comparison and the line of the paper's tables it is scored on."""

    solver: Solver
    line: str

    @property
    def name(self) -> str:
        return self.solver.name

    @property
    def device(self) -> str:
        return str(self.solver.params().get("device") or "cpu")

    def identity(self) -> dict[str, str]:
        """What of a result's key belongs to the solver."""
        return {
            "solver": self.name,
            "params": canonical(self.solver.params()),
            "solver_version": self.solver.version,
            "weights_sha256": self.solver.weights_sha256() or "",
            "protocol": self.line,
        }


@dataclass(frozen=True)
class Plan:
    """What is to be compared, all of it checked."""

    images: dict[str, list[Image]]
    scales: list[int]
    contenders: list[Contender]
    protocol: str

    def as_dict(self) -> dict[str, Any]:
        """The plan as it is stored with the run."""
        return {
            "datasets": {
                name: [{"image": i.source.name, "input_sha256": i.sha256} for i in images]
                for name, images in self.images.items()
            },
            "scales": self.scales,
            "solvers": [contender.identity() for contender in self.contenders],
            "protocol": self.protocol,
        }

    def cells(self) -> Iterator[tuple[str, int, Contender]]:
        """The cells of the table in the order in which they are computed."""
        for dataset in self.images:
            for scale in self.scales:
                for contender in self.contenders:
                    yield dataset, scale, contender


@dataclass(frozen=True)
class Task:
    """One image to be enlarged by one solver at one scale."""

    contender: Contender
    image: Image
    scale: int
    key: Key

    @property
    def kind(self) -> tuple[str, int]:
        return self.contender.name, self.scale

    @property
    def megapixels(self) -> float:
        return self.image.shape[0] * self.image.shape[1] / 1e6


def _parse_scales(texts: Sequence[str]) -> list[int]:
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
    """The data sets that were asked for, or those to take where none was; says which."""
    if names:
        return [load_dataset(name, folder) for name in dict.fromkeys(names)]
    if folder is None:
        print(
            f"Comparing on the embedded set demo; --data or {FOLDER_VARIABLE} names a folder "
            f"with {', '.join(PAPER_SETS)}."
        )
        return [load_dataset("demo")]
    found = [name for name in PAPER_SETS if name in find_datasets(folder)]
    if not found:
        print(
            f"Comparing on the embedded set demo: none of {', '.join(PAPER_SETS)} is in {folder}; "
            "--datasets names others."
        )
        return [load_dataset("demo")]
    print(f"Comparing on {', '.join(found)} from {folder}.")
    return [load_dataset(name, folder) for name in found]


def _check_images(dataset: Dataset, scales: Sequence[int]) -> list[Image]:
    """Read every image once: what cannot be read or scored ends the run before it begins."""
    images = []
    for source in dataset.images:
        truth = source.read()
        for scale in scales:
            least = scale * math.ceil((SSIM_WINDOW + 2 * scale) / scale)
            if min(truth.shape[:2]) < least:
                raise InputError(
                    f"expected images of at least {least}x{least} pixels to score at scale "
                    f"{scale}, but {dataset.name}/{source.name} has "
                    f"{truth.shape[0]}x{truth.shape[1]}."
                )
        digest = hashlib.sha256(f"{SCORING_VERSION} {truth.shape}".encode())
        digest.update(np.ascontiguousarray(truth).data)
        images.append(Image(dataset.name, source, digest.hexdigest(), truth.shape))
    return images


def _contender(name: str, device: str, protocol: str) -> Contender:
    solver = make_solver(name)
    if solver.problem_type is not SuperResolution:
        known = ", ".join(list_solvers("SuperResolution"))
        raise InputError(
            f"expected solvers of SuperResolution ({known}), but {name} solves a "
            f"{solver.problem_type.__name__}."
        )
    if device != "cpu" and "device" in solver.params():
        with contextlib.suppress(InputError):  # one that computes on the CPU only stays there
            solver = make_solver(name, device=device)
    return Contender(solver, line_of(protocol, solver.line))


def make_plan(
    datasets: Sequence[Dataset],
    solvers: Sequence[str],
    scales: Sequence[int],
    protocol: str = "paper",
    device: str = "cpu",
) -> Plan:
    """Check everything that a comparison needs. Raises InputError before any of it is done."""
    contenders = {c.name: c for c in (_contender(name, device, protocol) for name in solvers)}
    for contender in contenders.values():
        contender.identity()  # a weight file that is missing is found out here
    images = {dataset.name: _check_images(dataset, scales) for dataset in datasets}
    return Plan(images, list(scales), list(contenders.values()), protocol)


_PRIOR_SECONDS = {
    "bicubic": 0.4,
    "csc-sr[sporco-admm]": 20.0,
    "csc-sr[ista]": 10.0,
    "csc-sr[cista]": 80.0,
    "crnet-a-small": 5.0,
    "crnet-b-small": 2.0,
    "crnet-b-small+": 15.0,
    "convergence": 45.0,
}
"""Rough seconds a megapixel of the large image, until a solver has been timed in the run; for
a figure, the seconds it takes."""

_UNKNOWN_SECONDS = 20.0


class Progress:
    """One bar over all the work; its unit is the second, so that the time left is one.

    Work is counted in amounts of a kind: for a solver at a scale, megapixels. What is left
    is estimated from what that kind took so far, else the solver at any scale, else `prior`.
    """

    def __init__(
        self, prior: Mapping[str, float], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._prior, self._clock = prior, clock
        self._left: dict[tuple[str, int], float] = {}
        self._taken: dict[tuple[str, int], tuple[float, float]] = {}
        self._start = clock()
        self._current: tuple[tuple[str, int], float, float] | None = None
        self._bar = tqdm(
            total=1.0,
            smoothing=0,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left: {desc}",
        )

    def add(self, kind: tuple[str, int], amount: float) -> None:
        """More work to come."""
        self._left[kind] = self._left.get(kind, 0.0) + amount

    def begin(self, text: str, kind: tuple[str, int], amount: float) -> None:
        """Begin with some of the work, and name it."""
        self._current = kind, amount, self._clock()
        self.show(text)

    def done(self) -> None:
        """What was begun is done: it is known now how long its kind takes."""
        kind, amount, begun = self._current
        seconds, past = self._taken.get(kind, (0.0, 0.0))
        self._taken[kind] = seconds + self._clock() - begun, past + amount
        self._left[kind] = max(0.0, self._left[kind] - amount)
        self._current = None
        self.show()

    def say(self, text: str, error: bool = False) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stderr if error else sys.stdout)

    def close(self) -> None:
        self._bar.close()

    def _rate(self, kind: tuple[str, int]) -> float:
        same = [kind] if kind in self._taken else [k for k in self._taken if k[0] == kind[0]]
        if same:
            seconds = sum(self._taken[k][0] for k in same)
            return seconds / sum(self._taken[k][1] for k in same)
        return self._prior.get(kind[0], _UNKNOWN_SECONDS)

    def seconds_left(self) -> float:
        """The estimate for all that is still to be done."""
        left = sum(self._rate(kind) * amount for kind, amount in self._left.items())
        if self._current is not None:
            kind, amount, begun = self._current
            left -= min(self._clock() - begun, self._rate(kind) * amount)
        return left

    def show(self, text: str | None = None) -> None:
        """Draw the bar anew, with another text if one is given."""
        if text is not None:
            self._bar.set_description_str(text, refresh=False)
        self._bar.n = self._clock() - self._start
        self._bar.total = self._bar.n + self.seconds_left()
        self._bar.refresh()


def _as_row(task: Task, outcome: str, **values: Any) -> Row:
    return Row(task.key, task.image.dataset, task.image.source.name, outcome, **values)


def find_work(plan: Plan, results: Results) -> tuple[dict[tuple[str, int, str], list[Task]], int]:
    """The tasks of each cell that have yet to be done, and how many already are.

    A solver that says it cannot solve a problem is left out there, its reason stored.
    Raises InputError with the first reason if nothing at all can be solved.
    """
    work: dict[tuple[str, int, str], list[Task]] = {}
    already, reasons = 0, {}
    for dataset, scale, contender in plan.cells():
        identity = contender.identity()
        tasks = work.setdefault((dataset, scale, contender.name), [])
        for image in plan.images[dataset]:
            key = Key(**identity, input_sha256=image.sha256, scale=scale)
            task = Task(contender, image, scale, key)
            if results.find(key, dataset, image.source.name):
                already += 1
                continue
            small = (image.shape[0] // scale, image.shape[1] // scale)
            colours = image.shape[2:] if contender.line == "rgb" else ()
            problem = SuperResolution(np.zeros(small + colours, np.float32), scale)
            reason = contender.solver.supports(problem)
            if reason is None:
                tasks.append(task)
                continue
            reasons.setdefault((contender.name, reason), []).append(f"{image} ×{scale}")
            results.add(_as_row(task, UNSUPPORTED, message=reason))
    if not already and not any(work.values()):
        raise InputError(next(iter(reasons))[1])
    for (name, reason), where in reasons.items():
        shown = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
        print(f"Left out: {name} on {shown}: {reason}")
    return work, already


_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""What networks call their precision, by the name that arrays have for it."""


def solve(task: Task, about: Mapping[str, str]) -> Row:
    """Degrade, enlarge and score one image; what goes wrong becomes a row that says so.

    about: the `machine` and `code_version` to record.
    """
    contender, scale = task.contender, task.scale
    device = contender.device
    recorded = {**about, "device": device}
    try:
        truth = task.image.source.read()
        problem = SuperResolution(degrade(truth, scale, contender.line), scale)
        with machine.peak_memory(device) as peak:
            start = time.perf_counter()
            contender.solver.prepare(problem)
            prepared = time.perf_counter() - start
            solution = contender.solver.solve(problem)
        estimate = np.asarray(solution.estimate)
        if solution.status is Status.DIVERGED:
            return _as_row(task, FAILED, message=solution.status.message, **recorded)
        figures = score(estimate, truth, scale, contender.line)
    except Exception as error:  # a solver may be anyone's: whatever it raises, the run goes on
        message = f"{task.contender.name} failed: {type(error).__name__}: {error}"
        return _as_row(task, FAILED, message=" ".join(message.split()), **recorded)
    iterations = solution.trace["iteration"]
    return _as_row(
        task,
        SCORED,
        psnr_db=figures.psnr_db,
        ssim=figures.ssim,
        seconds=solution.seconds,
        prepare_seconds=prepared,
        iterations=int(iterations[-1]) if len(iterations) else None,
        status=solution.status.value,
        threads=machine.threads(),
        precision=_PRECISIONS.get(contender.solver.params().get("precision"), str(estimate.dtype)),
        memory_mb=peak.megabytes,
        **recorded,
    )


def run(
    work: Mapping[tuple[str, int, str], Sequence[Task]], results: Results, progress: Progress
) -> int:
    """Do all the work, each row stored as soon as it is there; returns how many failed."""
    failures = 0
    abouts: dict[str, dict[str, str]] = {}
    version = machine.code_version()
    for (dataset, scale, name), tasks in work.items():
        rows = []
        for task in tasks:
            progress.begin(f"{name} on {task.image} ×{scale}", task.kind, task.megapixels)
            device = task.contender.device
            if device not in abouts:
                abouts[device] = {"machine": machine.describe(device), "code_version": version}
            row = solve(task, abouts[device])
            results.add(row)
            progress.done()
            if row.outcome == FAILED:
                failures += 1
                progress.say(f"{task.image} ×{scale}: {row.message}", error=True)
            else:
                rows.append(row)
        if rows:
            psnr_db, ssim, seconds = (
                sum(getattr(row, value) for row in rows) / len(rows)
                for value in ("psnr_db", "ssim", "seconds")
            )
            progress.say(
                f"{dataset} ×{scale} {name}: {psnr_db:.2f} dB, {ssim:.4f}, "
                f"{two_digits(seconds)} s an image ({len(rows)})"
            )
    return failures


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help explains the options.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m benchmarks.compare",
        description="Compare solvers of super-resolution: PSNR, SSIM and seconds on whole data "
        "sets, as table1.md, .html and .csv, with Figure 5 and convergence curves. What was "
        "computed before is not computed again.",
        epilog=_EXAMPLES,
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
        "--device", default="cpu", help="cpu, cuda or cuda:N, for solvers that can (default: cpu)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reports/latest"),
        metavar="DIR",
        help=f"where {FILE_NAME}, tables and figures go (default: %(default)s)",
    )
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
    return parser


def _command(arguments: Sequence[str]) -> str:
    variable = f"{FOLDER_VARIABLE}=DIR " if os.environ.get(FOLDER_VARIABLE) else ""
    return f"{variable}{shlex.join(['python', '-m', 'benchmarks.compare', *arguments])}"


Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much."""


def _figures(options: argparse.Namespace) -> dict[str, Callable[[Report], list[Path]]]:
    """What is drawn beside the tables: name to a function that makes it."""
    if not options.figures:
        return {}
    check_budget(options.fig5_width, options.fig5_steps, options.fig5_seconds)
    return {
        "figure 5": lambda report: figure5(
            options.out,
            options.data,
            width=options.fig5_width,
            steps=options.fig5_steps,
            seconds=options.fig5_seconds,
            device=options.device,
            report=report,
        ),
        "convergence": lambda report: convergence(options.out, report=report),
    }


def _draw(
    figures: Mapping[str, Callable[[Report], list[Path]]], progress: Progress
) -> tuple[list[Path], int]:
    """Make the figures; returns what was written, and how many failed."""
    paths: list[Path] = []
    failures = 0
    for name, make in figures.items():

        def report(what: str, done: int, total: int, name: str = name) -> None:
            progress.show(f"{name}: {what}, {done} of {total}")

        progress.begin(name, (name, 0), 1.0)
        try:
            paths += make(report)
        except Exception as error:  # the tables are there: a figure that fails costs no more
            failures += 1
            progress.say(f"{name} failed: {type(error).__name__}: {error}", error=True)
        progress.done()
    return paths, failures


def compare(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code. Raises InputError for bad input."""
    options = _parser().parse_args(arguments)
    scales = _parse_scales(options.scales)
    device = check_device(options.device)
    figures = _figures(options)
    datasets = _choose_datasets(options.datasets, data_folder(options.data))
    plan = make_plan(datasets, options.solvers, scales, options.protocol, device)
    with Results(options.out / FILE_NAME) as results:
        work, already = find_work(plan, results)
        about = {"machine": machine.describe(device)}
        number = results.start_run(_command(arguments), about, plan.as_dict())
        if already:
            print(f"{already} results are in {results.path} already.")
        with closing(Progress(_PRIOR_SECONDS | {"figure 5": options.fig5_seconds})) as progress:
            for task in (task for tasks in work.values() for task in tasks):
                progress.add(task.kind, task.megapixels)
            for name in figures:
                progress.add((name, 0), 1.0)
            try:
                failures = run(work, results, progress)
                results.finish_run(number)
                paths = write_tables(results, options.out)
                drawn, undrawn = _draw(figures, progress)
            except KeyboardInterrupt:
                write_tables(results, options.out)
                progress.say(
                    f"Interrupted: what is done is in {results.path} and in the tables beside "
                    "it, and the same command goes on from there.",
                    error=True,
                )
                return 130
    names = [path.name for path in (*paths, *drawn, results.path)]
    print(f"Written to {options.out}: {', '.join(names)}.")
    return 1 if failures or undrawn else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.compare`."""
    try:
        return compare(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted before anything was computed.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
