"""The levers: each changes its run, and the table has them all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import levers
from cscsr.networks import CRNetA


@pytest.mark.slow
def test_the_levers_make_different_runs_and_a_table(tmp_path, data):
    options = ["--out", str(tmp_path / "out"), "--data", data, "--steps", "8", "--width", "16"]
    assert levers.main([*options, "--seeds", "1"]) == 0
    rows = pd.read_csv(tmp_path / "out" / "levers.csv").set_index("variant")
    assert set(rows.dataset) == {"holdout"}
    assert list(rows.index) == [variant.label for variant in levers.variants(16)]
    assert rows.psnr_db.nunique() >= len(rows) - 1, "all but clipping act within eight steps"
    table = (tmp_path / "out" / "levers.md").read_text()
    assert all(f"| {label} | " in table for label in rows.index)


def test_gains_are_means_over_the_seeds_that_both_have(tmp_path):
    runs = {
        levers.BASE: [30.0, None, 30.2],
        "better": [30.4, 25.0, 30.8],  # (0.4 + 0.6)/2; the base has no second run to compare with
        "lost": [None, None, None],
    }
    rows = [
        {"variant": name, "seed": seed, "psnr_db": psnr_db}
        for name, values in runs.items()
        for seed, psnr_db in enumerate(values)
    ]
    common = {"n0": 4, "m0": 8, "recursions": 2, "steps": 9, "trained_on": "T91"}
    frame = pd.DataFrame(rows).assign(**common, bicubic_psnr_db=29.0)
    frame.to_csv(tmp_path / "levers.csv", index=False)
    levers.write(tmp_path / "levers.csv", tmp_path / "levers.md")
    assert (tmp_path / "levers.md").read_text(encoding="utf-8").splitlines()[2:5] == [
        "| as it stands | 30.100 | +0.000 | 3 (1 diverged) |",
        "| better | 28.733 | +0.500 | 3 (gain of 2) |",
        "| lost |  |  | 3 (3 diverged) |",
    ]


def test_recursions_grow_to_all_of_them():
    network, grow = CRNetA(4, 4, 4), levers.growth(4)
    recursions = []
    for done in np.arange(8) / 8:
        grow(network, done)
        recursions.append(network.block.recursions)
    assert recursions == [1, 1, 2, 2, 3, 3, 4, 4]
