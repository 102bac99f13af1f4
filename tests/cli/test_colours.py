"""What says the meaning of the colours is kept in every format that holds it, or said to be lost.

Profiles and chunks are read from the results by pillow.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from cscsr.cli import main
from cscsr.imaging.encoders import SUFFIXES

PIXELS = (np.random.default_rng(0).random((12, 10, 3)) * 255).astype(np.uint8)
FORMATS = ["png", "tif", "bmp", "jpg", "webp", "avif"]

SRGB_GAMMA = (b"gAMA", struct.pack(">I", 45455))
LINEAR = (b"gAMA", struct.pack(">I", 100000))
WIDE = (
    b"cHRM",
    struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
)  # the primaries of DCI-P3
BT2020_PQ = (b"cICP", bytes([9, 16, 0, 1]))
SRGB = (b"sRGB", b"\0")


def profile(space: bytes) -> bytes:
    """The header of an ICC profile of a colour space, "RGB " or "GRAY" (ICC.1, section 7.2)."""
    header = bytearray(128)
    header[16:20], header[36:40] = space, b"acsp"
    return bytes(header)


def with_chunks(path: Path, *chunks: tuple[bytes, bytes]) -> None:
    """Put chunks behind the header of a PNG, which ends with its 33rd byte."""
    content = path.read_bytes()
    made = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(content[:33] + made + content[33:])


def chunks_of(path: Path) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, whose checksums are right."""
    content, at, chunks = path.read_bytes(), 8, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        start, end = at + 8, at + 8 + length
        assert struct.unpack_from(">I", content, end) == (zlib.crc32(content[at + 4 : end]),)
        chunks.append((content[at + 4 : start], content[start:end]))
        at = end + 4
    return chunks


def upscale(source: Path, suffix: str) -> Path:
    """The file that a source is enlarged into."""
    if f".{suffix}" not in SUFFIXES:
        pytest.skip(f"this pillow has no {suffix}")
    out = source.with_name(f"out.{suffix}")
    assert (
        main(["upscale", str(source), "--scale", "2", "--solver", "bicubic", "-o", str(out)]) == 0
    )
    return out


@pytest.mark.parametrize("source", ["png", "tif", "jpg", "webp", "avif"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_profile_goes_from_every_format_to_every_other(tmp_path, capsys, source, suffix):
    if source in ("webp", "avif") and not features.check(source):
        pytest.skip(f"this pillow has no {source}")
    stated = profile(b"RGB ")
    Image.fromarray(PIXELS).save(tmp_path / f"in.{source}", icc_profile=stated)
    out = upscale(tmp_path / f"in.{source}", suffix)
    said = capsys.readouterr().err
    if suffix == "bmp":
        assert "does not say what the colour profile of" in said
    else:
        assert Image.open(out).info["icc_profile"] == stated and said == ""


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("alpha", [False, True])
def test_profile_of_grey_goes_where_grey_is_grey(tmp_path, capsys, suffix, alpha):
    grey = PIXELS[..., 0]
    image = np.dstack([grey, grey]) if alpha else grey
    Image.fromarray(image).save(tmp_path / "in.png", icc_profile=profile(b"GRAY"))
    if alpha and suffix in ("jpg", "bmp"):
        pytest.skip(f"{suffix} has no alpha")
    out = upscale(tmp_path / "in.png", suffix)
    said = capsys.readouterr().err
    with Image.open(out) as large:
        if suffix in ("bmp", "webp", "avif"):
            assert "icc_profile" not in large.info
            assert "does not say what the colour profile of" in said
        else:
            assert large.mode == ("LA" if alpha else "L")
            assert large.info["icc_profile"] == profile(b"GRAY") and said == ""


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("chunks", "lost"),
    [
        ([SRGB, SRGB_GAMMA], ""),
        ([LINEAR], "gAMA"),
        ([SRGB_GAMMA, WIDE], "cHRM"),
        ([LINEAR, WIDE], "gAMA and cHRM"),
        ([BT2020_PQ], "cICP"),
    ],
)
def test_chunks_of_a_png_are_kept_in_a_png_and_else_said_to_be_lost(
    tmp_path, capsys, suffix, chunks, lost
):
    source = tmp_path / "in.png"
    Image.fromarray(PIXELS).save(source)
    with_chunks(source, *chunks)
    out = upscale(source, suffix)
    said = capsys.readouterr().err
    if suffix == "png":
        assert chunks_of(out)[1 : 1 + len(chunks)] == chunks and said == ""
    elif lost:
        assert said == (
            f"cscsr: {out} does not say what {lost} of {source} said of its colours; write a .png "
            "file to keep it.\n"
        )
    else:
        assert said == ""


@pytest.mark.parametrize(("suffix", "lost"), [("tif", False), ("bmp", True)])
def test_a_profile_that_is_kept_speaks_for_gamma_and_primaries(tmp_path, capsys, suffix, lost):
    source = tmp_path / "in.png"
    Image.fromarray(PIXELS).save(source, icc_profile=profile(b"RGB "))
    with_chunks(source, LINEAR)
    upscale(source, suffix)
    assert ("the colour profile and gAMA" in capsys.readouterr().err) is lost


def test_webp_and_avif_of_a_folder_and_of_those_under_it_are_taken(tmp_path, capsys):
    kinds = [kind for kind in ("webp", "avif") if features.check(kind)]
    if not kinds:
        pytest.skip("this pillow has neither WebP nor AVIF")
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for kind in kinds:
        Image.fromarray(PIXELS).save(folder / f"a-{kind}.{kind}")
        Image.fromarray(PIXELS).save(folder / "trip" / f"b-{kind}.{kind.upper()}", kind)
    (folder / "phone.heic").touch()
    command = ["upscale", str(folder), "--scale", "2", "--solver", "bicubic"]
    large = tmp_path / "large"
    assert main([*command, "-o", str(large)]) == 0
    assert sorted(path.name for path in large.rglob("*.*")) == sorted(
        f"a-{kind}-x2.png" for kind in kinds
    )
    said = capsys.readouterr().err
    assert "left out 1 file (.heic) and 1 folder (--recursive takes what is in it)" in said
    for kind in kinds:
        assert main([*command, "-r", "-o", str(large), "--format", kind]) == 0
    names = {path.relative_to(large).as_posix() for path in large.rglob("*.*")}
    for kind in kinds:
        assert {f"trip/b-{source}-x2.{kind}" for source in kinds} <= names
        assert Image.open(large / f"a-{kind}-x2.{kind}").size == (20, 24)
