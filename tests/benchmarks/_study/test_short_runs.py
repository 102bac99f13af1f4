"""Short trainings: which are made again, and which with more seeds."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import parameters
from benchmarks._study.short_runs import Variant, _close


@pytest.mark.slow
def test_runs_of_another_width_are_made_anew(tmp_path, data):
    for width in ("2", "3"):
        options = ["--out", str(tmp_path / "out"), "--data", data, "--steps", "1"]
        assert parameters.main(["fig9", *options, "--width", width, "--seeds", "1"]) == 0
        rows = pd.read_csv(tmp_path / "out" / "fig9.csv")
        assert set(rows.n0) == {int(width)}
        assert not rows.duplicated(["variant", "seed"]).any()


def test_only_close_variants_are_run_with_more_seeds():
    variants = [Variant(name, "crnet-a") for name in "abc"] + [Variant("d", "crnet-b")]
    psnr = {"a": 30.0, "b": 30.09, "c": 30.3, "d": 30.0}
    rows = [{"variant": name, "seed": 0, "psnr_db": value} for name, value in psnr.items()]
    assert [variant.label for variant in _close(variants, rows)] == ["a", "b"]
