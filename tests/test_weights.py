"""Weight files: a round trip, the manifest, and files that are cut short or altered."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import InputError, weights


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


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(InputError, match="crnet-b-small"):
        weights.load("crnet-b-smal")
    with pytest.raises(InputError, match="no weight file"):
        weights.load("nowhere.safetensors")


@pytest.mark.parametrize("name", sorted(weights.manifest()))
def test_every_shipped_file_matches_its_manifest_and_has_a_card(name):
    weights.load(name)
    card = (weights.FOLDER / f"{name}.md").read_text()
    assert "icence" in card
    assert weights.weights_path(name).stat().st_size < 12e6


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
