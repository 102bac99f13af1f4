"""What a leaked test image is worth: BSD200's 302003 is Set5's woman at 1.4 times the size.

    python -m benchmarks.leak_worth --data DIR --out reports/latest

Narrow CRNet-A are trained at ×3 on T91 with one image more, at full size and at 0.7: either the
leaked one, or another of BSD200 as a control. Seeds and patches are the same in either. What the
leak is worth is the difference on the woman, beside that on the other images of Set5, on which
it should be worth nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.curves import make_folder, read_curves, run_command, write_curves
from benchmarks.short_runs import BATCH, LEARNING_RATE, PATCH, SCALE, training_data
from cscsr import InputError
from cscsr.data.datasets import FOLDER_VARIABLE, data_folder, load_dataset
from cscsr.imaging import imresize

LEAK, CONTROL = "302003", "100075"
SHOWN = "woman"
SIZES = (1.0, 0.7)
NETWORK = {"n0": 16, "m0": 32, "recursions": 4}

COLUMNS = ["added", "steps", "seed", "psnr_db_woman", "psnr_db_others"]


def leak_worth(
    out: Path,
    data: str | Path | None,
    steps: int,
    seeds: int,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make leak.csv in the folder `out`, a row a run; runs that are there are kept.

    Raises InputError where T91, BSD200 or Set5 is missing.
    """
    from cscsr.networks import CRNetA
    from cscsr.training.patches import PatchBank
    from cscsr.training.recipe import Optimiser, Recipe
    from cscsr.training.trainer import Trainer

    folder = data_folder(data)
    if folder is None:
        raise InputError(f"name the folder of the images with --data or {FOLDER_VARIABLE}.")
    added = {
        name: image for name, image in load_dataset("BSD200", folder) if name in (LEAK, CONTROL)
    }
    truths = dict(load_dataset("Set5", folder))
    woman, others = [truths.pop(SHOWN)], list(truths.values())
    trained_on, pairs = training_data(folder, "crnet-a")
    if trained_on != "T91" or set(added) != {LEAK, CONTROL}:
        raise InputError(f"expected T91 and BSD200 with {LEAK} and {CONTROL} in {folder}.")
    path = make_folder(out) / "leak.csv"
    rows = [row for row in read_curves(path) if row["steps"] == str(steps)]
    tasks = [(name, seed) for seed in range(seeds) for name in (LEAK, CONTROL)]
    optimiser = Optimiser(BATCH, PATCH["crnet-a"], LEARNING_RATE, warmup=0.05, ema=0.98)
    for index, (name, seed) in enumerate(tasks):
        if any((row["added"], row["seed"]) == (name, str(seed)) for row in rows):
            continue
        if report is not None:
            report(f"with {name}, seed {seed}", index, len(tasks))
        more = [CRNetA.training_pair(imresize(added[name], scale=s), SCALE) for s in SIZES]
        recipe = Recipe(name, "crnet-a", [], [SCALE], optimiser, NETWORK)
        trainer = Trainer(recipe, {SCALE: PatchBank([*pairs, *more])}, bf16=False, seed=seed)
        trainer.progress.per_step = 1 / steps
        for _ in range(steps):
            trainer.step()
        psnr = [f"{trainer.evaluate(images)[SCALE]:.4f}" for images in (woman, others)]
        values = [name, str(steps), str(seed), *psnr]
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        write_curves(path, COLUMNS, rows)
    return [path]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.leak_worth`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leak_worth", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    parser.add_argument("--data", metavar="DIR", help=f"(default: ${FOLDER_VARIABLE})")
    parser.add_argument("--steps", type=int, default=300, help="of each run (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of either (%(default)s)")
    return run_command(leak_worth, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
