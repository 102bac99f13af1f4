"""The comparison: every solver on every image at every scale, into one database.

    cscsr compare --scales 2 3 4

All input is checked first, then each scored image is stored as soon as it is there, and at
the end the tables and the report `index.html` are made from the database. A run that was cut
off goes on where it stopped when the same command is given again. `python -m
benchmarks.compare` is the same command, which also draws figures (`Extra`) beside the tables.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np

from cscsr import Status, SuperResolution, list_solvers, make_solver
from cscsr.arrays import check_device
from cscsr.compare import machine, showcase
from cscsr.compare.page import PAGE_NAME, keep_figures, write_page
from cscsr.compare.progress import PRIOR_SECONDS, Progress
from cscsr.compare.results import (
    FAILED,
    FILE_NAME,
    SCORED,
    UNSUPPORTED,
    Box,
    Key,
    Results,
    Row,
    canonical,
    truth_key,
)
from cscsr.compare.tables import DEGRADED_LINE, two_digits, write_tables
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    PAPER_SETS,
    Dataset,
    ImageSource,
    data_folder,
    find_datasets,
    load_dataset,
)
from cscsr.errors import InputError
from cscsr.imaging import PROTOCOLS, degrade, line_of, luma_of, score, to_uint8
from cscsr.imaging.degradation import Degradation
from cscsr.imaging.metrics import SSIM_WINDOW
from cscsr.problem import check_scale
from cscsr.solver import Solver

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

SCORING_VERSION = "1"
"""Raised whenever `degrade` or `score` would give other figures: it is part of an input's
hash, so that what is stored is then made again."""

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


@dataclass(frozen=True)
class Image:
    """An image of the comparison: where it is read from, and what it was when checked."""

    dataset: str
    source: ImageSource
    sha256: str
    shape: tuple[int, ...]
    detail: float = 0.0

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
class Showcase:
    """An image of which a part of every estimate at one scale is kept, to be looked at."""

    image: Image
    scale: int
    box: Box


@dataclass(frozen=True)
class Plan:
    """What is to be compared, all of it checked.

    degradations: None for input as it is, and those that harder input is made by.
    """

    images: dict[str, list[Image]]
    scales: list[int]
    contenders: list[Contender]
    protocol: str
    degradations: Sequence[Degradation | None] = (None,)
    showcases: Sequence[Showcase] = ()

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
            "degradations": [_text(degradation) for degradation in self.degradations],
            "showcases": [
                {
                    "dataset": shown.image.dataset,
                    "image": shown.image.source.name,
                    "input_sha256": shown.image.sha256,
                    "scale": shown.scale,
                    "box": shown.box,
                }
                for shown in self.showcases
            ],
        }

    def cells(self) -> Iterator[Cell]:
        """The cells of the tables in the order in which they are computed."""
        for degradation in self.degradations:
            for dataset in self.images:
                for scale in self.scales:
                    for contender in self.contenders:
                        yield Cell(dataset, scale, contender, degradation)

    def box(self, image: Image, scale: int, degradation: Degradation | None) -> Box | None:
        """The part of an estimate that is kept as a picture, or None if none is."""
        if degradation is not None:
            return None
        where = (
            shown.box for shown in self.showcases if (shown.image, shown.scale) == (image, scale)
        )
        return next(where, None)


def _text(degradation: Degradation | None) -> str:
    return "" if degradation is None else str(degradation)


@dataclass(frozen=True, eq=False)
class Cell:
    """All images of a data set, by one solver at one scale."""

    dataset: str
    scale: int
    contender: Contender
    degradation: Degradation | None

    @property
    def line(self) -> str:
        return self.contender.line if self.degradation is None else DEGRADED_LINE

    def __str__(self) -> str:
        parts = (self.dataset, f"×{self.scale}", _text(self.degradation), self.contender.name)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Task:
    """One image of a cell, to be enlarged. box: what of the estimate to keep as a picture."""

    cell: Cell
    image: Image
    key: Key
    box: Box | None = None

    @property
    def contender(self) -> Contender:
        return self.cell.contender

    @property
    def scale(self) -> int:
        return self.cell.scale

    @property
    def kind(self) -> tuple[str, int]:
        return self.contender.name, self.scale

    def __str__(self) -> str:
        return f"{self.image} ×{self.scale} {_text(self.cell.degradation)}".rstrip()

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
        detail = showcase.detail(luma_of(truth))
        images.append(Image(dataset.name, source, digest.hexdigest(), truth.shape, detail))
    return images


def _choose_showcases(
    images: Mapping[str, Sequence[Image]], scales: Sequence[int], solvers: int, most: int
) -> list[Showcase]:
    """The images to be looked at, at the middle one of the scales."""
    if not scales:
        return []
    scale, side = sorted(scales)[len(scales) // 2], showcase.side_for(solvers)
    details = {name: [image.detail for image in members] for name, members in images.items()}
    chosen = [images[name][place] for name, place in showcase.choose(details, most)]
    return [
        Showcase(image, scale, showcase.window(luma_of(image.source.read()), side, scale))
        for image in chosen
    ]


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
    degradations: Sequence[str] = (),
    shown: int = 0,
) -> Plan:
    """Check everything that a comparison needs. Raises InputError before any of it is done.

    degradations: as `Degradation.parse` reads them. shown: how many showcase images to keep.
    """
    harder = dict.fromkeys(Degradation.parse(text) for text in degradations)
    contenders = {c.name: c for c in (_contender(name, device, protocol) for name in solvers)}
    for contender in contenders.values():
        contender.identity()  # a weight file that is missing is found out here
    images = {dataset.name: _check_images(dataset, scales) for dataset in datasets}
    return Plan(
        images,
        list(scales),
        list(contenders.values()),
        protocol,
        [None, *harder],
        _choose_showcases(images, scales, len(contenders), shown),
    )


def _as_row(task: Task, outcome: str, **values: Any) -> Row:
    return Row(task.key, task.image.dataset, task.image.source.name, outcome, **values)


def find_work(plan: Plan, results: Results) -> tuple[dict[Cell, list[Task]], int]:
    """The tasks of each cell that have yet to be done, and how many already are.

    What was scored under another data set's name, the same pixels, is stored under this one too.
    A solver that says it cannot solve a problem is left out there, its reason stored; one
    that cannot even say so is left to fail when its turn comes.
    Raises InputError with the first reason if nothing at all can be solved.
    """
    work: dict[Cell, list[Task]] = {}
    already, reasons = 0, {}
    for cell in plan.cells():
        contender, scale = cell.contender, cell.scale
        identity = {**contender.identity(), "protocol": cell.line}
        tasks = work.setdefault(cell, [])
        for image in plan.images[cell.dataset]:
            key = Key(
                **identity,
                input_sha256=image.sha256,
                scale=scale,
                degradation=_text(cell.degradation),
            )
            box = plan.box(image, scale, cell.degradation)
            task = Task(cell, image, key, box)
            stored = results.find(key, cell.dataset, image.source.name)
            if stored and (stored.dataset, stored.image) != (cell.dataset, image.source.name):
                results.add(replace(stored, dataset=cell.dataset, image=image.source.name))
            if stored and (box is None or results.picture(key, box)):
                already += 1
                continue
            small = (image.shape[0] // scale, image.shape[1] // scale)
            colours = image.shape[2:] if cell.line == "rgb" else ()
            problem = SuperResolution(np.zeros(small + colours, np.float32), scale)
            try:
                reason = contender.solver.supports(problem)
            except Exception:  # a solver may be anyone's: `solve` meets it again, and reports it
                reason = None
            if reason is None:
                tasks.append(task)
                continue
            reasons.setdefault((contender.name, reason), []).append(str(task))
            results.add(_as_row(task, UNSUPPORTED, message=reason))
    if not already and not any(work.values()):
        raise InputError(next(iter(reasons))[1])
    for (name, reason), where in reasons.items():
        shown = ", ".join(where[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
        print(f"Left out: {name} on {shown}: {reason}")
    return work, already


_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
"""What networks call their precision, by the name that arrays have for it."""


def _problem(task: Task, truth: np.ndarray) -> SuperResolution:
    """The problem that a true image makes: shrunk, and degraded where the cell says so."""
    small = degrade(truth, task.scale, task.cell.line)
    if task.cell.degradation is not None:
        small = task.cell.degradation.apply(to_uint8(small)).astype(np.float32) / 255
    return SuperResolution(small, task.scale)


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its row, and the picture to be kept of it, if one is."""

    row: Row
    picture: bytes | None = None


