"""The options of ``cscsr upscale`` on formats, quality and parts, and its bars."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from cscsr.cli import main
from cscsr.cli.batch import _BAR
from cscsr.imaging.encoders import SUFFIXES
from cscsr.imaging.files import read_picture


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    Image.fromarray(astronaut()[40:136, 170:266]).save(path)
    return path


def upscale(*words, solver="bicubic") -> int:
    return main(["upscale", *map(str, words), "--scale", "2", "--solver", solver])


LOSSY = [
    pytest.param(
        suffix,
        marks=[] if suffix in SUFFIXES else pytest.mark.skip(f"pillow has no {suffix}"),
    )
    for suffix in (".jpg", ".webp", ".avif")
]


@pytest.mark.parametrize("suffix", LOSSY)
def test_a_lower_quality_makes_a_smaller_file_and_a_larger_error(face, tmp_path, suffix):
    exact = tmp_path / "exact.png"
    assert upscale(face, "-o", exact) == 0
    truth = read_picture(exact).pixels.astype(float)
    sizes, errors = [], []
    for quality in (20, 60, 95):
        out = tmp_path / f"q{quality}{suffix}"
        assert upscale(face, "-o", out, "--quality", quality) == 0
        sizes.append(out.stat().st_size)
        errors.append(np.abs(read_picture(out).pixels - truth).mean())
    assert sizes == sorted(sizes) and sizes[0] < 0.6 * sizes[-1]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 4


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_a_format_without_loss_has_no_quality(photo, refused, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    sentence = refused(
        *("upscale", photo, "--scale", "2", "--solver", "bicubic", "-o", out, "--quality", "80")
    )
    assert "without loss and have no quality" in sentence
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--quality", "0"),
        ("--quality", "101"),
        ("--quality", "high"),
        ("--tile", "0"),
        ("--tile", "-4"),
        ("--tile", "1.5"),
        ("--tile", "²"),
    ],
)
def test_numbers_out_of_range_are_refused(photo, refused, tmp_path, option, value):
    sentence = refused(
        "upscale", photo, "--scale", "2", "-o", tmp_path / "out.jpg", f"{option}={value}"
    )
    assert f"{option} must be a whole number from 1 to" in sentence and repr(value) in sentence


@pytest.mark.parametrize("name", ["jpg", "TIF", ".bmp"])
def test_the_format_of_results_that_are_not_named(face, tmp_path, name):
    suffix = f".{name.lower().lstrip('.')}"
    assert upscale(face, "--format", name) == 0
    with Image.open(tmp_path / f"face-x2{suffix}") as written:
        assert written.format == SUFFIXES[suffix]
    (tmp_path / "album").mkdir()
    assert upscale(face, "-o", f"{tmp_path}/large/", "--format", name) == 0
    assert (tmp_path / "large" / f"face-x2{suffix}").is_file()


def test_a_format_against_the_name_is_refused(photo, refused, tmp_path):
    for out in ("out.png", "{name}-large.png"):
        sentence = refused(
            "upscale", photo, "--scale", "2", "-o", tmp_path / out, "--format", "jpg"
        )
        assert "names the format PNG, and --format JPEG" in sentence
    sentence = refused("upscale", photo, "--scale", "2", "--format", "gif")
    assert "--format must be one of png, tif, bmp, jpg" in sentence and "'gif'" in sentence
    assert upscale(photo, "-o", tmp_path / "out.jpeg", "--format", "jpg") == 0


@pytest.mark.slow
def test_smaller_parts_give_the_same_image(face, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole.png", tmp_path / "parts.png"
    assert upscale(face, "-o", whole, solver="crnet-b-small") == 0
    windows = []
    from cscsr.network import NetworkSolver

    solve = NetworkSolver.solve

    def counted(self, problem, **options):
        windows.append(problem.lr.shape)
        return solve(self, problem, **options)

    monkeypatch.setattr(NetworkSolver, "solve", counted)
    assert upscale(face, "-o", parts, "--tile", "24", solver="crnet-b-small") == 0
    assert len(windows) >= 4
    difference = np.abs(
        read_picture(whole).pixels.astype(int) - read_picture(parts).pixels.astype(int)
    )
    assert difference.max() <= 1


def test_a_solver_of_whole_images_has_no_parts(photo, refused, tmp_path):
    (tmp_path / "whole_sr.py").write_text(
        "from dataclasses import dataclass\n"
        "from cscsr.bicubic import Bicubic\n"
        "@dataclass(frozen=True)\n"
        "class Whole(Bicubic):\n"
        "    name = 'whole'\n"
        "    def halo(self, scale):\n"
        "        return None\n"
    )
    metadata = tmp_path / "whole_sr-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: whole-sr\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[cscsr.solvers]\nwhole = whole_sr:Whole\n")
    sys.path.insert(0, str(tmp_path))
    try:
        sentence = refused(
            "upscale",
            photo,
            "--scale",
            "2",
            "--solver",
            "whole",
            "--tile",
            "8",
            "-o",
            tmp_path / "out.png",
        )
    finally:
        sys.path.remove(str(tmp_path))
    assert "whole takes the image as a whole" in sentence


def test_the_bar_says_what_is_done_and_the_time_left():
    from tqdm import tqdm

    shown = io.StringIO()
    bar = tqdm(total=4, unit="parts", desc="face.png", file=shown, bar_format=_BAR, ncols=100)
    bar.start_t -= 10
    bar.update(2)
    bar.refresh()
    bar.close()
    last = shown.getvalue().split("\r")[-1]
    assert last.startswith("face.png: 2 of 4 parts |") and "left" in last and "gone" in last
