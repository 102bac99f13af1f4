"""Comparisons to test with: one really carried out, and rows that are made up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cscsr import Solution, Solver, Status, SuperResolution
from cscsr.compare.page import keep_figures, write_page
from cscsr.compare.plan import Contender, make_plan
from cscsr.compare.progress import Progress
from cscsr.compare.records import FILE_NAME, SCORED, Key, Row
from cscsr.compare.results import Results
from cscsr.compare.run import find_work, keep_truths, run
from cscsr.compare.summary import Summary, summarise
from cscsr.data.datasets import demo, load_dataset
from cscsr.imaging import imresize, write_image

# A comparison that is carried out


@dataclass(frozen=True)
class Repeat(Solver[SuperResolution]):
    """Each pixel repeated, times `gain`: a solver whose answers are easily told apart."""

    gain: float = 1.0
    weights: str | None = None
    wrong: str = ""
    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "rgb"

    @property
    def name(self):
        return "repeat"

    def weights_sha256(self):
        return hashlib.sha256(Path(self.weights).read_bytes()).hexdigest() if self.weights else None

    def supports(self, problem):
        if self.wrong == "supports raises":
            raise KeyError("supports")
        return (
            "It cannot do grey images." if self.wrong == "grey" and problem.lr.ndim == 2 else None
        )

    def solve(self, problem, *, init=None, callback=None):
        if self.wrong == "supports raises":
            self.supports(problem)
        if self.wrong == "raises" and problem.lr.ndim == 2:
            raise RuntimeError("out of\nluck")
        large = problem.lr.repeat(problem.scale, 0).repeat(problem.scale, 1) * self.gain
        estimate = np.full_like(large, np.nan) if self.wrong == "nan" else large
        status = Status.DIVERGED if self.wrong == "diverges" else Status.DIRECT
        return Solution(estimate, status, seconds=0.25)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data folder with one set, `mine`: crops of real photographs, grey and colour."""
    place = tmp_path / "data" / "mine"
    place.mkdir(parents=True)
    for name, image in demo():
        write_image(place / f"{name}.png", image[:48, :60])
    return place.parent


@pytest.fixture
def repeat() -> type[Repeat]:
    return Repeat


@dataclass
class Comparison:
    """`mine` compared at ×2, step by step."""

    folder: Path
    results: Results

    def plan(self, *solvers: Solver, line: str = "rgb", **options: Any):
        made = make_plan([load_dataset("mine", self.folder)], [], [2], **options)
        contenders = [Contender(solver, line) for solver in solvers]
        return replace(made, contenders=contenders, protocol="common")

    def run(self, plan) -> tuple[int, int, int]:
        """Carry out a plan; returns (solved now, stored already, failed)."""
        work = find_work(plan, self.results)
        keep_truths(plan, self.results)
        with closing(Progress({})) as progress:
            for task in work:
                progress.add(task.kind, task.megapixels)
            failures = run(work, self.results, progress)
        return len(list(work)), work.already, failures

    def __call__(self, *solvers: Solver, **options: Any) -> tuple[int, int, int]:
        return self.run(self.plan(*solvers, **options))


@pytest.fixture
def compare(folder, tmp_path):
    with Results(tmp_path / FILE_NAME) as results:
        yield Comparison(folder, results)


# A report


@dataclass(frozen=True)
class Sharpened(Solver[SuperResolution]):
    """Bicubic enlargement, sharpened: y + amount·(y − Gσ⊗y)."""

    amount: float
    label: str = ""
    largest: int = 10_000

    problem_type: ClassVar[type] = SuperResolution

    @property
    def name(self) -> str:
        return self.label or f"sharpened-{self.amount:g}"

    def supports(self, problem: SuperResolution) -> str | None:
        if max(problem.lr.shape[:2]) > self.largest:
            return f"{self.name} takes images of up to {self.largest} pixels."
        return None

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float:
        return (1 + self.amount) * 100.0 * np.prod(problem.lr.shape) * problem.scale**2

    def solve(self, problem, *, init=None, callback=None) -> Solution:
        large = imresize(problem.lr, problem.scale)
        sigma = (1.0, 1.0) + (0.0,) * (large.ndim - 2)
        sharp = large + self.amount * (large - gaussian_filter(large, sigma))
        return Solution(sharp, Status.DIRECT, seconds=0.01 + self.amount)


