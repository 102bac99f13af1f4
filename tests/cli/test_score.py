"""``cscsr score``: figures of known images, and images that do not belong together."""

from __future__ import annotations

import numpy as np
import tifffile
from PIL import Image

from cscsr.cli import main


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
    (rgb,) = [line for line in lines if line.startswith("RGB:")]
    assert float(rgb.split()[-1]) < -3  # the colours are wrong, and luma hardly sees it
    assert any(line.startswith("shrunk by OpenCV") for line in lines)


def test_score_of_16_bits_and_of_luma(photo, tmp_path, capsys):
    from cscsr.imaging import rgb_to_y

    pixels = np.asarray(Image.open(photo))
    tifffile.imwrite(tmp_path / "deep.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    assert main(["score", str(tmp_path / "deep.tif"), str(photo), "--scale", "2"]) == 0
    assert capsys.readouterr().out == "PSNR inf dB, SSIM 1.0000 (line rgb, x2)\n"
    Image.fromarray(rgb_to_y(pixels)).save(tmp_path / "luma.png")
    assert main(["score", str(tmp_path / "luma.png"), str(photo), "--scale", "2"]) == 0
    assert capsys.readouterr().out == "PSNR inf dB, SSIM 1.0000 (line y, x2)\n"


def test_score_of_images_that_do_not_belong_together(photo, tmp_path, refused):
    grey, glass = tmp_path / "grey.png", tmp_path / "glass.png"
    Image.open(photo).convert("L").save(grey)
    image = Image.open(photo).convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 0))
    image.save(glass)
    scale = ["--scale", 2]
    assert "should be grey, as TRUTH is" in refused("score", photo, grey, *scale)
    assert "as luma is" in refused("score", photo, photo, *scale, "--line", "y")
    assert "--line y" in refused("score", grey, photo, *scale, "--line", "rgb")
    assert "transparent" in refused("score", glass, photo, *scale)
    assert "there is no file" in refused("score", tmp_path / "no.png", photo, *scale)
    assert "scale must be" in refused("score", photo, photo, "--scale", "x")


def test_truth_smaller_than_the_scale_or_of_another_size(photo, tmp_path, refused):
    tiny = tmp_path / "tiny.png"
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tiny)
    assert "smaller than the scale" in refused("score", tiny, tiny, "--scale", 3)
    assert "the same size" in refused("score", tiny, photo, "--scale", 2)


def test_score_names_what_another_program_measures_by(photo, tmp_path, capsys, refused):
    from skimage.metrics import peak_signal_noise_ratio

    pixels, out = np.asarray(Image.open(photo)), tmp_path / "out.png"
    shifted = (pixels.astype(int) + np.array([9, 0, -9])).clip(0, 255).astype(np.uint8)
    Image.fromarray(shifted).save(out)
    other = peak_signal_noise_ratio(pixels, shifted)
    command = ["score", str(out), str(photo), "--scale", "1", "--other", f"{other:.2f}"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{other:.2f} dB is measured by:" in said and "RGB, no pixels cut off" in said
    assert main([*command[:-1], "3"]) == 0
    assert "No choice of channels and border measures 3.00 dB" in capsys.readouterr().out
    assert "--other" in refused(*command[:-1], "nan")
