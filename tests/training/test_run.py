"""The training loop: patches, resuming, stopping, and that it learns."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from cscsr import InputError, weights
from cscsr.data.datasets import demo, licence_of_weights, training_textures
from cscsr.imaging import crop_to_multiple, imresize, rgb_to_y, write_image
from cscsr.networks import build
from cscsr.training.patches import Partition, PatchBank, partition_counts, training_pair
from cscsr.training.recipe import Optimiser, Recipe, load_recipe, recipe_names
from cscsr.training.run import (
    NonFiniteLoss,
    Progress,
    Trainer,
    learning_rate,
    load_banks,
    train,
)
from cscsr.training.ship import publish


def small_recipe(architecture="crnet-a", line="y", **optimiser) -> Recipe:
    settings = {"batch": 6, "patch": 16, "learning_rate": 2e-3, "warmup": 0.1, "ema": 0.9}
    return Recipe(
        name="tiny",
        architecture=architecture,
        line=line,
        sets=["T91"],
        scales=[2, 3],
        optimiser=Optimiser(**{**settings, **optimiser}),
        network={"n0": 8, "m0": 8, "recursions": 2},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder laid out as the research images are, of embedded images."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "T91").mkdir()
    for name, image in list(training_textures().items())[:3]:
        write_image(folder / "T91" / f"{name}.png", image[:96, :96])
    for name, image in list(demo())[:2]:
        write_image(folder / "T91" / f"{name}.png", image[96:160, 96:160])
    (folder / "holdout.txt").write_text("T91/astronaut.png\n")
    (folder / "leaks.txt").write_text("T91/camera.png\tis a test image\n")
    return folder


def test_pairs_are_the_protocols_images():
    image = demo().images[0].read()[:61, :62]
    source, target = training_pair(image, 3, "rgb")
    truth = crop_to_multiple(image, 3)
    np.testing.assert_array_equal(target.transpose(1, 2, 0), truth)
    np.testing.assert_array_equal(source.transpose(1, 2, 0), imresize(truth, 1 / 3))
    source, target = training_pair(image, 3, "y")
    luma = rgb_to_y(truth)
    np.testing.assert_array_equal(target[0], luma)
    enlarged = imresize(imresize(luma.astype(float), 1 / 3), 3) / 255
    np.testing.assert_allclose(source[0], enlarged, atol=1e-6)


def test_patches_are_cut_where_input_and_target_agree():
    """Each target is its input enlarged by repetition, in whatever orientation."""
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 256, (3, h, w), dtype=np.uint8) for h, w in ((9, 14), (20, 8))]
    pairs = [(image, image.repeat(2, axis=1).repeat(2, axis=2)) for image in inputs]
    bank = PatchBank(pairs)
    source, target = bank.sample(64, 6, torch.Generator().manual_seed(0))
    assert source.shape == (64, 3, 6, 6)
    assert torch.equal(target, source.repeat_interleave(2, 2).repeat_interleave(2, 3))
    windows = {
        turned.tobytes()
        for image in inputs
        for top in range(image.shape[1] - 5)
        for left in range(image.shape[2] - 5)
        for flipped in (image[:, top : top + 6, left : left + 6],)
        for k in range(4)
        for turned in (np.rot90(flipped, k, (1, 2)), np.rot90(flipped[:, ::-1], k, (1, 2)))
    }
    found = [np.rint(patch.numpy() * 255).astype(np.uint8).tobytes() for patch in source]
    assert all(patch in windows for patch in found)


def test_all_eight_orientations_occur_equally():
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    bank = PatchBank([(image, image)])
    source, _ = bank.sample(4000, 3, torch.Generator().manual_seed(0))
    _, counts = torch.unique(source.flatten(1), dim=0, return_counts=True)
    assert len(counts) == 8
    assert (counts - 500).abs().max() < 110  # five standard deviations


def test_patches_larger_than_all_images_are_refused():
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    with pytest.raises(InputError, match="9x9"):
        PatchBank([(image, image)]).sample(1, 9, torch.Generator())
    with pytest.raises(InputError, match="at least one image"):
        PatchBank([])


def test_the_papers_training_pairs_are_1929728(shared_data):
    """Appendix A.4, counted from the sizes of the 291 images."""
    from PIL import Image

    recipe = load_recipe("crnet-a-paper")
    shapes = []
    for name in recipe.sets:
        for path in sorted((shared_data / name).iterdir()):
            with Image.open(path) as image:
                shapes.append(image.size[::-1])
    assert len(shapes) == 291
    sizes = []
    for shape in shapes:
        for size in recipe.sizes:
            shrunk = [math.ceil(n * Fraction(str(size))) for n in shape]
            sizes += [[n - n % scale for n in shrunk] for scale in recipe.scales]
    each, total = partition_counts(torch.tensor(sizes), recipe.optimiser.patch)
    assert 12 * int(each.sum()) == 1_929_744
    assert total == 1_929_728
    assert recipe.steps == 35 * (total // recipe.optimiser.batch)


def test_a_partition_goes_through_all_patches_of_the_turned_images_in_a_new_order():
    rng = np.random.default_rng(0)
    images = [rng.random((1, h, w), dtype=np.float32) for h, w in ((13, 15), (9, 11))]
    partition = Partition(PatchBank([(image, image) for image in images]), 3, seed=0)
    expected = Counter()
    for image in images:
        for flipped in (image, image[:, ::-1], image[:, :, ::-1]):
            for turns in range(4):
                turned = np.rot90(flipped, turns, (1, 2))
                for top in range(0, turned.shape[1] - 2, 3):
                    for left in range(0, turned.shape[2] - 2, 3):
                        expected[turned[:, top : top + 3, left : left + 3].tobytes()] += 1
    assert sum(expected.values()) == 348
    assert partition.total == 320
    epochs = []
    for epoch in range(2):
        found = []
        for step in range(10 * epoch, 10 * epoch + 10):
            source, target = partition.batch(step, 32)
            assert torch.equal(source, target)
            found += [patch.numpy().tobytes() for patch in source]
        assert not Counter(found) - expected
        epochs.append(found)
    assert epochs[0] != epochs[1]


def test_the_schedule_rises_then_falls_to_zero():
    recipe = small_recipe()
    rates = [learning_rate(recipe, done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(2e-3)
    assert np.argmax(rates) == 10
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(rates[10:]) < 0).all()


def test_a_rate_falls_in_steps():
    recipe = load_recipe("crnet-a-paper")
    epochs = np.array([0, 9.9, 10, 19.9, 20, 30, 34.9]) / 35
    rates = [learning_rate(recipe, done) for done in epochs]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-4, 1e-4])


def test_a_rate_stays_at_its_peak_until_the_cooldown():
    recipe = small_recipe(schedule="wsd", cooldown=0.25, warmup=0.1)
    done = np.linspace(0, 1, 101)
    rates = [learning_rate(recipe, d) for d in done]
    expected = 2e-3 * np.interp(done, [0, 0.1, 0.75, 1], [0, 1, 1, 0])
    np.testing.assert_allclose(rates, expected, atol=1e-15)


def test_a_later_run_can_go_on_from_before_the_cooldown(data, tmp_path):
    recipe = small_recipe(schedule="wsd", cooldown=0.4, warmup=0.0)
    train(recipe, data, tmp_path, steps=5, bf16=False)
    without_cooldown = Trainer(recipe, load_banks(recipe, data), bf16=False)
    without_cooldown.progress.per_step = 0.2
    for _ in range(3):
        without_cooldown.step()
    stable, _ = weights.load(tmp_path / "stable.safetensors")
    for name, tensor in without_cooldown.network.state_dict().items():
        np.testing.assert_allclose(stable[name], tensor.numpy(), rtol=1e-5, atol=1e-7)


def test_a_plan_is_kept_until_it_is_a_tenth_off():
    progress = Progress()
    progress.plan(pace=1.0, budget=100)
    assert progress.per_step == pytest.approx(0.01)
    progress.done, progress.seconds = 0.5, 52.0
    progress.plan(pace=1.0, budget=100)
    assert progress.per_step == pytest.approx(0.01), "a little late"
    progress.plan(pace=1.5, budget=100)
    assert (1 - progress.done) / progress.per_step * 1.5 == pytest.approx(48)
    progress.done, progress.seconds = 0.9, 101.0
    progress.plan(pace=1.0, budget=100)
    assert progress.per_step == pytest.approx(0.1), "one step more, and it ends"


@pytest.mark.parametrize("name", ["l1", "charbonnier", "mse", "squares"])
def test_losses_are_their_formulas(data, name):
    recipe = small_recipe(loss=name, balance=False)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    batch = trainer.batch()
    with torch.no_grad():
        errors = [trainer.network(x) - y for x, y in batch.values()]
    expected = {
        "l1": lambda e: e.abs().mean(),
        "charbonnier": lambda e: (e**2 + 1e-6).sqrt().mean(),
        "mse": lambda e: (e**2).mean(),
        "squares": lambda e: (e**2).sum((1, 2, 3)).mean() / 2,
    }[name]
    found = trainer.loss(batch).item()
    assert found == pytest.approx(float(sum(map(expected, errors)) / len(errors)), rel=1e-5)


def test_sgd_is_momentum_on_the_clipped_gradient_and_the_decay(data):
    settings = {"method": "sgd", "weight_decay": 0.1, "clip": 1e-6, "clip_by": "rate"}
    recipe = small_recipe(**settings, learning_rate=1e-3, schedule="step", warmup=0.0)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    weight = trainer.network.F1.weight
    expected, momentum = weight.detach().clone(), torch.zeros_like(weight)
    for _ in range(2):
        trainer.step()
        gradient = weight.grad + 0.1 * expected
        assert weight.grad.abs().max() <= 1e-3
        momentum = 0.9 * momentum + gradient
        expected -= 1e-3 * momentum
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_in_proportion_to_the_inverse_rate(data):
    recipe = small_recipe(loss="squares", clip=0.4, clip_by="rate", balance=False)
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.loss(trainer.batch()).backward()
    largest = max(p.grad.abs().max() for p in trainer.network.parameters())
    rate = 0.4 / largest.item() * 2
    norm = trainer._clip(rate)
    after = [p.grad for p in trainer.network.parameters()]
    assert max(g.abs().max() for g in after) == pytest.approx(largest.item() / 2, rel=1e-6)
    assert norm > torch.cat([g.flatten() for g in after]).norm()


def test_two_processes_make_the_steps_of_one(tmp_path, data):
    """`torchrun` with two processes and gloo ends at the weights of one process."""
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'architecture = "crnet-b"\nline = "rgb"\nsets = ["T91"]\nscales = [2, 3]\n'
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
    found, metadata = weights.load(tmp_path / "two" / "weights.safetensors")
    assert metadata["trained"]["steps"] == 3
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], atol=2e-5)
    with (tmp_path / "two" / "curve.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1, "one process writes"


def test_a_watched_set_stands_in_the_curve_and_changes_nothing(tmp_path, data):
    recipe = small_recipe()
    plain = train(recipe, data, tmp_path / "plain", steps=2, bf16=False)
    watched = train(recipe, data, tmp_path / "watched", steps=2, bf16=False, watch="demo")
    with (tmp_path / "watched" / "curve.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 15 < float(row["demo_psnr_db_x2"]) < 50
    for key, value in weights.load(plain)[0].items():
        np.testing.assert_array_equal(weights.load(watched)[0][key], value)


def test_recipes_that_come_with_the_package_build_their_networks():
    assert {"crnet-a-small", "crnet-b-small"} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.line == ("y" if recipe.architecture == "crnet-a" else "rgb")
        assert load_recipe(name) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_trains_when_made_small(data, name):
    """A rehearsal of the runs that wait for a GPU: all of the recipe but its width and data,
    K = 25 with it, at its first learning rates."""
    recipe = load_recipe(name)
    recipe = replace(
        recipe,
        sets=["T91"],
        network={**recipe.network, "n0": 8, "m0": 16},
        optimiser=replace(recipe.optimiser, batch=6, patch=16),
    )
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.progress.per_step = 1e-3
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    losses = [trainer.step() for _ in range(24)]
    assert max(losses[12:]) < 3 * max(losses[:6]), "it does not run away"
    assert any(not torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


def test_bad_recipes_and_budgets_are_refused(tmp_path, data):
    with pytest.raises(InputError, match="crnet-a-small"):
        load_recipe("crnet-a-smal")
    (tmp_path / "bad.toml").write_text("architecture = ")
    with pytest.raises(InputError, match="TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "keys.toml").write_text("[optimiser]\nspeed = 3\n")
    with pytest.raises(InputError, match="speed"):
        load_recipe(tmp_path / "keys.toml")
    for budget in ({}, {"minutes": 1, "steps": 2}, {"steps": 0}, {"minutes": -1}):
        with pytest.raises(InputError, match=r"budget|either"):
            train(small_recipe(), data, tmp_path / "run", **budget)


def test_held_out_and_leaked_images_are_not_trained_on(data):
    banks = load_banks(small_recipe(), data)
    assert len(banks[2].sizes) == 3


@pytest.mark.parametrize(("architecture", "line"), [("crnet-a", "y"), ("crnet-b", "rgb")])
def test_a_run_leaves_weights_a_curve_and_a_checkpoint(tmp_path, data, architecture, line):
    recipe = small_recipe(architecture, line)
    path = train(recipe, data, tmp_path, steps=4, bf16=False, evaluate_every=1e-9)
    _, metadata = weights.load(path)
    assert metadata["scales"] == [2, 3]
    assert metadata["trained"]["steps"] == 4
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert all(math.isfinite(float(row["holdout_psnr_db_x3"])) for row in rows)
    assert float(rows[-1]["learning_rate"]) < 1e-9
    with pytest.raises(InputError, match="--resume"):
        train(recipe, data, tmp_path, steps=4, bf16=False)


def test_a_run_from_weights_starts_where_they_are(tmp_path, data):
    recipe = small_recipe()
    path = train(recipe, data, tmp_path / "first", steps=3, bf16=False)
    again = Trainer(recipe, load_banks(recipe, data), bf16=False, seed=9, init=path)
    for key, value in weights.load(path)[0].items():
        np.testing.assert_array_equal(again.network.state_dict()[key], value)
    assert again.start["steps"] == 3
    with pytest.raises(InputError, match="does not hold the network"):
        Trainer(small_recipe("crnet-b", "rgb"), load_banks(recipe, data), init=path)


def test_a_resumed_run_gives_the_same_losses_bit_for_bit(data):
    recipe, banks = small_recipe(), load_banks(small_recipe(), data)
    whole = Trainer(recipe, banks, bf16=False)
    whole.progress.per_step = 0.1
    losses = [whole.step() for _ in range(3)]
    checkpoint = _through_a_file(whole.state())
    losses += [whole.step() for _ in range(4)]
    resumed = Trainer(recipe, banks, bf16=False, seed=5)
    resumed.restore(checkpoint)
    assert [resumed.step() for _ in range(4)] == losses[3:]
    for key, value in whole.average.items():
        assert torch.equal(value, resumed.average[key])


def _through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_checkpoint_of_another_kind_of_device_goes_on_with_other_patches(data):
    """A GPU's generator has a state of 16 bytes, which one of a CPU cannot take."""
    recipe = small_recipe()
    banks = load_banks(recipe, data)
    first = Trainer(recipe, banks, bf16=False, seed=3)
    first.progress.per_step = 0.1
    first.step()
    state = {**first.state(), "generator": torch.zeros(16, dtype=torch.uint8)}
    again = [Trainer(recipe, banks, bf16=False) for _ in range(2)]
    for trainer in again:
        trainer.restore(state)
        assert (trainer.seed, trainer.progress.step) == (3, 1)
    assert again[0].step() == again[1].step()


