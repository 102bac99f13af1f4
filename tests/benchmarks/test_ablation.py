"""The ablation: eight networks are trained, written, and drawn from their table."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import ablation


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
    page = (out / "ablation.md").read_text(encoding="utf-8")
    assert all(f"\n| {ablation.label(switches)} | " in page for switches in ablation.PUBLISHED)

    # A run that is there is not made again, one that is missing is.
    fewer = rows.iloc[:-1].copy()
    fewer.loc[0, "psnr_db"] = 12.5
    fewer.to_csv(out / "ablation.csv", index=False)
    assert ablation.main(options) == 0
    again = pd.read_csv(out / "ablation.csv", keep_default_na=False)
    assert again.psnr_db[0] == 12.5
    assert again.psnr_db.iloc[-1] == rows.psnr_db.iloc[-1]
