"""Networks trained alike: the same patches, counted operations, and runs that go on when killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import equal_compute as study
from benchmarks._study.curves import read_curves, write_curves
from benchmarks.systems import MEASURED, alike_table, rows_of, table_of
from cscsr.compare.trained_alike import chosen, command_of, largest_common_budget, latest_rows
from cscsr.imaging import rgb_to_y
from cscsr.networks import build

ROOT = Path(__file__).parents[2]


def run(network: str = "edsr-small", budget: float = 1e12, rate: float = 1e-3, seed: int = 0):
    return study.Run(network, budget, rate, seed)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("edsr-small", {"width": 16, "blocks": 2}),
        ("drrn-small", {"width": 16, "units": 3}),
        ("d-dbpn-small", {"width": 8, "features": 16, "stages": 2}),
        ("lapsrn-small", {"width": 12, "depth": 2}),
    ],
)
def test_operations_are_those_that_torch_counts(name, network):
    """Forward and backward of a whole step; the first layer's input needs no gradient."""
    recipe = replace(study.recipe_of(run(name)), network=network)
    model = build(recipe.architecture, **network, scales=[study.SCALE])
    channels = 3 if model.line == "rgb" else 1
    x = torch.rand(study.BATCH, channels, recipe.optimiser.patch, recipe.optimiser.patch)
    with FlopCounterMode(display=False) as counter:
        model(x, study.SCALE).mean().backward()
    counted = counter.get_total_flops()
    assert 0.9 * recipe.step_operations() < counted <= recipe.step_operations()


def test_a_budget_is_met_to_half_a_step():
    for name in study.network_names():
        recipe = study.recipe_of(run(name))
        step = recipe.step_operations()
        assert abs(study.steps_of(recipe, 1e13) * step - 1e13) <= step / 2
    assert study.steps_of(recipe, 1.0) == 1


def test_all_kinds_of_networks_see_the_same_patches(data):
    """The luma of the targets of line rgb is that of line y, and so is what lies below it."""
    images = [
        np.random.default_rng(seed).integers(0, 256, (70, 61, 3), np.uint8) for seed in (0, 1)
    ]
    banks = study.make_banks(images, ["drrn-small", "scn-small", "edsr-small"])
    assert set(banks) == {"LumaRefiner", "LumaEnlarger", "RGBEnlarger"}
    refined, luma, rgb = (
        bank.sample(6, size, torch.Generator().manual_seed(3))
        for bank, size in zip(banks.values(), (48, 24, 24), strict=True)
    )
    assert torch.equal(refined[1], luma[1])
    colours = (255 * rgb[1]).round().byte().permute(0, 2, 3, 1).numpy()
    expected = np.stack([rgb_to_y(image) for image in colours])
    np.testing.assert_array_equal((255 * luma[1][:, 0]).round().byte().numpy(), expected)
    assert refined[0].shape == refined[1].shape == luma[1].shape


def test_the_first_phase_has_compared_all_networks():
    order = list(study.phases([6e13, 2e13], [1e-3, 1e-4], 2, "first"))
    assert order[0] == (2e13, [1e-3], [0])
    assert order[1:3] == [(2e13, [1e-3, 1e-4], [0]), (2e13, [None], [1])]
    assert order[3:] == [(6e13, [None], [0]), (6e13, [None], [1])]
    searched = list(study.phases([2e13, 6e13], [1e-3, 1e-4], 1, "each"))
    assert (6e13, [1e-3, 1e-4], [0]) in searched


def row(network: str, budget: str, rate: str, seed: int, holdout: str, test: str) -> dict[str, str]:
    return {
        "settings": "s",
        "network": network,
        "budget_flop": budget,
        "learning_rate": rate,
        "seed": str(seed),
        "line": "y",
        "parameters": "1000",
        "multiply_adds_per_pixel": "2000.0",
        "training_flop": budget,
        "bicubic_holdout_psnr_db": "30",
        "bicubic_test_psnr_db": "33",
        "holdout_psnr_db": holdout,
        "test_psnr_db": test,
        "seconds": "5" if holdout else "",
    }


