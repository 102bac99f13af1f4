"""Files written band by band: pixels, depth, profile and resolution come back; failures leave
nothing behind. Decoding is by pillow and tifffile, not by our own code, where they can."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cscsr import InputError
from cscsr.imaging.encoders import SUFFIXES, Layout, _filtered, check_layout, write_bands
from cscsr.imaging.files import read_picture

SHAPE = (133, 57)


def samples(channels: int, dtype=np.uint8) -> np.ndarray:
    """A smooth image with noise in its last bits, (H,W,C), of the whole range of `dtype`."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = [(np.sin(x / 9 + k) + np.cos(y / 7 - k) + 2) / 4 for k in range(channels)]
    noise = np.random.default_rng(0).random((*SHAPE, channels)) / 400
    return (np.clip(np.stack(planes, 2) + noise, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def bands(image: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an image in bands of several heights."""
    row = 0
    for height in itertools.cycle((1, 50, 7, 130)):
        if row >= len(image):
            return
        yield image[row : row + height]
        row += height


def written(path: Path, image: np.ndarray, **extras) -> np.ndarray:
    """`image` written to `path` and read again, (H,W,C)."""
    write_bands(path, Layout(image.shape, image.dtype, **extras), bands(image))
    picture = read_picture(path)
    layers = [picture.pixels] + ([] if picture.alpha is None else [picture.alpha])
    return np.dstack(layers)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_kind_comes_back(tmp_path, suffix, channels, dtype):
    image = samples(channels, dtype)
    back = written(tmp_path / f"a{suffix}", image)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, image)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_decoders_read_the_same(tmp_path, channels):
    image = samples(channels)
    for suffix in (".png", ".tif", ".bmp")[: 3 if channels in (1, 3) else 2]:
        written(tmp_path / f"a{suffix}", image)
        pixels = np.asarray(Image.open(tmp_path / f"a{suffix}"))
        np.testing.assert_array_equal(pixels.reshape(image.shape), image)
    deep = samples(channels, np.uint16)
    written(tmp_path / "a.tif", deep)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif").reshape(deep.shape), deep)
    if channels == 1:
        written(tmp_path / "a.png", deep)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), deep[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_formats_of_8_bits_round(tmp_path, suffix, dtype):
    for channels in (1, 3):
        image = samples(channels, dtype)
        back = written(tmp_path / f"a{suffix}", image).astype(float)
        assert back.shape == image.shape
        wanted = image * (255 / np.iinfo(dtype).max)
        assert np.abs(back - wanted).max() <= (0.5 if suffix == ".bmp" else 8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_profile_and_resolution_are_kept(tmp_path, suffix):
    profile = bytes(range(200)) * 9
    path = tmp_path / f"a{suffix}"
    written(path, samples(3), icc_profile=profile, dpi=(300.0, 150.0))
    assert Image.open(path).info["icc_profile"] == profile
    picture = read_picture(path)
    assert picture.icc_profile == profile
    assert picture.dpi == pytest.approx((300, 150), rel=1e-4)
    written(path, samples(3))
    assert read_picture(path).icc_profile is None
    written(tmp_path / "a.bmp", samples(3), dpi=(300.0, 150.0))
    assert Image.open(tmp_path / "a.bmp").info["dpi"] == pytest.approx((300, 150), rel=1e-4)


@given(data=st.data())
def test_png_filters_can_be_undone(data):
    """By the definitions of the standard, a byte at a time."""
    height, width, step = (data.draw(st.integers(1, n)) for n in (4, 9, 4))
    shape = (height + 1, width * step)
    flat = data.draw(st.binary(min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    rows = np.frombuffer(flat, np.uint8).reshape(shape)
    above = rows[0].astype(int).tolist()
    for line, wanted in zip(_filtered(rows[1:], rows[:1], step), rows[1:], strict=True):
        kind, rest = int(line[0]), line[1:].astype(int).tolist()
        row: list[int] = []
        for i, value in enumerate(rest):
            a = row[i - step] if i >= step else 0
            b, c = above[i], above[i - step] if i >= step else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row.append((value + {1: a, 2: b, 4: nearest}[kind]) % 256)
        assert row == wanted.tolist()
        above = row


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg"])
def test_failure_on_the_way_leaves_the_old_file_and_no_other(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"precious")

    def failing() -> Iterator[np.ndarray]:
        yield samples(3)[:70]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bands(path, Layout((*SHAPE, 3), np.dtype(np.uint8)), failing())
    assert path.read_bytes() == b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_disk_that_is_full_is_told_in_a_sentence(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("a device that is always full is Linux's")

    def on_a_full_disk() -> Iterator[np.ndarray]:
        yield samples(3)
        with full.open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(InputError, match=r"a\.png cannot be written: No space left"):
        write_bands(tmp_path / "a.png", Layout((*SHAPE, 3), np.dtype(np.uint8)), on_a_full_disk())
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_told_before_anything_is_solved(tmp_path):
    def never() -> Iterator[np.ndarray]:
        raise AssertionError("asked for pixels")
        yield

    eight = np.dtype(np.uint8)
    with pytest.raises(InputError, match=r"transparency, which JPEG lacks; write a \.png"):
        write_bands(tmp_path / "a.jpg", Layout((9, 9, 4), eight), never())
    with pytest.raises(InputError, match=r"65500 per side; write a \.png"):
        write_bands(tmp_path / "a.jpg", Layout((9, 70_000, 3), eight), never())
    with pytest.raises(InputError, match=r"4 GiB of a BMP file; write a \.png"):
        write_bands(tmp_path / "a.bmp", Layout((60_000, 60_000, 3), eight), never())
    with pytest.raises(InputError, match="no folder"):
        write_bands(tmp_path / "absent" / "a.png", Layout((9, 9, 3), eight), never())
    check_layout("a.png", Layout((9, 70_000, 4), eight))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_space_for_all_rows_is_reserved_before_the_first_is_made(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    if suffix not in SUFFIXES or not hasattr(os, "posix_fallocate"):
        pytest.skip("this system lacks the format or the call")

    def never() -> Iterator[np.ndarray]:
        raise AssertionError("asked for pixels")
        yield

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written: File too large"):
            layout = Layout((200, 200, 3), np.dtype(np.uint8))
            write_bands(tmp_path / f"a{suffix}", layout, never())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "version"), [(np.uint8, 42), (np.uint16, 43)])
def test_a_tiff_of_more_than_4_gib_has_offsets_of_64_bits(tmp_path, dtype, version):
    """The header says so in its third byte, 42, or 43 of BigTIFF: of 2.4e9 samples, the image has
    2.4e9 bytes or 4.8e9. Its second strip ends the writing."""
    headers = []
    shape = (30_000, 20_000, 4)

    def bands() -> Iterator[np.ndarray]:
        yield np.random.default_rng(0).integers(0, 256, (128, *shape[1:]), dtype)
        (path,) = tmp_path.iterdir()
        headers.append(path.read_bytes()[:3])
        raise InputError("enough")

    with pytest.raises(InputError, match="enough"):
        write_bands(tmp_path / "a.tif", Layout(shape, np.dtype(dtype)), bands())
    assert headers == [b"II" + bytes([version])]
