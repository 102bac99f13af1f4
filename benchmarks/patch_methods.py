"""ScSR and A+ trained and measured beside their published figures, and what was chosen.

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
from cscsr import SuperResolution, interrupts
from cscsr.compare.published import read_published, same_method
from cscsr.csc_sr.training_images import Lumas, central_crop
from cscsr.data.datasets import holdout_images, load_dataset, training_images
from cscsr.imaging import degrade, score
from cscsr.output import make_folder, write_text
from cscsr.patches.a_plus import APlus
from cscsr.patches.samples import Samples, draw_samples
from cscsr.patches.scsr import ScSR
from cscsr.patches.solver import PatchSolver
from cscsr.patches.train import (
    HOLDOUT_CROP,
    APlusOptions,
    Options,
    ScSROptions,
    held_out_psnr,
    train,
)

PAGE = ROOT / "docs" / "patch-methods.md"

DATASETS = {"scsr": ("Set5",), "a-plus": ("Set5", "Set14")}
"""The test sets of each solver; ScSR would take many minutes for Set14."""

CHOICE_SCALE = 3
"""The scale that choices are made at."""

BASE = replace(APlusOptions(), samples=1_000_000)
"""What is varied: the usual sizes with fewer patches, as drawing them takes most of the time."""

VARIANTS: dict[str, APlusOptions] = {
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
        trained = options.fit(samples, np.random.default_rng(options.seed), progress=False)
        figures = held_out_psnr(heldout, CHOICE_SCALE, options, trained)
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


def solvers(folder: Path, data: Path) -> Iterator[PatchSolver[Any]]:
    """The solvers with weights of `folder`, which are trained if they are not there."""
    methods: list[tuple[type[PatchSolver[Any]], Options]] = [
        (ScSR, ScSROptions()),
        (APlus, APlusOptions()),
    ]
    for solver, options in methods:
        path = folder / f"{options.kind}.safetensors"
        if not path.is_file():
            train(data, path, options)
        yield solver(weights=str(path))


def figures_of(solver: PatchSolver[Any], dataset: str, scale: int, data: Path) -> Row:
    """The means of a solver over a data set, beside the published ones."""
    scores = []
    for _, truth in load_dataset(dataset, data):
        problem = SuperResolution(degrade(truth, scale, solver.line), scale)
        scores.append(score(solver.solve(problem).estimate, truth, scale, solver.line))
    known = read_published().set_index(["dataset", "scale", "method"])
    place = (dataset, scale, same_method(solver.name))
    there = place in known.index
    return {
        "method": solver.name,
        "dataset": dataset,
        "scale": scale,
        "psnr_db": f"{np.mean([each['psnr'] for each in scores]):.4f}",
        "ssim": f"{np.mean([each['ssim'] for each in scores]):.6f}",
        "published_psnr_db": f"{known.psnr_db[place]:.2f}" if there else "",
        "published_ssim": f"{known.ssim[place]:.4f}" if there else "",
        "images": len(scores),
    }


def measured(out: Path, data: Path, folder: Path, report: Report) -> list[Path]:
    """Make patch_methods.csv and .md in the folder `out`."""
    table = out / "patch_methods.csv"
    earlier = {(r["sha256"], r["dataset"], r["scale"]): r for r in read_curves(table)}
    rows: list[Row] = []
    for solver in solvers(folder, data):
        digest = solver.weights_sha256()
        tasks = [(s, scale) for s in DATASETS[solver.name] for scale in solver.scale_weights()]
        for index, (dataset, scale) in enumerate(tasks):
            report(f"{solver.name} on {dataset} ×{scale}", index, len(tasks))
            row = earlier.pop((digest, dataset, str(scale)), None)
            rows.append(row or {**figures_of(solver, dataset, scale, data), "sha256": digest})
            write_curves(table, [*rows, *earlier.values()])
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
