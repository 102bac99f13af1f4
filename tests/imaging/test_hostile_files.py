"""Files that are broken, or promise more than they hold: an image or one sentence, in little
memory, and at every reader."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from cscsr import InputError
from cscsr.cli import main
from cscsr.imaging import files, read_image, read_picture
from cscsr.limits import MAX_PIXELS_VARIABLE

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A grey PNG of 8 bits that says it has so many pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def tiff(data: bytes, pages: int = 1, loop: bool = False) -> bytes:
    """A deflated TIFF of 8x8 pixels of 16 bits, with smaller copies of the image as further pages;
    loop: whether the last page says that it is followed by itself."""
    content = bytearray(b"II*\0" + struct.pack("<I", 8 + len(data)) + data)
    for page in range(pages):
        tags = [(254, 1)] if page else []
        tags += [(256, 8), (257, 8), (258, 16), (259, 8), (262, 1), (273, 8), (277, 1), (278, 8)]
        tags += [(279, len(data)), (339, 1)]
        here = len(content)
        content += struct.pack("<H", len(tags))
        for code, value in tags:
            content += struct.pack("<HHII", code, 4, 1, value)
        last = page == pages - 1
        content += struct.pack("<I", (here if loop else 0) if last else len(content) + 4)
    return bytes(content)


def peak_megabytes(path: Path) -> tuple[int, str]:
    """The memory that a process takes for reading a file, beyond that of the imports, and what it
    says."""
    code = """
import resource, sys
from cscsr.imaging import read_picture
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
try:
    print(read_picture(sys.argv[1]).pixels.shape)
except ValueError as error:
    print(error)