def test_the_rate_is_chosen_on_the_held_out_images():
    rows = [
        row("drrn-small", "2e13", "0.001", 0, "31.0", "34.0"),
        row("drrn-small", "2e13", "0.0005", 0, "31.5", "33.5"),
        row("drrn-small", "2e13", "0.0005", 1, "31.7", "33.9"),
        row("drrn-small", "2e13", "0.005", 0, "", ""),
        row("edsr-small", "2e13", "0.005", 0, "", ""),
    ]
    [point] = chosen(rows)
    assert (point.rate, point.seeds, point.tried) == (0.0005, 2, 3)
    assert str(point.holdout) == "31.60 ± 0.10"
    assert str(point.test) == "33.70 ± 0.20"


def test_the_table_of_systems_takes_the_largest_budget_that_all_have(tmp_path):
    for name in (*MEASURED, "published"):
        table = tmp_path / f"{name}.csv"
        table.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "reports" / "reference" / f"{name}.csv", table)
    assert "no such comparison" in alike_table(tmp_path)
    rows = [
        row(name, budget, "0.001", 0, "31", f"{34 + number + float(budget) / 1e14:.1f}")
        for budget in ("2e13", "6e13")
        for number, name in enumerate(("drrn-small", "edsr-small"))
    ]
    write_curves(tmp_path / "equal_compute.csv", rows[:3])
    assert largest_common_budget(chosen(rows)) == 6e13
    table = table_of(rows_of(tmp_path))
    assert "| small and trained alike, ×2 |" in table
    cells = {line.split(" | ")[0][2:]: line.split(" | ")[-1] for line in table.splitlines()}
    assert cells["DRRN"] == "34.20 |"
    assert cells["EDSR"] == "35.20 |"
    assert cells["VDSR"] == " |" or not cells["VDSR"].strip(" |")
    assert "| drrn-small |" in alike_table(tmp_path)


@pytest.mark.slow
def test_two_networks_at_tiny_budgets(tmp_path, data, is_drawn):
    out = tmp_path / "out"
    words = ["--data", data, "--out", str(out), "--sets", "T91", "--budgets", "1e11", "2e11"]
    words += ["--networks", "crnet-b-small", "drrn-small", "--rates", "1e-3", "3e-3"]
    assert study.main(words) == 0
    rows = pd.read_csv(out / "equal_compute.csv")
    assert len(rows) == 2 * (2 + 1 + 2)
    assert not list((out / "equal_compute_runs").iterdir())
    for name, own in rows.groupby("network"):
        recipe = study.recipe_of(run(name))
        off = (own.training_flop - own.budget_flop).abs().max()
        assert off <= recipe.step_operations() / 2 + 1e8
        searched = own[(own.budget_flop == 1e11) & (own.seed == 0)]
        best = searched.loc[searched.holdout_psnr_db.idxmax()].learning_rate
        assert set(own[own.seed == 1].learning_rate) == {best}
        assert set(own[own.budget_flop == 2e11].learning_rate) == {best}
        assert own.test_psnr_db.nunique() == len(own), "rates, seeds and budgets matter"
    curves = pd.read_csv(out / "equal_compute_curves.csv")
    assert set(curves.key) == set(rows.key)
    ends = curves[curves.share == 1].set_index("key").holdout_psnr_db
    assert (ends.loc[rows.key].to_numpy() == rows.holdout_psnr_db.to_numpy()).all()
    assert is_drawn(out / "equal_compute.png")
    command = command_of(latest_rows((out / "equal_compute.csv").read_text()))
    assert command == (
        "python -m benchmarks.equal_compute --data DIR --budgets 1e11 2e11 "
        "--rates 0.001 0.003 --seeds 2 --sets T91"
    )
    assert set(rows.test_set) == {"Set5"}
    before = (out / "equal_compute.csv").read_bytes()
    assert study.main(words) == 0
    assert (out / "equal_compute.csv").read_bytes() == before


