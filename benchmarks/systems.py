"""One table of all systems that the paper and this toolkit compare: published, and measured here.

    python -m benchmarks.systems --out reports/reference

Reads the systems (systems.csv) and their published parameters (published_parameters.csv) beside
this module, the published figures of the package, and of the folder ``--reference`` the means of
`benchmarks.compare` (table1.csv, wide/table1.csv), of `benchmarks.csc_sr`
(csc-sr/ensemble_means.csv), of `benchmarks.patch_methods` (patch_methods.csv) and of
`benchmarks.published` (published.csv), and where there is one, the table of
`benchmarks.equal_compute` (equal_compute.csv). Writes systems.csv and systems.md, and copies the
tables into docs/systems.md, where there is a checkout.

Parameters and multiply-adds are counted, at ×2 and the paper's width, where this code has the
network, and else are the published ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks._study.command import Report, run_command, silent, study_parser
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.pages import REFERENCE, ROOT, with_block
from cscsr import InputError, interrupts
from cscsr.compare.published import read_published
from cscsr.compare.trained_alike import Point, largest_common_budget, points_of
from cscsr.compare.trained_alike import table_of as table_of_points
from cscsr.networks import blueprint
from cscsr.output import make_folder, write_text
from cscsr.published_weights import PUBLISHED
from cscsr.registry import published_method

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "systems.md"

DATASET, SCALES = "Set5", (2, 3, 4)

MEASURED = {
    "table1": "compare",
    "csc-sr/ensemble_means": "csc_sr ensemble",
    "patch_methods": "patch_methods",
}
"""The tables of what our solvers measure, and the study that makes each."""

ADDED = "wide/table1"
"""The means of networks that were added to a run of `benchmarks.compare`; may be absent."""

PIXELS = 1280 * 720
"""Of the output for which multiply-adds are counted, as the literature since CARN counts them."""

OWN_SCALE = ("lapsrn", "imdn", "edsr", "msrn", "d-dbpn", "rdn", "srdensenet")
"""Architectures that their papers train for each scale anew: the network for ×2 is counted."""

Row = dict[str, str]


def counted(system: Mapping[str, str]) -> tuple[int, float]:
    """Parameters, and multiply-adds in units of 10⁹ for an output of `PIXELS` at ×2, of the network
    that a row of systems.csv names; "network" has what differs from the default of its class."""
    scales = (2,) if system["architecture"] in OWN_SCALE else SCALES
    arguments = json.loads(system["network"] or "{}")
    network = blueprint(system["architecture"], {**arguments, "scales": scales})
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, network.multiply_adds(2) * PIXELS / 4 / 1e9


def across_scales(figures: dict[int, str]) -> str:
    """PSNR by scale as one cell, with a dash where there is none; empty without any."""
    cells = [f"{float(figures[s]):.2f}" if figures.get(s) else "–" for s in SCALES]
    return " / ".join(cells) if any(figures.values()) else ""


def ours(reference: Path, method: str) -> str:
    """The solvers of `MEASURED` that stand beside a method, each with its PSNR at each scale."""
    rows = [
        row
        for table in (*MEASURED, ADDED)
        for row in read_curves(reference / f"{table}.csv")
        if row["dataset"] == DATASET
    ]
    cells = []
    for name in dict.fromkeys(row["method"] for row in rows):
        if (published_method(name) or ("", False))[0] == method:
            own = {int(row["scale"]): row["psnr_db"] for row in rows if row["method"] == name}
            cells.append(f"`{name}` {across_scales(own)}")
    return ", ".join(cells)


def alike_points(reference: Path) -> list[Point]:
    """What `benchmarks.equal_compute` found; nothing without a run of it.

    Raises InputError where equal_compute.csv is another table.
    """
    path = reference / "equal_compute.csv"
    return points_of(path.read_text(encoding="utf-8")) if path.is_file() else []


def trained_alike(reference: Path) -> dict[str, str]:
    """PSNR on the test set at ×2 of each small network of `benchmarks.equal_compute`, at the
    largest budget that all have; empty without a run of it."""
    points = alike_points(reference)
    budget = largest_common_budget(points)
    return {point.network: str(point.test) for point in points if point.budget == budget}


def alike_table(reference: Path) -> str:
    """The table of `benchmarks.equal_compute` as Markdown, or a sentence where it was not run."""
    points = alike_points(reference)
    return table_of_points(points) if points else "The reference run has no such comparison yet.\n"


def rows_of(reference: Path) -> list[Row]:
    """A row for each system.

    Raises InputError if a table that is read is missing.
    """
    for name, command in {**MEASURED, "published": "published"}.items():
        table = reference / f"{name}.csv"
        if not table.is_file():
            raise InputError(f"expected {table}; python -m benchmarks.{command} makes it.")
    known = read_published()
    known = known[known.dataset == DATASET]
    parameters = {
        r["method"]: r["parameters"] for r in read_curves(HERE / "published_parameters.csv")
    }
    measured = read_curves(reference / "published.csv")
    alike = trained_alike(reference)
    rows: list[Row] = []
    for system in read_curves(HERE / "systems.csv"):
        method = system["method"]
        row = {name: system[name] for name in ("method", "year", "kind")}
        row["parameters"] = parameters.get(method, "")
        row["giga_multiply_adds"] = system["giga_multiply_adds"]
        row["counts"] = "published" if row["parameters"] or row["giga_multiply_adds"] else ""
        if system["architecture"]:
            number, giga = counted(system)
            row |= {"parameters": str(number), "giga_multiply_adds": f"{giga:.1f}"}
            row["counts"] = "counted"
        figures = known[known.method == method].set_index("scale").psnr_db
        row["published_psnr_db"] = across_scales({s: str(v) for s, v in figures.items()})
        row["published_weights_psnr_db"] = across_scales(
            {
                int(each["scale"]): each["unrounded_psnr_db"] or each["psnr_db"]
                for each in measured
                if each["method"] == method and each["dataset"] == DATASET
            }
        )
        row["ours_psnr_db"] = ours(reference, method)
        if alike:
            row["trained_alike_psnr_db"] = alike.get(f"{system['architecture']}-small", "")
        rows.append(row)
    return rows


def table_of(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "| system | year | kind | parameters | multiply-adds, 10⁹ | published | "
        "measured, published weights | measured, our weights |",
        "|---|---|---|--:|--:|--:|--:|---|",
    ]
    alike = any("trained_alike_psnr_db" in row for row in rows)
    if alike:
        lines = [lines[0] + " small and trained alike, ×2 |", lines[1] + "--:|"]
    for row in rows:
        mark = " (p)" if row["counts"] == "published" else ""
        parameters = f"{int(row['parameters']):,}{mark}" if row["parameters"] else ""
        giga = row["giga_multiply_adds"]
        cells = [
            row["method"],
            row["year"],
            row["kind"],
            parameters,
            f"{float(giga):,.1f}{mark}" if giga else "",
            row["published_psnr_db"],
            row["published_weights_psnr_db"],
            row["ours_psnr_db"],
            *([row["trained_alike_psnr_db"]] if alike else []),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def files_table() -> str:
    """The published files as Markdown: where they are, and their licences."""
    lines = ["| solver | scales | licence | files |", "|---|---|---|---|"]
    for row in PUBLISHED.values():
        files = ", ".join(f"[{Path(file.path).name}]({row.address(file)})" for file in row.files)
        scales = " ".join(f"×{scale}" for scale in row.scales)
        lines.append(f"| `{row.solver}` | {scales} | {row.licence} | {files} |")
    return "\n".join(lines) + "\n"


def page_of(text: str, reference: Path, table: str) -> str:
    """The text of docs/systems.md with its four tables.

    Raises InputError if its markers are not there.
    """
    published = (reference / "published.md").read_text(encoding="utf-8")
    blocks = {"systems": table, "published": published, "files": files_table()}
    blocks["equal compute"] = alike_table(reference)
    for name, block in blocks.items():
        text = with_block(text, name, block.strip())
    return text


def systems(out: str | Path, reference: str | Path, report: Report = silent) -> list[Path]:
    """Make systems.csv and systems.md in the folder `out`, and the tables of docs/systems.md.

    Raises InputError where a table that is read is missing.
    """
    out, reference = make_folder(out), Path(reference)
    rows = rows_of(reference)
    table = table_of(rows)
    write_curves(out / "systems.csv", rows)
    write_text(out / "systems.md", table)
    if reference.resolve() == REFERENCE and out.resolve() == REFERENCE:
        write_text(PAGE, page_of(PAGE.read_text(encoding="utf-8"), reference, table))
    return [out / "systems.csv", out / "systems.md"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.systems`."""
    parser: argparse.ArgumentParser = study_parser("systems", __doc__.split("\n\n")[0])
    parser.add_argument(
        "--reference",
        type=Path,
        default=REFERENCE,
        metavar="DIR",
        help="folder of the tables that are read (default: reports/reference)",
    )
    return run_command(systems, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
