"""The protocols: the paper's bicubic column, and what scoring must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data.datasets import demo, load_dataset
from cscsr.imaging import degrade, imresize, line_of, read_image, rgb_to_y, score
from cscsr.imaging.protocol import luma_psnr

# The paper's Table 1: PSNR in dB and SSIM at scales 2, 3, 4.
PUBLISHED_BICUBIC = {
    "Set5": [("33.66", "0.9299"), ("30.39", "0.8682"), ("28.42", "0.8104")],
    "Set14": [("30.24", "0.8688"), ("27.55", "0.7742"), ("26.00", "0.7027")],
    "B100": [("29.56", "0.8431"), ("27.21", "0.7385"), ("25.96", "0.6675")],
}


@pytest.fixture(scope="module")
def photographs():
    return dict(demo())


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["Set5", "Set14", pytest.param("B100", marks=pytest.mark.slow)])
def test_bicubic_on_line_y_is_the_papers(shared_data, name, scale):
    if not (shared_data / name).is_dir():
        pytest.skip(f"no {name} in {shared_data}")
    scores = [
        score(imresize(degrade(truth, scale, "y"), scale), truth, scale, "y")
        for _, truth in load_dataset(name, shared_data)
    ]
    psnr_db, ssim = np.mean([(s["psnr"], s["ssim"]) for s in scores], axis=0)
    published_psnr_db, published_ssim = PUBLISHED_BICUBIC[name][scale - 2]
    if name == "Set5":
        assert (f"{psnr_db:.2f}", f"{ssim:.4f}") == (published_psnr_db, published_ssim)
    else:
        assert psnr_db == pytest.approx(float(published_psnr_db), abs=0.015)
        assert ssim == pytest.approx(float(published_ssim), abs=0.001)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_line_rgb_gives_the_published_8_bit_images(shared_data, scale):
    truth = read_image(shared_data / "Set5" / "bird.png")
    published = read_image(shared_data / "lr_oracle" / f"Set5_x{scale}" / "bird.png")
    np.testing.assert_array_equal(degrade(truth, scale, "rgb"), (published / 255).astype("float32"))


def test_inputs_by_line(photographs):
    colour, grey = photographs["coffee"][:250, :251], photographs["camera"]
    assert degrade(colour, 3, "y").shape == (83, 83)
    assert degrade(colour, 3, "rgb").shape == (83, 83, 3)
    assert degrade(grey, 4, "y").shape == degrade(grey, 4, "rgb").shape == (64, 64)
    assert degrade(colour, 3, "y").dtype == degrade(grey, 4, "rgb").dtype == np.float32
    levels = degrade(grey, 4, "rgb").astype(np.float64) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    unrounded = degrade(grey, 4, "y").astype(np.float64) * 255
    assert np.abs(unrounded - np.rint(unrounded)).max() > 0.4


@pytest.mark.parametrize("line", ["y", "rgb"])
@pytest.mark.parametrize("name", ["camera", "chelsea"])
def test_score_rounds_once_and_leaves_out_the_border(photographs, line, name):
    truth = photographs[name][:254]  # 252 rows count at scale 3
    perfect = truth[:252, :255] / 255
    if line == "y" and perfect.ndim == 3:
        perfect = rgb_to_y(truth[:252, :255]) / 255
    almost = perfect + 0.49 / 255
    almost[:3], almost[-3:], almost[:, :3], almost[:, -3:] = 0.0, 1.0, 0.0, 1.0
    perfect = score(almost.astype(np.float32), truth, 3, line)
    assert perfect == {"psnr": math.inf, "ssim": pytest.approx(1.0)}
    almost[3, 3] = 0.0
    assert score(almost, truth, 3, line)["psnr"] < 80


def test_paper_gives_each_solver_its_line_and_common_gives_one():
    assert [line_of("paper", line) for line in ("y", "rgb")] == ["y", "rgb"]
    assert [line_of("common", line) for line in ("y", "rgb")] == ["rgb", "rgb"]


def test_bad_input_is_told_in_one_sentence(photographs):
    truth = photographs["chelsea"]
    with pytest.raises(InputError, match="unknown protocol 'papr': did you mean paper"):
        line_of("papr", "y")
    with pytest.raises(InputError, match="y or rgb, got 'paper'"):
        degrade(truth, 2, "paper")
    with pytest.raises(InputError, match="whole number"):
        degrade(truth, 1.5, "y")
    with pytest.raises(InputError, match="got float64"):
        degrade(truth / 255, 2, "y")
    with pytest.raises(InputError, match="smaller than the scale"):
        degrade(truth[:2], 3, "y")
    with pytest.raises(InputError, match=r"\(256, 256\), got \(256, 256, 3\)"):
        score(truth / 255, truth, 2, "y")
    with pytest.raises(InputError, match="NaN"):
        score(np.full(truth.shape, np.nan), truth, 2, "rgb")
    with pytest.raises(InputError, match="unknown metric 'psnrr': did you mean psnr"):
        score(truth / 255, truth, 2, "rgb", ["psnrr"])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_psnr_of_luma_is_nan_where_the_cut_leaves_nothing(scale):
    """One pixel more than the cut takes leaves one pixel, 1/255 of the range off."""
    for shape in ((2 * scale, 50), (50, 2 * scale)):
        assert math.isnan(luma_psnr(np.zeros(shape), np.full(shape, 1 / 255), scale))
    side = 2 * scale + 1
    black, grey = np.zeros((side, side)), np.full((side, side), 1 / 255)
    assert luma_psnr(black, grey, scale) == pytest.approx(20 * math.log10(255), abs=1e-9)