@pytest.mark.slow
def test_a_full_command_goes_on_from_half_a_study(tmp_path, data, is_drawn):
    """Also from rows that do not name their images."""
    out = tmp_path / "out"
    words = ["--data", data, "--out", str(out), "--sets", "T91", "--networks"]
    half = ["crnet-b-small", "--budgets", "2e10", "--rates", "1e-3", "--seeds", "1"]
    assert study.main([*words, *half]) == 0
    assert is_drawn(out / "equal_compute.png")
    table = (out / "equal_compute.md").read_text()
    assert table.count("crnet-b-small") == 1
    assert "One learning rate was tried" in table
    [first] = read_curves(out / "equal_compute.csv")
    del first["trained_on"], first["test_set"]
    write_curves(out / "equal_compute.csv", [{**first, "seconds": "77"}])
    more = ["crnet-b-small", "drrn-small", "--budgets", "2e10", "6e10", "--rates", "1e-3", "3e-3"]
    assert study.main([*words, *more, "--seeds", "1"]) == 0
    rows = read_curves(out / "equal_compute.csv")
    assert len(rows) == 2 * (2 + 1)
    assert [row["seconds"] for row in rows if row["key"] == first["key"]] == ["77"]
    assert {row["trained_on"] for row in rows} == {"T91"}
    assert "One learning rate" not in (out / "equal_compute.md").read_text()


@pytest.mark.slow
def test_workers_make_the_rows_of_one_process(tmp_path, data, cluster):
    """Processes of this machine, and workers of a scheduler."""
    words = ["--data", data, "--sets", "T91", "--budgets", "2e10", "--seeds", "1"]
    words += ["--networks", "crnet-b-small", "drrn-small", "--rates", "1e-3", "3e-3", "--out"]
    one, two, there = (tmp_path / name for name in ("one", "two", "there"))
    assert study.main([*words, str(one)]) == 0
    command = [sys.executable, "-m", "benchmarks.equal_compute", *words, str(two), "--jobs", "2"]
    process = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=250)
    assert process.returncode == 0, process.stderr
    assert study.main([*words, str(there), "--scheduler", cluster[0]]) == 0
    results = [
        {row["key"]: (row["holdout_psnr_db"], row["test_psnr_db"], row["steps"]) for row in rows}
        for rows in (read_curves(out / "equal_compute.csv") for out in (one, two, there))
    ]
    assert len(results[0]) == 4
    assert results[1] == results[0]
    assert results[2] == results[0]
    for out in (two, there):
        assert not list((out / "equal_compute_runs").iterdir())


