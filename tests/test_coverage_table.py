"""The table of covered lines: how it is counted, and what the page says."""

from __future__ import annotations

from benchmarks._study.curves import read_curves
from tests.coverage_table import PAGE, TABLE, block, count


def test_lines_are_counted_by_package():
    files = {"cscsr/a.py": (10, 9), "cscsr/sub/b.py": (30, 15), "cscsr/sub/deep/c.py": (10, 9)}
    report = {
        "files": {
            name: {"summary": {"num_statements": lines, "covered_lines": covered}}
            for name, (lines, covered) in files.items()
        }
    }
    rows = [tuple(row.values()) for row in count(report)]
    assert rows == [
        ("cscsr", "10", "9", "90.0"),
        ("cscsr/sub", "40", "24", "60.0"),
        ("all", "50", "33", "66.0"),
    ]


def test_at_least_92_percent_are_covered():
    rows = read_curves(TABLE)
    assert rows[-1]["package"] == "all"
    assert float(rows[-1]["percent"]) >= 92
    assert block(rows) in PAGE.read_text("utf-8")
