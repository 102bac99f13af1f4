"""Short training runs of narrow networks, for studies that compare variants.

Each run is a row of a CSV file, written when it is done, so that a study that is stopped goes
on where it stopped, and one that was made with other settings is made anew. All runs of a
study see the same patches in the same order. Trained on T91 where it is found (else on
embedded textures), and tested at ×3: the paper's studies on Set5 as in the paper (else on
`demo`), those that a choice is made by on the held-out images. Every row names them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curves import make_folder, read_curves, run_command, write_curves
from benchmarks.figure5 import bicubic_psnr, pixels_sha256, tested_images
from cscsr import InputError
from cscsr.arrays import check_device
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    data_folder,
    find_datasets,
    training_images,
    training_textures,
)
from cscsr.imaging import read_image

SCALE = 3
BATCH = 8
PATCH = {"crnet-a": 24, "crnet-b": 12}
LEARNING_RATE = 2e-3

CLOSE_DB = 0.1
"""Variants whose first runs are no further apart than this are run with more seeds."""

SEEDS = 3

SETTINGS = ["dataset", "images_sha256", "trained_on", "scale", "steps", "device"]
COLUMNS = [
    *SETTINGS,
    "study",
    "variant",
    "architecture",
    "n0",
    "m0",
    "recursions",
    "parameters",
    "seed",
    "psnr_db",
    "bicubic_psnr_db",
    "seconds",
]


@dataclass(frozen=True)
class Variant:
    """One run of a study: its label, architecture, and the arguments of its constructor; what
    differs in the optimiser, the precision, what is done to the network before it starts, and
    before each step, given the share of the run that lies behind."""

    label: str
    architecture: str
    network: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    bf16: bool = False
    start: Callable[[Any], None] | None = None
    during: Callable[[Any, float], None] | None = None


def training_data(folder: str | Path | None, network: str) -> tuple[str, list]:
    """The name of the images that are trained on, and their pairs for a bank of patches of an
    architecture."""
    from cscsr.networks import architecture

    training_pair = architecture(network).training_pair
    path = data_folder(folder)
    if path is not None and "T91" in find_datasets(path):
        name, images = "T91", [read_image(file) for file in training_images(path, ["T91"])]
    else:
        name, images = "textures", list(training_textures().values())
    return name, [training_pair(image, SCALE) for image in images]


def psnr_after(
    variant: Variant, pairs: list, truths: list[np.ndarray], steps: int, seed: int, device: str
) -> tuple[float, int, float]:
    """Train a variant for `steps`; its mean PSNR in dB, its parameters, and the seconds."""
    from cscsr.training.patches import PatchBank
    from cscsr.training.recipe import Optimiser, Recipe
    from cscsr.training.trainer import Trainer

    settings = {
        "batch": BATCH,
        "patch": PATCH[variant.architecture],
        "learning_rate": LEARNING_RATE,
        "warmup": 0.05,
        "ema": 0.98,
        **variant.optimiser,
    }
    recipe = Recipe(
        name=variant.label,
        architecture=variant.architecture,
        sets=[],
        scales=[SCALE],
        optimiser=Optimiser(**settings),
        network=variant.network,
    )
    banks = {SCALE: PatchBank(pairs, device)}
    trainer = Trainer(recipe, banks, device=device, bf16=variant.bf16, seed=seed)
    if variant.start is not None:
        variant.start(trainer.network)
    trainer.progress.per_step = 1 / steps
    start = time.perf_counter()
    for step in range(steps):
        if variant.during is not None:
            variant.during(trainer.network, step / steps)
        trainer.step()
    seconds = time.perf_counter() - start
    parameters = sum(p.numel() for p in trainer.network.parameters())
    return trainer.evaluate(truths)[SCALE], parameters, seconds


def _tested(data: str | Path | None, held_out: bool) -> tuple[str, str, list[np.ndarray]]:
    """Name, SHA-256 and pixels of the images that a study is tested on."""
    if not held_out:
        dataset = tested_images(data)
        return dataset.name, pixels_sha256(dataset), [truth for _, truth in dataset]
    from cscsr.training.run import holdout_crops

    folder = data_folder(data)
    if folder is None:
        raise InputError(
            f"held-out images are needed: name their folder with --data or {FOLDER_VARIABLE}."
        )
    crops = holdout_crops(folder)
    return "holdout", pixels_sha256(enumerate(crops)), crops


NETWORK = ("n0", "m0", "recursions")


def _kept(
    path: Path, settings: dict[str, Any], variants: Sequence[Variant]
) -> list[dict[str, Any]]:
    """The rows of `path` that were made with `settings`, of the networks of `variants`."""
    networks = {v.label: [str(v.network[key]) for key in NETWORK] for v in variants}
    return [
        row
        for row in read_curves(path)
        if all(row[key] == str(settings[key]) for key in SETTINGS)
        and networks.get(row["variant"]) == [row[key] for key in NETWORK]
    ]


def _close(variants: Sequence[Variant], rows: list[dict[str, Any]]) -> list[Variant]:
    """Those whose first run is within `CLOSE_DB` of another's of the same architecture."""
    first = {row["variant"]: float(row["psnr_db"]) for row in rows if int(row["seed"]) == 0}
    return [
        one
        for one in variants
        if any(
            other is not one
            and other.architecture == one.architecture
            and abs(first[one.label] - first[other.label]) <= CLOSE_DB
            for other in variants
        )
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
    report: Callable[[str, int, int], None] | None = None,
) -> None:
    """Train what is not in `table` yet, with seed 0, then the close ones with all `seeds`.

    held_out: test on the images of holdout.txt (their central crops) rather than on Set5.
    Raises InputError for a number of steps that is not positive, and for missing images.
    """
    if not steps > 0:
        raise InputError(f"a study needs a positive number of steps, got {steps}.")
    check_device(device)
    tested, digest, truths = _tested(data, held_out)
    pairs: dict[str, list] = {}
    trained_on = ""
    for architecture in ("crnet-a", "crnet-b"):
        if any(variant.architecture == architecture for variant in variants):
            trained_on, pairs[architecture] = training_data(data, architecture)
    values = [tested, digest, trained_on, SCALE, steps, device]
    settings = dict(zip(SETTINGS, values, strict=True))
    rows = _kept(table, settings, variants)
    bicubic = round(bicubic_psnr(truths), 4)

    def run(chosen: Sequence[Variant], taken: Sequence[int]) -> None:
        tasks = [(variant, seed) for seed in taken for variant in chosen]
        for index, (variant, seed) in enumerate(tasks):
            if any((r["variant"], int(r["seed"])) == (variant.label, seed) for r in rows):
                continue
            if report is not None:
                report(f"{variant.label}, seed {seed}", index, len(tasks))
            psnr, parameters, seconds = psnr_after(
                variant, pairs[variant.architecture], truths, steps, seed, device
            )
            rows.append(
                {
                    **settings,
                    "study": study,
                    "variant": variant.label,
                    "architecture": variant.architecture,
                    **{key: variant.network[key] for key in NETWORK},
                    "parameters": parameters,
                    "seed": seed,
                    "psnr_db": round(psnr, 4),
                    "bicubic_psnr_db": bicubic,
                    "seconds": round(seconds, 1),
                }
            )
            write_curves(table, COLUMNS, rows)

    run(variants, [0])
    run(_close(variants, rows), range(1, seeds))
    rows.sort(key=lambda r: ([v.label for v in variants].index(r["variant"]), int(r["seed"])))
    write_curves(table, COLUMNS, rows)


