"""Files as people have them, enlarged: what a result keeps, what is refused, what is left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cscsr.cli import main
from cscsr.imaging.files import read_picture

PIXELS = (np.mgrid[:24, :30].sum(0)[..., None] * (4, 3, 2) + (0, 40, 90)).astype(np.uint8)


@pytest.fixture
def photo(tmp_path) -> Path:
    """A colour PNG of 30 x 24 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    return path


def upscale(*arguments, scale: object = 2, solver: str | None = "bicubic") -> int:
    """The exit code of ``cscsr upscale`` with these arguments."""
    options = ["--scale", str(scale)] + (["--solver", solver] if solver else [])
    try:
        return main(["upscale", *map(str, arguments), *options])
    except SystemExit as stopped:  # how argparse ends
        return stopped.code


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


# What is kept -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_and_alpha_go_through(tmp_path, channels, suffix, capsys):
    deep = np.dstack([PIXELS, PIXELS[..., :1]])[..., -channels:].astype(np.uint16) * 257 + 3
    photometric = "rgb" if channels > 2 else "minisblack"
    extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    source = tmp_path / "deep.tif"
    tifffile.imwrite(source, deep.squeeze(), photometric=photometric, **extra)
    out = tmp_path / f"out{suffix}"
    assert upscale(source, "-o", out) == 0
    assert "16 bits" in capsys.readouterr().out
    picture = read_picture(out)
    assert picture.pixels.dtype == np.uint16
    assert picture.pixels.shape == ((48, 60, 3) if channels > 2 else (48, 60))
    assert (picture.alpha is not None) == (channels in (2, 4))
    inside = picture.pixels.reshape(48, 60, -1)[6:-6, 6:-6].astype(int)
    wanted = np.kron(deep[..., : inside.shape[2]], np.ones((2, 2, 1), int))[6:-6, 6:-6]
    assert np.abs(inside - wanted).max() < 5 * 257  # a slope of at most 4 a pixel


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_colour_profile_and_resolution_go_through(tmp_path, suffix):
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(PIXELS).save(source, icc_profile=b"profile" * 30, dpi=(300, 300))
    assert upscale(source, "-o", out) == 0
    info = Image.open(out).info
    assert info["icc_profile"] == b"profile" * 30
    assert info["dpi"] == pytest.approx((300, 300), rel=1e-3)


def test_photograph_is_upright_afterwards(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif, quality=100)
    assert upscale(tmp_path / "a.jpg") == 0
    with Image.open(tmp_path / "a-x2.png") as large:
        assert large.size == (48, 60)
        assert large.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_mode_of_the_result(tmp_path, mode):
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
    assert upscale(tmp_path / "a.png") == 0
    expected = {"1": "L", "P": "RGB"}.get(mode, mode)
    assert Image.open(tmp_path / "a-x2.png").mode == expected


def test_best_and_default_are_solvers_and_exclude_each_other(photo, capsys):
    Image.fromarray(PIXELS[:9, :9]).save(photo)
    assert upscale(photo, "--best", solver=None) == 0
    assert "crnet" in capsys.readouterr().out
    assert upscale(photo, "--best") == 2
    assert "not allowed with" in capsys.readouterr().err


