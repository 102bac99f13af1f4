"""``cscsr upscale``: what it makes, and one sentence for everything it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cscsr
from cscsr import weights
from cscsr.cli import main
from cscsr.cli.upscale import DEFAULT_SOLVER


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_upscale_writes_beside_the_image_by_the_default_solver(photo, capsys):
    assert main(["upscale", str(photo), "--scale", "3"]) == 0
    out = photo.with_name("photo-x3.png")
    assert Image.open(out).size == (90, 72)
    assert Image.open(out).mode == "RGB"
    assert DEFAULT_SOLVER in capsys.readouterr().out
    assert files(photo.parent) == ["photo-x3.png", "photo.png"]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_upscale_keeps_grey_grey_in_every_format(photo, tmp_path, suffix):
    grey, out = tmp_path / f"grey{suffix}", tmp_path / f"out{suffix}"
    Image.open(photo).convert("L").save(grey)
    assert main(["upscale", str(grey), "--scale", "2", "--solver", "bicubic", "-o", str(out)]) == 0
    assert Image.open(out).mode == "L"
    assert Image.open(out).size == (60, 48)


def test_upscale_writes_what_the_solver_made(photo, tmp_path):
    out = tmp_path / "out.png"
    main(["upscale", str(photo), "--scale", "2", "--solver", "bicubic", "-o", str(out)])
    lr = np.asarray(Image.open(photo), np.float32) / 255
    estimate = cscsr.make_solver("bicubic").solve(cscsr.SuperResolution(lr, 2)).estimate
    written = np.asarray(Image.open(out), np.float32) / 255
    assert np.abs(written - np.clip(estimate, 0, 1)).max() <= 0.501 / 255


def test_existing_output_is_kept_without_force(photo, tmp_path, refused):
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    command = ["upscale", photo, "--scale", "2", "--solver", "bicubic", "-o", out]
    assert "--force" in refused(*command)
    assert out.read_bytes() == b"precious"
    assert main([str(argument) for argument in [*command, "--force"]]) == 0
    assert Image.open(out).size == (60, 48)


def test_existing_output_outlives_a_solve_that_fails(photo, tmp_path, refused):
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    short = tmp_path / "short.safetensors"
    short.write_bytes(weights.weights_path("crnet-b-small").read_bytes()[:1000])
    refused("upscale", photo, "--scale", 2, "-o", out, "--force", "--weights", short)
    assert out.read_bytes() == b"precious"
    assert files(tmp_path) == ["out.png", "photo.png", "short.safetensors"]


@pytest.mark.parametrize("scale", ["0", "-2", "1.5", "nan", "two"])
def test_scale_that_is_no_whole_number(photo, refused, scale):
    sentence = refused("upscale", photo, "--scale", scale, "--solver", "bicubic")
    assert sentence.startswith("scale must be a whole number of at least 1, got ")


@pytest.mark.parametrize("solver", ["crnet-a-small", "crnet-b-small"])
def test_scale_outside_those_of_a_network(photo, refused, solver):
    sentence = refused("upscale", photo, "--scale", "5", "--solver", solver)
    assert "x5" in sentence
    assert "x2, x3" in sentence


def test_unknown_solver_comes_with_the_nearest(photo, refused):
    sentence = refused("upscale", photo, "--scale", 2, "--solver", "crnet-b-smal")
    assert sentence.startswith("unknown solver 'crnet-b-smal': did you mean crnet-b-small")


def test_solver_of_the_other_problem(photo, refused):
    assert "bicubic" in refused("upscale", photo, "--scale", 2, "--solver", "fista")


def test_option_that_the_solver_does_not_have(photo, refused):
    sentence = refused("upscale", photo, "--scale", 2, "--solver", "bicubic", "--device", "cpu")
    assert "no parameter device" in sentence


def test_device_that_is_not_there(photo, refused):
    command = ["upscale", photo, "--scale", 2, "--device"]
    sentence = refused(*command, "gpu")
    assert "expected a device among cpu" in sentence
    assert sentence.endswith("got 'gpu'.")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        assert "cuda" in refused(*command, "cuda")


def test_image_that_is_missing_or_none(tmp_path, refused):
    text = tmp_path / "text.png"
    text.write_text("not an image")
    assert "text.png" in refused("upscale", text, "--scale", 2)
    assert "absent.png" in refused("upscale", tmp_path / "absent.png", "--scale", 2)
    assert "found none" in refused("upscale", make_folder(tmp_path / "empty"), "--scale", 2)


def test_image_cut_short(photo, tmp_path, refused):
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:-40])
    assert "cut.png" in refused("upscale", cut, "--scale", 2)


def test_image_smaller_than_the_filters(tmp_path, refused):
    tiny = tmp_path / "tiny.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tiny)
    for solver in ("csc-sr[ista]", "csc-sr[sporco-admm]"):
        assert "2" in refused("upscale", tiny, "--scale", 2, "--solver", solver)


def test_output_that_cannot_be_written(photo, tmp_path, refused):
    start = ["upscale", photo, "--scale", 2, "--solver", "bicubic", "-o"]
    assert "no folder" in refused(*start, tmp_path / "absent" / "out.png")
    assert ".png" in refused(*start, tmp_path / "out.gif")
    make_folder(tmp_path / "photo-x2.png")
    assert "is a folder" in refused(*start[:-1])
    assert files(tmp_path) == ["photo-x2.png", "photo.png"]


def test_output_in_a_folder_that_refuses(photo, tmp_path, refused):
    sealed = make_folder(tmp_path / "sealed")
    sealed.chmod(0o500)
    try:
        (sealed / "probe").touch()
    except PermissionError:
        pass
    else:  # root may write everywhere, except where the kernel says no
        sealed = Path("/proc/self")
        if not sealed.is_dir():
            pytest.skip("no folder here refuses the superuser")
    start = ["upscale", photo, "--scale", 2, "--solver", "bicubic", "-o"]
    assert "cannot be written" in refused(*start, sealed / "out.png")


def test_weight_file_cut_short(photo, tmp_path, refused):
    whole = weights.weights_path("crnet-b-small").read_bytes()
    short = tmp_path / "short.safetensors"
    for size in (0, 4, 1000, len(whole) - 1):
        short.write_bytes(whole[:size])
        assert "cut short" in refused("upscale", photo, "--scale", 2, "--weights", short)


def test_weight_file_that_is_missing_or_of_another_kind(photo, tmp_path, refused):
    absent = tmp_path / "absent.safetensors"
    assert "absent.safetensors" in refused("upscale", photo, "--scale", 2, "--weights", absent)
    maps = weights.weights_path("csc-sr-ista")
    assert str(maps) in refused("upscale", photo, "--scale", 2, "--weights", maps)
    network = weights.weights_path("crnet-b-small")
    start = ["upscale", photo, "--scale", 2, "--weights", network]
    assert str(network) in refused(*start, "--solver", "csc-sr[ista]")


def test_weights_without_a_solver_name_the_network(photo, tmp_path, capsys, refused):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(weights.weights_path("srcnn").read_bytes())
    start = ["upscale", photo, "--scale", 3, "--weights", file, "-o", tmp_path / "{solver}.png"]
    assert main([*map(str, start)]) == 0
    assert "by mine in" in capsys.readouterr().out
    named = [*start[:-3], weights.weights_path("srcnn"), "--solver", "srcnn", *start[-2:]]
    assert main([*map(str, named)]) == 0
    capsys.readouterr()
    assert (tmp_path / "mine.png").read_bytes() == (tmp_path / "srcnn.png").read_bytes()
    said = refused(*start, "--force", "--solver", "crnet-b-small")
    assert "mine.safetensors holds the architecture srcnn, but crnet-b-small is crnet-b" in said
    assert "mine.safetensors holds the architecture srcnn" in refused(
        "export", "crnet-a-small", tmp_path / "a.pt2", "--weights", file
    )
    assert main([*map(str, start), "--best"]) == 0
    assert (tmp_path / "mine+.png").is_file()
