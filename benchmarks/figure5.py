"""Figure 5: what the global skip of eq. (14) is worth at K = 1 and at K = 5.

    python -m benchmarks.figure5 --out reports/latest

Four small CRNet-A, with and without the skip, are trained here and now, from one seed on
the same patches of embedded images that are never tested on. Their PSNR at ×3 on Set5 (or
`demo`) is written to fig5.csv at regular steps, and fig5.png is drawn from that file.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.curves import made_with, make_folder, run_command, write_curves
from cscsr import InputError, SuperResolution, make_solver
from cscsr.arrays import check_device
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    Dataset,
    data_folder,
    find_datasets,
    load_dataset,
    training_textures,
)
from cscsr.imaging import degrade, score

if TYPE_CHECKING:
    from cscsr.training.run import Trainer

SCALE = 3
RECURSIONS = (1, 5)
EVALUATIONS = 12

DEFAULT_WIDTH = 16
DEFAULT_STEPS = 360
DEFAULT_SECONDS = 100.0

BATCH = 16
PATCH = 33
LEARNING_RATE = 2e-3

SETTINGS = [
    "dataset",
    "images_sha256",
    "scale",
    "width",
    "seed",
    "steps",
    "budget_seconds",
    "device",
]
"""Columns of fig5.csv that are the same in every row: what the run was asked for."""

CSV_COLUMNS = [*SETTINGS, "network", "recursions", "step", "seconds", "psnr_db"]


def tested_images(folder: str | Path | None = None) -> Dataset:
    """Set5 where it is found in `folder` (default: what CSCSR_DATA names), else `demo`."""
    path = data_folder(folder)
    if path is not None and "Set5" in find_datasets(path):
        return load_dataset("Set5", path)
    return load_dataset("demo")


def pixels_sha256(dataset: Dataset) -> str:
    """SHA-256 of all images' names, shapes and pixels: a data set's name says nothing of them."""
    digest = hashlib.sha256()
    for name, truth in dataset:
        digest.update(f"{name} {truth.shape} ".encode())
        digest.update(np.ascontiguousarray(truth).data)
    return digest.hexdigest()


def bicubic_psnr(truths: Sequence[np.ndarray]) -> float:
    """Mean PSNR in dB of plain enlargement: what every network starts from."""
    bicubic = make_solver("bicubic")
    values = []
    for truth in truths:
        solution = bicubic.solve(SuperResolution(degrade(truth, SCALE, "y"), SCALE))
        values.append(score(solution.estimate, truth, SCALE, "y")["psnr"])
    return float(np.mean(values))


def make_trainers(
    width: int, steps: int, seed: int, device: str = "cpu"
) -> dict[tuple[str, int], Trainer]:
    """The four networks before their first step: ("residual" or "non-residual", K)."""
    from cscsr.training.patches import PatchBank, training_pair
    from cscsr.training.recipe import Optimiser, Recipe
    from cscsr.training.run import Trainer

    pairs = [training_pair(image, SCALE, "y") for image in training_textures().values()]
    bank = PatchBank(pairs, device)
    trainers = {}
    for recursions in RECURSIONS:
        for name in ("residual", "non-residual"):
            recipe = Recipe(
                name=f"figure5 {name} K={recursions}",
                architecture="crnet-a",
                line="y",
                sets=[],
                scales=[SCALE],
                optimiser=Optimiser(BATCH, PATCH, LEARNING_RATE, ema=0.9),
                network={
                    "n0": width,
                    "m0": 2 * width,
                    "recursions": recursions,
                    "residual": name == "residual",
                },
            )
            trainer = Trainer(recipe, {SCALE: bank}, device=device, bf16=False, seed=seed)
            trainer.progress.per_step = 1 / steps
            trainers[name, recursions] = trainer
    return trainers


def measure(
    dataset: Dataset,
    settings: dict[str, Any],
    report: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Train the four networks, a step of each in turn; the rows of fig5.csv.

    When the seconds of `settings` do not suffice, all curves end early at the same step.
    """
    start = time.perf_counter()
    steps = settings["steps"]
    truths = [truth for _, truth in dataset]
    start_db = round(bicubic_psnr(truths), 4)
    rows = [{**settings, "network": "bicubic", "step": 0, "psnr_db": start_db}]
    trainers = make_trainers(settings["width"], steps, settings["seed"], settings["device"])
    spent = dict.fromkeys(trainers, 0.0)

    def evaluate(step: int) -> float:
        """Add a row for each network; returns how long that took."""
        begun = time.perf_counter()
        for (network, recursions), trainer in trainers.items():
            rows.append(
                {
                    **settings,
                    "network": network,
                    "recursions": recursions,
                    "step": step,
                    "seconds": round(spent[network, recursions], 2),
                    "psnr_db": round(trainer.evaluate(truths)[SCALE], 4),
                }
            )
        return time.perf_counter() - begun

    def out_of_time() -> bool:
        """Whether one more evaluation is all there is time for."""
        return time.perf_counter() - start + evaluation_seconds > settings["budget_seconds"]

    evaluation_seconds = evaluate(0)
    marks = {math.ceil(steps * n / EVALUATIONS) for n in range(1, EVALUATIONS + 1)}
    for step in range(1, steps + 1):
        for which, trainer in trainers.items():
            begun = time.perf_counter()
            trainer.step()
            spent[which] += time.perf_counter() - begun
        late = out_of_time()
        if report is not None:
            report("training four networks", step, steps)
        if step in marks or late:
            evaluation_seconds = evaluate(step)
            if late or out_of_time():
                break
    return rows


