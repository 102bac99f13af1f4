"""A training run: its curve, checkpoints, interrupts, and several processes."""

from __future__ import annotations

import csv
import itertools
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from cscsr import InputError, checkpoints, weights
from cscsr.cli import main
from cscsr.imaging import degrade, imresize, read_image, score
from cscsr.locks import folder_lock
from cscsr.training.pace import Progress
from cscsr.training.patches import load_banks
from cscsr.training.recipe import load_recipe
from cscsr.training.run import begins_cooldown, train
from cscsr.training.trainer import NonFiniteLoss, Trainer


@pytest.mark.slow
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


@pytest.mark.parametrize("cooldown", [0.3, 0.4, 0.5])
def test_one_step_begins_the_cooldown(small_recipe, cooldown):
    """However the share that is done was rounded."""
    recipe = small_recipe(schedule="wsd", cooldown=cooldown)
    for steps in range(2, 400):
        progress, begun = Progress(per_step=1 / steps), []
        for step in range(steps):
            progress.done += progress.per_step
            if begins_cooldown(recipe, progress):
                begun.append(step + 1)
        [step] = begun
        assert -1e-6 < step - steps * (1 - cooldown) < 1


def test_a_run_whose_last_weights_were_not_written_writes_them(
    data, tmp_path, small_recipe, monkeypatch
):
    def fail(*_arguments, **_options):
        raise OSError("the disk is full")

    recipe = small_recipe()
    with monkeypatch.context() as full, pytest.raises(OSError, match="full"):
        full.setattr("cscsr.training.run.export", fail)
        train(recipe, data, tmp_path, steps=2, bf16=False)
    path = train(recipe, data, tmp_path, steps=2, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 2


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


@pytest.mark.slow
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
    assert trained["start"]["trained"]["steps"] == 6


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


def _interrupted(recipe, data, out, monkeypatch, *, after, **budget):
    """Leave a run in a folder that SIGINT ended after some steps."""
    step = Trainer.step

    def interrupted(trainer):
        if trainer.progress.step == after - 1:
            signal.raise_signal(signal.SIGINT)
        return step(trainer)

    with monkeypatch.context() as signals, pytest.raises(KeyboardInterrupt):
        signals.setattr(Trainer, "step", interrupted)
        train(recipe, data, out, bf16=False, **budget)


@pytest.mark.parametrize(
    "results", [["weights.safetensors"], ["curve.csv"], ["stable.safetensors"]]
)
@pytest.mark.parametrize("resume", [False, True])
def test_results_without_their_checkpoint_are_not_overwritten(
    tmp_path, small_recipe, results, resume
):
    for name in results:
        (tmp_path / name).write_text("of a run")
    with pytest.raises(InputError, match=r"whose checkpoint\.pt is missing.*another --out"):
        train(small_recipe(), tmp_path / "no data is read", tmp_path, steps=2, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == results
    assert all((tmp_path / name).read_text() == "of a run" for name in results)


@pytest.mark.parametrize("steps", [6, 12])
def test_steps_are_those_of_the_whole_run(tmp_path, data, small_recipe, monkeypatch, steps):
    """From where a run of 8 steps was stopped, the rate falls to zero at another last step."""
    recipe = small_recipe(warmup=0.0)
    _interrupted(recipe, data, tmp_path, monkeypatch, after=4, steps=8)
    path = train(recipe, data, tmp_path, steps=steps, bf16=False, resume=True, evaluate_every=1e-9)
    assert weights.load(path)[1]["trained"]["steps"] == steps
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(5, steps + 1))
    left = steps - 4
    expected = [0.5 + 0.5 * (k + 1) / left for k in range(left)]
    assert [float(row["done"]) for row in rows] == pytest.approx(expected, abs=1e-5)
    assert float(rows[-1]["learning_rate"]) < 1e-9


def test_a_run_with_fewer_steps_than_are_made_writes_its_weights_and_can_go_on(
    tmp_path, data, small_recipe, monkeypatch, capsys
):
    recipe, out = small_recipe(), tmp_path / "out"
    whole = train(recipe, data, tmp_path / "whole", steps=8, bf16=False)
    _interrupted(recipe, data, out, monkeypatch, after=4, steps=8)
    assert not (out / "weights.safetensors").exists()
    for _ in range(2):
        capsys.readouterr()
        path = train(recipe, data, out, steps=3, bf16=False, resume=True)
        assert "the run has made 4 of 3 steps already" in capsys.readouterr().err
        assert weights.load(path)[1]["trained"]["steps"] == 4
        with (out / "curve.csv").open() as file:
            assert [row["step"] for row in csv.DictReader(file)] == ["4"]
    train(recipe, data, out, steps=8, bf16=False, resume=True)
    for key, value in weights.load(whole)[0].items():
        np.testing.assert_array_equal(weights.load(path)[0][key], value)


def test_a_run_of_fewer_minutes_than_are_spent_keeps_its_weights_and_can_go_on(
    tmp_path, data, small_recipe, monkeypatch, capsys
):
    recipe = small_recipe()
    _interrupted(recipe, data, tmp_path, monkeypatch, after=4, minutes=100)
    before = checkpoints.read(tmp_path / "checkpoint.pt")
    spent = before["progress"]["seconds"] / 60
    for _ in range(2):
        capsys.readouterr()
        path = train(recipe, data, tmp_path, minutes=spent, bf16=False, resume=True)
        assert f"has trained for {spent:.2f} of {spent:g} minutes" in capsys.readouterr().err
        assert weights.load(path)[1]["trained"]["steps"] == 4
        after = checkpoints.read(tmp_path / "checkpoint.pt")
        assert after["progress"] == before["progress"]
        for key, value in before["network"].items():
            assert torch.equal(after["network"][key], value)
    path = train(recipe, data, tmp_path, minutes=spent + 1e-9, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 5


@pytest.mark.parametrize("other", [{}, {"steps": 3}, {"minutes": 1e-9}])
def test_a_resumed_run_keeps_its_steps_unless_it_gets_others(
    tmp_path, data, small_recipe, monkeypatch, other
):
    """Others that are spent already change nothing."""
    recipe = replace(small_recipe(), steps=20)
    whole = train(recipe, data, tmp_path / "whole", steps=8, bf16=False)
    out = tmp_path / "out"
    _interrupted(recipe, data, out, monkeypatch, after=4, steps=8)
    if other:
        train(recipe, data, out, bf16=False, resume=True, **other)
    path = train(recipe, data, out, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 8
    for key, value in weights.load(whole)[0].items():
        np.testing.assert_array_equal(weights.load(path)[0][key], value)


def test_a_resumed_run_keeps_its_minutes(tmp_path, data, small_recipe, monkeypatch):
    """From Python, and by the command, whose default is ten."""
    recipe = small_recipe()
    file = tmp_path / "tiny.toml"
    file.write_text(
        'architecture = "crnet-a"\nsets = ["T91"]\nscales = [2, 3]\n'
        "[network]\nn0 = 8\nm0 = 8\nrecursions = 2\n"
        "[optimiser]\nbatch = 6\npatch = 16\nlearning_rate = 2e-3\nwarmup = 0.1\nema = 0.9\n"
    )
    for number, resume in enumerate(
        (
            lambda out: train(recipe, data, out, bf16=False, resume=True),
            lambda out: main(
                ["train", str(file), "--data", str(data), "--out", str(out), "--resume"]
            ),
        )
    ):
        out = tmp_path / str(number)
        _interrupted(recipe, data, out, monkeypatch, after=2, minutes=0.01)
        assert checkpoints.read(out / "checkpoint.pt")["budget"] == {"minutes": 0.01, "steps": None}
        resume(out)
        state = checkpoints.read(out / "checkpoint.pt")
        assert state["progress"]["done"] == 1.0
        assert state["progress"]["step"] > 2
        assert state["progress"]["seconds"] < 5


def test_a_checkpoint_without_a_budget_goes_on_with_one(
    tmp_path, data, small_recipe, monkeypatch, capsys
):
    recipe = small_recipe()
    _interrupted(recipe, data, tmp_path, monkeypatch, after=2, steps=4)
    _spoil(tmp_path / "checkpoint.pt", lambda state: state.pop("budget"))
    with pytest.raises(InputError, match=r"checkpoint\.pt: it states no budget .* --minutes or"):
        train(recipe, data, tmp_path, bf16=False, resume=True)
    path = train(recipe, data, tmp_path, steps=4, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 4
    _spoil(tmp_path / "checkpoint.pt", lambda state: state.pop("budget"))
    capsys.readouterr()
    train(recipe, data, tmp_path, bf16=False, resume=True)
    assert "the run is done after 4 steps" in capsys.readouterr().err


def test_a_checkpoint_without_a_budget_goes_on_with_the_steps_of_its_recipe(
    tmp_path, data, small_recipe, monkeypatch
):
    recipe = replace(small_recipe(), steps=4)
    _interrupted(recipe, data, tmp_path, monkeypatch, after=2)
    _spoil(tmp_path / "checkpoint.pt", lambda state: state.pop("budget"))
    path = train(replace(recipe, name="renamed"), data, tmp_path, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 4


def test_a_folder_without_a_checkpoint_begins_a_run_of_the_recipes_steps(
    tmp_path, data, small_recipe
):
    recipe = replace(small_recipe(), steps=2)
    path = train(recipe, data, tmp_path, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 2


def test_a_run_interrupted_with_all_its_steps_made_is_done_by_its_budget(
    tmp_path, data, small_recipe, monkeypatch, capsys
):
    recipe = small_recipe()
    _interrupted(recipe, data, tmp_path, monkeypatch, after=3, steps=9)
    train(recipe, data, tmp_path, bf16=False, resume=True, steps=3)
    assert "the run has made 3 of 3 steps already" in capsys.readouterr().err


def test_a_resumed_run_goes_on_with_the_last_budget_it_had(
    tmp_path, data, small_recipe, monkeypatch
):
    recipe = small_recipe()
    _interrupted(recipe, data, tmp_path, monkeypatch, after=2, steps=9)
    _interrupted(recipe, data, tmp_path, monkeypatch, after=3, steps=5, resume=True)
    path = train(recipe, data, tmp_path, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 5


def test_a_run_that_is_done_says_so(tmp_path, data, small_recipe, capsys):
    recipe = small_recipe()
    path = train(recipe, data, tmp_path, steps=2, bf16=False)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for budget in ({"steps": 2}, {"steps": 9}, {"minutes": 1}):
        capsys.readouterr()
        assert train(recipe, data, tmp_path, bf16=False, resume=True, **budget) == path
        said = capsys.readouterr().err
        assert "the run is done after 2 steps" in said and "--init" in said
        assert "PSNR on held-out images after 2 steps" in said
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    path.unlink()
    train(recipe, data, tmp_path, steps=2, bf16=False, resume=True)
    assert weights.load(path)[1]["trained"]["steps"] == 2


def test_a_resumed_run_has_no_other_seed_and_no_other_start(tmp_path, data, small_recipe):
    """Both are refused before the images are read; the command that began the run goes on."""
    recipe, out = small_recipe(), tmp_path / "out"
    first, other = (
        train(recipe, data, tmp_path / str(steps), steps=steps, bf16=False) for steps in (1, 2)
    )
    begun = {"steps": 2, "bf16": False, "seed": 7, "init": first}
    train(recipe, data, out, **begun)
    empty = tmp_path / "no data is read"
    with pytest.raises(InputError, match="the run has the seed 7, not 0: leave out --seed"):
        train(recipe, empty, out, resume=True, **{**begun, "seed": 0})
    with pytest.raises(InputError, match=r"did not start from the weights .*: leave out --init"):
        train(recipe, empty, out, resume=True, **{**begun, "init": other})
    with pytest.raises(InputError, match="did not start from the weights"):
        train(recipe, empty, first.parent, steps=1, resume=True, init=other)
    train(recipe, data, out, resume=True, **begun)


def test_the_start_of_a_resumed_run_is_told_by_its_tensors(tmp_path, data, small_recipe):
    """Not by its metadata, which weights of other authors lack, nor by its place."""
    recipe, out = small_recipe(), tmp_path / "out"
    tensors, metadata = weights.load(train(recipe, data, tmp_path / "a", steps=1, bf16=False))
    of_others = {key: metadata[key] for key in ("architecture", "network", "scales", "line")}
    first, same, other = (tmp_path / f"{name}.safetensors" for name in ("first", "same", "other"))
    for path, factor in ((first, 1.0), (same, 1.0), (other, 0.9)):
        scaled = {key: tensor * np.float32(factor) for key, tensor in tensors.items()}
        weights.write(path, scaled, of_others)
    begun = {"steps": 2, "bf16": False, "resume": True}
    path = train(recipe, data, out, init=first, **begun)
    assert weights.load(path)[1]["trained"]["start"]["sha256"] == weights.sha256(first)
    train(recipe, data, out, init=same, **begun)
    empty = tmp_path / "no data is read"
    with pytest.raises(InputError, match="did not start from the weights"):
        train(recipe, empty, out, init=other, **begun)
    with pytest.raises(InputError, match="did not start from the weights"):
        train(recipe, empty, tmp_path / "a", init=first, **begun)
    train(recipe, data, out, **begun)


def test_the_start_in_a_checkpoint_of_an_earlier_release_is_told_by_its_training(
    tmp_path, data, small_recipe
):
    recipe, out = small_recipe(), tmp_path / "out"
    first, other = (
        train(recipe, data, tmp_path / str(steps), steps=steps, bf16=False) for steps in (1, 2)
    )
    begun = {"steps": 2, "bf16": False, "resume": True}
    train(recipe, data, out, init=first, **begun)
    _spoil(out / "checkpoint.pt", lambda state: state.update(start=state["start"]["trained"]))
    train(recipe, data, out, init=first, **begun)
    with pytest.raises(InputError, match=r"did not start from the weights .*: leave out --init"):
        train(recipe, tmp_path / "no data is read", out, init=other, **begun)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"init": "nosuch"}, "unknown weights 'nosuch'"),
        ({"init": "crnet-b-small"}, "does not hold the network"),
        ({"watch": "nosuch"}, "unknown data set 'nosuch'"),
    ],
)
def test_bad_options_are_refused_before_the_images_are_read(
    tmp_path, data, small_recipe, capsys, options, reason
):
    with pytest.raises(InputError, match=reason):
        train(small_recipe(), data, tmp_path / "out", steps=1, **options)
    assert "reading" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_ignored_signal_stays_ignored(tmp_path, data, monkeypatch, small_recipe):
    """A shell starts background jobs so that the Ctrl-C of another command does not end them."""
    step = Trainer.step

    def interrupted(trainer):
        signal.raise_signal(signal.SIGINT)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", interrupted)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(small_recipe(), data, tmp_path, steps=2, bf16=False)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)


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


@pytest.mark.slow
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
    with pytest.raises(InputError, match="needs a positive budget, got 0 steps"):
        train(small_recipe(), data, tmp_path / "run", steps=0)


def test_two_trainings_do_not_share_a_folder(tmp_path, data, small_recipe):
    """The second one is refused before it reads anything, and the first one ends as if alone."""
    recipe = small_recipe()
    alone = train(recipe, data, tmp_path / "alone", steps=3, bf16=False)
    out = tmp_path / "shared"
    with folder_lock(out, "trains"), pytest.raises(InputError, match=r"trains in .*shared"):
        train(recipe, tmp_path / "no data is read", out, steps=3, bf16=False)
    path = train(recipe, data, out, steps=3, bf16=False)
    for key, value in weights.load(alone)[0].items():
        np.testing.assert_array_equal(weights.load(path)[0][key], value)
    names = {"checkpoint.pt", "curve.csv", "weights.safetensors"}
    assert {file.name for file in out.iterdir()} == names


def _spoil(path, change):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("average"), "lacks the key average"),
        (lambda s: s.update(recipe=3), "recipe should be a table, got 3"),
        (lambda s: s.update(network=[]), "network should hold .'F0"),
        (lambda s: s["network"].pop("F0.bias"), "network should hold .'F0"),
        (lambda s: s["network"]["F0.bias"].fill_(math.nan), "network.F0.bias holds a number"),
        (lambda s: s["average"]["F0.bias"].fill_(math.inf), "average.F0.bias holds a number"),
        (lambda s: s["average"].update({"F0.bias": torch.ones(9)}), "average.F0.bias should have"),
        (lambda s: s["network"].update({"F0.bias": 3}), "network.F0.bias should be a tensor"),
        (lambda s: s.update(progress=None), "progress should be a table"),
        (lambda s: s["progress"].update(step=-1), "step should be at least 0, got -1"),
        (lambda s: s["progress"].update(step="1"), "step should be a whole number"),
        (lambda s: s["progress"].update(done=2.0), r"done should be in \[0, 1\], got 2.0"),
        (lambda s: s["progress"].update(seconds=math.nan), "seconds should be at least 0"),
        (lambda s: s["progress"].update(more=1), "unknown key of progress 'more'"),
        (lambda s: s.update(budget=3), "budget should be a table"),
        (lambda s: s["budget"].update(minutes=1), "either minutes or steps, not both"),
        (lambda s: s["budget"].update(steps=-1), "positive budget, got -1 steps"),
        (lambda s: s.update(seed="0"), "seed should be a whole number"),
        (lambda s: s.update(bf16=None), "bf16 should be true or false"),
        (lambda s: s.update(start=[]), "start should be a table"),
        (lambda s: s.update(losses="none"), "losses should be a list"),
        (lambda s: s.update(losses=[math.nan]), "losses holds a number"),
        (lambda s: s.update(generator=3), "generator should be a random state"),
        (lambda s: s.update(generator=torch.ones(3)), "generator should be a random state"),
        (lambda s: s["generator"].fill_(255), "generator should be a random state"),
        (lambda s: s.update(optimisers=[]), "optimisers should be a list of 1"),
        (lambda s: s["optimisers"][0].pop("state"), "optimisers should hold a state"),
        (lambda s: s["optimisers"][0]["state"].update({99: {}}), "optimisers should hold a state"),
        (lambda s: s["optimisers"][0]["state"][0].pop("step"), "optimisers.0 should hold"),
        (
            lambda s: s["optimisers"][0]["state"][0].update(exp_avg=torch.ones(2)),
            "optimisers.0.exp_avg should have the shape",
        ),
        (
            lambda s: s["optimisers"][0]["state"][0]["exp_avg"].fill_(math.nan),
            "optimisers.0.exp_avg holds a number",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_its_fault(
    tmp_path, data, small_recipe, change, reason
):
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=2, bf16=False)
    _spoil(tmp_path / "checkpoint.pt", change)
    with pytest.raises(InputError, match=reason) as raised:
        train(recipe, data, tmp_path, steps=2, bf16=False, resume=True)
    assert "checkpoint.pt" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["adam", "sgd", "muon"])
def test_settings_of_the_optimiser_come_from_the_recipe_alone(tmp_path, data, small_recipe, method):
    """Whatever a checkpoint says of them; and a run goes on bit for bit all the same."""
    recipe = small_recipe(method=method)
    recipe.network.update(n0=16, m0=16)
    banks = load_banks(recipe, data)
    whole = Trainer(recipe, banks, bf16=False)
    whole.progress.per_step = 0.1
    for _ in range(2):
        whole.step()
    checkpoints.write(tmp_path / "x.pt", whole.state())
    losses = [whole.step() for _ in range(2)]
    state = checkpoints.read(tmp_path / "x.pt")
    for optimiser in state["optimisers"]:
        for group in optimiser["param_groups"]:
            group.update({key: "spoilt" for key in group if key != "params"})
    again = Trainer(recipe, banks, bf16=False, seed=8)
    again.restore(state)
    assert [again.step() for _ in range(2)] == losses


def test_a_checkpoint_that_was_cut_short_is_refused(tmp_path, data, small_recipe, capsys):
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=1, bf16=False)
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"checkpoint\.pt should be a checkpoint but cannot"):
        train(recipe, data, tmp_path, steps=1, bf16=False, resume=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "is no CSV file"),
        (b"a,b\n1,2\n", "first column is not step"),
        (b"\n\n", "first column is not step"),
        (b"step,seconds\none,2\n", "line 2 is not like its first one"),
        (b"step,seconds\n-1,2\n", "line 2 is not like its first one"),
        (b"step,seconds\n1\n2,3\n", "line 2 is not like its first one"),
        (b"step,seconds\n" + b"9" * 5000 + b",2\n", "line 2 is not like its first one"),
    ],
)
def test_a_broken_curve_is_refused(tmp_path, data, small_recipe, content, reason):
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=1, bf16=False)
    (tmp_path / "curve.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"curve\.csv should be .* {reason}.*move it away"):
        train(recipe, data, tmp_path, steps=1, bf16=False, resume=True)
    (tmp_path / "curve.csv").unlink()
    (tmp_path / "curve.csv").mkdir()
    with pytest.raises(InputError, match=r"curve\.csv cannot be read: Is a directory"):
        train(recipe, data, tmp_path, steps=1, bf16=False, resume=True)


def test_a_curve_takes_up_a_set_that_is_watched_later(tmp_path, data, small_recipe):
    recipe, curve = small_recipe(), tmp_path / "curve.csv"
    train(recipe, data, tmp_path, steps=2, bf16=False)
    _spoil(tmp_path / "checkpoint.pt", lambda state: state["progress"].update(done=0.5))
    train(recipe, data, tmp_path, steps=4, bf16=False, resume=True, watch="demo")
    with curve.open() as file:
        before, after = csv.DictReader(file)
    assert (before["step"], before["demo_psnr_db_x2"]) == ("2", "")
    assert (after["step"], float(after["demo_psnr_db_x2"]) > 15) == ("4", True)
    assert float(before["holdout_psnr_db_x3"]) > 0


def test_the_first_line_says_what_bicubic_reaches(tmp_path, data, small_recipe, capsys):
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=1, bf16=False)
    lines = [line.split("\r")[-1] for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if "before training" in line]
    truth = read_image(data / "T91" / "astronaut.png")  # the one image that is held out
    for scale in recipe.scales:
        small = degrade(truth, scale, "y")
        expected = score(imresize(small, scale), truth, scale, "y")["psnr"]
        assert f"(bicubic {expected:.2f})" in line.split(f"x{scale} ")[1]
    assert any("reading and degrading images: 100%" in line for line in lines)


