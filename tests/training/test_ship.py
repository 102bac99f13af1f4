"""Weights are shipped with card and manifest, and only if they are better."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import InputError, weights
from cscsr.data.datasets import licence_of_weights
from cscsr.published_weights import PUBLISHED
from cscsr.training.recipe import load_recipe
from cscsr.training.run import train
from cscsr.training.ship import card, publish


def test_a_network_below_bicubic_is_not_shipped(tmp_path, data, monkeypatch, small_recipe):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    train(small_recipe(learning_rate=0.5), data, tmp_path / "bad", steps=3, bf16=False)
    before = {path.name for path in tmp_path.iterdir()}
    for replace in (False, True):
        with pytest.raises(InputError, match="bicubic interpolation is better"):
            publish(tmp_path / "bad", "nosuch", data, replace=replace)
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
