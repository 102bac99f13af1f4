"""Figures 4, 8 and 9: networks of other widths and recursions, and what they cost."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import ablation, parameters


@pytest.mark.slow
def test_recursions_can_be_chosen(tmp_path, data):
    options = ["--data", data, "--steps", "1", "--width", "2", "--seeds", "1", "--out"]
    fig9 = tmp_path / "fig9"
    assert parameters.main(["fig9", *options, str(fig9), "--recursions", "3", "5"]) == 0
    assert set(pd.read_csv(fig9 / "fig9.csv").recursions) == {3, 5}
    assert ablation.main([*options, str(fig9), "--recursions", "3"]) == 0
    assert set(pd.read_csv(fig9 / "ablation.csv").recursions) == {3}


@pytest.mark.slow
def test_widths_and_recursions_are_drawn(tmp_path, data, is_drawn):
    out = tmp_path / "out"
    for name, column in (("fig8", "parameters"), ("fig9", "recursions")):
        options = ["--out", str(out), "--data", data, "--steps", "1", "--width", "2"]
        options += ["--seeds", "1"]
        assert parameters.main([name, *options]) == 0
        rows = pd.read_csv(out / f"{name}.csv")
        assert (rows.groupby("architecture")[column].nunique() >= 3).all()
        assert is_drawn(out / f"{name}.png")
        assert (out / f"{name}.md").is_file()


@pytest.mark.slow
def test_figure_4_counts_the_parameters_of_the_shipped_networks(tmp_path, capsys, is_drawn):
    assert parameters.main(["fig4", "--out", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "fig4.csv").set_index("method")
    assert rows.kind["crnet-a-small"] == "measured"
    assert rows.parameters["CRNet-A"] == 1_330_305
    assert rows.psnr_db["CRNet-A"] == 31.82
    assert is_drawn(tmp_path / "fig4.png")
    missing = ["fig4", "--out", str(tmp_path), "--table", str(tmp_path / "none.csv")]
    assert parameters.main(missing) == 2
    assert "benchmarks.compare makes one" in capsys.readouterr().err