def caption(rows: Any) -> str:
    """What the runs of a table (a DataFrame) were, in a line under a title."""
    first = rows.iloc[0]
    seeds = rows.seed.nunique()
    return (
        f"here: {first.steps} steps of {BATCH} patches from {first.trained_on}, "
        f"{'up to ' * (seeds > 1)}{seeds} seed{'s' * (seeds > 1)} each (small dots: single runs)"
    )


def save(figure: Any, picture: Path) -> None:
    """Write a figure as PNG, under its name only when it is whole."""
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=150)
    part.replace(picture)


def study_command(
    name: str,
    prog: str,
    description: str,
    variants: Callable[..., Sequence[Variant]],
    draw: Callable[[Path, Path], None],
    arguments: Sequence[str] | None,
    steps: int,
    width: int,
    recursions: int | Sequence[int],
    held_out: bool = False,
) -> int:
    """The command line of a study: NAME.csv and what is drawn of it in the folder ``--out``.

    variants: those of a width n₀ and of K, or of several K where `recursions`, the default,
    has several. draw: makes the file of the second path from the table at the first."""
    one = isinstance(recursions, int)
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument(
        "--data", metavar="DIR", help=f"folder with T91 and Set5 (default: ${FOLDER_VARIABLE})"
    )
    parser.add_argument("--steps", type=int, default=steps, help="of each run (%(default)s)")
    parser.add_argument("--width", type=int, default=width, help="n₀ (%(default)s)")
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
        help=f"runs of what comes out within {CLOSE_DB} dB of another (%(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="%(default)s")

    def make(out: Path, width: int, recursions: Any, report: Any, **options: Any) -> list[Path]:
        out = make_folder(out)
        table, picture = out / f"{name}.csv", out / f"{name}.{'md' if held_out else 'png'}"
        chosen = variants(width, recursions)
        run_variants(table, name, chosen, report=report, held_out=held_out, **options)
        draw(table, picture)
        return [table, picture]

    return run_command(make, vars(parser.parse_args(arguments)))