def test_a_checkpoint_of_another_recipe_is_refused(data):
    banks = load_banks(small_recipe(), data)
    state = Trainer(small_recipe(), banks).state()
    with pytest.raises(InputError, match="another recipe"):
        Trainer(small_recipe(learning_rate=1e-4), banks).restore(state)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_network(data):
    recipe = small_recipe()
    trainer = Trainer(recipe, load_banks(recipe, data), bf16=False)
    trainer.banks[2]._inputs[:] = math.nan
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    with pytest.raises(NonFiniteLoss):
        trainer.step()
    for key, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[key])


def test_one_patch_can_be_learned_by_heart():
    """A network that is trained right fits one 16x16 patch to more than 45 dB."""
    image = demo().images[0].read()[100:116, 100:116]
    recipe = small_recipe(batch=2, learning_rate=5e-3, ema=0.5)
    recipe.network.update(n0=24, m0=32)
    banks = {2: PatchBank([training_pair(image, 2, "y")])}
    trainer = Trainer(recipe, banks, bf16=False)
    trainer.progress.per_step = 1 / 900
    loss = 0.0
    for _ in range(900):
        loss = trainer.step()
    source, target = banks[2].sample(8, 16, torch.Generator().manual_seed(3))
    with trainer.averaged() as network, torch.no_grad():
        error = (network(source) - target).square().mean().item()
    assert loss < 0.01
    assert -10 * math.log10(error) > 45


