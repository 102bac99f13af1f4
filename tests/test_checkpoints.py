"""Checkpoints: what was written comes back, and nothing else is let in."""

from __future__ import annotations

import os
import pickle

import pytest
import torch

from cscsr import InputError, checkpoints


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_what_is_written_comes_back(tmp_path):
    state = {"a": torch.arange(3.0), "b": [1.5, 2.0], "c": {"d": "text", "e": None}}
    checkpoints.write(tmp_path / "x.pt", state)
    back = checkpoints.read(tmp_path / "x.pt")
    assert torch.equal(back.pop("a"), state.pop("a"))
    assert back == state
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    with pytest.raises(InputError, match=r"x\.pt should be a checkpoint, but lacks the key f"):
        back["f"]


def test_files_cut_at_any_place_are_refused_in_a_sentence(tmp_path):
    checkpoints.write(tmp_path / "x.pt", {"a": torch.arange(100.0), "b": 1})
    whole = (tmp_path / "x.pt").read_bytes()
    for length in [0, 1, 10, *range(20, len(whole) - 1, 53), len(whole) - 1]:
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pt should be a checkpoint but cannot be read"):
            checkpoints.read(tmp_path / "cut.pt")


def test_files_of_other_kinds_are_refused_and_run_no_code(tmp_path):
    for name, content in {"text": b"no checkpoint", "list": b"", "code": b""}.items():
        (tmp_path / name).write_bytes(content)
    torch.save([1, 2], tmp_path / "list")
    torch.save({"a": Harmful(tmp_path / "made")}, tmp_path / "code")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Harmful(tmp_path / "made"), protocol=2))
    for name in ("text", "list", "code", "pickle"):
        with pytest.raises(InputError, match=f"{name} should be a checkpoint"):
            checkpoints.read(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(InputError, match="cannot be read: "):
            checkpoints.read(path)


@pytest.mark.parametrize("bad", [float("nan"), torch.tensor([1.0, float("inf")])])
def test_numbers_that_are_not_finite_are_found_at_any_depth(bad):
    checkpoints.check_finite({"a": [{"b": torch.ones(2)}], "c": 1.0, "d": "nan"}, "file")
    with pytest.raises(InputError, match=r"file\.a\.b holds a number that is not finite"):
        checkpoints.check_finite({"a": [{"b": bad}]}, "file")


def test_the_data_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Of every file that a power cut must not take: it is flushed, then renamed."""
    synced, fsync = [], os.fsync

    def noted(descriptor):
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, (tmp_path / "x.pt").exists()))

    monkeypatch.setattr(os, "fsync", noted)
    checkpoints.write(tmp_path / "x.pt", {"a": torch.ones(3)})
    assert synced == [((tmp_path / "x.pt").stat().st_ino, False)]
