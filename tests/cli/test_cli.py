"""The command `cscsr`: what it makes, and one sentence for everything it cannot do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import cscsr
from cscsr import weights
from cscsr.cli import DEFAULT_SOLVER, main


@pytest.fixture
def photo(tmp_path) -> Path:
    """A colour PNG of 30 x 24 pixels."""
    rows, columns = np.mgrid[:24, :30]
    pixels = np.stack([5 * rows, 4 * columns + 60, 100 + 50 * (columns > 12)], 2)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail: returns its one sentence, without the 'cscsr: '."""

    def run(*arguments) -> str:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # how argparse ends
            code = stopped.code
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert captured.err.startswith("cscsr: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        return captured.err.removeprefix("cscsr: ").strip()

    return run


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"cscsr {cscsr.__version__}\n"


def test_solvers_lists_every_one(capsys):
    assert main(["solvers"]) == 0
    printed = capsys.readouterr().out
    for name, summary in cscsr.list_solvers().items():
        assert f"  {name} " in printed
        assert summary in printed
    assert "cscsr upscale takes crnet-b-small, and crnet-b-small+ with --best." in printed


def test_package_that_cannot_be_loaded_does_not_hide_the_others(
    photo, tmp_path, monkeypatch, capsys, refused
):
    facts = tmp_path / "broken-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[cscsr.solvers]\nbad = no_such_module:Solver\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["solvers"]) == 0
    printed = capsys.readouterr().out
    assert "  crnet-b-small " in printed
    assert printed.endswith("Cannot be loaded: bad (from the package broken).\n")
    said = refused("upscale", photo, "--scale", 2, "--solver", "bad")
    assert "no_such_module" in said and "install that package again" in said


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


def test_score_of_an_image_with_itself_and_with_another(photo, tmp_path, capsys):
    assert main(["score", str(photo), str(photo), "--scale", "2"]) == 0
    assert capsys.readouterr().out.startswith("PSNR inf dB, SSIM 1.0000 ")
    brighter = tmp_path / "brighter.png"
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((30, 30), 100, np.uint8)).save(grey)
    Image.fromarray(np.full((30, 30), 101, np.uint8)).save(brighter)
    assert main(["score", str(brighter), str(grey), "--scale", "3"]) == 0
    assert capsys.readouterr().out.startswith("PSNR 48.13 dB, ")  # 20 log10(255)


