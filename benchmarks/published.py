"""Networks with the weights that their authors published, measured beside the published figures.

    python -m benchmarks.published --data DIR --weights FOLDER --out reports/reference

FOLDER holds the files that `cscsr weights list` names, under any names; networks whose files are
not there are left out. Every image that is measured is a row of published_images.csv.gz, written at
once, so that a run that was stopped goes on; published.csv has the means, and published.md is the
table.

Each network is scored on its line (`cscsr.imaging.protocol`). Where its authors do not round luma
(`UNROUNDED`), it is scored in their way as well: luma of the 8-bit RGB output against that of the
truth, both in floating point. The input of LapSRN is then the luma of the RGB image that was
shrunk in floating point. A grey image, of which Set14 has one, is its own luma for LapSRN; for the
networks of line rgb it is a colour image of three equal channels, whose luma has less contrast.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
from cscsr import InputError, SuperResolution, interrupts, weights
from cscsr.compare.published import PUBLISHED_IMAGES, read_published
from cscsr.conversion import convert, recognised
from cscsr.data.datasets import load_dataset
from cscsr.imaging import (
    crop_border,
    crop_to_multiple,
    degrade,
    imresize,
    luma_of,
    psnr,
    score,
    ssim,
    to_uint8,
)
from cscsr.network import NetworkSolver
from cscsr.output import make_folder, write_text
from cscsr.published_weights import PUBLISHED, PublishedWeights

DATASETS = ("Set5", "Set14", "B100")

UNROUNDED = ("lapsrn", "carn-m", "imdn")
"""Networks that are also scored on luma that is not rounded, as their authors do."""

TOLERANCE_DB = 0.02
"""Differences beyond it are explained or said to be unexplained in `REMARKS`."""

REMARKS = {
    "carn-m": "unexplained. Its repository says that the training was changed after a first "
    "version, to larger patches and batches; the file may be of another version than the figures",
    "vdsr": "unexplained; on Set5 there is no such difference",
}
"""Why a network's figures differ from the published ones by more than `TOLERANCE_DB`."""

Row = dict[str, Any]


def files_in(folder: Path, row: PublishedWeights) -> list[Path]:
    """The files in `folder` that are those of a row, by their SHA-256."""
    sizes = {file.bytes for file in row.files}
    paths = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size in sizes:
            try:
                recognised(row, path.read_bytes(), path)
            except InputError:
                continue
            paths.append(path)
    return paths