def solve(task: Task, about: Mapping[str, Any]) -> Outcome:
    """Degrade, enlarge and score one image; what goes wrong becomes a row that says so.

    about: the `machine`, `code_version` and `run` to record.
    """
    contender, scale, line = task.contender, task.scale, task.cell.line
    device = contender.device
    recorded = {**about, "device": device}
    try:
        truth = task.image.source.read()
        problem = _problem(task, truth)
        reason = contender.solver.supports(problem)
        if reason is not None:
            return Outcome(_as_row(task, UNSUPPORTED, message=reason))
        with machine.peak_memory(device) as peak:
            start = time.perf_counter()
            contender.solver.prepare(problem)
            prepared = time.perf_counter() - start
            solution = contender.solver.solve(problem)
        estimate = np.asarray(solution.estimate)
        if solution.status is Status.DIVERGED:
            return Outcome(_as_row(task, FAILED, message=solution.status.message, **recorded))
        figures = score(estimate, truth, scale, line)
        trace = solution.trace["iteration"]
        iterations = int(trace[-1]) if len(trace) else None
        operations = contender.solver.operations(problem, iterations)
    except Exception as error:  # a solver may be anyone's: whatever it raises, the run goes on
        message = f"{task.contender.name} failed: {type(error).__name__}: {error}"
        return Outcome(_as_row(task, FAILED, message=" ".join(message.split()), **recorded))
    row = _as_row(
        task,
        SCORED,
        psnr_db=figures["psnr"],
        ssim=figures["ssim"],
        seconds=solution.seconds,
        prepare_seconds=prepared,
        iterations=iterations,
        operations=operations,
        status=solution.status.value,
        threads=machine.threads(),
        precision=_PRECISIONS.get(contender.solver.params().get("precision"), str(estimate.dtype)),
        memory_mb=peak.megabytes,
        **recorded,
    )
    if task.box is None:
        return Outcome(row)
    scored = luma_of(to_uint8(estimate))
    return Outcome(row, showcase.as_png(showcase.cut(scored, task.box)))