# Several ------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path) -> Path:
    """A folder with two images, one of them in a folder of its own, and a text."""
    for name in ("album/a.png", "album/b.bmp", "album/deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS).save(tmp_path / name)
    (tmp_path / "album" / "notes.txt").write_text("no image")
    return tmp_path / "album"


def test_folder_is_done_again_without_doing_anything_twice(album, capsys):
    assert upscale(album) == 0
    done = ["a-x2.png", "a.png", "b-x2.png", "b.bmp", "deep/c.png", "notes.txt"]
    assert names(album) == done
    (album / "b-x2.png").write_bytes(b"precious")
    (album / "a-x2.png").unlink()
    capsys.readouterr()
    assert upscale(album) == 0
    assert names(album) == done
    assert (album / "b-x2.png").read_bytes() == b"precious"
    assert "1 of 2 skipped" in capsys.readouterr().out
    assert upscale(album, "--force") == 0
    assert Image.open(album / "b-x2.png").size == (60, 48)
    assert names(album) == done


def test_patterns_and_several_into_a_new_folder(album, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert upscale("album/**/*.png", "album/b.bmp", "album/a.png", "-o", "large") == 0
    assert names(tmp_path / "large") == ["a-x2.png", "b-x2.png", "c-x2.png"]
    assert upscale("album", "-o", "large/{solver}_{name}@{scale}.tif") == 0
    assert "bicubic_a@2.tif" in names(tmp_path / "large")
    assert upscale("album/a.png", "-o", "one/") == 0
    assert names(tmp_path / "one") == ["a-x2.png"]


def test_one_that_fails_does_not_stop_the_others(album, capsys):
    (album / "a.png").write_bytes(b"no image")
    assert upscale(album) == 1
    assert "b-x2.png" in names(album)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"cscsr: {album}: left out 1 file (.txt) and 1 folder (--recursive takes what is in it)",
        f"cscsr: {album / 'a.png'} is not a complete PNG, TIFF, BMP, JPEG, WebP or AVIF image.",
        "cscsr: 1 of 2 images could not be enlarged; see above.",
    ]


@pytest.mark.slow
def test_several_processes_write_what_one_does(album, tmp_path, capsys):
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    (album / "broken.png").write_bytes(b"this is no image")
    here, there = tmp_path / "here", tmp_path / "there"
    code = upscale(album, "-o", f"{here}/", solver="crnet-b-small")
    one = capsys.readouterr()
    assert upscale(album, "-o", f"{there}/", "--jobs", 2, solver="crnet-b-small") == code != 0
    two = capsys.readouterr()
    assert "broken.png" in two.err
    assert len(two.out.splitlines()) == len(one.out.splitlines()) > 1
    assert names(there) == names(here)
    for name in names(here):
        np.testing.assert_array_equal(
            np.asarray(Image.open(there / name)), np.asarray(Image.open(here / name))
        )
    assert upscale(album, "-o", f"{there}/", "--jobs", 2, solver="crnet-b-small") == code
    assert "skipped, because their results exist" in capsys.readouterr().out


def test_number_of_jobs_is_a_whole_number(photo, capsys):
    assert upscale(photo, "--jobs", "many") == 2
    assert "at least 1, got 'many'" in capsys.readouterr().err


def test_file_that_is_named_like_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "a[1].png"
    Image.fromarray(PIXELS).save(path)
    assert upscale(path) == 0
    assert names(tmp_path) == ["a[1]-x2.png", "a[1].png"]


def test_longest_name_that_a_disk_takes_can_be_written(photo):
    out = photo.with_name("a" * 251 + ".png")
    assert upscale(photo, "-o", out) == 0
    assert names(photo.parent) == [out.name, photo.name]


# Refused ------------------------------------------------------------------------------


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Name of the case: arguments of the command, and what its sentence must say."""
    image = Image.fromarray(PIXELS)
    photo = folder / "photo.png"
    image.save(photo)
    (folder / "text.png").write_text("no image")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(photo.read_bytes()[:-60])
    image.save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:400])
    tifffile.imwrite(folder / "nan.tif", np.full((9, 9), np.nan, np.float32))
    image.convert("CMYK").save(folder / "print.jpg")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    image.convert("RGBA").save(folder / "glass.png")
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    image.save(folder / "other" / "photo.png")
    Image.fromarray(PIXELS[:1]).resize((40_000, 1)).save(folder / "long.png")
    solve = ["--scale", "2", "--solver", "bicubic"]
    return {
        "missing": ([folder / "absent.png", *solve], "there is no file"),
        "no image": ([folder / "text.png", *solve], "is not a complete PNG, TIFF, BMP, JPEG"),
        "empty file": ([folder / "nothing.png", *solve], "it is empty"),
        "cut PNG": ([folder / "cut.png", *solve], "cut.png is not a complete"),
        "cut JPEG": ([folder / "cut.jpg", *solve], "cut.jpg is not a complete"),
        "NaN": ([folder / "nan.tif", *solve], "floating-point samples"),
        "CMYK": ([folder / "print.jpg", *solve], "the colour space CMYK"),
        "GIF": ([folder / "moving.gif", *solve], "but GIF; save it as PNG"),
        "scale 0": ([photo, "--scale", "0"], "whole number of at least 1, got 0"),
        "scale x": ([photo, "--scale", "x"], "whole number of at least 1, got 'x'"),
        "scale 5": ([photo, "--scale", "5"], "not for x5; bicubic supports any scale"),
        "no scale": ([photo], "--scale"),
        "solver": ([photo, "--scale", "2", "--solver", "bicubik"], "did you mean bicubic"),
        "output exists": ([photo, *solve, "-o", folder / "whole.jpg"], "give --force"),
        "itself": ([photo, *solve, "-o", photo, "--force"], "would replace itself"),
        "no folder": ([photo, *solve, "-o", folder / "no" / "a.png"], "there is no folder"),
        "file as folder": ([photo, *solve, "-o", photo / "a.png"], "is a file"),
        "format": ([photo, *solve, "-o", folder / "a.gif"], "must end in .png"),
        "no suffix": ([photo, *solve, "-o", folder / "a"], "must end in .png"),
        "alpha": ([folder / "glass.png", *solve, "-o", folder / "a.jpg"], "write a .png or .tif"),
        "too long": (
            [folder / "long.png", *solve, "-o", folder / "a.jpg"],
            "at most 65500 per side",
        ),
        "empty folder": ([folder / "empty", *solve], "found none"),
        "empty pattern": ([folder / "*.webp", *solve], "found none"),
        "two to one": ([photo, folder / "other", *solve, "-o", folder / "new/"], "both become"),
        "several to a file": ([photo, photo.parent, *solve, "-o", "a.png"], "cannot become one"),
        "bad pattern": ([photo, *solve, "-o", "{nam}.png"], "may use {name}"),
        "inside of a name": ([photo, *solve, "-o", "{name.__class__}.png"], "may use {name}"),
        "broken pattern": ([photo, *solve, "-o", "{name.png"], "may use {name}"),
        "unset variable": (["", *solve], "is empty"),
        "empty result": ([photo, *solve, "-o", ""], "is empty"),
        "long name": ([photo, *solve, "-o", folder / f"{'a' * 300}.png"], "name too long"),
        "long image": ([folder / f"{'a' * 300}.png", *solve], "name too long"),
        "too large": ([photo, "--scale", 10**9, "--solver", "bicubic"], "enlarge it less"),
    }


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    cases = bad_inputs(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for case, (arguments, says) in cases.items():
        try:
            code = main(["upscale", *map(str, arguments)])
        except SystemExit as stopped:
            code = stopped.code
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, ""), case
        assert captured.err.startswith("cscsr: ") and captured.err.count("\n") == 1, case
        assert captured.err.endswith((".\n", "?\n")), case
        assert says in captured.err, case
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before, case


def test_image_whose_pixels_are_too_many_is_refused_at_once(tmp_path, capsys):
    """A header of a few bytes that promises 20 thousand million pixels."""
    Image.new("1", (8, 8)).save(tmp_path / "a.bmp")
    header = bytearray((tmp_path / "a.bmp").read_bytes())
    header[18:26] = (200_000).to_bytes(4, "little") + (100_000).to_bytes(4, "little")
    (tmp_path / "a.bmp").write_bytes(header)
    assert upscale(tmp_path / "a.bmp") == 2
    assert "200000x100000 pixels" in capsys.readouterr().err


# Interrupted --------------------------------------------------------------------------


def test_interrupted_by_a_signal_leaves_what_was_there(tmp_path):
    """A process of its own, sent Ctrl-C when its temporary file is there."""
    if sys.platform == "win32":
        pytest.skip("Windows has no SIGINT for another process")
    Image.fromarray(np.tile(PIXELS, (80, 80, 1))).save(tmp_path / "a.png")
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    command = [sys.executable, "-m", "cscsr", "upscale", str(tmp_path / "a.png")]
    command += ["--scale", "8", "--solver", "bicubic", "-o", str(out), "--force"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    came = threading.Event()
    for _ in range(6000):
        if any(path.name.endswith(".partial") for path in tmp_path.iterdir()):
            came.set()
            break
        threading.Event().wait(0.01)
    assert came.is_set()
    child.send_signal(2)
    assert child.communicate()[1].endswith("cscsr: interrupted.\n")
    assert child.returncode == 130
    assert out.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["a.png", "out.png"]