def test_publishing_writes_card_and_manifest_and_refuses_worse_weights(tmp_path, data, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    good, bad = small_recipe(learning_rate=1e-3), small_recipe(learning_rate=0.5)
    train(good, data, tmp_path / "good", steps=40, bf16=False)
    train(bad, data, tmp_path / "bad", steps=3, bf16=False)
    path = publish(tmp_path / "good", "crnet-a-tiny", data)
    _, metadata = weights.load("crnet-a-tiny")
    assert metadata["holdout_psnr_db"].keys() == {"2", "3"}
    card = (tmp_path / "crnet-a-tiny.md").read_text()
    assert "3 images of T91" in card
    assert licence_of_weights(["T91"]) in card
    assert f"{metadata['holdout_psnr_db']['2']:.2f}" in card
    digest = weights.sha256(path)
    with pytest.raises(InputError, match="better on the held-out images"):
        publish(tmp_path / "bad", "crnet-a-tiny", data)
    assert weights.sha256(path) == digest
    publish(tmp_path / "bad", "crnet-a-tiny", data, replace=True)
    assert weights.load("crnet-a-tiny")[1]["trained"]["steps"] == 3


def test_an_interrupted_run_goes_on_with_resume_and_minutes_end_in_time(tmp_path, data):
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


RUN = """
import sys
from cscsr.training.run import train
from cscsr.training.recipe import load_recipe

train(load_recipe(sys.argv[1]), sys.argv[2], sys.argv[3], steps=60, bf16=False,
      evaluate_every=1e-9, resume=True)
"""
"""Trains with an evaluation after every step, from the checkpoint where there is one."""


def test_a_killed_process_goes_on_to_the_same_curve_bit_for_bit(tmp_path, data):
    recipe = tmp_path / "killed.toml"
    recipe.write_text(
        'architecture = "crnet-a"\nline = "y"\nsets = ["T91"]\nscales = [2, 3]\n'
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
    whole, found = (weights.load(path)[0] for path in paths)
    for key, value in whole.items():
        np.testing.assert_array_equal(found[key], value)


def test_an_interrupt_leaves_a_checkpoint_and_the_whole_curve(tmp_path, data, monkeypatch):
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


def test_rows_from_after_the_checkpoint_are_made_again(tmp_path, data):
    """A run may be killed between the row of an evaluation and its checkpoint."""
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=2, bf16=False, evaluate_every=1e-9)
    curve = tmp_path / "curve.csv"
    whole = curve.read_text()
    curve.write_text(whole + whole.splitlines()[-1].replace("2,", "3,", 1) + "\n4,0.")
    train(recipe, data, tmp_path, steps=2, bf16=False, resume=True)
    assert curve.read_text().split() == whole.split()


@pytest.mark.parametrize("bf16", [False, True])
def test_a_resumed_run_keeps_its_precision_and_its_seed(tmp_path, data, bf16):
    recipe = small_recipe()
    train(recipe, data, tmp_path, steps=2, bf16=bf16, seed=7)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["progress"]["done"] = 0.5
    torch.save(state, tmp_path / "checkpoint.pt")
    path = train(recipe, data, tmp_path, steps=4, resume=True)
    trained = weights.load(path)[1]["trained"]
    assert (trained["steps"], trained["bf16"], trained["seed"]) == (4, bf16, 7)


def test_a_resumed_partition_keeps_its_order(data):
    recipe = replace(small_recipe(), sampling="partition")
    banks = load_banks(recipe, data)
    first = Trainer(recipe, banks, bf16=False, seed=3)
    again = Trainer(recipe, banks, bf16=False, seed=0)
    again.restore(first.state())
    assert torch.equal(again.batch()[0][0], first.batch()[0][0])


def test_weights_that_are_not_finite_stop_the_run_and_keep_the_checkpoint(tmp_path, data):
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


def test_unknown_networks_and_arguments_are_refused():
    with pytest.raises(InputError, match="crnet-a"):
        build("crnet-c")
    with pytest.raises(InputError, match="no argument recursion"):
        build("crnet-a", recursion=3, scales=[2])


def test_an_output_folder_that_is_a_file_is_refused_before_any_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="cannot write into the folder"):
        train(small_recipe(), tmp_path / "no data is read", file, steps=1)
