"""``cscsr train``: one sentence for everything that it cannot train on."""

from __future__ import annotations

import numpy as np
from PIL import Image


def test_training_without_images_recipe_or_time(tmp_path, refused, monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)  # its runs are not these
    assert "CSCSR_DATA" in refused("train", "crnet-b-small")
    assert "did you mean crnet-b-small" in refused("train", "crnet-b-smal")
    assert "absent" in refused("train", "crnet-b-small", "--data", tmp_path / "absent")
    assert "crnet-b-small" in refused("train", "crnet-b-smal", "--data", tmp_path)
    assert "positive" in refused("train", "crnet-b-small", "--data", tmp_path, "--minutes", 0)
    assert "images" in refused("train", "crnet-b-small", "--data", tmp_path)
    (tmp_path / "Set5").mkdir()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "Set5" / "a.png")
    remedy = f"cscsr data fetch T91 --data {tmp_path}"
    assert remedy in refused("train", "crnet-b-small", "--data", tmp_path, "--steps", 1)
    assert "--minutes" in refused("train", "csc-sr", "--data", tmp_path, "--minutes", 1)
