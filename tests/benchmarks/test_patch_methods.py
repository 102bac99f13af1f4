"""The study of patch methods: what they must reach, and the tables of their page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import patch_methods
from benchmarks._study.curves import read_curves
from benchmarks._study.pages import REFERENCE
from benchmarks.patch_methods import PAGE, VARIANTS, choices_table, main, measured_table

LEAST_DB = {
    ("scsr", "2"): 35.4,
    ("scsr", "3"): 31.1,
    ("scsr", "4"): 28.9,
    ("a-plus", "2"): 36.4,
    ("a-plus", "3"): 32.5,
    ("a-plus", "4"): 30.2,
}
"""On Set5: a little below the published figures."""


def test_the_published_method_is_reached_on_set5():
    rows = read_curves(REFERENCE / "patch_methods.csv")
    set5 = {(r["method"], r["scale"]): float(r["psnr_db"]) for r in rows if r["dataset"] == "Set5"}
    assert set5.keys() == LEAST_DB.keys()
    assert all(set5[place] >= least for place, least in LEAST_DB.items())
    assert {r["images"] for r in rows if r["dataset"] == "Set14"} == {"14"}


def test_the_page_has_the_tables_of_the_reference():
    text = PAGE.read_text(encoding="utf-8")
    for name, table_of in (("methods", measured_table), ("choices", choices_table)):
        rows = read_curves(REFERENCE / f"patch_{name}.csv")
        table = table_of(rows)
        assert (REFERENCE / f"patch_{name}.md").read_text(encoding="utf-8") == table
        assert f"<!-- patch {name} -->\n\n{table}\n<!-- /patch {name} -->" in text
    assert [row["variant"] for row in rows] == list(VARIANTS)


def test_the_study_says_what_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    assert main(["--out", str(tmp_path)]) == 2
    assert "CSCSR_DATA" in capsys.readouterr().err
    assert main(["--out", str(tmp_path), "--data", str(tmp_path / "none")]) == 2


@pytest.mark.slow
def test_choices_go_on_with_the_rows_that_are_missing(tmp_path, monkeypatch, shared_data):
    label, options = next(iter(VARIANTS.items()))
    few = {f"{label} {n}": replace(options, samples=2000, anchors=n) for n in (8, 9)}
    monkeypatch.setattr(patch_methods, "VARIANTS", dict(list(few.items())[:1]))
    words = ["--data", str(shared_data), "--out", str(tmp_path), "--choices"]
    assert main(words) == 0
    table = tmp_path / "patch_choices.csv"
    first = table.read_text()
    monkeypatch.setattr(patch_methods, "VARIANTS", few)
    assert main(words) == 0
    assert table.read_text().startswith(first)
    rows = read_curves(table)
    assert [row["variant"] for row in rows] == list(few)
    assert all(float(row["psnr_db"]) > float(row["bicubic_psnr_db"]) for row in rows)
