"""A training run: its curve, checkpoints, interrupts, and several processes."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from cscsr import InputError, weights
from cscsr.training.patches import load_banks
from cscsr.training.recipe import load_recipe
from cscsr.training.run import train
from cscsr.training.trainer import NonFiniteLoss, Trainer


def test_a_later_run_can_go_on_from_before_the_cooldown(data, tmp_path, small_recipe):
    recipe = small_recipe(schedule="wsd", cooldown=0.4, warmup=0.0)
    train(recipe, data, tmp_path, steps=5, bf16=False)
    without_cooldown = Trainer(recipe, load_banks(recipe, data), bf16=False)
    without_cooldown.progress.per_step = 0.2
    for _ in range(3):
        without_cooldown.step()
    stable, _ = weights.load(tmp_path / "stable.safetensors")
    for name, tensor in without_cooldown.network.state_dict().items():
        np.testing.assert_allclose(stable[name], tensor.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(tmp_path, data):
    """`torchrun` with two processes and gloo ends at the weights of one process."""
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'architecture = "crnet-b"\nsets = ["T91"]\nscales = [2, 3]\n'
        "[network]\nn0 = 4\nm0 = 4\nrecursions = 1\n"
        "[optimiser]\nbatch = 4\npatch = 8\nlearning_rate = 1e-3\n"
    )
    arguments = ["cscsr", "train", str(recipe), "--data", str(data), "--steps", "3"]
    arguments += ["--precision", "fp32", "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--standalone", "-m"]
    subprocess.run(
        [*launcher, *arguments, str(tmp_path / "two")],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    one = train(load_recipe(recipe), data, tmp_path / "one", steps=3, bf16=False)
    expected = weights.load(one)[0]
    tensors, metadata = weights.load(tmp_path / "two" / "weights.safetensors")
    assert metadata["trained"]["steps"] == 3
    for key, value in tensors.items():
        np.testing.assert_allclose(value, expected[key], atol=2e-5)
    with (tmp_path / "two" / "curve.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1, "one process writes"


def test_a_watched_set_stands_in_the_curve_and_changes_nothing(tmp_path, data, small_recipe):
    recipe = small_recipe()
    plain = train(recipe, data, tmp_path / "plain", steps=2, bf16=False)
    watched = train(recipe, data, tmp_path / "watched", steps=2, bf16=False, watch="demo")
    with (tmp_path / "watched" / "curve.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 15 < float(row["demo_psnr_db_x2"]) < 50
    for key, value in weights.load(plain)[0].items():
        np.testing.assert_array_equal(weights.load(watched)[0][key], value)


@pytest.mark.parametrize(("architecture", "line"), [("crnet-a", "y"), ("crnet-b", "rgb")])
def test_a_run_leaves_weights_a_curve_and_a_checkpoint(
    tmp_path, data, architecture, line, small_recipe
):
    recipe = small_recipe(architecture)
    path = train(recipe, data, tmp_path, steps=4, bf16=False, evaluate_every=1e-9)
    _, metadata = weights.load(path)
    assert metadata["scales"] == [2, 3]
    assert metadata["line"] == line
    assert metadata["trained"]["steps"] == 4
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert all(math.isfinite(float(row["holdout_psnr_db_x3"])) for row in rows)
    assert float(rows[-1]["learning_rate"]) < 1e-9
    with pytest.raises(InputError, match="--resume"):
        train(recipe, data, tmp_path, steps=4, bf16=False)


def test_an_interrupted_run_goes_on_with_resume_and_minutes_end_in_time(
    tmp_path, data, small_recipe
):
    recipe = small_recipe()
    first = train(recipe, data, tmp_path / "a", steps=6, bf16=False)
    halfway = tmp_path / "b"
    train(recipe, data, halfway, steps=6, bf16=False, evaluate_every=1e-9)
    state = torch.load(halfway / "checkpoint.pt", weights_only=True)
    assert state["progress"]["step"] == 6
    # The whole run again from its own checkpoint changes nothing more.
    again = train(recipe, data, halfway, steps=6, bf16=False, resume=True)
    for key, value in weights.load(first)[0].items():
        np.testing.assert_array_equal(weights.load(again)[0][key], value)
    timed = train(recipe, data, tmp_path / "c", minutes=0.02, bf16=None, init=first)
    trained = weights.load(timed)[1]["trained"]
    assert trained["minutes"] <= 0.1
    assert trained["start"]["steps"] == 6


def test_an_interrupt_leaves_a_checkpoint_and_the_whole_curve(
    tmp_path, data, monkeypatch, small_recipe
):
    """Also before the first evaluation, and in the middle of a step."""
    recipe = small_recipe()
    whole = train(recipe, data, tmp_path / "whole", steps=8, bf16=False)
    step = Trainer.step

    def interrupted(trainer):
        if trainer.progress.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return step(trainer)

    out = tmp_path / "cut"
    monkeypatch.setattr(Trainer, "step", interrupted)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, out, steps=8, bf16=False)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert torch.load(out / "checkpoint.pt", weights_only=True)["progress"]["step"] == 4
    monkeypatch.setattr(Trainer, "step", step)
    again = train(recipe, data, out, steps=8, bf16=False, resume=True)
    for key, value in weights.load(whole)[0].items():
        np.testing.assert_array_equal(weights.load(again)[0][key], value)
    with (tmp_path / "whole" / "curve.csv").open() as one, (out / "curve.csv").open() as other:
        rows = [[{**row, "seconds": ""} for row in csv.DictReader(file)] for file in (one, other)]
    assert rows[0] == rows[1]


def test_rows_from_after_the_checkpoint_are_made_again(tmp_path, data, small_recipe):
    """A run may be killed between the row of an evaluation and its checkpoint."""
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=2, bf16=False, evaluate_every=1e-9)
    curve = tmp_path / "curve.csv"
    whole = curve.read_text()
    curve.write_text(whole + whole.splitlines()[-1].replace("2,", "3,", 1) + "\n4,0.")
    train(recipe, data, tmp_path, steps=2, bf16=False, resume=True)
    assert curve.read_text().split() == whole.split()


@pytest.mark.parametrize("bf16", [False, True])
def test_a_resumed_run_keeps_its_precision_and_its_seed(tmp_path, data, bf16, small_recipe):
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=2, bf16=bf16, seed=7)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["progress"]["done"] = 0.5
    torch.save(state, tmp_path / "checkpoint.pt")
    path = train(recipe, data, tmp_path, steps=4, resume=True)
    trained = weights.load(path)[1]["trained"]
    assert (trained["steps"], trained["bf16"], trained["seed"]) == (4, bf16, 7)


def test_weights_that_are_not_finite_stop_the_run_and_keep_the_checkpoint(
    tmp_path, data, small_recipe
):
    recipe = small_recipe(learning_rate=1e39, warmup=0.5)  # the first step's rate is zero
    with pytest.raises(NonFiniteLoss, match="step 2"):
        train(recipe, data, tmp_path, steps=4, bf16=False, evaluate_every=1e-9)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["progress"]["step"] == 1
    assert all(value.isfinite().all() for value in state["network"].values())
    with (tmp_path / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1"]
    with pytest.raises(NonFiniteLoss):
        train(recipe, data, tmp_path, steps=4, bf16=False, resume=True, evaluate_every=1e-9)


def test_an_output_folder_that_is_a_file_is_refused_before_any_work(tmp_path, small_recipe):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="cannot write into the folder"):
        train(small_recipe(), tmp_path / "no data is read", file, steps=1)


def test_bad_budgets_are_refused(tmp_path, data, small_recipe):
    for budget in ({}, {"minutes": 1, "steps": 2}, {"steps": 0}, {"minutes": -1}):
        with pytest.raises(InputError, match=r"budget|either"):
            train(small_recipe(), data, tmp_path / "run", **budget)


RUN = """
import sys
from cscsr.training.run import train
from cscsr.training.recipe import load_recipe

