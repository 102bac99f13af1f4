"""Copies figures of the reference run into README.md and docs/csc-sr.md, so that none is typed.

    python -m benchmarks.readme

Reads reports/reference/table1.csv and rewrites what stands between the two markers of each page.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from cscsr.compare.text import two_digits
from cscsr.errors import InputError

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
CSC_SR = ROOT / "docs" / "csc-sr.md"
TABLE = ROOT / "reports" / "reference" / "table1.csv"
DATASET = "Set5"
BEGIN, END = "<!-- table1 -->", "<!-- /table1 -->"


def table(path: Path = TABLE, dataset: str = DATASET) -> str:
    """The rows of `dataset` in a table1.csv as Markdown: methods down, scales across.

    Raises InputError if there is no such file or it holds no such rows.
    """
    if not path.is_file():
        raise InputError(f"expected the table of a run at {path}, but there is no such file.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    if not rows:
        raise InputError(f"expected rows of {dataset} in {path}, but it has none.")
    scales = sorted({int(row["scale"]) for row in rows})
    cells = {(row["method"], int(row["scale"])): row for row in rows}
    lines = [
        "| " + " | ".join([dataset, *(f"×{scale}" for scale in scales), "seconds"]) + " |",
        "|---" * (len(scales) + 2) + "|",
    ]
    images = max(int(row["images"] or 0) for row in rows)
    for method in dict.fromkeys(row["method"] for row in rows):
        found = [cells.get((method, scale)) for scale in scales]
        columns = [method, *(_quality(row, images) for row in found), _seconds(found, scales)]
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines)


def csc_sr_table(path: Path = TABLE) -> str:
    """Ours, theirs and the difference for each csc-sr in a table1.csv, PSNR / SSIM, as Markdown.

    Raises InputError if there is no such file or it holds no such rows.
    """
    if not path.is_file():
        raise InputError(f"expected the table of a run at {path}, but there is no such file.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["method"].startswith("csc-") and r["psnr_db"]]
    if not rows:
        raise InputError(f"expected rows of csc-sr in {path}, but it has none.")
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


def _quality(row: dict[str, str] | None, images: int) -> str:
    """PSNR / SSIM of a row: ours, else the published; says so if it is not of all `images`."""
    if row is None:
        return ""
    psnr_db = row["psnr_db"] or row["published_psnr_db"]
    ssim = row["ssim"] or row["published_ssim"]
    if not (psnr_db and ssim):
        return ""
    partial = row["psnr_db"] and int(row["images"]) < images
    note = f" ({row['images']} of {images} images)" if partial else ""
    return f"{float(psnr_db):.2f} / {float(ssim):.4f}{note}"


def _seconds(rows: list[dict[str, str] | None], scales: list[int]) -> str:
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


def with_table(readme: str, new: str) -> str:
    """The text `readme` with the Markdown table `new` between its markers.

    Raises InputError if the markers are not there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"expected the markers {BEGIN} and {END} in the page.")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


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
            for page, new in ((README, table()), (CSC_SR, csc_sr_table()))
        }
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
