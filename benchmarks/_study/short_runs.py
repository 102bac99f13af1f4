"""Short training runs of narrow networks, for studies that compare variants.

Each run is a row of a CSV file, written when it is done, so that a study that is stopped goes
on where it stopped, and one that was made with other settings is made anew. Runs of one seed
see the same patches in the same order. Trained on T91 where it is found (else on
embedded textures), and tested at ×3: the paper's studies on Set5 as in the paper (else on
`demo`), those that a choice is made by on the held-out images. Every row names them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._study.command import (
    Report,
    add_data,
    needed_data,
    run_command,
    silent,
    study_parser,
)
from benchmarks._study.curves import digest, read_curves, write_curves
from benchmarks._study.images import bicubic_psnr, pixels_sha256, tested_images
from benchmarks._study.workers import results_of
from cscsr import InputError
from cscsr.arrays import check_device
from cscsr.data.datasets import data_folder, find_datasets, training_images, training_textures
from cscsr.imaging import read_image
from cscsr.output import make_folder, write_text
from cscsr.parallel import add_worker_options

if TYPE_CHECKING:
    from cscsr.training.patches import PatchBank
    from cscsr.training.recipe import Recipe, Teacher
    from cscsr.training.trainer import Trainer

SCALE = 3
BATCH = 8
PATCH = {"crnet-a": 24, "crnet-b": 12}
LEARNING_RATE = 2e-3

SEEDS = 3

SETTINGS = [
    "dataset",
    "images_sha256",
    "trained_on",
    "trained_sha256",
    "scale",
    "steps",
    "device",
]


@dataclass(frozen=True)
class Variant:
    """One run of a study: its label, architecture, and the arguments of its constructor; what
    differs in the optimiser, the teacher, the precision, what is done to the network before it
    starts, and before each step, given the share of the run that lies behind."""

    label: str
    architecture: str
    network: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    teacher: Teacher | None = None
    bf16: bool = False
    start: Callable[[Any], None] | None = None
    during: Callable[[Any, float], None] | None = None


def training_bank(
    images: Sequence[np.ndarray], architecture: str, device: str = "cpu"
) -> PatchBank:
    """The bank of patches of `images` (uint8) at `SCALE` for networks of an architecture."""
    from cscsr.networks import architecture as network_of
    from cscsr.training.patches import PatchBank

    training_pair = network_of(architecture).training_pair
    return PatchBank([training_pair(image, SCALE) for image in images], device)


def recipe_of(variant: Variant) -> Recipe:
    """The recipe by which a variant is trained."""
    from cscsr.training.recipe import Optimiser, Recipe

    settings = {
        "batch": BATCH,
        "patch": PATCH[variant.architecture],
        "learning_rate": LEARNING_RATE,
        "warmup": 0.05,
        "ema": 0.98,
        **variant.optimiser,
    }
    return Recipe(
        name=variant.label,
        architecture=variant.architecture,
        sets=[],
        scales=[SCALE],
        optimiser=Optimiser(**settings),
        network=variant.network,
        teacher=variant.teacher,
    )


def make_trainer(
    variant: Variant, bank: PatchBank, steps: int, seed: int, device: str = "cpu"
) -> Trainer:
    """What trains a variant in `steps` steps, before the first of them."""
    from cscsr.training.trainer import Trainer

    recipe, banks = recipe_of(variant), {SCALE: bank}
    trainer = Trainer(recipe, banks, device=device, bf16=variant.bf16, seed=seed)
    trainer.progress.per_step = 1 / steps
    return trainer


def _training_images(folder: str | Path | None) -> tuple[str, list[np.ndarray]]:
    """The name of the images that are trained on, and the images."""
    path = data_folder(folder)
    if path is not None and "T91" in find_datasets(path):
        return "T91", [read_image(file) for file in training_images(path, ["T91"])]
    return "textures", list(training_textures().values())


def psnr_after(
    run: tuple[Variant, int],
    banks: Mapping[str, PatchBank],
    truths: Sequence[np.ndarray],
    steps: int,
    device: str,
) -> tuple[float | None, int, float]:
    """Train a variant with a seed for `steps`; its mean PSNR in dB, None if its loss stopped being
    finite, its parameters, and the seconds. banks: by architecture."""
    from cscsr.training.trainer import NonFiniteLoss

    variant, seed = run
    trainer = make_trainer(variant, banks[variant.architecture], steps, seed, device)
    if variant.start is not None:
        variant.start(trainer.network)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    start = time.perf_counter()
    try:
        for step in range(steps):
            if variant.during is not None:
                variant.during(trainer.network, step / steps)
            trainer.step()
        trainer.check_finite()
    except NonFiniteLoss:
        return None, parameters, time.perf_counter() - start
    seconds = time.perf_counter() - start
    return trainer.evaluate(truths)[SCALE], parameters, seconds


def _tested(data: str | Path | None, held_out: bool) -> tuple[str, str, list[np.ndarray]]:
    """Name, SHA-256 and pixels of the images that a study is tested on."""
    if not held_out:
        name, images = tested_images(data)
        return name, pixels_sha256(images.items()), list(images.values())
    from cscsr.training.run import holdout_crops

    crops = holdout_crops(needed_data(data))
    return "holdout", pixels_sha256(enumerate(crops)), crops


NETWORK = ("n0", "m0", "recursions")


def training_of(variant: Variant) -> str:
    """A digest of how a variant is trained, for its column `training`."""
    changes = [hook.__qualname__ for hook in (variant.start, variant.during) if hook is not None]
    return digest(
        {"recipe": recipe_of(variant).as_dict(), "bf16": variant.bf16, "changes": changes}
    )


def _reusable(
    path: Path, settings: dict[str, Any], variants: Sequence[Variant]
) -> list[dict[str, Any]]:
    """The rows of `path` that were made with `settings` by the training of one of `variants`."""
    trainings = {variant.label: training_of(variant) for variant in variants}
    return [
        row
        for row in read_curves(path)
        if all(row.get(key) == str(settings[key]) for key in SETTINGS)
        and trainings.get(row["variant"]) == row.get("training")
    ]


def run_variants(
    table: Path,
    study: str,
    variants: Sequence[Variant],
    *,
    data: str | Path | None = None,
    steps: int,
    device: str = "cpu",
    seeds: int = SEEDS,
    held_out: bool = False,
    jobs: str | int = 1,
    scheduler: str | None = None,
    report: Report = silent,
) -> None:
    """Train what is not in `table` yet, each variant with each of `seeds` seeds, the first seed
    first.

    held_out: test on the images of holdout.txt (their central crops) rather than on Set5.
    jobs, scheduler: where the runs are made, see `benchmarks._study.workers`.

    Raises InputError for a number of steps that is not positive, for missing images, for a GPU
    together with workers, and as `results_of` does.
    """
    if not steps > 0:
        raise InputError(f"a study needs a positive number of steps, got {steps}.")
    check_device(device)
    if device != "cpu" and (scheduler is not None or str(jobs) != "1"):
        raise InputError(f"workers train on the CPU: leave out --device {device}.")
    tested, digest_of_tests, truths = _tested(data, held_out)
    trained_on, images = _training_images(data)
    architectures = dict.fromkeys(variant.architecture for variant in variants)
    banks = {name: training_bank(images, name, device) for name in architectures}
    digest_of_training = pixels_sha256(enumerate(images))
    values = [tested, digest_of_tests, trained_on, digest_of_training, SCALE, steps, device]
    settings = dict(zip(SETTINGS, values, strict=True))
    rows = _reusable(table, settings, variants)
    bicubic = round(bicubic_psnr(truths, SCALE), 4)

    there = {(row["variant"], int(row["seed"])) for row in rows}
    tasks = [
        (variant, seed)
        for seed in range(seeds)
        for variant in variants
        if (variant.label, seed) not in there
    ]
    results = results_of(
        psnr_after,
        tasks,
        banks,
        truths,
        steps,
        device,
        jobs=jobs,
        scheduler=scheduler,
        label=lambda task: f"{task[0].label}, seed {task[1]}",
        report=report,
    )
    for (variant, seed), (psnr_db, parameters, seconds) in results:
        rows.append(
            {
                **settings,
                "study": study,
                "variant": variant.label,
                "training": training_of(variant),
                "architecture": variant.architecture,
                **{key: variant.network[key] for key in NETWORK},
                "parameters": parameters,
                "seed": seed,
                "psnr_db": "" if psnr_db is None else round(psnr_db, 4),
                "bicubic_psnr_db": bicubic,
                "seconds": round(seconds, 1),
            }
        )
        write_curves(table, rows)
    rows.sort(key=lambda r: ([v.label for v in variants].index(r["variant"]), int(r["seed"])))
    write_curves(table, rows)


def caption(rows: Any) -> str:
    """What the runs of a table (a DataFrame) were, in a line under a title."""
    first = rows.iloc[0]
    seeds = rows.seed.nunique()
    return (
        f"here: {first.steps} steps of {BATCH} patches from {first.trained_on}, "
        f"{seeds} seed{'s' * (seeds > 1)} each (small dots: single runs)"
    )


def alike(rows: Any) -> dict[str, list[str]]:
    """For each variant of a table (a DataFrame) that has several runs, those of its architecture
    that the runs do not tell it from: neither's runs are all better than all of the other's."""
    ranges = rows.groupby("variant", sort=False).agg(
        low=("psnr_db", "min"),
        high=("psnr_db", "max"),
        runs=("psnr_db", "count"),
        architecture=("architecture", "first"),
    )
    ranges = ranges[ranges.runs > 1]
    return {
        one.Index: [
            other.Index
            for other in ranges.itertuples()
            if other.Index != one.Index
            and other.architecture == one.architecture
            and one.low <= other.high
            and other.low <= one.high
        ]
        for one in ranges.itertuples()
    }


def write_spread(table: Path, page: Path) -> None:
    """Write a page with the mean and the range of each variant's runs, from the table of a study
    of the paper, and with the variants that they do not tell it from.

    Runs that stopped being finite are counted, and left out of all else.
    """
    import pandas as pd

    rows = pd.read_csv(table)
    first, others = rows.iloc[0], alike(rows)
    lines = [
        f"| network | parameters | PSNR ×{first.scale}, dB | lowest to highest | runs "
        "| not told apart from |",
        "|---|--:|--:|:-:|---|---|",
    ]
    for variant, runs in rows.groupby("variant", sort=False):
        psnr_db = runs.psnr_db.dropna()
        idle = int((psnr_db <= runs.bicubic_psnr_db.iloc[0]).sum())
        diverged = len(runs) - len(psnr_db)
        remarks = [f"{idle} no better than bicubic"] * (idle > 0)
        remarks += [f"{diverged} diverged"] * (diverged > 0)
        cells = [
            variant,
            f"{runs.parameters.iloc[0]:,}",
            f"{psnr_db.mean():.2f}" if len(psnr_db) else "",
            f"{psnr_db.min():.2f} to {psnr_db.max():.2f}" if len(psnr_db) > 1 else "",
            f"{len(runs)}" + f" ({', '.join(remarks)})" * bool(remarks),
            "; ".join(others[variant]) if variant in others else "(one run)",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    sizes = rows[["n0", "m0", "recursions"]]
    common = [
        f"{symbol} = {sizes[key].iloc[0]}"
        for key, symbol in (("n0", "n₀"), ("m0", "m₀"), ("recursions", "K"))
        if sizes[key].nunique() == 1
    ]
    lines += [
        "",
        f"{', '.join([*common, f'{first.steps} steps'])} of {BATCH} patches from "
        f"{first.trained_on}, tested on {first.dataset} (bicubic: {first.bicubic_psnr_db:.2f} dB).",
    ]
    if others:
        runs_each = int(rows.groupby("variant").psnr_db.count().max())
        lines[-1] += (
            " Two networks of one architecture are told apart where all runs of one are better "
            f"than all of the other. With {runs_each} runs each, chance alone does that to one in "
            f"{math.comb(2 * runs_each, runs_each) / 2:g} pairs of equal networks"
            f"{', and to more where runs diverged' * bool(rows.psnr_db.isna().any())}."
        )
    write_text(page, "\n".join(lines) + "\n")


def study_command(
    command: str,
    description: str,
    variants: Callable[..., Sequence[Variant]],
    draw: Callable[[Path, Path], None],
    arguments: Sequence[str] | None,
    recursions: int | Sequence[int],
    held_out: bool = False,
    timed: bool = False,
) -> int:
    """The command line of a study: a table named after the last word of `command`, and what is
    drawn of it, in the folder ``--out``.

    variants: those of a width n₀ and of K, or of several K where `recursions`, the default,
    has several. draw: makes the file of the second path from the table at the first: the page of
    a study on held-out images, else a picture, and `write_spread` makes the page. timed: its page
    shows seconds, so that it has no ``--jobs``.
    """
    name, one = command.split()[-1], isinstance(recursions, int)
    parser = study_parser(command, description)
    add_data(parser)
    parser.add_argument("--steps", type=int, default=240, help="of each run (%(default)s)")
    parser.add_argument("--width", type=int, default=16, help="n₀ (%(default)s)")
    parser.add_argument(
        "--recursions",
        type=int,
        nargs=None if one else "+",
        default=recursions,
        metavar="K",
        help=f"(default: {recursions if one else ' '.join(map(str, recursions))})",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help="runs of each network (%(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="%(default)s")
    if not timed:
        add_worker_options(parser)

    def make(out: Path, width: int, recursions: Any, report: Report, **options: Any) -> list[Path]:
        table = make_folder(out) / f"{name}.csv"
        drawing = table.with_suffix(".md" if held_out else ".png")
        chosen = variants(width, recursions)
        run_variants(table, name, chosen, report=report, held_out=held_out, **options)
        draw(table, drawing)
        if held_out:
            return [table, drawing]
        page = table.with_suffix(".md")
        write_spread(table, page)
        return [table, drawing, page]

    return run_command(make, vars(parser.parse_args(arguments)))