def test_what_a_power_cut_must_not_take_is_flushed_before_it_is_renamed(
    tmp_path, data, small_recipe, monkeypatch
):
    flushed, fsync = set(), os.fsync

    def noted(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    train(small_recipe(schedule="wsd", cooldown=0.5), data, tmp_path, steps=2, bf16=False)
    files = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert {"checkpoint.pt", "curve.csv", "weights.safetensors", "stable.safetensors"} == set(files)
    assert set(files.values()) <= flushed


STOPPED = """
import os, signal, sys
from cscsr.training.recipe import load_recipe
from cscsr.training.run import train
from cscsr.training.trainer import Trainer

loss, budget = Trainer.loss, sys.argv[4]

def stopping(trainer, batch):
    if trainer.progress.step == 4 and trainer.network.training:
        os.kill(os.getpid(), signal.SIGSTOP)
    return loss(trainer, batch)

Trainer.loss = stopping
limit = {"steps": 12} if budget == "steps" else {"minutes": float(budget)}
train(load_recipe(sys.argv[1]), sys.argv[2], sys.argv[3], bf16=False, evaluate_every=1e-9, **limit)
"""
"""Trains, and stops itself in the middle of the fifth step."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process as Unix does")
@pytest.mark.parametrize("budget", ["steps", "0.04"])
def test_time_in_which_the_process_was_stopped_does_not_count(tmp_path, data, budget):
    """A process that is stopped for longer than its whole budget goes on as planned."""
    recipe = tmp_path / "stopped.toml"
    recipe.write_text(
        'architecture = "crnet-a"\nsets = ["T91"]\nscales = [2, 3]\n'
        "[network]\nn0 = 8\nm0 = 8\nrecursions = 2\n"
        "[optimiser]\nbatch = 4\npatch = 16\nlearning_rate = 1e-3\n"
    )
    arguments = [sys.executable, "-c", STOPPED, str(recipe), str(data), str(tmp_path), budget]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    stopped = 4.0
    time.sleep(stopped)
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    seconds = [0.0, *(float(row["seconds"]) for row in rows)]
    assert max(b - a for a, b in itertools.pairwise(seconds)) < stopped / 2
    if budget == "steps":
        assert len(rows) == 12
    else:
        assert len(rows) > 8, "the plan did not end with the stop"
        assert seconds[-1] < 2 * 60 * float(budget)


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


def test_the_bar_is_closed_before_an_error_is_reported(tmp_path, data, small_recipe, capsys):
    """Else the sentence would stand on the line of the bar."""
    path = train(small_recipe(), data, tmp_path / "out", steps=2, bf16=False)
    _spoil(tmp_path / "out" / "checkpoint.pt", lambda state: state["progress"].update(done=0.5))
    path.unlink()
    path.mkdir()
    capsys.readouterr()
    try:
        train(small_recipe(), data, tmp_path / "out", steps=4, bf16=False, resume=True)
    except InputError:  # as the command does, which prints while the frames are alive
        assert capsys.readouterr().err.endswith("\n")
    else:
        pytest.fail("weights in place of a folder")
