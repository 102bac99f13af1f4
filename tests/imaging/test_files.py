"""Image files on disk: what is read, what is written, and what is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cscsr import InputError
from cscsr.imaging import psnr, read_image, write_image


@pytest.fixture
def colour() -> np.ndarray:
    y, x = np.mgrid[:21, :30]
    return np.stack([8 * x, 12 * y, 4 * (x + y)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
def test_lossless_files_come_back(tmp_path, colour, suffix):
    for image in (colour, colour[..., 0]):
        write_image(tmp_path / f"image{suffix}", image)
        np.testing.assert_array_equal(read_image(tmp_path / f"image{suffix}"), image)
        write_image(tmp_path / f"image{suffix}", (image / 255).astype(np.float32))
        np.testing.assert_array_equal(read_image(tmp_path / f"image{suffix}"), image)
    assert [path.name for path in tmp_path.iterdir()] == [f"image{suffix}"]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_comes_back_nearly(tmp_path, colour, suffix):
    for image in (colour, colour[..., 0]):
        write_image(tmp_path / f"image{suffix}", image)
        back = read_image(tmp_path / f"image{suffix}")
        assert back.shape == image.shape and psnr(back, image) > 38


def test_floating_point_is_rounded_and_clipped(tmp_path):
    write_image(tmp_path / "image.png", np.array([[-0.1, 0.5, 1.1, 100.4 / 255]]))
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), [[0, 128, 255, 100]])


def test_palette_and_one_bit_files(tmp_path, colour):
    palette = Image.fromarray(colour).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), palette.convert("RGB"))
    grey = Image.fromarray(colour[..., 0])
    for name in ("grey.png", "grey.bmp"):
        grey.convert("P").save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), colour[..., 0])
    checks = colour[..., 0] > 99
    Image.fromarray(checks).save(tmp_path / "checks.png")
    np.testing.assert_array_equal(read_image(tmp_path / "checks.png"), checks * np.uint8(255))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_only_where_it_is_opaque(tmp_path, colour, mode):
    image = Image.fromarray(colour).convert(mode)
    image.save(tmp_path / "opaque.png")
    wanted = image.convert("L" if mode == "LA" else "RGB")
    np.testing.assert_array_equal(read_image(tmp_path / "opaque.png"), wanted)
    image.putalpha(Image.fromarray(np.where(colour[..., 0] > 8, 255, 254).astype(np.uint8)))
    image.save(tmp_path / "glass.png")
    with pytest.raises(InputError, match="transparent"):
        read_image(tmp_path / "glass.png")


def test_transparent_palette_entry_is_refused(tmp_path, colour):
    Image.fromarray(colour).quantize(16).save(tmp_path / "glass.png", transparency=3)
    with pytest.raises(InputError, match="transparent"):
        read_image(tmp_path / "glass.png")


def test_orientation_of_a_camera_is_applied(tmp_path, colour):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(colour).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), np.rot90(colour, -1))


def png_of_16_bits(channels: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    rows = (b"\0" + b"\1\2" * channels * 5) * 4
    header = struct.pack(">IIBBBBB", 5, 4, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_refused_not_cut(tmp_path, channels):
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(channels))
    with pytest.raises(InputError, match="8 bits a channel"):
        read_image(tmp_path / "deep.png")


def test_other_colour_spaces_are_refused(tmp_path, colour):
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "print.jpg")
    with pytest.raises(InputError, match="CMYK"):
        read_image(tmp_path / "print.jpg")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_files_that_are_no_whole_image_are_refused(tmp_path, colour, suffix):
    path = tmp_path / f"image{suffix}"
    with pytest.raises(InputError, match="there is no file"):
        read_image(path)
    path.write_text("not an image")
    with pytest.raises(InputError, match="no whole PNG, TIFF, BMP or JPEG"):
        read_image(path)
    write_image(path, colour)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="no whole PNG, TIFF, BMP or JPEG"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="no whole PNG, TIFF, BMP or JPEG"):
        read_image(path)


def test_bad_arrays_and_names_are_refused_and_the_old_file_stays(tmp_path, colour):
    path = tmp_path / "image.png"
    write_image(path, colour)
    for image, says in (
        (colour.astype(np.int64), "uint8 or floating point"),
        (colour.astype(np.float64), r"in \[0, 1\]"),
        (np.full((3, 3), np.nan), "NaN"),
        (colour[..., :2], r"\(H, W, 3\), got \(21, 30, 2\)"),
        (colour[:0], r"got \(0, 30, 3\)"),
        ("image", r"got \(\)"),
    ):
        with pytest.raises(InputError, match=says):
            write_image(path, image)
    np.testing.assert_array_equal(read_image(path), colour)
    with pytest.raises(InputError, match=r"must end in .*, got 'image.webp'"):
        write_image(tmp_path / "image.webp", colour)
    with pytest.raises(InputError, match="there is no folder"):
        write_image(tmp_path / "nowhere" / "image.png", colour)
