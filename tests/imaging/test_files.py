"""Image files on disk: what is read, what is written, and what is refused."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps, features

from cscsr import InputError
from cscsr.imaging import Picture, psnr, read_image, read_picture, write_image, write_picture


@pytest.fixture
def colour() -> np.ndarray:
    y, x = np.mgrid[:21, :30]
    return np.stack([8 * x, 12 * y, 4 * (x + y)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG", ".tif", ".tiff"])
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
def test_16_bits_are_refused_where_8_are_meant_and_not_cut(tmp_path, channels):
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(channels))
    with pytest.raises(InputError, match=r"16 bits per channel, .* save it with 8 bits"):
        read_image(tmp_path / "deep.png")
    pixels = read_picture(tmp_path / "deep.png").pixels
    assert pixels.shape == ((4, 5) if channels == 1 else (4, 5, 3))
    assert (pixels == 0x0102).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_of_8_bits_in_every_compression(tmp_path, colour, compression):
    for image in (colour, colour[..., 0]):
        Image.fromarray(image).save(tmp_path / "a.tif", compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "predictor": True, "rowsperstrip": 4},
        {"tile": (16, 16)},
        {"planarconfig": "separate"},
    ],
    ids=["plain", "deflate", "tiles", "planes"],
)
def test_tiff_of_16_bits_however_it_is_stored(tmp_path, colour, options, byteorder):
    deep = colour.astype(np.uint16) * 257 + np.arange(3, dtype=np.uint16)
    planes = np.moveaxis(deep, 2, 0) if "planarconfig" in options else deep
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="rgb", byteorder=byteorder, **options)
    np.testing.assert_array_equal(read_picture(path).pixels, deep)
    if not options:
        tifffile.imwrite(path, deep[..., 0], photometric="miniswhite", byteorder=byteorder)
        np.testing.assert_array_equal(read_picture(path).pixels, 65535 - deep[..., 0])


def test_16_bits_in_a_compression_of_libtiff(tmp_path, colour):
    deep = colour[..., 0].astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, deep)


def test_low_bytes_of_16_bit_rgb_by_libtiff(tmp_path, colour, monkeypatch):
    """RGB of 16 bits that tifffile leaves to pillow, which decodes 8 bits at a time."""
    deep = colour.astype(np.uint16) * 257 + np.arange(3, dtype=np.uint16)
    for byteorder in "<>":
        for compression in (None, "zlib"):
            path = tmp_path / "a.tif"
            tifffile.imwrite(
                path, deep, photometric="rgb", byteorder=byteorder, compression=compression
            )
            monkeypatch.setattr("cscsr.imaging.tiff._DEFLATE", ())
            np.testing.assert_array_equal(read_picture(path).pixels, deep)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_read_beside_the_colours(tmp_path, colour, mode, suffix):
    image = Image.fromarray(colour).convert(mode)
    alpha = (7 * colour[..., 0]).astype(np.uint8)
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.pixels.reshape(21, 30, -1), np.asarray(image)[..., :-1])


def test_transparent_colour_and_palette_entry_become_alpha(tmp_path, colour):
    image = Image.fromarray(colour)
    image.save(tmp_path / "a.png", transparency=tuple(colour[3, 4].tolist()))
    alpha = read_picture(tmp_path / "a.png").alpha
    np.testing.assert_array_equal(alpha == 0, (colour == colour[3, 4]).all(axis=2))
    image.quantize(16).save(tmp_path / "b.png", transparency=3)
    alpha = read_picture(tmp_path / "b.png").alpha
    np.testing.assert_array_equal(alpha == 0, np.asarray(image.quantize(16)) == 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_every_orientation_is_pillows(tmp_path, colour, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(colour).save(path, exif=exif, dpi=(100, 50))
    with Image.open(path) as stored:
        upright = ImageOps.exif_transpose(stored)
        np.testing.assert_array_equal(read_picture(path).pixels, np.asarray(upright))
    dpi = (100, 50) if orientation < 5 else (50, 100)
    assert read_picture(path).dpi == pytest.approx(dpi, rel=1e-3)
    if suffix == ".tif":
        deep = colour.astype(np.uint16) * 257
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, deep, photometric="rgb", extratags=[tag])
        np.testing.assert_array_equal(read_picture(path).pixels, np.asarray(upright) * 257.0)


def test_broken_exif_does_not_keep_a_photograph_from_being_read(tmp_path, colour):
    Image.fromarray(colour).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "a.jpg").shape == colour.shape


def test_photograph_with_a_preview_beside_it(tmp_path, colour):
    """The JPEG of many telephones: a second, smaller image follows the first."""
    first, second = Image.fromarray(colour), Image.fromarray(colour[::2, ::2])
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.jpg").shape == colour.shape


def test_multiplied_alpha_is_divided_out(tmp_path):
    colours = np.full((4, 5, 3), 40_000, np.uint16)
    alpha = np.full((4, 5, 1), 30_000, np.uint16)
    multiplied = (colours * (alpha / 65535) + 0.5).astype(np.uint16)
    path = tmp_path / "a.tif"
    layers = np.dstack([multiplied, alpha])
    tifffile.imwrite(path, layers, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(path)
    assert np.abs(picture.pixels.astype(int) - 40_000).max() <= 1
    np.testing.assert_array_equal(picture.alpha, alpha[..., 0])


def test_what_is_no_picture_for_us_comes_with_its_reason(tmp_path, colour):
    image = Image.fromarray(colour)
    image.convert("CMYK").save(tmp_path / "print.jpg")
    image.save(tmp_path / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    (tmp_path / "moving.gif").rename(tmp_path / "gif.png")
    image.save(tmp_path / "apng.png", save_all=True, append_images=[image.rotate(180)])
    image.save(tmp_path / "pages.tif", save_all=True, append_images=[image])
    tifffile.imwrite(tmp_path / "nan.tif", np.full((9, 9), np.nan, np.float32))
    for name, dtype in (("signed", "int16"), ("bytes", "int8"), ("wide", "uint32"), ("d", "f8")):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((9, 9), dtype))
    tifffile.imwrite(tmp_path / "hdr.tif", np.zeros((9, 9, 3), np.float32), photometric="rgb")
    bands = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "bands.tif", np.zeros((9, 9, 5), np.uint8), **bands)
    tifffile.imwrite(tmp_path / "deep-bands.tif", np.zeros((9, 9, 3), np.uint16), **bands)
    tifffile.imwrite(tmp_path / "cmyk.tif", np.zeros((9, 9, 4), np.uint16), photometric="separated")
    (tmp_path / "huge.png").write_bytes(png_header(200_000, 100_000))
    for name, says in {
        "print.jpg": "colour space CMYK",
        "gif.png": "but GIF; save it as PNG",
        "apng.png": "holds several images",
        "pages.tif": "holds several images",
        "nan.tif": "floating-point samples",
        "signed.tif": "signed samples of 16 bits",
        "bytes.tif": "signed samples of 8 bits",
        "wide.tif": "unsigned samples of 32 bits",
        "d.tif": "floating-point samples of 64 bits",
        "hdr.tif": "floating-point samples of 32 bits",
        "bands.tif": "has 5 channels",
        "deep-bands.tif": "has 3 channels",
        "cmyk.tif": "grey or RGB, not SEPARATED",
        "huge.png": "200000x100000 pixels, more than",
    }.items():
        with pytest.raises(InputError, match=says):
            read_picture(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(InputError, match="is not a regular file"):
            read_picture(tmp_path / "pipe.png")


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and ends where they should begin."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + crc + b"\0\0\0\x09IDAT"


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif"])
def test_files_that_are_no_whole_image_are_refused(tmp_path, colour, suffix):
    path = tmp_path / f"image{suffix}"
    with pytest.raises(InputError, match="there is no file"):
        read_image(path)
    path.write_text("not an image")
    with pytest.raises(InputError, match="not a complete PNG, TIFF, BMP, JPEG"):
        read_image(path)
    write_image(path, colour)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="not a complete PNG, TIFF, BMP, JPEG"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"not a complete .* image [(]it is empty"):
        read_image(path)


def test_bad_arrays_and_names_are_refused_and_the_old_file_stays(tmp_path, colour):
    path = tmp_path / "image.png"
    write_image(path, colour)
    for image, says in (
        (colour.astype(np.int64), "uint8, uint16 or floating point"),
        (colour.astype(np.float64), r"in \[0, 1\]"),
        (np.full((3, 3), np.nan), "NaN"),
        (colour[..., :2], r"\(H, W, 3\), got \(21, 30, 2\)"),
        (colour[:0], r"got \(0, 30, 3\)"),
        ("image", r"got \(\)"),
    ):
        with pytest.raises(InputError, match=says):
            write_image(path, image)
    np.testing.assert_array_equal(read_image(path), colour)
    with pytest.raises(InputError, match=r"must end in .*, got 'image.gif'"):
        write_image(tmp_path / "image.gif", colour)
    with pytest.raises(InputError, match="there is no folder"):
        write_image(tmp_path / "nowhere" / "image.png", colour)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_sixteen_bits_are_written_where_the_format_has_them(tmp_path, colour, suffix):
    deep = colour.astype(np.uint16) * 257 + 3
    for image in (deep, deep[..., 0], torch.from_numpy(deep)):
        write_image(tmp_path / f"a{suffix}", image)
        back = read_picture(tmp_path / f"a{suffix}").pixels
        expected = np.round(np.asarray(image) / 257) if suffix == ".bmp" else np.asarray(image)
        np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_with_everything(tmp_path, colour, dtype, channels):
    pixels = colour.astype(dtype) if channels == 3 else colour[..., 0].astype(dtype)
    picture = Picture(pixels, colour[..., 1].astype(dtype), b"profile" * 30, (300.0, 150.0))
    write_picture(tmp_path / "a.tif", picture)
    back = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(back.alpha, picture.alpha)
    assert back.pixels.dtype == back.alpha.dtype == dtype
    assert back.icc_profile == picture.icc_profile and back.dpi == pytest.approx(picture.dpi)


def test_a_picture_whose_parts_do_not_fit_is_refused(tmp_path, colour):
    for alpha in (colour[:9, :, 0], colour, colour[..., 0].astype(np.uint16)):
        with pytest.raises(InputError, match=r"alpha must be uint8 of shape \(21, 30\), .* got"):
            write_picture(tmp_path / "a.png", Picture(colour, alpha))
    with pytest.raises(InputError, match="uint8, uint16 or floating point"):
        write_picture(tmp_path / "a.png", Picture(colour / 255))
    with pytest.raises(InputError, match=r"\(H, W\) or \(H, W, 3\), got \(21, 30, 2\)"):
        write_picture(tmp_path / "a.png", Picture(colour[..., :2]))
    with pytest.raises(InputError, match="cannot hold the image's transparency"):
        write_picture(tmp_path / "a.jpg", Picture(colour, colour[..., 0]))
    assert not list(tmp_path.iterdir())


def write_avif(path, image: np.ndarray, box: bytes, offset: int, values: bytes) -> None:
    """Write an 8-bit AVIF file, then put `values` at an offset after the name of a box."""
    if "avif" not in features.get_supported():
        pytest.skip("this pillow has no AVIF")
    Image.fromarray(image).save(path)
    content = bytearray(path.read_bytes())
    at = content.index(box) + len(box) + offset
    content[at : at + len(values)] = values
    path.write_bytes(content)


@pytest.mark.parametrize(("flags", "bits"), [(0x00, 8), (0x40, 10), (0x60, 12)])
def test_avif_states_its_bits_in_its_configuration(tmp_path, colour, flags, bits):
    """Byte 2 of av1C: high_bitdepth is bit 6 and twelve_bit bit 5 (AV1 in ISOBMFF, 2.3.3); the
    subsampling 4:2:0 is bits 3 and 2."""
    write_avif(tmp_path / "a.avif", colour, b"av1C", 2, bytes([flags | 0x0C]))
    if bits == 8:
        assert read_image(tmp_path / "a.avif").shape == colour.shape
    else:
        with pytest.raises(InputError, match=f"has {bits} bits per channel"):
            read_image(tmp_path / "a.avif")


@pytest.mark.parametrize(
    ("primaries", "transfer", "chunks"),
    [
        (1, 13, ()),  # sRGB (H.273, tables 2 and 3)
        (2, 13, ()),  # unspecified
        (9, 16, ((b"cICP", bytes([9, 16, 0, 1])),)),  # BT.2020, PQ
        (1, 8, ((b"cICP", bytes([1, 8, 0, 1])),)),  # sRGB's primaries, linear
        (13, 1, ((b"cICP", bytes([13, 1, 0, 1])),)),
    ],
)
def test_colours_of_avif_other_than_those_of_srgb_are_kept(
    tmp_path, colour, primaries, transfer, chunks
):
    stated = struct.pack(">HH", primaries, transfer)
    write_avif(tmp_path / "a.avif", colour, b"colrnclx", 0, stated)
    assert read_picture(tmp_path / "a.avif").colour_chunks == chunks