print((peak() - before) // (1 if sys.platform != "darwin" else 1024) // 1024)
"""
    command = [sys.executable, "-c", code, str(path)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    said, megabytes = outcome.stdout.splitlines()
    return int(megabytes), said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the peak is asked of POSIX")
def test_small_file_costs_little(tmp_path):
    tifffile.imwrite(tmp_path / "tiles.tif", np.zeros((16, 16), np.uint16), tile=(16, 16))
    tiles = bytearray((tmp_path / "tiles.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "tiles.tif") as file:
        for name in ("TileWidth", "TileLength"):
            at = file.pages[0].tags[name].offset + 2
            tiles[at : at + 10] = struct.pack("<HII", 4, 1, 2**16)
    inflated = zlib.compress(bytes(2**26), 9)
    cases = {
        "thin.png": (png(1, 2**29, bytes(2**20)), "1x536870912 pixels, more than"),
        "thin-within-the-limit.png": (png(1, 2**26, bytes(2**20)), "a side may have at most"),
        "strip.tif": (tiff(inflated), "inflates to more than the 128 bytes"),
        "tiles.tif": (bytes(tiles), "tiles of 65536x65536 pixels"),
        "loop.tif": (tiff(zlib.compress(bytes(128)), 2, loop=True), "more than 1000 pages"),
        "chain.tif": (tiff(zlib.compress(bytes(128)), 20_000), "more than 1000 pages"),
    }
    for name, (content, says) in cases.items():
        (tmp_path / name).write_bytes(content)
        megabytes, said = peak_megabytes(tmp_path / name)
        assert says in said and name in said, name
        assert megabytes < 40, name
    (tmp_path / "sound.tif").write_bytes(tiff(zlib.compress(bytes(128)), 3))
    assert read_picture(tmp_path / "sound.tif").pixels.shape == (8, 8)


def test_limit_of_pixels_is_raised_by_the_option_and_the_variable(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    with pytest.raises(
        InputError, match=r"17x13 pixels, more than the limit of 220; .* --max-pixels"
    ):
        read_image(path, max_pixels=220)
    assert read_image(path, max_pixels=221).shape == (13, 17, 3)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "220")
    with pytest.raises(InputError, match="more than the limit of 220"):
        read_picture(path)
    (tmp_path / "set").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "set" / "a.png")
    data = ["--data", str(tmp_path)]
    commands = [
        ["upscale", str(path), "--scale", "2", "--solver", "bicubic", "--force"],
        ["score", str(path), str(path), "--scale", "2"],
        ["data", "check-leaks", "set", "set", *data],
        ["compare", "--datasets", "set", "--scales", "2", "--solvers", "bicubic", *data],
    ]
    commands[-1] += ["--metrics", "psnr", "--out", str(tmp_path / "out")]
    for command in commands:
        assert main(command) == 2, command
        assert "17x13 pixels, more than the limit of 220" in capsys.readouterr().err, command
        main([*command, "--max-pixels", "221"])
        assert "more than the limit" not in capsys.readouterr().err, command
        assert os.environ[MAX_PIXELS_VARIABLE] == "220", "the option is of one command"
    for value in ("0", "-3", "many"):
        assert main([*commands[0], "--max-pixels", value]) == 2
        assert "whole number of pixels from 1 for --max-pixels" in capsys.readouterr().err
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1e9")
    with pytest.raises(InputError, match="CSCSR_MAX_PIXELS, got '1e9'"):
        read_picture(path)


def test_training_images_are_bounded_too(tmp_path):
    from cscsr.csc_sr.training_images import read_luma
    from cscsr.data.datasets import ImageSource

    path = tmp_path / "a.png"
    path.write_bytes(png(2**15, 2**15))
    for read in (read_luma, lambda path: ImageSource("a", path).read()):
        with pytest.raises(InputError, match="--max-pixels"):
            read(path)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_image_without_pixels_is_a_sentence(tmp_path, size, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(png(*size, b"\0" * 5))
    elif suffix == "bmp":
        Image.fromarray(PIXELS).save(path)
        content = bytearray(path.read_bytes())
        content[18:26] = struct.pack("<II", *size)
        path.write_bytes(content)
    else:
        content = bytearray(tiff(zlib.compress(bytes(128))))
        first = struct.unpack("<I", content[4:8])[0] + 2
        for entry, value in zip((0, 1), size, strict=True):
            at = first + 12 * entry + 8
            content[at : at + 4] = struct.pack("<I", value)
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.{suffix}"):
        read_picture(path)


@pytest.mark.parametrize(
    "error",
    [
        AssertionError(),
        TypeError("two\nlines"),
        struct.error("short"),
        zlib.error("bad"),
        RecursionError("deep"),
        MemoryError(),
        IndexError("x" * 999),
        RuntimeError("\x1b[2J"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_a_sentence(tmp_path, monkeypatch, error):
    """A plugin of pillow that raises it while it reads a chunk."""
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)

    def broken(*_) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngStream, "chunk_IHDR", broken)
    with pytest.raises(InputError) as raised:
        read_picture(path)
    said = str(raised.value)
    assert str(path) in said and said.endswith(".")
    assert said.isprintable() and len(said) < len(str(path)) + 300


def test_fuzzed_files_give_an_image_or_a_sentence(tmp_path):
    image = Image.fromarray(PIXELS)
    seeds = []
    for kind in {*files._KINDS} & {"PNG", "BMP", "JPEG", "WEBP", "AVIF", "TIFF"}:
        image.save(content := io.BytesIO(), kind)
        seeds.append(content.getvalue())
    tifffile.imwrite(content := io.BytesIO(), PIXELS.astype(np.uint16), compression="zlib")
    seeds.append(content.getvalue())
    source, path = random.Random(1), tmp_path / "a"
    outcomes = {"image": 0, "sentence": 0}
    since = time.monotonic()
    for _ in range(600):
        content = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, 6)):
            at = source.randrange(min(len(content), source.choice([64, 200, len(content)])))
            content[at] = source.choice([0, 255, 1, 128, source.randrange(256)])
        path.write_bytes(content)
        try:
            assert read_picture(path).pixels.size > 0
            outcomes["image"] += 1
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            outcomes["sentence"] += 1
    assert min(outcomes.values()) > 30, outcomes
    assert time.monotonic() - since < 120
