"""``cscsr learn-dictionary``: the files it makes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cscsr.cli import main
from cscsr.data.datasets import demo
from cscsr.imaging import read_image

TINY = ("--atoms", 5, "--size", 4, "--steps", 2)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for image in demo().images[:2]:
        Image.fromarray(image.read()[96:160, 96:160]).save(folder / f"{image.name}.png")
    return folder


def run(*arguments) -> int:
    return main(["learn-dictionary", *map(str, arguments)])


@pytest.mark.parametrize("colour", [False, True])
def test_filters_and_their_picture_are_written(photos, tmp_path, capsys, colour):
    out = tmp_path / "new" / "atoms.npy"
    options = ["--colour"] if colour else []
    assert run(photos, *TINY, *options, "--out", out) == 0
    filters = np.load(out)
    assert filters.shape == ((5, 3, 4, 4) if colour else (5, 4, 4))
    assert filters.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(filters.reshape(5, -1), axis=1), 1, rtol=1e-5)
    picture = read_image(out.with_suffix(".png"))
    assert picture.shape == (2 * 50 + 10, 3 * 50 + 10, 3)
    first = filters[0] if colour else np.repeat(filters[:1], 3, 0)
    expected = 127.5 * (1 + first / np.abs(first).max())
    np.testing.assert_allclose(picture[10:50:10, 10:50:10], np.moveaxis(expected, 0, 2), atol=0.51)
    assert sorted(path.name for path in out.parent.iterdir()) == ["atoms.npy", "atoms.png"]
    assert "5 filters of 4x4" in capsys.readouterr().out


def test_batch_learning_and_images_as_they_are_give_other_filters(photos, tmp_path):
    made = {}
    for name, options in {
        "online": (),
        "batch": ("--batch",),
        "smooth": ("--keep-smooth",),
        "nonnegative": ("--nonnegative",),
    }.items():
        assert run(photos, *TINY, *options, "--out", tmp_path / f"{name}.npy") == 0
        made[name] = np.load(tmp_path / f"{name}.npy")
    names = list(made)
    for number, name in enumerate(names):
        for other in names[:number]:
            assert np.abs(made[name] - made[other]).max() > 1e-3


def test_nothing_is_replaced_unasked(photos, tmp_path, refused):
    out = tmp_path / "atoms.npy"
    for path in (out, out.with_suffix(".png")):
        path.write_bytes(b"earlier")
        assert f"{path} exists already" in refused("learn-dictionary", photos, *TINY, "--out", out)
        assert path.read_bytes() == b"earlier"
        path.unlink()
    out.write_bytes(b"earlier")
    assert run(photos, *TINY, "--force", "--out", out) == 0
    assert np.load(out).shape == (5, 4, 4)


def test_what_cannot_be_learned_from_is_a_sentence(photos, tmp_path, refused):
    def said(*arguments):
        return refused("learn-dictionary", *arguments, "--out", tmp_path / "atoms.npy")

    assert "atoms must be at least 1, got 0" in said(photos, "--atoms", 0)
    assert "there is no file" in said(tmp_path / "none.png")
    assert "64x64 pixels, but the filters have 65x65" in said(photos, "--size", 65)
    assert "need 1.8e+10 GB of memory" in said(photos, "--atoms", 10**8)
    file = next(photos.iterdir())
    for out in (tmp_path / "atoms.png", ".", "", "/"):
        assert "--out must name a .npy file" in refused("learn-dictionary", photos, "--out", out)
    assert "is no folder" in refused("learn-dictionary", photos, "--out", file / "a.npy")
    Image.fromarray(np.full((20, 20), 9, np.uint8)).save(tmp_path / "flat.png")
    assert "contrast" in said(tmp_path / "flat.png")
    assert not list(tmp_path.glob("atoms*"))
