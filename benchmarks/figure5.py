"""Figure 5: what the global skip of eq. (14) is worth at K = 1 and at K = 5.

    python -m benchmarks.figure5 --out reports/latest

Four small CRNet-A, with and without the skip, are trained here and now, from one seed on
the same patches of embedded images that are never tested on. Their PSNR at ×3 on Set5 (or
`demo`) is written to fig5.csv at regular steps, and fig5.png is drawn from that file.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._study.command import Report, add_data, run_command, silent, study_parser
from benchmarks._study.curves import made_with, write_curves
from benchmarks._study.images import bicubic_psnr, pixels_sha256, tested_images
from benchmarks._study.short_runs import SCALE, Variant, make_trainer, training_bank
from cscsr import InputError, interrupts, plot
from cscsr.arrays import check_device
from cscsr.compare.plan import Image
from cscsr.data.datasets import training_textures
from cscsr.output import make_folder

if TYPE_CHECKING:
    import numpy as np

    from cscsr.training.trainer import Trainer

RECURSIONS = (1, 5)
EVALUATIONS = 12

DEFAULT_WIDTH = 16
DEFAULT_STEPS = 360
DEFAULT_SECONDS = 1800.0
"""The steps are the budget: this only ends a run on a machine far too slow for them."""

OPTIMISER = {"batch": 16, "patch": 33, "learning_rate": 2e-3, "warmup": 0.02, "ema": 0.9}


def make_trainers(
    width: int, steps: int, seed: int, device: str = "cpu"
) -> dict[tuple[str, int], Trainer]:
    """The four networks before their first step: ("residual" or "non-residual", K)."""
    bank = training_bank(list(training_textures().values()), "crnet-a", device)
    trainers = {}
    for recursions in RECURSIONS:
        for name in ("residual", "non-residual"):
            network = {
                "n0": width,
                "m0": 2 * width,
                "recursions": recursions,
                "residual": name == "residual",
            }
            variant = Variant(f"{name} K={recursions}", "crnet-a", network, OPTIMISER)
            trainers[name, recursions] = make_trainer(variant, bank, steps, seed, device)
    return trainers


def measure(
    truths: Sequence[np.ndarray],
    settings: dict[str, Any],
    report: Report = silent,
) -> list[dict[str, Any]]:
    """Train the four networks, a step of each in turn; the rows of fig5.csv.

    When the seconds of `settings` do not suffice, all curves end early at the same step.
    """
    start = time.perf_counter()
    steps = settings["steps"]
    start_db = round(bicubic_psnr(truths, SCALE), 4)
    bicubic = {
        "network": "bicubic",
        "recursions": "",
        "step": 0,
        "seconds": "",
        "psnr_db": start_db,
    }
    rows = [settings | bicubic]
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
        for name, trainer in trainers.items():
            begun = time.perf_counter()
            trainer.step()
            spent[name] += time.perf_counter() - begun
        late = out_of_time()
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
    from matplotlib.ticker import MaxNLocator

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    bicubic = rows[rows.network == "bicubic"].psnr_db.iloc[0]
    curves = rows[rows.network != "bicubic"]
    lowest, highest = curves.psnr_db.min(), max(curves.psnr_db.max(), bicubic)
    floor = max(min(lowest, bicubic), bicubic - _ROOM_BELOW_DB)
    margin = 0.06 * (highest - floor)

    figure, made = plot.panels(1, len(RECURSIONS), (9, 4.9), sharey=True)
    panels = made[0]
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
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=9)
    panels[0].set_ylim(floor - margin, highest + margin)
    panels[0].set_ylabel(f"mean PSNR on {first.dataset} ×{first.scale} (dB)")
    batch, patch = OPTIMISER["batch"], OPTIMISER["patch"]
    last = curves.step.max()
    steps = f"{last} of {first.steps}" if last < first.steps else str(last)
    title = [
        f"CRNet-A with and without the global skip, n₀ = {first.width}, m₀ = {2 * first.width}",
        f"{steps} steps of {batch} patches of {patch}×{patch} pixels from textures",
    ]
    if last < first.steps:
        title.append("cut off by the time limit, far from the end of training")
    elif lowest < floor - margin:
        title.append("the first points without the skip lie below the axis")
    figure.suptitle("\n".join(title), fontsize=10.5)
    plot.save(figure, picture)


def cut_off(table: Path) -> str:
    """Return the sentence on a run that the time limit cut off; "" for others."""
    import pandas as pd

    rows = pd.read_csv(table)
    last, steps = int(rows.step.max()), int(rows.steps.iloc[0])
    if last >= steps:
        return ""
    return (
        f"Figure 5 ends at step {last} of {steps}, far from the end of training: this machine "
        f"needed more than {rows.budget_seconds.iloc[0]:g} s, which --fig5-seconds raises."
    )


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
    read: Mapping[str, Sequence[Image]] | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make fig5.csv and fig5.png in the folder `out`; returns their paths.

    Nothing is trained where a fig5.csv of the same settings is there already.

    data: the folder in which Set5 is looked for; without it, the test set is `demo`.
    width: n₀ of the networks, with m₀ = 2 n₀. steps: for each network. seconds: for all of
    it; where they do not suffice the curves end early. read: the data sets that a comparison has
    read already.

    Raises InputError for a width, steps or seconds that are not positive.
    """
    check_budget(width, steps, seconds)
    check_device(device)
    out = make_folder(out)
    table, picture = out / "fig5.csv", out / "fig5.png"
    dataset, images = tested_images(data, read)
    settings = {
        "dataset": dataset,
        "images_sha256": pixels_sha256(images.items()),
        "scale": SCALE,
        "width": int(width),
        "seed": int(seed),
        "steps": int(steps),
        "budget_seconds": float(seconds),
        "device": device,
    }
    if not made_with(table, settings):
        write_curves(table, measure(list(images.values()), settings, report))
    draw(table, picture)
    return [table, picture]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.figure5`."""
    parser = study_parser("figure5", __doc__.split("\n\n")[2])
    add_data(parser)
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
    sys.exit(interrupts.ended(main))
