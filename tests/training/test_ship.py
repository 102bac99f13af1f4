"""Weights are shipped with card and manifest, and only if they are better."""

from __future__ import annotations

import re
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


def _trained(**entries):
    """The entry "trained" of a weight file."""
    run = {"steps": 5, "minutes": 1.0, "seed": 0, "bf16": False, "threads": 1, "device": "cpu"}
    return {**run, **entries}


def test_a_card_names_all_that_the_weights_started_from():
    """The files, their data sets and teachers, and the authors of what others published."""
    oldest = {
        "name": "vdsr[published]",
        "sha256": "1" * 64,
        "scales": [2, 3, 4],
        "sets": None,
        "teacher": None,
        "trained": None,
    }
    older = {
        "name": "w.safetensors",
        "sha256": "2" * 64,
        "scales": [2],
        "sets": ["CID22", "T91"],
        "teacher": {"solver": "imdn[published]", "weight": 0.5},
        "trained": _trained(steps=7, start=oldest),
    }
    recipe = load_recipe("crnet-b-small").as_dict()
    metadata = {
        "architecture": "crnet-b",
        "network": {},
        "scales": [2],
        "line": "rgb",
        "recipe": {**recipe, "sets": ["T91"]},
        "trained": _trained(start=older),
        "holdout_psnr_db": {"2": 30.0},
    }
    text = card("crnet-b-small", metadata, {2: 28.0}, 700)
    words = " ".join(text.split())
    imdn, vdsr = PUBLISHED["imdn"], PUBLISHED["vdsr"]
    assert (
        f"started from w.safetensors, SHA-256 {'2' * 64}, for ×2, trained for 7 steps (1.0 minutes)"
        f" on CID22, T91, with the teacher imdn[published] ({imdn.summary}; licence: none stated), "
        f"started from vdsr[published] ({vdsr.summary}; licence: MIT), SHA-256 {'1' * 64}, for ×2, "
        "×3, ×4, whose file names no data sets."
    ) in words
    assert licence_of_weights(["T91", "CID22"]) in text
    assert "--init w.safetensors`" in text


def test_a_card_of_an_earlier_release_names_the_steps_of_its_starts():
    """As those that lie beside the weights."""
    for name in ("crnet-a", "crnet-b", "crnet-b-tied"):
        _, metadata = weights.load(name)
        text = card(name, metadata, dict.fromkeys((2, 3, 4), 28.0), 700, half=True)
        beside = (weights.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        (expected,) = re.findall(r"^- Trained for .*?^- Arithmetic", beside, re.M | re.S)
        assert expected in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda trained: trained.pop("threads"), "trained lacks the key threads"),
        (lambda trained: trained.update(start=3), "start should be a table"),
        (lambda trained: trained.update(start={"name": "x"}), "start lacks the key trained"),
    ],
)
def test_a_training_that_is_stated_wrongly_is_refused(change, reason):
    _, metadata = weights.load("srcnn")
    change(metadata["trained"])
    with pytest.raises(InputError, match=reason):
        card("srcnn", metadata, dict.fromkeys((2, 3, 4), 28.0), 700)


def test_a_card_names_the_teacher_and_its_licence():
    """Half of what crnet-b-256-imdn learns is another network's, and the card says whose."""
    recipe = load_recipe("crnet-b-256-imdn").as_dict()
    psnr = dict.fromkeys(("2", "3", "4"), 30.0)
    metadata = {"architecture": "crnet-b", "network": {}, "scales": [2, 3, 4], "line": "rgb"}
    metadata |= {"recipe": recipe, "trained": _trained(), "holdout_psnr_db": psnr}
    text = card("crnet-b", metadata, dict.fromkeys((2, 3, 4), 28.0), 700)
    assert "50 % of the loss compares with the output of imdn[published]" in text
    assert PUBLISHED["imdn"].summary in text
    assert "licence: none stated" in text
    operations = 5 * load_recipe("crnet-b-256-imdn").step_operations()
    assert f"{operations:.1e} floating-point operations" in text
    del recipe["teacher"]
    assert "Teacher" not in card("crnet-b", metadata, dict.fromkeys((2, 3, 4), 28.0), 700)
