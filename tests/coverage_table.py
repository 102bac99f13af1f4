"""The lines of each package that the tests cover, from the report of coverage.py.

    python -m coverage json -o coverage.json
    python -m tests.coverage_table coverage.json

writes reports/reference/coverage.csv and the table in docs/testing.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.pages import REFERENCE, ROOT, with_block
from cscsr.output import write_text

TABLE = REFERENCE / "coverage.csv"
PAGE = ROOT / "docs" / "testing.md"
TOTAL = "all"


def count(report: dict) -> list[dict[str, str]]:
    """A row for each package, one for the modules outside of them, and one for all."""
    lines: dict[str, list[int]] = {}
    for file, about in report["files"].items():
        package = Path(*Path(file).parts[:-1][:2]).as_posix()
        for name in (package, TOTAL):
            totals = lines.setdefault(name, [0, 0])
            totals[0] += about["summary"]["num_statements"]
            totals[1] += about["summary"]["covered_lines"]
    names = [*sorted(set(lines) - {TOTAL}), TOTAL]
    return [
        {
            "package": name,
            "lines": str(lines[name][0]),
            "covered": str(lines[name][1]),
            "percent": f"{100 * lines[name][1] / lines[name][0]:.1f}",
        }
        for name in names
    ]


def block(rows: Iterable[dict[str, str]]) -> str:
    """The rows as the table in `PAGE`."""
    head = ["| package | lines | covered | % |", "|---|--:|--:|--:|"]
    return "\n".join([*head, *(f"| {' | '.join(row.values())} |" for row in rows)])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `python -m tests.coverage_table`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path, help="made by python -m coverage json")
    options = parser.parse_args(arguments)
    write_curves(TABLE, count(json.loads(options.report.read_text("utf-8"))))
    write_text(PAGE, with_block(PAGE.read_text("utf-8"), "coverage", block(read_curves(TABLE))))


if __name__ == "__main__":
    main()
