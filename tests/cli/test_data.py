"""``cscsr data list``: the data sets of a folder, and what can be fetched."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cscsr.cli import main


def test_data_list_counts_the_images_of_each_set(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[:3] == ["demo", "5", "images"]
    folder = tmp_path / "Set5"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(folder / name)
    assert main(["data", "list", "--data", str(tmp_path)]) == 0
    assert ["Set5", "2", "images"] in [
        line.split()[:3] for line in capsys.readouterr().out.splitlines()
    ]


def test_data_folder_that_is_missing(tmp_path, refused):
    assert "absent" in refused("data", "list", "--data", tmp_path / "absent")


def test_images_that_cannot_be_checked_for_leaks_are_counted(tmp_path, capsys):
    (tmp_path / "T").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / "T" / name)
    assert main(["data", "check-leaks", "T", "T", "--data", str(tmp_path)]) == 0
    none, unchecked = capsys.readouterr().out.splitlines()
    assert none == "0 of 2 images show one of the 2 of T"
    assert unchecked == (
        "2 images could not be checked, as they have less than 32x32 pixels or fewer than "
        "7 corners: T/a.png, T/b.png"
    )


def test_empty_data_folder_is_told_what_can_be_fetched(tmp_path, capsys):
    assert main(["data", "list", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"cscsr data fetch Set5 --data {tmp_path}\n" in said
    assert said.splitlines()[-1].startswith("There is no image")