def solvers_of(folder: Path, cache: Path) -> Iterator[tuple[PublishedWeights, NetworkSolver]]:
    """The rows whose files are in `folder`, each with its solver; weights are written to `cache`.

    Raises InputError if there is none.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of published weights, got {folder}.")
    rows = [(row, paths) for row in PUBLISHED.values() if (paths := files_in(folder, row))]
    if not rows:
        raise InputError(f"{folder} holds none of the files that 'cscsr weights list' names.")
    for row, paths in rows:
        path = cache / f"{row.name}.safetensors"
        weights.write(path, *convert(row, paths))
        yield row, NetworkSolver(row.solver, weights=str(path))


def unrounded(solver: NetworkSolver, truth: np.ndarray, scale: int) -> tuple[float, float]:
    """PSNR (dB) and SSIM of luma in floating point, of an image `truth`, uint8."""
    truth = crop_to_multiple(truth, scale)
    if solver.line == "y":
        lr = imresize(truth / 255.0, 1 / scale).astype(np.float32)
    else:
        truth = truth if truth.ndim == 3 else np.repeat(truth[..., None], 3, axis=2)
        lr = degrade(truth, scale, "rgb")
    estimate = to_uint8(solver.solve(SuperResolution(lr, scale)).estimate)
    ours, theirs = (crop_border(255 * luma_of(image / 255.0), scale) for image in (estimate, truth))
    return psnr(ours, theirs), ssim(ours, theirs)


def measured(solver: NetworkSolver, name: str, truth: np.ndarray, scale: int) -> Row:
    """The figures of one image."""
    problem = SuperResolution(degrade(truth, scale, solver.line), scale)
    scores = score(solver.solve(problem).estimate, truth, scale, solver.line)
    row = {"psnr_db": f"{scores['psnr']:.4f}", "ssim": f"{scores['ssim']:.6f}"}
    if name in UNROUNDED:
        psnr_db, similarity = unrounded(solver, truth, scale)
        row |= {
            "unrounded_psnr_db": f"{psnr_db:.4f}",
            "unrounded_ssim": f"{similarity:.6f}",
        }
    return row


def published(
    out: str | Path,
    data: str | Path | None,
    weights: str | Path,
    datasets: Sequence[str] = DATASETS,
    networks: Sequence[str] = tuple(PUBLISHED),
    report: Report = silent,
) -> list[Path]:
    """Make published_images.csv.gz, published.csv and published.md in the folder `out`.

    Raises InputError where a data set is missing, or the weights of all networks.
    """
    folder, out = needed_data(data), make_folder(out)
    table = out / "published_images.csv.gz"
    with tempfile.TemporaryDirectory() as cache:
        solvers = list(solvers_of(Path(weights), Path(cache)))
        digests = {row.name: solver.weights_sha256() for row, solver in solvers}
        rows: list[Row] = [  # without those of a file that has since been converted otherwise
            row
            for row in read_curves(table)
            if row["sha256"] == digests.get(row["network"], row["sha256"])
        ]
        done = {(r["network"], r["dataset"], r["image"], int(r["scale"])) for r in rows}
        tasks = [
            (row, solver, dataset, image, scale)
            for dataset in datasets
            for row, solver in solvers
            if row.name in networks
            for scale in solver.network().scales
            for image in load_dataset(dataset, folder)
        ]
        if not tasks:
            raise InputError(f"{weights} holds the files of none of {', '.join(networks)}.")
        for index, (row, solver, dataset, (image, truth), scale) in enumerate(tasks):
            if (row.name, dataset, image, scale) in done:
                continue
            report(f"{row.name} on {dataset}/{image} ×{scale}", index, len(tasks))
            place = {"dataset": dataset, "network": row.name, "scale": scale, "image": image}
            figures = measured(solver, row.name, truth, scale)
            rows.append({**place, **figures, "sha256": digests[row.name]})
            write_curves(table, rows)
    means = means_of(rows)
    write_curves(out / "published.csv", means)
    write_text(out / "published.md", table_of(means))
    return [table, out / "published.csv", out / "published.md"]


FIGURES = ("psnr_db", "ssim", "unrounded_psnr_db", "unrounded_ssim")


def means_of(rows: Sequence[Row]) -> list[Row]:
    """A row for each data set, network and scale that all images were measured for, with the
    published figures beside the means."""
    import pandas as pd

    known = read_published().set_index(["method", "dataset", "scale"])
    frame = pd.DataFrame(rows).astype({"scale": int})
    for name in FIGURES:
        frame[name] = pd.to_numeric(frame[name]) if name in frame else math.nan
    means = []
    for (dataset, network, scale), group in frame.groupby(
        ["dataset", "network", "scale"], sort=False
    ):
        if len(group) < PUBLISHED_IMAGES.get(dataset, 1):
            continue
        method = PUBLISHED[network].method
        row: Row = {"dataset": dataset, "scale": scale, "network": network, "method": method}
        row["images"] = len(group)
        for name, digits in zip(FIGURES, (4, 6, 4, 6), strict=True):
            mean = group[name].mean()
            row[name] = "" if math.isnan(mean) else f"{mean:.{digits}f}"
        figures = (
            known.loc[(method, dataset, scale)] if (method, dataset, scale) in known.index else {}
        )
        for name in ("psnr_db", "ssim"):
            value = figures.get(name, math.nan)
            row[f"published_{name}"] = (
                "" if math.isnan(value) else f"{value:.{2 if name == 'psnr_db' else 4}f}"
            )
        row["source"] = figures.get("source", "")
        means.append(row)
    order = {name: index for index, name in enumerate(PUBLISHED)}
    return sorted(
        means, key=lambda r: (DATASETS.index(r["dataset"]), order[r["network"]], r["scale"])
    )


def difference(row: Mapping[str, Any]) -> float:
    """Measured less published PSNR, in dB, scored as its authors do; NaN if none is known."""
    ours = row["unrounded_psnr_db"] or row["psnr_db"]
    theirs = row["published_psnr_db"]
    return float(ours) - float(theirs) if theirs else math.nan


def table_of(means: Sequence[Row]) -> str:
    """The table as Markdown, with the remarks on larger differences."""
    lines = [
        "| data set | network | published | measured | measured, luma not rounded | difference |",
        "|---|---|--:|--:|--:|--:|",
    ]
    remarks = {}
    for row in means:
        gap = difference(row)
        mark = ""
        if abs(gap) > TOLERANCE_DB:
            remarks[row["network"]] = REMARKS.get(row["network"], "unexplained")
            mark = " *"
        cells = [
            f"{row['dataset']} ×{row['scale']}",
            row["method"],
            quality(row["published_psnr_db"], row["published_ssim"]),
            quality(row["psnr_db"], row["ssim"]),
            quality(row["unrounded_psnr_db"], row["unrounded_ssim"]),
            "" if math.isnan(gap) else f"{gap:+.2f}".replace("-", "−") + mark,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for name, text in remarks.items():
        lines += ["", f"\\* {PUBLISHED[name].method}: {text}."]
    return "\n".join(lines).rstrip() + "\n"


def quality(psnr_db: str, similarity: str) -> str:
    """PSNR / SSIM with two and four digits."""
    if not psnr_db:
        return ""
    return f"{float(psnr_db):.2f}" + (f" / {float(similarity):.4f}" if similarity else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.published`."""
    parser = study_parser("published", __doc__.split("\n\n")[0])
    add_data(parser)
    parser.add_argument(
        "--weights", required=True, metavar="FOLDER", help="folder of the published files"
    )
    parser.add_argument(
        "--datasets", nargs="+", choices=DATASETS, default=DATASETS, help="(default: all three)"
    )
    parser.add_argument(
        "--networks", nargs="+", choices=PUBLISHED, default=list(PUBLISHED), help="(default: all)"
    )
    return run_command(published, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
