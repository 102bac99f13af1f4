"""Copies the Set5 rows of the reference run into README.md, so that no figure is typed.

    python -m benchmarks.readme

Reads reports/reference/table1.csv and rewrites what stands between README's two markers.
Needs the standard library.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from cscsr.errors import InputError

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
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
    for method in dict.fromkeys(row["method"] for row in rows):
        found = [cells.get((method, scale)) for scale in scales]
        columns = [method, *map(_quality, found), _seconds(found)]
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines)


def _quality(row: dict[str, str] | None) -> str:
    """PSNR / SSIM of a row: ours, else the published."""
    if row is None:
        return ""
    psnr_db = row["psnr_db"] or row["published_psnr_db"]
    ssim = row["ssim"] or row["published_ssim"]
    return f"{float(psnr_db):.2f} / {float(ssim):.4f}" if psnr_db and ssim else ""


def _seconds(rows: list[dict[str, str] | None]) -> str:
    """The mean time for an image over the scales, with two significant digits."""
    seconds = [float(row["seconds"]) for row in rows if row and row["seconds"]]
    if not seconds:
        return ""
    mean = float(f"{sum(seconds) / len(seconds):.1e}")
    return f"{mean:g}"


def with_table(readme: str, new: str) -> str:
    """The text `readme` with the Markdown table `new` between its markers.

    Raises InputError if the markers are not there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"expected the markers {BEGIN} and {END} in README.md.")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def main() -> int:
    try:
        text = with_table(README.read_text(encoding="utf-8"), table())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