def write_photographs(folder: Path, sizes: Mapping[str, Sequence[int]]) -> Path:
    """Data sets of crops of the embedded photographs: of each, the images' sides in pixels."""
    photographs = [image for _, image in demo()]
    draw = np.random.default_rng(0)
    for dataset, sides in sizes.items():
        (folder / dataset).mkdir(parents=True)
        for number, side in enumerate(sides):
            photograph = photographs[number % len(photographs)]
            top, left = draw.integers(0, len(photograph) - side + 1, 2)
            crop = photograph[top : top + side, left : left + side]
            write_image(folder / dataset / f"image{number:03}.png", crop)
    return folder


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """A page: 12 images of B100 and three of Set5, two scales, harder input, three metrics, four
    solvers, one of which cannot do every image."""
    folder = write_photographs(
        tmp_path_factory.mktemp("photographs"), {"B100": [48] * 12, "Set5": [96, 64, 64]}
    )
    solvers = [
        Sharpened(0.0, "bicubic"),
        Sharpened(0.6),
        Sharpened(0.61),
        Sharpened(2.0, largest=40),
    ]
    out = tmp_path_factory.mktemp("report")
    datasets = [load_dataset(path.name, folder) for path in sorted(folder.iterdir())]
    plan = replace(
        make_plan(
            datasets, [], [2, 3], metrics=["ssim", "gmsd"], degradations=["noise:5"], shown=6
        ),
        contenders=[Contender(solver, "y") for solver in solvers],
    )
    with Results(out / FILE_NAME) as results, closing(Progress({})) as progress:
        work = find_work(plan, results)
        number = results.start_run(
            "python -m benchmarks.compare --for 'a <test> & more'", {}, plan.as_dict()
        )
        for task in work:
            progress.add(task.kind, task.megapixels)
        keep_truths(plan, results)
        run(work, results, progress, number)
        results.finish_run(number)
        keep_figures(results, out)
        return write_page(summarise(results), results, out)


# Rows that are made up


SET5 = ["baby", "bird", "butterfly", "head", "woman"]
LINES = {"bicubic": "y", "csc-sr[ista]": "y", "crnet-a-small": "y", "crnet-b-small": "rgb"}
PSNR_DB = {"bicubic": 33.66, "csc-sr[ista]": 35.7, "crnet-a-small": 36.0, "crnet-b-small": 36.9}


@dataclass
class MadeUp:
    """A database with rows that no solver computed, of four solvers at ×2."""

    results: Results
    images: Sequence[str] = tuple(SET5)
    lines: Mapping[str, str] = field(default_factory=lambda: LINES)
    psnr_db: ClassVar[Mapping[str, float]] = PSNR_DB

    def identity(self, solver: str) -> dict[str, str]:
        return {
            "solver": solver,
            "params": "{}",
            "solver_version": "1",
            "weights_sha256": "",
            "line": self.lines[solver],
        }

    def start(
        self,
        images: Sequence[str] | None = None,
        dataset: str = "Set5",
        degradations: Sequence[str] = ("",),
    ) -> None:
        """Start a run over `images`."""
        members = [
            {"image": image, "input_sha256": image * 2}
            for image in (self.images if images is None else images)
        ]
        plan = {
            "datasets": {dataset: members},
            "scales": [2],
            "solvers": [self.identity(solver) for solver in self.lines],
            "protocol": "paper",
            "degradations": list(degradations),
        }
        self.results.start_run("the command", {}, plan)

    def row(
        self,
        solver: str,
        image: str,
        dataset: str = "Set5",
        degradation: str = "",
        outcome: str = SCORED,
        **values: Any,
    ) -> Row:
        key = Key.of(self.identity(solver), image * 2, 2, degradation)
        return Row(key, dataset, image, outcome, **values)

    def scored(
        self, solver: str, image: str, psnr_db: float, gmsd: float | None = None, **place: str
    ) -> Row:
        scores = {"psnr": psnr_db, "ssim": psnr_db / 40} | ({} if gmsd is None else {"gmsd": gmsd})
        values = {"scores": scores, "seconds": 0.12345, "threads": 2}
        return self.row(solver, image, **place, **values, machine="a machine", device="cpu")

    def fill(
        self,
        images: Sequence[str] | None = None,
        planned: Sequence[str] | None = None,
        lines: Mapping[str, str] = LINES,
        dataset: str = "Set5",
    ) -> Summary:
        """A run over `planned` whose `images` are scored, with `PSNR_DB` as means."""
        self.lines = lines
        images = self.images if images is None else images
        self.start(planned, dataset)
        for solver in lines:
            for offset, image in enumerate(images):
                psnr_db = self.psnr_db[solver] + 0.1 * (offset - (len(images) - 1) / 2)
                self.results.add(self.scored(solver, image, psnr_db, dataset=dataset))
        return summarise(self.results)


@pytest.fixture
def with_blank(made_up) -> Summary:
    """Five images of which the last is flat: two solvers make no error there, and a network that
    is worse than another on every photograph has a very large PSNR."""
    made_up.lines = LINES
    made_up.start()
    blank = {"bicubic": np.inf, "csc-sr[ista]": np.inf, "crnet-a-small": 99.0}
    for solver, psnr_db in PSNR_DB.items():
        for number, image in enumerate(SET5[:4]):
            made_up.results.add(made_up.scored(solver, image, psnr_db + 0.1 * number))
        scores = {"psnr": blank.get(solver, 50.0), "ssim": 1.0}
        row = made_up.scored(solver, SET5[4], 0.0)
        made_up.results.add(replace(row, scores=scores))
    made_up.results.finish_run(1)
    return summarise(made_up.results)


@pytest.fixture
def made_up(tmp_path):
    with Results(tmp_path / FILE_NAME) as results:
        yield MadeUp(results)
