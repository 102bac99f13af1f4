"""Weights are shipped with card and manifest, and only if they are better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cscsr import InputError, weights
from cscsr.data.datasets import licence_of_weights
from cscsr.published_weights import PUBLISHED
from cscsr.training import ship
from cscsr.training.recipe import load_recipe
from cscsr.training.run import train
from cscsr.training.ship import card, publish


def test_a_network_below_bicubic_is_not_shipped(tmp_path, data, monkeypatch, small_recipe):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    train(small_recipe(learning_rate=0.5), data, tmp_path / "bad", steps=3, bf16=False)
    before = {path.name for path in tmp_path.iterdir()}
    for replaced in (False, True):
        with pytest.raises(InputError, match="bicubic interpolation is better"):
            publish(tmp_path / "bad", "nosuch", data, replace=replaced)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_publishing_writes_card_and_manifest_and_refuses_worse_weights(
    tmp_path, data, monkeypatch, small_recipe
):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    recipe = small_recipe(learning_rate=1e-3)
    train(recipe, data, tmp_path / "good", steps=40, bf16=False)
    train(recipe, data, tmp_path / "worse", steps=20, bf16=False)
    path = publish(tmp_path / "good", "crnet-a-tiny", data)
    _, metadata = weights.load("crnet-a-tiny")
    assert metadata["holdout_psnr_db"].keys() == {"2", "3"}
    card = (tmp_path / "crnet-a-tiny.md").read_text()
    assert "3 images of T91" in card
    assert licence_of_weights(["T91"]) in card
    assert f"{metadata['holdout_psnr_db']['2']:.2f}" in card
    digest = weights.sha256(path)
    with pytest.raises(InputError, match="better on the held-out images"):
        publish(tmp_path / "worse", "crnet-a-tiny", data)
    assert weights.sha256(path) == digest
    publish(tmp_path / "worse", "crnet-a-tiny", data, replace=True)
    assert weights.load("crnet-a-tiny")[1]["trained"]["steps"] == 20
    publish(tmp_path / "good", "crnet-a-half", data, half=True)
    half, whole = (
        weights.load(name)[0]
        for name in ("crnet-a-half", tmp_path / "good" / "weights.safetensors")
    )
    assert {tensor.dtype.name for tensor in half.values()} == {"float16"}
    for name, tensor in whole.items():
        assert np.abs(half[name] - tensor).max() <= np.abs(tensor).max() * 2.0**-11
    assert "--half" in (tmp_path / "crnet-a-half.md").read_text()


def test_weights_are_compared_on_the_scales_of_the_shipped_ones(
    tmp_path, data, monkeypatch, small_recipe
):
    """At x2 all networks reach more than at x3, so a mean without x3 says nothing."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    scores = {"both": {2: 33.0, 3: 29.0}, "doubling": {2: 32.0}, "three": {2: 32.9, 3: 29.05, 4: 9}}
    recipe = small_recipe()
    for run, psnr in scores.items():
        train(replace(recipe, scales=list(psnr)), data, tmp_path / run, steps=1, bf16=False)

    def ship_run(run, **options):
        psnr = scores[run]
        monkeypatch.setattr(
            ship,
            "holdout_psnr",
            lambda solver, *_: psnr if solver.name == "tiny" else dict.fromkeys(psnr, 0.0),
        )
        return publish(tmp_path / run, "tiny", data, **options)

    ship_run("both")
    with pytest.raises(InputError, match="lacks x3 of the shipped tiny; give --replace"):
        ship_run("doubling")
    with pytest.raises(InputError, match="the shipped tiny is better"):
        ship_run("three")
    scores["three"][3] = 29.15
    ship_run("three")
    ship_run("doubling", replace=True)
    assert weights.load("tiny")[1]["holdout_psnr_db"] == {"2": 32.0}


@pytest.mark.parametrize("name", ["../x", "x/y", "", "X", "x[published]", "x.y"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, data, name):
    with pytest.raises(InputError, match="small letters, digits and hyphens, got"):
        publish(tmp_path, name, data)


@pytest.mark.parametrize("replaced", [False, True])
def test_weights_of_a_classical_method_are_not_replaced(tmp_path, data, replaced):
    with pytest.raises(InputError, match="expected the parameters of a network in csc-sr-admm"):
        publish(tmp_path, "csc-sr-admm", data, replace=replaced)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda metadata: metadata.pop("recipe"), "states no recipe"),
        (lambda metadata: metadata.pop("trained"), "states no recipe"),
        (lambda metadata: metadata["recipe"].pop("sets"), "the recipe lacks the key sets"),
        (lambda metadata: metadata.pop("architecture"), "expected the parameters of a network"),
    ],
)
def test_weights_without_their_training_are_not_shipped(tmp_path, data, change, reason):
    tensors, metadata = weights.load("srcnn")
    change(metadata)
    weights.write(tmp_path / "weights.safetensors", tensors, metadata)
    with pytest.raises(InputError, match=reason):
        publish(tmp_path, "srcnn-tiny", data)


def test_a_card_names_the_teacher_and_its_licence():
    """Half of what crnet-b-256-imdn learns is another network's, and the card says whose."""
    recipe = load_recipe("crnet-b-256-imdn").as_dict()
    trained = {"steps": 5, "minutes": 1, "seed": 0, "bf16": False, "threads": 1, "device": "cpu"}
    psnr = dict.fromkeys(("2", "3", "4"), 30.0)
    metadata = {"architecture": "crnet-b", "network": {}, "scales": [2, 3, 4], "line": "rgb"}
    metadata |= {"recipe": recipe, "trained": trained, "holdout_psnr_db": psnr}
    text = card("crnet-b", metadata, dict.fromkeys((2, 3, 4), 28.0), 700)
    assert "50 % of the loss compares with the output of imdn[published]" in text
    assert PUBLISHED["imdn"].summary in text
    assert "licence: none stated" in text
    operations = 5 * load_recipe("crnet-b-256-imdn").step_operations()
    assert f"{operations:.1e} floating-point operations" in text
    del recipe["teacher"]
    assert "Teacher" not in card("crnet-b", metadata, dict.fromkeys((2, 3, 4), 28.0), 700)