@pytest.mark.slow
def test_a_worker_without_the_folder_of_checkpoints_trains_all_the_same(tmp_path, data):
    task, banks = study._prepared(Path(data), tmp_path, ["drrn-small"], ["T91"])
    elsewhere = replace(task, folder=str(tmp_path / "elsewhere"))
    trained = [study.trained(run("drrn-small", 2e10), each, banks) for each in (task, elsewhere)]
    assert trained[0][0]["holdout_psnr_db"] == trained[1][0]["holdout_psnr_db"]
    assert trained[0][1] == trained[1][1]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_goes_on_to_the_same_end(tmp_path, data):
    """At its first checkpoint; the rows of other settings in the file stay."""
    words = ["--data", data, "--sets", "T91", "--budgets", "2e11", "--seeds", "1"]
    words += ["--networks", "drrn-small", "--rates", "1e-3", "--out"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "benchmarks.equal_compute", *words, str(killed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list(killed.glob("equal_compute_runs/*.pt")) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    [checkpoint] = killed.glob("equal_compute_runs/*.pt")
    assert not (killed / "equal_compute.csv").exists()
    step = torch.load(checkpoint, weights_only=True)["progress"]["step"]
    assert 0 < step < 4
    other = row("edsr-small", "2e13", "0.001", 0, "31", "34")
    write_curves(killed / "equal_compute.csv", [{"key": "k", **other}])
    for out in (killed, whole):
        assert study.main([*words, str(out)]) == 0
    kept, resumed = read_curves(killed / "equal_compute.csv")
    [uninterrupted] = read_curves(whole / "equal_compute.csv")
    assert kept["key"] == "k"
    for column in ("key", "holdout_psnr_db", "test_psnr_db", "steps"):
        assert resumed[column] == uninterrupted[column]
    points = [
        [
            (each["share"], each["holdout_psnr_db"])
            for each in read_curves(out / "equal_compute_curves.csv")
        ]
        for out in (killed, whole)
    ]
    assert points[0] == points[1]


def test_wrong_options_are_a_sentence(tmp_path, data, capsys):
    for words, reason in {
        ("--networks", "edsr-smal"): "did you mean edsr-small",
        ("--budgets", "-1"): "the study needs positive, finite budgets, got [-1.0]",
        ("--budgets", "inf"): "positive, finite budgets, got [inf]",
        ("--rates", "0"): "positive, finite rates",
        ("--seeds", "0"): "positive, finite seeds",
    }.items():
        assert study.main(["--data", data, "--out", str(tmp_path / "out"), *words]) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("equal_compute.csv", b"a,b\n1,2\n", "no table of this study: it has no bicubic"),
        ("equal_compute.csv", b"\xff\xfe,b\n1,2\n", "cannot be read as a table"),
        ("equal_compute_curves.csv", b"a\n1\n", "no table of this study: it has no key"),
        ("equal_compute.csv", None, "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_a_sentence_before_anything_is_trained(
    tmp_path, data, capsys, name, content, reason
):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    words = ["--networks", "drrn-small", "--sets", "T91", "--out", str(tmp_path)]
    assert study.main(["--data", data, *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_number_that_is_none_is_a_sentence(tmp_path, data, capsys):
    words = ["--networks", "drrn-small", "--sets", "T91", "--out", str(tmp_path), "--seeds", "1"]
    words += ["--budgets", "1e10", "--rates", "1e-3"]
    assert study.main(["--data", data, *words]) == 0
    path = tmp_path / "equal_compute.csv"
    damaged = [{**each, "budget_flop": "x"} for each in read_curves(path)]
    write_curves(path, damaged)
    assert study.main(["--data", data, *words]) == 2
    assert "is damaged: could not convert string to float: 'x'" in capsys.readouterr().err


def test_words_said_twice_and_long_budgets(tmp_path, data):
    """No run is made twice, and a budget of many digits has its second seed."""
    words = ["--data", data, "--sets", "T91", "--out", str(tmp_path), "--rates", "1e-3", "1e-3"]
    words += ["--networks", "drrn-small", "drrn-small", "--budgets", "12345678901", "12345678901"]
    assert study.main([*words, "--seeds", "2"]) == 0
    rows = read_curves(tmp_path / "equal_compute.csv")
    assert [(each["budget_flop"], each["seed"]) for each in rows] == [
        ("12345678901.0", "0"),
        ("12345678901.0", "1"),
    ]
    text = (tmp_path / "equal_compute.csv").read_text()
    assert "--budgets 12345678901.0 --rates 0.001 --seeds 2" in command_of(latest_rows(text))


def test_a_curve_whose_row_was_not_written_is_replaced(tmp_path, data, monkeypatch):
    words = ["--data", data, "--sets", "T91", "--out", str(tmp_path), "--rates", "1e-3"]
    words += ["--networks", "drrn-small", "--budgets", "1e10", "--seeds", "1"]
    write = study.write_curves

    def full(path, rows):
        if path.name == "equal_compute.csv":
            raise OSError("the disk is full")
        write(path, rows)

    with monkeypatch.context() as context:
        context.setattr(study, "write_curves", full)
        with pytest.raises(OSError, match="the disk is full"):
            study.main(words)
    shares = [each["share"] for each in read_curves(tmp_path / "equal_compute_curves.csv")]
    assert study.main(words) == 0
    again = [each["share"] for each in read_curves(tmp_path / "equal_compute_curves.csv")]
    assert again == shares