train(load_recipe(sys.argv[1]), sys.argv[2], sys.argv[3], steps=60, bf16=False,
      evaluate_every=1e-9, resume=True)
"""
"""Trains with an evaluation after every step, from the checkpoint where there is one."""


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_curve_bit_for_bit(tmp_path, data):
    recipe = tmp_path / "killed.toml"
    recipe.write_text(
        'architecture = "crnet-a"\nsets = ["T91"]\nscales = [2, 3]\n'
        "[network]\nn0 = 8\nm0 = 8\nrecursions = 2\n"
        "[optimiser]\nbatch = 4\npatch = 16\nlearning_rate = 1e-3\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(out):
        arguments = [sys.executable, "-c", RUN, str(recipe), str(data), str(tmp_path / out)]
        return subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)

    def curve(out):
        with (tmp_path / out / "curve.csv").open() as file:
            return [{**row, "seconds": ""} for row in csv.DictReader(file)]

    assert start("whole").wait() == 0
    killed = start("killed")
    while killed.poll() is None and not (tmp_path / "killed" / "checkpoint.pt").exists():
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, "it was still running"
    assert start("killed").wait() == 0
    assert len(curve("whole")) == 60
    assert curve("killed") == curve("whole")
    paths = [tmp_path / out / "weights.safetensors" for out in ("whole", "killed")]
    whole, killed = (weights.load(path)[0] for path in paths)
    for key, value in whole.items():
        np.testing.assert_array_equal(killed[key], value)
