"""Figures that the tests hold the shipped solvers to, image by image, where no table has them.

    python -m benchmarks.pins --data DIR --out reports/reference

With `--solvers` only those are measured, and the other rows of the file stay.

`table1.csv` and `coders/table1.csv` have the means over Set5 and Set14 of what they compare.
This adds the embedded set for every solver, and for those that the tables leave out of a set, or
that take too long there for a test, the images and scales named in `selection`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks._study.command import (
    Report,
    add_data,
    needed_data,
    run_command,
    silent,
    study_parser,
)
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.workers import results_of
from cscsr import SuperResolution, interrupts, list_solvers, make_solver
from cscsr.data.datasets import load_dataset
from cscsr.imaging import degrade, score
from cscsr.output import make_folder
from cscsr.parallel import add_worker_options
from cscsr.registry import is_builtin

COLUMNS = ("dataset", "image", "scale", "solver", "psnr_db", "ssim")

EXPENSIVE = (
    "crnet-a",
    "crnet-b",
    "crnet-b-small+",
    "csc-sr[admm]+",
    "csc-sr[cista]",
    "csc-sr[sporco-admm]",
)
"""Solvers that take seconds for an image: here at ×4 only, where the images are smallest."""

LONGEST = {"crnet-b+": {"demo": ("chelsea",), "Set5": ("butterfly",), "Set14": ("comic",)}}
"""Solvers of which a test can afford only a small image of each set, at ×4."""

WHOLE_SET14 = {
    "bicubic": (2, 3, 4),
    "csc-sr[admm]": (4,),
    "crnet-a-small": (),
    "crnet-b-small": (4,),
}
"""Solvers of which table1.csv has Set14, and the scales at which a test can afford all of it."""

SET5_AT_4 = (*EXPENSIVE, "crnet-a-small")
"""Solvers of which a test can afford Set5 at ×4 only."""

UNTABLED = ("csc-sr[ista]", "csc-sr[admm]+", "crnet-a", "crnet-b", "crnet-b+", "crnet-b-tied")
"""Solvers that no table has on Set5."""

FEW = ("comic", "face")
"""The two smallest images of Set14, which the other solvers and scales have."""

Task = tuple[str, str, int, str]
"""Data set, image, scale, solver."""


def selection() -> Iterator[tuple[str, str, int]]:
    """What is measured: (data set, solver, scale), of Set14 on the images `FEW` only."""
    for name in filter(is_builtin, list_solvers("SuperResolution")):
        scales = (4,) if name in (*EXPENSIVE, *LONGEST) else (2, 3, 4)
        if name.startswith("csc-sr-paper"):
            scales = (2,)
        yield from (("demo", name, scale) for scale in scales)
        if name in UNTABLED:
            yield from (("Set5", name, scale) for scale in scales)
        few = set(scales) - set(WHOLE_SET14[name]) if name in WHOLE_SET14 else {max(scales)}
        yield from (("Set14", name, scale) for scale in sorted(few))


def measure(name: str, truth: np.ndarray, scale: int) -> tuple[float, float]:
    """PSNR (dB) and SSIM of a solver on the image `truth`, uint8, on the solver's own line."""
    solver = make_solver(name)
    problem = SuperResolution(degrade(truth, scale, solver.line), scale)
    scores = score(solver.solve(problem).estimate, truth, scale, solver.line)
    return scores["psnr"], scores["ssim"]


def _measure(task: Task, images: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[float, float]:
    dataset, image, scale, name = task
    return measure(name, images[dataset][image], scale)


def pins(
    out: str | Path,
    data: str | Path | None,
    solvers: Sequence[str] | None = None,
    jobs: str | int = 1,
    scheduler: str | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make pins.csv in the folder `out`, or replace the rows of `solvers` in it.

    Raises InputError where Set5 or Set14 is missing, and as `results_of` does.
    """
    folder = needed_data(data)
    path = make_folder(out) / "pins.csv"
    before = {
        tuple(row[column] for column in COLUMNS[:4]): row
        for row in (read_curves(path) if solvers else [])
    }
    images = {name: dict(load_dataset(name, folder)) for name in ("demo", "Set5", "Set14")}
    images["Set14"] = {name: images["Set14"][name] for name in FEW}
    tasks: list[Task] = [
        (dataset, image, scale, name)
        for dataset, name, scale in selection()
        for image in LONGEST.get(name, images)[dataset]
    ]
    measured = dict(
        results_of(
            _measure,
            [task for task in tasks if not solvers or task[3] in solvers],
            images,
            jobs=jobs,
            scheduler=scheduler,
            label=lambda task: f"{task[3]} on {task[0]}/{task[1]} ×{task[2]}",
            report=report,
        )
    )
    rows: list[dict[str, str]] = []
    for task in tasks:
        texts = tuple(map(str, task))
        if task in measured:
            psnr_db, ssim = measured[task]
            values = (*texts, f"{psnr_db:.4f}", f"{ssim:.6f}")
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        elif texts in before:
            rows.append(before[texts])
    write_curves(path, rows)
    return [path]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.pins`."""
    parser = study_parser("pins", __doc__.split("\n\n")[0])
    add_data(parser)
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="measure only these")
    add_worker_options(parser)
    return run_command(pins, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
