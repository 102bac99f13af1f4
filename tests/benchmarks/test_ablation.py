"""The ablation: eight networks are trained, written, and drawn from their table."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import ablation
from benchmarks._study.short_runs import alike


@pytest.mark.slow
def test_the_ablation_trains_eight_networks_and_keeps_them(tmp_path, data, is_drawn):
    out = tmp_path / "out"
    options = ["--out", str(out), "--data", data, "--steps", "4", "--width", "2"]
    options += ["--seeds", "2"]
    assert ablation.main(options) == 0
    rows = pd.read_csv(out / "ablation.csv", keep_default_na=False)
    assert set(rows.variant) == {ablation.label(switches) for switches in ablation.PUBLISHED}
    assert set(rows.trained_on) == {"T91"}
    first = rows[rows.seed == 0].set_index("variant")
    assert first.psnr_db.nunique() > 4, "the switches make different networks"
    size = first.parameters
    assert size["none"] == size["LRL, PA"] < size["CC"] == size["LRL, PA, CC"]
    assert is_drawn(out / "ablation.png")
    page = (out / "ablation.md").read_text(encoding="utf-8").splitlines()
    runs = rows[rows.variant == "LRL"].psnr_db
    cells = [cell.strip() for cell in page[3].strip("|").split("|")]
    assert cells[:3] == ["LRL", str(size["LRL"]), f"{runs.mean():.2f}"]
    assert cells[4] == str(len(runs))
    assert "K = 8, 4 steps" in page[-1], "what all networks have in common"

    # A run that is there is not made again, one that is missing is.
    fewer = rows.iloc[:-1].copy()
    fewer.loc[0, "psnr_db"] = 12.5
    fewer.to_csv(out / "ablation.csv", index=False)
    assert ablation.main(options) == 0
    again = pd.read_csv(out / "ablation.csv", keep_default_na=False)
    assert again.psnr_db[0] == 12.5
    assert again.psnr_db.iloc[-1] == rows.psnr_db.iloc[-1]


def test_networks_are_told_apart_where_all_runs_of_one_are_better():
    runs = [
        ("a", "crnet-a", 30.0),
        ("a", "crnet-a", 30.3),
        ("b", "crnet-a", 30.2),  # one run, within the range of a's
        ("c", "crnet-a", 30.4),
        ("c", "crnet-a", 30.6),
        ("d", "crnet-b", 30.2),  # of another architecture
    ]
    rows = pd.DataFrame(runs, columns=["variant", "architecture", "psnr_db"])
    assert alike(rows) == {"a": ["b"], "b": ["a"], "c": [], "d": []}
