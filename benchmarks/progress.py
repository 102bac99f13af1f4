"""What more training would bring `crnet-b`: PSNR against floating-point operations, and a fit.

    python -m benchmarks.progress --out reports/latest

`crnet-b` is trained in stretches, each from the weights of the one before. Operations are counted
from the recipe of each stretch, forward and backward, and add up; those of a teacher and of a
stretch whose weights were dropped are left out. The end of a stretch is a point if its learning
rate has fallen to zero: the mean PSNR of the held-out images over ×2, ×3 and ×4. The line through
the points is linear in the logarithm of the operations; its slope is in dB per doubling, with the
standard error of the regression.

Writes training_progress.csv and training_progress.png from the curves in
reports/reference/training.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks._study.command import Report, run_command, silent, study_parser
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.pages import REFERENCE
from cscsr import InputError, interrupts, plot
from cscsr.output import make_folder
from cscsr.training.recipe import load_recipe

STRETCHES = {
    "crnet-b-256-first": "crnet-b-256",
    "crnet-b-256-third": "crnet-b-256",
    "crnet-b-256-imdn": "crnet-b-256-imdn",
    "crnet-b-256-imdn-second": "crnet-b-256-imdn",
    "crnet-b-256-imdn-third": "crnet-b-256-imdn",
    "crnet-b-256-imdn-k12": "crnet-b-256-imdn-k12",
}
"""The runs that led to the shipped weights, in their order, and the recipe of each one's steps."""

SCALES = (2, 3, 4)


class Stretch(NamedTuple):
    """A run: the operations since the start of the first one and the mean held-out PSNR in dB, at
    each evaluation."""

    name: str
    flop: np.ndarray
    psnr_db: np.ndarray
    complete: bool
    """Whether it ran to its end, where the learning rate is zero."""


class Fit(NamedTuple):
    """PSNR = offset + slope · log₂(FLOP); `error` is the standard error of the slope, infinite
    where two points leave none."""

    slope: float
    error: float
    offset: float


def stretches(folder: Path, recipes: Mapping[str, str] = STRETCHES) -> list[Stretch]:
    """The runs, from their curves in a folder.

    Raises InputError where a curve is missing.
    """
    before, made = 0.0, []
    for name, recipe in recipes.items():
        rows = read_curves(folder / f"{name}.csv")
        if not rows:
            raise InputError(f"expected the curve of a training run, {folder / name}.csv.")
        step = load_recipe(recipe).step_operations()
        flop = before + step * np.array([float(row["step"]) for row in rows])
        columns = [f"holdout_psnr_db_x{scale}" for scale in SCALES]
        psnr = np.mean([[float(row[column]) for column in columns] for row in rows], 1)
        made.append(Stretch(name, flop, psnr, float(rows[-1]["done"]) == 1))
        before = float(flop[-1])
    return made


def fit_of(runs: Sequence[Stretch]) -> Fit:
    """The line through the ends of the complete runs, at least two."""
    from scipy.stats import linregress

    ends = np.array([(run.flop[-1], run.psnr_db[-1]) for run in runs if run.complete])
    line = linregress(np.log2(ends[:, 0]), ends[:, 1])
    error = float(line.stderr) if len(ends) > 2 else np.inf
    return Fit(float(line.slope), error, float(line.intercept))


def draw(runs: Sequence[Stretch], fit: Fit, picture: Path) -> None:
    """Draw training_progress.png: the curves, their ends, and the fit two doublings further."""
    figure, made = plot.panels(size=(6.4, 4.8))
    axes = made[0, 0]
    for run, colour in zip(runs, plot.COLOURS, strict=False):
        axes.plot(run.flop, run.psnr_db, color=colour, linewidth=1, label=run.name)
        if run.complete:
            axes.plot(run.flop[-1], run.psnr_db[-1], "o", color=colour, markersize=6)
    first, last = runs[0].flop[-1], runs[-1].flop[-1]
    reach = np.geomspace(first / 1.3, 4 * last, 50)
    axes.plot(
        reach,
        fit.offset + fit.slope * np.log2(reach),
        "--",
        color="black",
        linewidth=1,
        label="fit to the ends: "
        + (f"{fit.slope:.2f} ± {fit.error:.2f}" if fit.error < np.inf else f"{fit.slope:.2f}")
        + " dB per doubling",
    )
    lowest = min(run.psnr_db[-1] for run in runs) - 0.25
    axes.set_ylim(lowest, fit.offset + fit.slope * np.log2(4 * last) + 0.03)
    axes.set_xlim(first / 8, 4.2 * last)
    axes.set(
        xscale="log",
        xlabel="floating-point operations of the training",
        ylabel="held-out PSNR, mean of ×2, ×3, ×4 (dB)",
    )
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    plot.save(figure, picture)


def progress(out: str | Path, *, report: Report = silent) -> list[Path]:
    """Make training_progress.csv and .png in the folder `out`; returns their paths."""
    runs = stretches(REFERENCE / "training")
    fit = fit_of(runs)
    out = make_folder(out)
    paths = [out / "training_progress.csv", out / "training_progress.png"]
    rows = [
        {
            "run": run.name,
            "flop": f"{run.flop[-1]:.4e}",
            "holdout_psnr_db": f"{run.psnr_db[-1]:.4f}",
            "complete": "yes" if run.complete else "no",
            "slope_db_per_doubling": f"{fit.slope:.4f}",
            "slope_error": f"{fit.error:.4f}",
        }
        for run in runs
    ]
    write_curves(paths[0], rows)
    draw(runs, fit, paths[1])
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.progress`."""
    parser = study_parser("progress", __doc__.split("\n\n")[0])
    return run_command(progress, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
