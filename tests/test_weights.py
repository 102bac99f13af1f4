"""Weight files: a round trip, the manifest, and files that are cut short or altered."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from cscsr import InputError, weights
from cscsr.csc_sr.weight_file import cached_weights
from cscsr.data.datasets import licence_of_weights
from cscsr.data.sources import SOURCES
from cscsr.network import load_network
from cscsr.sparse.lista import _load
from cscsr.training.recipe import load_recipe, recipe_names


def test_round_trip_keeps_tensors_and_metadata(tmp_path):
    tensors = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.float16([1, 2])}
    weights.write(tmp_path / "w.safetensors", tensors, {"scales": [2, 3], "line": "y"})
    back, metadata = weights.load(tmp_path / "w.safetensors")
    assert metadata == {"scales": [2, 3], "line": "y"}
    assert back.keys() == tensors.keys()
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype
        np.testing.assert_array_equal(back[key], value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "w.safetensors"
    weights.write(path, {"a": np.zeros((64, 64))}, {})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="cut short"):
        weights.load(path)


@pytest.mark.parametrize("entry", [{}, {"__metadata__": None}, {"__metadata__": {}}])
def test_a_file_of_tensors_without_metadata_is_refused(tmp_path, entry):
    header = json.dumps(entry | {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0")
    with pytest.raises(InputError, match="but not one written by this toolkit"):
        weights.load(path)


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(InputError, match="crnet-b-small"):
        weights.load("crnet-b-smal")
    with pytest.raises(InputError, match="no weight file"):
        weights.load("nowhere.safetensors")


def test_a_file_of_another_kind_is_not_called_an_unknown_name(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"PNG")
    with pytest.raises(InputError, match=r"photo\.png is no weight file, whose name ends in"):
        weights.load(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"no weight file at .*, which is a folder"):
        weights.load(tmp_path)


@pytest.mark.parametrize("name", sorted(weights.manifest()))
def test_every_shipped_file_matches_its_manifest_and_has_a_card(name):
    weights.load(name)
    assert (weights.FOLDER / f"{name}.md").is_file()
    assert weights.weights_path(name).stat().st_size < 12e6


@pytest.mark.parametrize("name", sorted(weights.manifest()))
def test_every_card_names_the_data_sets_trained_on_and_their_terms(name):
    _, metadata = weights.load(name)
    sets = set(metadata.get("recipe", {}).get("sets", metadata.get("training_sets", [])))
    start = metadata.get("trained", {}).get("start")
    while start:  # what the weights started from
        sets |= set(start.get("sets") or [])
        trained = start.get("trained", start)
        start = trained and trained["start"]
    if metadata.get("kind") == "csc-sr":
        sets.add("T91")  # the filters are learned on it
    if metadata.get("kind") == "lista":
        sets.add(metadata["training_set"])
    assert sets
    (licence,) = re.findall(r"^- Licence.*", (weights.FOLDER / f"{name}.md").read_text(), re.M)
    assert "MIT" in licence
    named = {each for each in SOURCES if f" {each} (" in licence}
    assert named == sets
    for each in sets:
        assert f"{each} ({SOURCES[each].authors}, " in licence
        assert f"{SOURCES[each].origin}: {SOURCES[each].terms})" in licence
    assert licence == licence_of_weights(sorted(sets, key=licence.index))


def test_the_terms_of_every_recipe_are_known():
    assert {name for recipe in recipe_names() for name in load_recipe(recipe).sets} <= set(SOURCES)


def test_berkeley_and_cid22_have_terms_of_their_own():
    line = licence_of_weights(["T91", "BSD200", "CID22", "mine"])
    assert "T91 (Yang et al. 2010, github.com/tegg89/SRCNN-Tensorflow: no licence stated)" in line
    assert "BIDS/BSDS500: non-commercial research and educational use)" in line
    assert "CC BY-SA 4.0" in line
    assert "mine (terms not known)" in line


def test_a_shipped_file_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "manifest.json").write_bytes((weights.FOLDER / "manifest.json").read_bytes())
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"crnet-b-small\.safetensors is missing"):
        weights.load("crnet-b-small")


def test_a_shipped_file_that_was_altered_is_refused(tmp_path, monkeypatch):
    name = sorted(weights.manifest())[0]
    path = weights.weights_path(name)
    altered = bytearray(path.read_bytes())
    altered[-1] ^= 1
    for file in ("manifest.json", path.name):
        (tmp_path / file).write_bytes((weights.FOLDER / file).read_bytes())
    (tmp_path / path.name).write_bytes(altered)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="SHA-256"):
        weights.load(name)
    (tmp_path / path.name).write_bytes(altered[:-1])
    with pytest.raises(InputError, match="cut short"):
        weights.load(name)


def _changed(path, write):
    """A weight file that is overwritten after it was hashed; returns the first hash."""
    write(1.0)
    digest = weights.sha256(path)
    write(2.0)
    assert weights.sha256(path) != digest
    return digest


def test_weights_are_those_that_were_hashed(tmp_path):
    path = tmp_path / "w.safetensors"
    digest = _changed(path, lambda value: weights.write(path, {"a": np.full(3, value)}, {}))
    with pytest.raises(InputError, match="was changed while it was in use"):
        weights.load(path, digest)
    tensors, _ = weights.load(path, weights.sha256(path))
    np.testing.assert_array_equal(tensors["a"], 2.0)


def test_every_learned_method_reads_the_weights_that_it_hashed(tmp_path):
    path = tmp_path / "w.safetensors"
    readers = {
        "crnet-b-small": lambda digest: load_network(str(path), digest, "cpu"),
        "csc-sr-ista": lambda digest: cached_weights(str(path), digest),
        "lista-step": lambda digest: _load(str(path), digest),
    }
    for name, read in readers.items():
        tensors, metadata = weights.load(name)

        def write(value, tensors=tensors, metadata=metadata):
            scaled = {key: (tensor * value).astype(tensor.dtype) for key, tensor in tensors.items()}
            weights.write(path, scaled, metadata)

        digest = _changed(path, write)
        with pytest.raises(InputError, match="was changed while it was in use"):
            read(digest)
        read(weights.sha256(path))
