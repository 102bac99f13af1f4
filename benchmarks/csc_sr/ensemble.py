"""What a self-ensemble and back-projection add to CSC-SR, without another training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._study.command import Report, silent
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.images import pixels_sha256
from cscsr import SuperResolution, make_solver, weights
from cscsr.compare.published import read_published
from cscsr.data.datasets import load_dataset
from cscsr.imaging import degrade, score
from cscsr.imaging.back_projection import back_projected
from cscsr.output import make_folder, write_text
from cscsr.self_ensemble import mean_over_orientations
from cscsr.training.run import holdout_crops

SOLVER, PLUS = "csc-sr[admm]", "csc-sr[admm]+"
HELD_OUT = "held out"
SETS = (HELD_OUT, "Set5")
SCALES = (2, 3, 4)
STEPS = (0, 1, 2, 5)
"""Steps of back-projection."""


def ensemble(data: str | Path, out: str | Path, report: Report = silent) -> list[Path]:
    """Score `SOLVER` with and without both on each image and scale; rows of a run that was stopped
    are used again. Raises InputError for a folder without the data."""
    out = make_folder(out)
    table, text = out / "ensemble.csv", out / "ensemble.md"
    version = weights.sha256("csc-sr-admm")[:12]
    rows: list[dict[str, Any]] = [
        row for row in read_curves(table) if row["weights_sha256"] == version
    ]
    done = {(row["set"], row["image"], row["scale"], row["pixels_sha256"]) for row in rows}
    tasks = [
        (name, image, scale, truth)
        for name, image, truth in _images(Path(data))
        for scale in SCALES
    ]
    for index, (name, image, scale, truth) in enumerate(tasks):
        about = {
            "set": name,
            "image": image,
            "scale": str(scale),
            "pixels_sha256": pixels_sha256([(image, truth)])[:12],
        }
        if tuple(about.values()) in done:
            continue
        report(f"{image} of {name} ×{scale}", index, len(tasks))
        scores = _scores(truth, scale)
        rows += [{**about, "weights_sha256": version, **row} for row in scores]
        write_curves(table, rows)
        write_text(text, table_of(rows))
    write_text(text, table_of(rows))
    means = out / "ensemble_means.csv"
    write_curves(means, means_of(rows))
    return [table, text, means]


def _images(data: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    for index, truth in enumerate(holdout_crops(data)):
        yield HELD_OUT, str(index), truth
    for name in SETS[1:]:
        for image, truth in load_dataset(name, data):
            yield name, image, truth


def _scores(truth: np.ndarray, scale: int) -> list[dict[str, Any]]:
    """PSNR and SSIM of the image as it is and of the mean over its orientations, after each number
    of steps of back-projection; line y."""
    solver = make_solver(SOLVER)
    lr = np.asarray(degrade(truth, scale, "y"))
    upright: list[torch.Tensor] = []

    def enlarged(turned: torch.Tensor) -> torch.Tensor:
        estimate = solver.solve(SuperResolution(turned[0, 0], scale)).estimate[None, None]
        upright.append(estimate)
        return estimate

    mean = mean_over_orientations(enlarged, torch.from_numpy(lr)[None, None])
    rows = []
    for number, estimate in ((1, upright[0]), (8, mean)):
        for steps in STEPS:
            luma = back_projected(estimate[0, 0].numpy(), lr, scale, steps)
            values = score(luma.astype(np.float32), truth, scale, "y")
            rows.append(
                {
                    "orientations": str(number),
                    "back_projections": str(steps),
                    "psnr_db": f"{values['psnr']:.4f}",
                    "ssim": f"{values['ssim']:.5f}",
                }
            )
    return rows


def means_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the registered solver `PLUS` reaches on Set5, in the columns of a table of solvers."""
    steps = str(make_solver(PLUS).params()["back_projections"])
    means = []
    for scale in map(str, SCALES):
        psnr_db, ssim = _mean(rows, ("Set5", scale, "8", steps))
        values = {"psnr_db": f"{psnr_db:.4f}", "ssim": f"{ssim:.6f}"}
        means.append({"method": PLUS, "dataset": "Set5", "scale": scale, **values})
    return means


def _mean(rows: Sequence[dict[str, Any]], wanted: tuple[str, ...]) -> tuple[float, float]:
    """Mean PSNR and SSIM of a set, scale, number of orientations and number of steps."""
    keys = ("set", "scale", "orientations", "back_projections")
    chosen = [row for row in rows if tuple(row[key] for key in keys) == wanted]
    psnr_db = np.mean([float(row["psnr_db"]) for row in chosen])
    return float(psnr_db), float(np.mean([float(row["ssim"]) for row in chosen]))


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each number of orientations and of steps, a column for each set and scale."""
    columns = [
        (name, str(scale))
        for name in SETS
        for scale in SCALES
        if any((row["set"], row["scale"]) == (name, str(scale)) for row in rows)
    ]
    lines = [
        "| orientations | back-projections | "
        + " | ".join(f"{name} ×{scale}" for name, scale in columns)
        + " |",
        "|--:|--:|" + "--:|" * len(columns),
    ]
    for number in ("1", "8"):
        for steps in map(str, STEPS):
            cells = []
            for name, scale in columns:
                psnr_db, ssim = _mean(rows, (name, scale, number, steps))
                cells.append(f"{psnr_db:.2f} / {ssim:.4f}")
            lines.append(f"| {number} | {steps} | {' | '.join(cells)} |")
    lines.append(f"| *published* | | {' | '.join(_published(*column) for column in columns)} |")
    return "\n".join(lines) + "\n"


def _published(name: str, scale: str) -> str:
    """The paper's figures of CSC-SR on a set, or nothing."""
    rows = read_published()
    rows = rows[(rows.dataset == name) & (rows.scale == int(scale)) & (rows.method == "CSC-SR")]
    return "".join(f"{row.psnr_db:.2f} / {row.ssim:.4f}" for row in rows.itertuples())
