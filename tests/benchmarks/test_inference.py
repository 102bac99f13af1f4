"""What bfloat16 costs in decibels, and the memory of a solve."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import inference
from cscsr.data.datasets import demo
from cscsr.imaging import write_image


@pytest.mark.slow
def test_precision_and_memory_of_the_shipped_networks(tmp_path, data, capsys):
    names = sorted(path.name for path in (tmp_path / "T91").iterdir())
    # Of few pixels the PSNR moves with every one that is rounded the other way.
    write_image(tmp_path / "T91" / names[0], demo().images[1].read()[:192, :192])
    write_image(tmp_path / "Set5" / "only.png", demo().images[0].read())
    out = tmp_path / "out"
    assert inference.main(["precision", "--out", str(out), "--data", data, "--first", "1"]) == 0
    rows = pd.read_csv(out / "speed-precision.csv")
    assert len(rows) == 2 * 2 * 3
    assert rows.difference_db.abs().max() < 0.02, "bfloat16 costs under 0.02 dB"
    assert rows.difference_db.abs().max() > 0
    assert inference.main(["memory", "--out", str(out), "--size", "40x50"]) == 0
    row = pd.read_csv(out / "network-memory.csv").iloc[0]
    assert row.arrays_mb == round(15 * 40 * 50 * 4 / 1e6)
    assert row.peak_mb > row.arrays_mb
    assert inference.main(["memory", "--out", str(out), "--size", "40"]) == 2
    assert "4000x6000" in capsys.readouterr().err
