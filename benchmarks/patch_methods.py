"""A+ trained and measured beside its published figures, and what its sizes were chosen from.

    python -m benchmarks.patch_methods --data DIR --out reports/reference
    python -m benchmarks.patch_methods --data DIR --out reports/reference --choices

Trains the weights into ``--weights``, unless they are there, and measures them on the test sets:
patch_methods.csv and .md. With ``--choices``: trains at one scale with one size changed at a time,
and measures on the held-out images: patch_choices.csv and .md. A run that was stopped goes on with
the rows that it lacks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from benchmarks._study.pages import REFERENCE, ROOT, with_block
from cscsr import SuperResolution, interrupts, weights
from cscsr.compare.published import read_published, same_method
from cscsr.csc_sr.training_images import Lumas, central_crop
from cscsr.data.datasets import holdout_images, load_dataset, training_images
from cscsr.imaging import degrade, score
from cscsr.output import make_folder, write_text
from cscsr.patches.a_plus import APlus
from cscsr.patches.regression import ANCHOR_SAMPLES, anchored_regressors, learn_anchors
from cscsr.patches.samples import Samples, draw_samples
from cscsr.patches.train import HOLDOUT_CROP, Options, held_out_psnr, train_a_plus
from cscsr.patches.weight_file import AnchoredScale

PAGE = ROOT / "docs" / "patch-methods.md"

DATASETS = ("Set5", "Set14")

CHOICE_SCALE = 3
"""The scale that choices are made at."""

BASE = replace(Options(), samples=1_000_000)
"""What is varied: the usual sizes with fewer patches, as drawing them takes most of the time."""

VARIANTS: dict[str, Options] = {
    "1024 anchors, 2048 neighbours, λ = 0.1, 1 000 000 patches": BASE,
    "1024 neighbours": replace(BASE, neighbours=1024),
    "4096 neighbours": replace(BASE, neighbours=4096),
    "λ = 0.03": replace(BASE, ridge=0.03),
    "λ = 0.3": replace(BASE, ridge=0.3),
    "256 anchors": replace(BASE, anchors=256),
    "2048 anchors": replace(BASE, anchors=2048),
    "anchors drawn at random": replace(BASE, rounds=0),
    "250 000 patches": replace(BASE, samples=250_000),
    "5 000 000 patches": replace(BASE, samples=5_000_000),
}
"""One size changed at a time; variants of as many patches are neighbours, as these are drawn
once."""

Row = dict[str, Any]


def write_table(out: Path, name: str, table: str) -> None:
    """Write a table into `out` and, where that is the reference run, into the page."""
    write_text(out / f"{name.replace(' ', '_')}.md", table)
    if out.resolve() == REFERENCE:
        write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), name, table.strip()))


def choices(out: Path, data: Path, report: Report) -> list[Path]:
    """Make patch_choices.csv and .md in the folder `out`."""
    table = out / "patch_choices.csv"
    rows: list[Row] = list(read_curves(table))
    done = {row["variant"] for row in rows}
    images = list(Lumas(training_images(data, BASE.sets)))
    heldout = [central_crop(luma, HOLDOUT_CROP) for luma in Lumas(holdout_images(data))]
    drawn: tuple[int, Samples] | None = None
    for index, (label, options) in enumerate(VARIANTS.items()):
        if label in done:
            continue
        report(label, index, len(VARIANTS))
        if drawn is None or drawn[0] != options.samples:
            rng = np.random.default_rng([options.seed, CHOICE_SCALE])
            drawn = None
            drawn = options.samples, draw_samples(images, CHOICE_SCALE, options.samples, rng, False)
        samples = drawn[1]
        rng = np.random.default_rng(options.seed)
        few = rng.permutation(len(samples))[:ANCHOR_SAMPLES]
        anchors = learn_anchors(
            samples.features[few], options.anchors, options.rounds, rng, progress=False
        )
        regressors = anchored_regressors(
            samples, anchors, options.neighbours, options.ridge, progress=False
        )
        trained = AnchoredScale(samples.projection, anchors, regressors)
        figures = held_out_psnr(heldout, CHOICE_SCALE, trained)
        rows.append(
            {
                "variant": label,
                "scale": CHOICE_SCALE,
                "patches": len(samples),
                "psnr_db": figures["holdout_psnr_db"],
                "bicubic_psnr_db": figures["holdout_bicubic_psnr_db"],
            }
        )
        write_curves(table, rows)
    write_table(out, "patch choices", choices_table(rows))
    return [table, out / "patch_choices.md"]


def choices_table(rows: Sequence[Row]) -> str:
    """The choices as Markdown."""
    base = float(rows[0]["psnr_db"])
    lines = ["| variant | PSNR ×3, dB | difference, dB |", "|---|--:|--:|"]
    for row in rows:
        gain = float(row["psnr_db"]) - base
        difference = f"{gain:+.3f}".replace("-", "−") if row is not rows[0] else ""
        lines.append(f"| {row['variant']} | {float(row['psnr_db']):.3f} | {difference} |")
    return "\n".join(lines) + "\n"


def solvers(folder: Path, data: Path) -> Iterator[APlus]:
    """The solvers with weights of `folder`, which are trained if they are not there."""
    path = folder / "a-plus.safetensors"
    if not path.is_file():
        train_a_plus(data, path)
    yield APlus(weights=str(path))


def measured(out: Path, data: Path, folder: Path, report: Report) -> list[Path]:
    """Make patch_methods.csv and .md in the folder `out`."""
    table = out / "patch_methods.csv"
    rows: list[Row] = []
    known = read_published().set_index(["dataset", "scale", "method"])
    for solver in solvers(folder, data):
        scales = sorted(map(int, weights.load(str(solver.weights))[1]["scales"]))
        tasks = [(dataset, scale) for dataset in DATASETS for scale in scales]
        for index, (dataset, scale) in enumerate(tasks):
            report(f"{solver.name} on {dataset} ×{scale}", index, len(tasks))
            scores = []
            for _, truth in load_dataset(dataset, data):
                problem = SuperResolution(degrade(truth, scale, solver.line), scale)
                scores.append(score(solver.solve(problem).estimate, truth, scale, solver.line))
            row: Row = {"method": solver.name, "dataset": dataset, "scale": scale}
            row |= {
                "psnr_db": f"{np.mean([each['psnr'] for each in scores]):.4f}",
                "ssim": f"{np.mean([each['ssim'] for each in scores]):.6f}",
            }
            place = (dataset, scale, same_method(solver.name))
            there = place in known.index
            row["published_psnr_db"] = f"{known.psnr_db[place]:.2f}" if there else ""
            row["published_ssim"] = f"{known.ssim[place]:.4f}" if there else ""
            rows.append({**row, "images": len(scores), "sha256": solver.weights_sha256()})
    write_curves(table, rows)
    write_table(out, "patch methods", measured_table(rows))
    return [table, out / "patch_methods.md"]


def measured_table(rows: Sequence[Row]) -> str:
    """The measured figures as Markdown."""
    lines = ["| data set | solver | published | measured |", "|---|---|--:|--:|"]
    for row in rows:
        published = (
            f"{row['published_psnr_db']} / {row['published_ssim']}"
            if row["published_psnr_db"]
            else ""
        )
        lines.append(
            f"| {row['dataset']} ×{row['scale']} | `{row['method']}` | {published} "
            f"| {float(row['psnr_db']):.2f} / {float(row['ssim']):.4f} |"
        )
    return "\n".join(lines) + "\n"


def patch_methods(
    out: str | Path,
    data: str | Path | None,
    weights: str | Path = "runs",
    choose: bool = False,
    report: Report = silent,
) -> list[Path]:
    """Make the files of the study in the folder `out`.

    Raises InputError where a data set is missing.
    """
    folder, out = needed_data(data), make_folder(out)
    if choose:
        return choices(out, folder, report)
    return measured(out, folder, make_folder(weights), report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.patch_methods`."""
    parser = study_parser("patch_methods", __doc__.split("\n\n")[0])
    add_data(parser)
    parser.add_argument(
        "--weights", default="runs", metavar="FOLDER", help="of the weight files (%(default)s)"
    )
    parser.add_argument(
        "--choices", dest="choose", action="store_true", help="compare sizes on held-out images"
    )
    return run_command(patch_methods, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
