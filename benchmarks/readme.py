"""Copies figures of the reference run into README, a page and the paper, so that none is typed.

    python -m benchmarks.readme

Reads table1.csv of reports/reference and of its folder wide, and rewrites what stands between
the two markers of each page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from benchmarks._study.curves import read_curves
from benchmarks._study.pages import REFERENCE, ROOT, with_block
from cscsr import interrupts
from cscsr.compare.text import two_digits
from cscsr.errors import InputError
from cscsr.output import write_text

README = ROOT / "README.md"
PAPER = ROOT / "paper" / "paper.md"
CSC_SR = ROOT / "docs" / "csc-sr.md"
TABLE = REFERENCE / "table1.csv"
WIDER = REFERENCE / "wide" / "table1.csv"
"""Of a run of its own, with what the first has not."""
DATASET = "Set5"

Row = dict[str, str]


def _rows_of(path: Path, label: str, condition: Callable[[Row], object]) -> list[Row]:
    """The rows of a table1.csv that a condition holds for.

    Raises InputError if there is no such file or it holds no such rows.
    """
    if not path.is_file():
        raise InputError(f"expected the table of a run at {path}, but there is no such file.")
    rows = [row for row in read_curves(path) if condition(row)]
    if not rows:
        raise InputError(f"expected rows of {label} in {path}, but it has none.")
    return rows


def table(*paths: Path, dataset: str = DATASET) -> str:
    """The rows of `dataset` in one or several table1.csv as Markdown: methods down, published ones
    last, scales across. A method that several have is that of the first.

    Raises InputError if there is no such file or it holds no such rows.
    """
    rows: list[Row] = []
    for path in paths or (TABLE, WIDER):
        before = {row["method"] for row in rows}
        of_set = _rows_of(path, dataset, lambda row: row["dataset"] == dataset)
        rows += [row for row in of_set if row["method"] not in before]
    published = {row["method"] for row in rows} - {r["method"] for r in rows if r["psnr_db"]}
    rows.sort(key=lambda row: row["method"] in published)
    scales = sorted({int(row["scale"]) for row in rows})
    cells = {(row["method"], int(row["scale"])): row for row in rows}
    lines = [
        "| " + " | ".join([dataset, *(f"×{scale}" for scale in scales), "seconds"]) + " |",
        "|---" * (len(scales) + 2) + "|",
    ]
    images = max(int(row["images"] or 0) for row in rows)
    for method in dict.fromkeys(row["method"] for row in rows):
        across = [cells.get((method, scale)) for scale in scales]
        columns = [method, *(_quality(row, images) for row in across), _seconds(across, scales)]
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines)


def csc_sr_table(path: Path = TABLE) -> str:
    """Ours, theirs and the difference for each csc-sr in a table1.csv, PSNR / SSIM, as Markdown.

    Raises InputError if there is no such file or it holds no such rows.
    """
    rows = _rows_of(path, "csc-sr", lambda r: r["method"].startswith("csc-") and r["psnr_db"])
    images = {
        r["dataset"]: max(int(q["images"]) for q in rows if q["dataset"] == r["dataset"])
        for r in rows
    }
    published = {
        (r["dataset"], r["scale"]): (float(r["published_psnr_db"]), float(r["published_ssim"]))
        for r in rows
        if r["published_psnr_db"]
    }
    lines = [
        "| data set, scale | method | ours | published | difference |",
        "|---|---|--:|--:|--:|",
    ]
    for row in rows:
        if int(row["images"]) < images[row["dataset"]]:
            continue
        ours = float(row["psnr_db"]), float(row["ssim"])
        cells = ["", ""]
        if theirs := published.get((row["dataset"], row["scale"])):
            cells = [
                f"{theirs[0]:.2f} / {theirs[1]:.4f}",
                f"{ours[0] - theirs[0]:+.2f} / {ours[1] - theirs[1]:+.4f}".replace("-", "−"),
            ]
        place = f"{row['dataset']} ×{row['scale']}"
        measured = f"{ours[0]:.2f} / {ours[1]:.4f}"
        lines.append(f"| {place} | {row['method']} | {measured} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _quality(row: Row | None, images: int) -> str:
    """PSNR / SSIM of a row: ours, else the published; says so if it is not of all `images`."""
    if row is None:
        return ""
    psnr_db = row["psnr_db"] or row["published_psnr_db"]
    ssim = row["ssim"] or row["published_ssim"]
    if not (psnr_db and ssim):
        return ""
    partial = row["psnr_db"] and int(row["images"]) < images
    note = f" ({row['images']} of {images} images)" if partial else ""
    # Halves go up: the file has six digits, and a half there may be more in the figure itself.
    psnr_db, ssim = (
        Decimal(text).quantize(Decimal(digits), ROUND_HALF_UP)
        for text, digits in ((psnr_db, "0.01"), (ssim, "0.0001"))
    )
    return f"{psnr_db} / {ssim}{note}"


def _seconds(rows: list[Row | None], scales: list[int]) -> str:
    """The mean time for an image over the scales, with two significant digits; names the scales
    if some are missing."""
    seconds = {
        scale: float(row["seconds"])
        for scale, row in zip(scales, rows, strict=True)
        if row and row["seconds"]
    }
    if not seconds:
        return ""
    only = ", ".join(f"×{scale}" for scale in seconds)
    note = f" ({only} alone)" if len(seconds) < len(scales) else ""
    return f"{two_digits(sum(seconds.values()) / len(seconds))}{note}"


def with_table(page: str, table: str) -> str:
    """The text of a page with a Markdown table between its markers.

    Raises InputError if the markers are not there.
    """
    return with_block(page, "table1", table)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.readme`."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.readme", description=__doc__.splitlines()[0]
    ).parse_args(arguments)
    if not README.is_file():
        print(f"expected a checkout with README.md, but there is no {README}.", file=sys.stderr)
        return 2
    try:
        pages = {
            page: with_table(page.read_text(encoding="utf-8"), new)
            for page, new in ((README, table()), (PAPER, table()), (CSC_SR, csc_sr_table()))
        }
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for page, text in pages.items():
        write_text(page, text)
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