def test_score_explains_what_each_choice_is_worth(photo, tmp_path, capsys):
    out = tmp_path / "out.png"
    shifted = np.asarray(Image.open(photo)).astype(int) + np.array([9, 0, -9])
    Image.fromarray(shifted.clip(0, 255).astype(np.uint8)).save(out)
    assert main(["score", str(out), str(photo), "--scale", "2", "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    figure = lines[0].split()[1]
    (protocol,) = [line for line in lines if line.startswith("the protocol")]
    assert figure in protocol
    (rgb,) = [line for line in lines if line.startswith("RGB")]
    assert float(rgb.split()[-1]) < -3  # the colours are wrong, and luma hardly sees it
    assert any(line.startswith("shrunk by OpenCV") for line in lines)


def test_score_of_16_bits_and_of_luma(photo, tmp_path, capsys):
    from cscsr.imaging import rgb_to_y

    pixels = np.asarray(Image.open(photo))
    tifffile.imwrite(tmp_path / "deep.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    assert main(["score", str(tmp_path / "deep.tif"), str(photo), "--scale", "2"]) == 0
    assert capsys.readouterr().out == "PSNR inf dB, SSIM 1.0000 (protocol rgb, x2)\n"
    Image.fromarray(rgb_to_y(pixels)).save(tmp_path / "luma.png")
    assert main(["score", str(tmp_path / "luma.png"), str(photo), "--scale", "2"]) == 0
    assert capsys.readouterr().out == "PSNR inf dB, SSIM 1.0000 (protocol y, x2)\n"


def test_score_of_images_that_do_not_belong_together(photo, tmp_path, refused):
    grey, glass = tmp_path / "grey.png", tmp_path / "glass.png"
    Image.open(photo).convert("L").save(grey)
    image = Image.open(photo).convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 0))
    image.save(glass)
    scale = ["--scale", 2]
    assert "should be grey, as TRUTH is" in refused("score", photo, grey, *scale)
    assert "as luma is" in refused("score", photo, photo, *scale, "--protocol", "y")
    assert "--protocol y" in refused("score", grey, photo, *scale, "--protocol", "rgb")
    assert "transparent" in refused("score", glass, photo, *scale)
    assert "there is no file" in refused("score", tmp_path / "no.png", photo, *scale)
    assert "scale must be" in refused("score", photo, photo, "--scale", "x")


def test_data_list_counts_the_images_of_each_set(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[:3] == ["demo", "5", "images"]
    folder = tmp_path / "Set5"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(folder / name)
    assert main(["data", "list", "--data", str(tmp_path)]) == 0
    assert ["Set5", "2", "images"] in [
        line.split()[:3] for line in capsys.readouterr().out.splitlines()
    ]


def test_python_m_runs_the_command(photo):
    done = subprocess.run(
        [sys.executable, "-m", "cscsr", "upscale", str(photo), "--scale", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "cscsr: scale must be a whole number of at least 1, got 0.\n"


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
    assert "found none" in refused("upscale", _folder(tmp_path / "empty"), "--scale", 2)


def test_image_cut_short(photo, tmp_path, refused):
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:-40])
    assert "cut.png" in refused("upscale", cut, "--scale", 2)


def test_image_smaller_than_the_filters(tmp_path, refused):
    tiny = tmp_path / "tiny.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tiny)
    for solver in ("csc-sr[ista]", "csc-sr[sporco-admm]"):
        assert "2" in refused("upscale", tiny, "--scale", 2, "--solver", solver)


def test_truth_smaller_than_the_scale_or_of_another_size(photo, tmp_path, refused):
    tiny = tmp_path / "tiny.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tiny)
    assert "smaller than the scale" in refused("score", tiny, tiny, "--scale", 3)
    assert "one size" in refused("score", tiny, photo, "--scale", 2)


def test_output_that_cannot_be_written(photo, tmp_path, refused):
    start = ["upscale", photo, "--scale", 2, "--solver", "bicubic", "-o"]
    assert "no folder" in refused(*start, tmp_path / "absent" / "out.png")
    assert ".png" in refused(*start, tmp_path / "out.webp")
    _folder(tmp_path / "photo-x2.png")
    assert "is a folder" in refused(*start[:-1])
    assert files(tmp_path) == ["photo-x2.png", "photo.png"]


def test_output_in_a_folder_that_refuses(photo, tmp_path, refused):
    sealed = _folder(tmp_path / "sealed")
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


def test_data_folder_that_is_missing(tmp_path, refused):
    assert "absent" in refused("data", "list", "--data", tmp_path / "absent")


def test_empty_data_folder_is_told_what_can_be_fetched(tmp_path, capsys):
    assert main(["data", "list", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"cscsr data fetch Set5 --data {tmp_path}\n" in said
    assert said.splitlines()[-1].startswith("There is no image")


def test_training_without_images_recipe_or_time(tmp_path, refused, monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)  # its runs are not these
    assert "CSCSR_DATA" in refused("train", "crnet-b-small")
    assert "did you mean crnet-b-small" in refused("train", "crnet-b-smal")
    assert "absent" in refused("train", "crnet-b-small", "--data", tmp_path / "absent")
    assert "crnet-b-small" in refused("train", "crnet-b-smal", "--data", tmp_path)
    assert "positive" in refused("train", "crnet-b-small", "--data", tmp_path, "--minutes", 0)
    assert "images" in refused("train", "crnet-b-small", "--data", tmp_path)
    (tmp_path / "Set5").mkdir()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "Set5" / "a.png")
    remedy = f"cscsr data fetch T91 --data {tmp_path}"
    assert remedy in refused("train", "crnet-b-small", "--data", tmp_path, "--steps", 1)
    assert "--minutes" in refused("train", "csc-sr", "--data", tmp_path, "--minutes", 1)


def test_command_without_arguments_or_with_wrong_ones(refused):
    assert "COMMAND" in refused()
    assert "upscal" in refused("upscal")
    assert "--scale" in refused("upscale", "photo.png")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