_COLOURS = {"residual": "#0072B2", "non-residual": "#D55E00"}
_STYLES = {"residual": "o-", "non-residual": "s--"}
_ROOM_BELOW_DB = 3.0
"""How far below bicubic the axis reaches; networks without the skip start far lower."""


def draw(table: Path, picture: Path) -> None:
    """Draw fig5.png from fig5.csv: a panel for each K, PSNR against training steps."""
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    bicubic = rows[rows.network == "bicubic"].psnr_db.iloc[0]
    curves = rows[rows.network != "bicubic"]
    lowest, highest = curves.psnr_db.min(), max(curves.psnr_db.max(), bicubic)
    floor = max(min(lowest, bicubic), bicubic - _ROOM_BELOW_DB)
    margin = 0.06 * (highest - floor)

    figure = Figure(figsize=(9, 4.3), layout="constrained")
    panels = figure.subplots(1, len(RECURSIONS), sharey=True)
    for panel, recursions in zip(panels, RECURSIONS, strict=True):
        panel.axhline(bicubic, color="0.35", linestyle=":", label=f"bicubic, {bicubic:.2f} dB")
        for network, colour in _COLOURS.items():
            curve = curves[(curves.network == network) & (curves.recursions == recursions)]
            label = f"{network}, {curve.psnr_db.iloc[-1]:.2f} dB at the end"
            panel.plot(
                curve.step, curve.psnr_db, _STYLES[network], color=colour, label=label, markersize=4
            )
        panel.set_title(f"K = {recursions}")
        panel.set_xlabel("training steps")
        panel.set_xlim(0, None)
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.grid(alpha=0.25)
        panel.legend(loc="lower right", fontsize=9)
    panels[0].set_ylim(floor - margin, highest + margin)
    panels[0].set_ylabel(f"mean PSNR on {first.dataset} ×{first.scale} (dB)")
    title = [
        f"CRNet-A with and without the global skip, n₀ = {first.width}, m₀ = {2 * first.width}",
        f"{first.steps} steps of {BATCH} patches of {PATCH}×{PATCH} pixels from textures",
    ]
    last = curves.step.max()
    if last < first.steps:
        title.append(f"cut off by the time limit after {last} steps")
    elif lowest < floor - margin:
        title.append("the first points without the skip lie below the axis")
    figure.suptitle("\n".join(title), fontsize=10.5)
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=150)
    part.replace(picture)


def check_budget(width: int, steps: int, seconds: float) -> None:
    """Raises InputError for a width, steps or seconds that are not positive."""
    for name, value in {"width": width, "number of steps": steps, "time": seconds}.items():
        if not value > 0:
            raise InputError(f"Figure 5 needs a positive {name}, got {value}.")


def figure5(
    out: str | Path,
    data: str | Path | None = None,
    *,
    width: int = DEFAULT_WIDTH,
    steps: int = DEFAULT_STEPS,
    seconds: float = DEFAULT_SECONDS,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make fig5.csv and fig5.png in the folder `out`; returns their paths.

    Nothing is trained where a fig5.csv of the same settings is there already.

    data: the folder in which Set5 is looked for; without it, the test set is `demo`.
    width: n₀ of the networks, with m₀ = 2 n₀. steps: for each network. seconds: for all of
    it; where they do not suffice the curves end early. report: told (what is being done, the
    step, how many steps).

    Raises InputError for a width, steps or seconds that are not positive.
    """
    check_budget(width, steps, seconds)
    check_device(device)
    out = make_folder(out)
    table, picture = out / "fig5.csv", out / "fig5.png"
    dataset = tested_images(data)
    values = [dataset.name, pixels_sha256(dataset), SCALE]
    values += [int(width), int(seed), int(steps), float(seconds), device]
    settings = dict(zip(SETTINGS, values, strict=True))
    if not made_with(table, settings):
        write_curves(table, CSV_COLUMNS, measure(dataset, settings, report))
    draw(table, picture)
    return [table, picture]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.figure5`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figure5", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument(
        "--data", metavar="DIR", help=f"folder with Set5 (default: ${FOLDER_VARIABLE})"
    )
    parser.add_argument("--width", type=int, default=DEFAULT_WIDTH, help="n₀ (%(default)s)")
    parser.add_argument(
        "--steps", type=int, default=DEFAULT_STEPS, help="of each network (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, help="at most, for all (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--device", default="cpu", help="%(default)s")
    return run_command(figure5, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