def keep_truths(plan: Plan, results: Results) -> None:
    """Keep the true pictures that the estimates are shown beside."""
    for shown in plan.showcases:
        key = truth_key(shown.image.sha256, shown.scale)
        if results.picture(key, shown.box) is None:
            luma = luma_of(shown.image.source.read())
            results.add_picture(key, shown.box, showcase.as_png(showcase.cut(luma, shown.box)))


def run(
    work: Mapping[Cell, Sequence[Task]],
    results: Results,
    progress: Progress,
    number: int | None = None,
) -> int:
    """Do all the work, each row stored as soon as it is there; returns how many failed.

    number: of the run, as `Results.start_run` gave it.
    """
    failures = 0
    abouts: dict[str, dict[str, Any]] = {}
    version = machine.code_version()
    for cell, tasks in work.items():
        rows = []
        for task in tasks:
            progress.begin(f"{task.contender.name} on {task}", task.kind, task.megapixels)
            device = task.contender.device
            if device not in abouts:
                about = {"machine": machine.describe(device), "code_version": version}
                abouts[device] = {**about, "run": number}
            outcome = solve(task, abouts[device])
            row = outcome.row
            if outcome.picture is not None:
                results.add_picture(task.key, task.box, outcome.picture)
            results.add(row)
            progress.done()
            if row.outcome == SCORED:
                rows.append(row)
            elif row.outcome == FAILED:
                failures += 1
                progress.say(f"{task}: {row.message}", error=True)
        if rows:
            psnr_db, ssim, seconds = (
                sum(getattr(row, value) for row in rows) / len(rows)
                for value in ("psnr_db", "ssim", "seconds")
            )
            progress.say(
                f"{cell}: {psnr_db:.2f} dB, {ssim:.4f}, "
                f"{two_digits(seconds)} s an image ({len(rows)})"
            )
    return failures


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
    scales = _parse_scales(options.scales)
    device = check_device(options.device)
    extras = [extra for extra in extras if extra.check(options)]
    datasets = _choose_datasets(options.datasets, data_folder(options.data))
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
