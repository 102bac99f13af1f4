"""Leaks: crops and other sizes of a test image are found, other scenes are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data.datasets import Dataset, ImageSource, demo, load_dataset, training_textures
from cscsr.data.leaks import find_leaks
from cscsr.imaging import imresize, write_image


def folder_of(path: Path, images) -> Dataset:
    path.mkdir()
    for name, image in images.items():
        write_image(path / f"{name}.png", image)
    return Dataset(path.name, tuple(ImageSource(name, path / f"{name}.png") for name in images))


@pytest.mark.slow
def test_crops_and_other_sizes_are_found_and_other_scenes_are_not(tmp_path):
    photos = dict(demo())
    test = Dataset("demo", demo().images[:4])
    textures = training_textures()
    train = folder_of(
        tmp_path / "train",
        {
            "larger": imresize(photos["astronaut"], 1.4),
            "crop": photos["chelsea"][40:200, 60:230],
            "smaller": imresize(photos["coffee"], 0.75),
            "mirrored": imresize(photos["coffee"][20:, ::-1], 1.2),
            "turned": np.rot90(photos["chelsea"]),
            "other": textures["motorcycle_left"][:256, :256],
            "flat": textures["moon"][:64, :64] // 64 * 64,
        },
    )
    findings = find_leaks(train, test)
    assert findings.unchecked == ["train/flat.png"]
    leaks = {leak.train: leak for leak in findings.leaks}
    names = {"larger", "crop", "smaller", "mirrored", "turned"}
    assert set(leaks) == {f"train/{name}.png" for name in names}
    assert [name for name, leak in leaks.items() if leak.mirrored] == ["train/mirrored.png"]
    assert leaks["train/mirrored.png"].size == pytest.approx(1.2, abs=0.03)
    assert "mirrored" in str(leaks["train/mirrored.png"])
    assert leaks["train/mirrored.png"].test == leaks["train/smaller.png"].test
    assert leaks["train/larger.png"].size == pytest.approx(1.4, abs=0.03)
    assert leaks["train/smaller.png"].size == pytest.approx(0.75, abs=0.03)
    crop = leaks["train/crop.png"]
    assert crop.size == pytest.approx(1, abs=0.03)
    assert crop.share == pytest.approx(160 * 170 / 256**2, abs=0.03)
    assert "chelsea" in crop.test


@pytest.mark.slow
def test_the_known_leak_is_found(shared_data):
    sets = load_dataset("BSD200", shared_data), load_dataset("Set5", shared_data)
    wanted = ("302003", "100075", "woman", "baby")
    train, test = (Dataset(d.name, tuple(i for i in d.images if i.name in wanted)) for d in sets)
    assert (len(train), len(test)) == (2, 2)
    (leak,) = find_leaks(train, test).leaks
    assert (leak.train, leak.test) == ("BSD200/302003.jpg", "Set5/woman.png")
    assert leak.size == pytest.approx(1.4, abs=0.03)
    assert leak.correlation > 0.95


def test_an_empty_set_is_refused():
    with pytest.raises(InputError, match="at least one training image and one test image"):
        find_leaks(Dataset("none", ()), demo())
