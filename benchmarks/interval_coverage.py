"""How often do 95 % intervals of a mean contain it? Simulated, for few and for many images.

    python -m benchmarks.interval_coverage --out reports/latest

Differences are drawn from distributions whose mean is known, and the intervals that
`cscsr.compare.differences` could give are made of them: by Student's t, by the percentile and
the BCa bootstrap of scipy, and by the studentised bootstrap, which it does give.
docs/decisions.md says what follows.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._study.command import Report, run_command, silent, study_parser
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.workers import results_of
from cscsr import InputError, interrupts
from cscsr.compare.differences import LEVEL, intervals
from cscsr.output import make_folder, write_text
from cscsr.parallel import add_worker_options

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "decisions.md"
REFERENCE = ROOT / "reports" / "reference" / "interval_coverage.csv"
"""Where the figures are that docs/decisions.md shows."""

SIZES = (5, 10, 14, 100)
"""Set5, the fewest images that get an interval, Set14, B100."""

SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda draw, size: draw.standard_normal(size),
    "exponential": lambda draw, size: draw.exponential(size=size) - 1,
    "lognormal": lambda draw, size: np.exp(draw.standard_normal(size)) - math.exp(0.5),
}
"""Distributions of mean 0: without skewness, with a skewness of 2, and with one of 6."""

TRIALS = 2000
RESAMPLES = 2000
CHUNK = 100


def student(samples: np.ndarray) -> np.ndarray:
    """Student's t intervals (2, trials) of the means of `samples` (images, trials)."""
    from scipy.stats import t

    images = len(samples)
    half = t.ppf((1 + LEVEL) / 2, images - 1) * samples.std(axis=0, ddof=1) / math.sqrt(images)
    return samples.mean(axis=0) + half * np.array([[-1], [1]])


def percentile_and_bca(samples: np.ndarray, resamples: int) -> dict[str, np.ndarray]:
    """The intervals of `scipy.stats.bootstrap`, each (2, trials), of the same resamples."""
    from scipy.stats import bootstrap

    bounds: dict[str, list[np.ndarray]] = {"percentile": [], "BCa": []}
    draw = np.random.default_rng(0)
    for start in range(0, samples.shape[1], CHUNK):
        data = (samples[:, start : start + CHUNK].T,)
        made = None
        for method, size in (("percentile", resamples), ("BCa", 0)):
            made = bootstrap(
                data,
                np.mean,
                axis=-1,
                method=method,
                n_resamples=size,
                bootstrap_result=made,
                confidence_level=LEVEL,
                batch=100,
                random_state=draw,
            )
            bounds[method].append(np.array(made.confidence_interval))
    return {method: np.hstack(parts) for method, parts in bounds.items()}


def coverage(bounds: np.ndarray) -> float:
    """In which part of the trials 0 lies between the bounds (2, trials)."""
    low, high = bounds
    return float(np.mean((low <= 0) & (high >= 0)))


def simulated(task: tuple[str, int], trials: int, resamples: int) -> list[dict[str, Any]]:
    """A row for each kind of interval, of a shape and a number of images."""
    shape, images = task
    samples = SHAPES[shape](np.random.default_rng(images), (images, trials))
    methods = {
        **percentile_and_bca(samples, resamples),
        "Student's t": student(samples),
        "studentised": intervals(samples),
    }
    return [
        {
            "shape": shape,
            "images": images,
            "trials": trials,
            "method": method,
            "coverage": f"{coverage(bounds):.4f}",
            "median_length": f"{float(np.median(bounds[1] - bounds[0])):.4f}",
        }
        for method, bounds in methods.items()
    ]


def simulate(
    out: str | Path,
    trials: int = TRIALS,
    resamples: int = RESAMPLES,
    jobs: str | int = 1,
    scheduler: str | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make interval_coverage.csv and interval_coverage.md in the folder `out`.

    trials: samples of each shape and size. resamples: of scipy's bootstraps. Raises InputError
    for a number of either that is not positive, and as `results_of` does.
    """
    if min(trials, resamples) < 1:
        raise InputError(f"expected positive numbers, got {trials} trials, {resamples} resamples.")
    tasks = [(shape, images) for shape in SHAPES for images in SIZES]
    rows_of = dict(
        results_of(
            simulated,
            tasks,
            trials,
            resamples,
            jobs=jobs,
            scheduler=scheduler,
            label=lambda task: f"{task[0]}, {task[1]} images",
            report=report,
        )
    )
    table, page = make_folder(out) / "interval_coverage.csv", Path(out) / "interval_coverage.md"
    write_curves(table, [row for task in tasks for row in rows_of[task]])
    write_text(page, markdown(read_curves(table)) + "\n")
    return [table, page]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a interval_coverage.csv as a table: coverage in percent, methods across."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = [
        "| differences | images | " + " | ".join(methods) + " |",
        "|---|--:|" + "--:|" * len(methods),
    ]
    for shape, images in dict.fromkeys((row["shape"], row["images"]) for row in rows):
        cells = {
            row["method"]: f"{100 * float(row['coverage']):.1f}"
            for row in rows
            if (row["shape"], row["images"]) == (shape, images)
        }
        lines.append(f"| {shape} | {images} | " + " | ".join(cells[m] for m in methods) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.interval_coverage`."""
    parser = study_parser("interval_coverage", __doc__.split("\n\n")[2])
    parser.add_argument("--trials", type=int, default=TRIALS, help="(%(default)s)")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="(%(default)s)")
    add_worker_options(parser)
    return run_command(simulate, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
