"""Short trainings: which are made again, and what their spread tells apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablation, parameters
from benchmarks._study.curves import write_curves
from benchmarks._study.short_runs import (
    SETTINGS,
    Variant,
    _reusable,
    alike,
    psnr_after,
    training_bank,
    training_of,
    write_spread,
)
from cscsr.networks import CRNetA


@pytest.mark.slow
def test_runs_of_another_width_are_made_anew(tmp_path, data):
    for width in ("2", "3"):
        options = ["--out", str(tmp_path / "out"), "--data", data, "--steps", "1"]
        assert parameters.main(["fig9", *options, "--width", width, "--seeds", "1"]) == 0
        rows = pd.read_csv(tmp_path / "out" / "fig9.csv")
        assert set(rows.n0) == {int(width)}
        assert not rows.duplicated(["variant", "seed"]).any()


def test_only_runs_of_the_same_images_and_training_are_used_again(tmp_path):
    variant = ablation.variants(4)[0]
    settings = {key: f"this {key}" for key in SETTINGS}
    row = {**settings, "variant": variant.label, "training": training_of(variant), "seed": 0}
    table = tmp_path / "study.csv"
    write_curves(table, [row])
    assert len(_reusable(table, settings, [variant])) == 1
    for key in SETTINGS:
        assert not _reusable(table, settings | {key: "another"}, [variant])
    changes = [
        {"network": variant.network | {"s_kernel": 5}},
        {"optimiser": {"learning_rate": 1e-3}},
        {"bf16": True},
        {"during": print},
    ]
    for change in changes:
        assert not _reusable(table, settings, [replace(variant, **change)]), change


def test_a_run_that_diverges_has_no_psnr():
    network = {"n0": 4, "m0": 4, "recursions": 2}
    images = [np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)]
    bank = {"crnet-a": training_bank(images, "crnet-a")}
    optimiser = {"learning_rate": 1e30, "warmup": 0.0, "clip": math.inf}
    diverging = Variant("diverging", "crnet-a", network, optimiser)
    assert psnr_after((diverging, 0), bank, images, 9, "cpu")[0] is None
    psnr_db, parameters, _ = psnr_after(
        (Variant("a", "crnet-a", network), 0), bank, images, 2, "cpu"
    )
    assert 0 < psnr_db < 60
    assert parameters == sum(p.numel() for p in CRNetA(**network).parameters())


def test_a_table_of_something_else_has_no_runs(tmp_path):
    (tmp_path / "study.csv").write_text("step,psnr_db\n1,30.0\n", encoding="utf-8")
    assert (
        _reusable(tmp_path / "study.csv", dict.fromkeys(SETTINGS), [Variant("a", "crnet-a")]) == []
    )


def _table(path, runs):
    common = {"scale": 3, "steps": 9, "trained_on": "T91", "dataset": "Set5", "m0": 8}
    rows = [
        {
            **common,
            "variant": name,
            "architecture": architecture,
            "parameters": 1000 * width,
            "n0": width,
            "recursions": 2,
            "psnr_db": psnr_db,
            "bicubic_psnr_db": 29.5,
        }
        for name, architecture, width, psnr_db in runs
    ]
    write_curves(path, rows)


def test_the_spread_of_a_study_is_as_worked_out_by_hand(tmp_path):
    runs = [
        ("none", "crnet-a", 1, 29.8),
        ("none", "crnet-a", 1, 30.2),
        ("wide", "crnet-a", 2, 30.1),  # between those of "none"
        ("wide", "crnet-a", 2, 30.6),
        ("wider", "crnet-a", 3, 30.7),  # above all others of its architecture
        ("wider", "crnet-a", 3, 30.8),
        ("wider", "crnet-a", 3, ""),  # it diverged
        ("other", "crnet-b", 4, 29.5),  # bicubic's, and of another architecture
        ("other", "crnet-b", 4, 30.0),
        ("single", "crnet-b", 5, 29.8),
        ("single", "crnet-b", 5, ""),
    ]
    _table(tmp_path / "study.csv", runs)
    write_spread(tmp_path / "study.csv", tmp_path / "study.md")
    assert (tmp_path / "study.md").read_text(encoding="utf-8").splitlines() == [
        "| network | parameters | PSNR ×3, dB | lowest to highest | runs | not told apart from |",
        "|---|--:|--:|:-:|---|---|",
        "| none | 1,000 | 30.00 | 29.80 to 30.20 | 2 | wide |",
        "| wide | 2,000 | 30.35 | 30.10 to 30.60 | 2 | none |",
        "| wider | 3,000 | 30.75 | 30.70 to 30.80 | 3 (1 diverged) |  |",
        "| other | 4,000 | 29.75 | 29.50 to 30.00 | 2 (1 no better than bicubic) |  |",
        "| single | 5,000 | 29.80 |  | 2 (1 diverged) | (one run) |",
        "",
        "m₀ = 8, K = 2, 9 steps of 8 patches from T91, tested on Set5 (bicubic: 29.50 dB). Two "
        "networks of one architecture are told apart where all runs of one are better than all "
        "of the other. With 2 runs each, chance alone does that to one in 3 pairs of equal "
        "networks, and to more where runs diverged.",
    ]


def test_single_runs_tell_nothing_apart(tmp_path):
    _table(tmp_path / "study.csv", [("a", "crnet-a", 1, 30.0), ("b", "crnet-a", 1, 30.5)])
    write_spread(tmp_path / "study.csv", tmp_path / "study.md")
    page = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert page.count("(one run)") == 2 and "chance" not in page


def test_ranges_that_touch_are_not_told_apart():
    rows = pd.DataFrame(
        [("a", 1.0), ("a", 2.0), ("b", 2.0), ("b", 3.0)], columns=["variant", "psnr_db"]
    ).assign(architecture="crnet-a")
    assert alike(rows) == {"a": ["b"], "b": ["a"]}
