"""A comparison of any size, really carried out: small photographs, many quick solvers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cscsr import Solution, Solver, Status, SuperResolution
from cscsr.compare.page import keep_figures, write_page
from cscsr.compare.plan import Contender, Plan, make_plan
from cscsr.compare.progress import Progress
from cscsr.compare.results import FILE_NAME, Results
from cscsr.compare.run import find_work, keep_truths, run
from cscsr.data.datasets import demo, load_dataset
from cscsr.imaging import imresize, write_image


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


def carry_out(
    out: Path,
    folder: Path,
    solvers: Sequence[Solver],
    scales: Sequence[int],
    degrade: Sequence[str] = (),
    shown: int = 6,
) -> Path:
    """Compare `solvers` on all data sets in `folder`, into `out`; returns the page."""
    datasets = [load_dataset(path.name, folder) for path in sorted(folder.iterdir())]
    given = make_plan(datasets, [], scales, degradations=degrade, shown=shown)
    contenders = [Contender(solver, "y") for solver in solvers]
    plan = Plan(
        given.images, given.scales, contenders, "paper", given.degradations, given.showcases
    )
    with Results(out / FILE_NAME) as results, closing(Progress({})) as progress:
        work, _ = find_work(plan, results)
        number = results.start_run(
            "python -m benchmarks.compare --for 'a <test> & more'", {}, plan.as_dict()
        )
        for task in (task for tasks in work.values() for task in tasks):
            progress.add(task.kind, task.megapixels)
        keep_truths(plan, results)
        run(work, results, progress, number)
        results.finish_run(number)
        keep_figures(results, out)
        return write_page(results, out)


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """A page: 12 images of B100 and three of Set5, two scales, harder input, four solvers, one
    of which cannot do every image."""
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
    return carry_out(out, folder, solvers, [2, 3], ["noise:5"])
