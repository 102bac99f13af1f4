"""Each line of the explanation is the figure that the other program would print."""

from __future__ import annotations

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data.datasets import demo
from cscsr.imaging import crop_border, degrade, imresize, psnr, score, to_uint8
from cscsr.imaging.explain import as_measured, as_text, combinations, explain

SCALE = 3


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A photograph of 8 bits, and bicubic's enlargement of it shrunk."""
    truth = dict(demo())["chelsea"][:120, :150]
    small = degrade(truth, SCALE, "rgb").astype(float)
    return to_uint8(imresize(small, SCALE)) / 255, truth


def line_of(lines, start: str):
    (line,) = [line for line in lines if line.choice.startswith(start)]
    return line


def test_first_line_is_the_protocol(pair):
    estimate, truth = pair
    measures, resizes = explain(estimate, truth, SCALE)
    assert (measures[0].psnr_db, measures[0].ssim) == pytest.approx(
        tuple(score(estimate, truth, SCALE, "rgb").values()), abs=1e-9
    )
    luma = imresize(degrade(truth, SCALE, "y").astype(float), SCALE)
    assert (resizes[0].psnr_db, resizes[0].ssim) == pytest.approx(
        tuple(score(luma, truth, SCALE, "y").values()), abs=1e-4
    )


def test_lines_are_what_other_libraries_measure(pair):
    from PIL import Image
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    estimate, truth = pair
    measures, resizes = explain(estimate, truth, SCALE)
    ours = to_uint8(estimate)
    a, b = crop_border(ours, SCALE), crop_border(truth, SCALE)
    rgb = peak_signal_noise_ratio(b, a, data_range=255)
    assert line_of(measures, "RGB:").psnr_db == pytest.approx(rgb, abs=1e-9)
    pillow = [np.asarray(Image.fromarray(np.ascontiguousarray(i)).convert("L")) for i in (a, b)]
    jpeg = line_of(measures, "luma from 0 to 255").psnr_db
    assert jpeg == pytest.approx(psnr(*pillow), abs=0.01)
    assert (
        jpeg < measures[0].psnr_db - 1
    )  # what the narrower range of Y is worth: 20 log10(255/219)
    from cscsr.imaging import rgb_to_y

    box = structural_similarity(rgb_to_y(b), rgb_to_y(a), data_range=255)
    assert line_of(measures, "SSIM").ssim == pytest.approx(box)
    assert line_of(resizes, "shrunk by OpenCV").psnr_db < resizes[0].psnr_db - 0.5
    assert abs(line_of(resizes, "shrunk by Pillow").psnr_db - resizes[0].psnr_db) < 0.02


def test_rounding_is_explained_for_a_file_of_16_bits_only(pair):
    estimate, truth = pair
    assert not [
        line for line in explain(estimate, truth, SCALE)[0] if "not rounded to 8" in line[0]
    ]
    fine = imresize(degrade(truth, SCALE, "rgb").astype(float), SCALE).clip(0, 1)
    measures, _ = explain(fine, truth, SCALE)
    assert abs(line_of(measures, "the result not rounded").psnr_db - measures[0].psnr_db) < 0.05


def test_grey_images_have_no_lines_about_colour(pair):
    truth = pair[1][..., 1]
    measures, resizes = explain(truth / 255, truth, SCALE)
    assert not [
        line.choice for line in measures if "RGB" in line.choice or "luma from" in line.choice
    ]
    assert measures[0].psnr_db == np.inf
    assert as_text(measures).splitlines()[1].endswith("inf          1.0000")
    assert len({line.psnr_db for line in resizes}) > 4


def test_other_shapes_are_refused(pair):
    with pytest.raises(InputError, match="the same shape"):
        explain(pair[0][:9], pair[1], SCALE)


def test_a_cut_of_the_whole_height_is_no_line(pair):
    """EDSR's cut of scale + 6 pixels takes 18 of 24 rows, and SSIM needs 11."""
    estimate, truth = pair
    measures, _ = explain(estimate[:24], truth[:24], SCALE)
    assert not [line for line in measures if "EDSR" in line.choice]
    assert [line for line in explain(estimate, truth, SCALE)[0] if "EDSR" in line.choice]


def test_what_another_program_prints_is_named_by_its_channels_and_border(pair):
    """scikit-image's figures of the two files as they are, in colour and in grey."""
    from skimage.color import rgb2gray
    from skimage.metrics import peak_signal_noise_ratio

    estimate, truth = pair
    ours = to_uint8(estimate)
    lines = combinations(estimate, truth, SCALE)
    assert len(lines) == 5 * 3
    rgb = peak_signal_noise_ratio(truth, ours)
    assert line_of(lines, "RGB, no pixels").psnr_db == pytest.approx(rgb, abs=1e-9)
    assert line_of(explain(estimate, truth, SCALE)[0], "RGB, no pixels").psnr_db == pytest.approx(
        rgb, abs=1e-9
    )
    grey = peak_signal_noise_ratio(rgb2gray(truth), rgb2gray(ours), data_range=1)
    assert line_of(lines, "luma of Rec. 709 (scikit-image's rgb2gray), no").psnr_db == (
        pytest.approx(grey, abs=1e-9)
    )
    protocol = score(estimate, truth, SCALE, "rgb")["psnr"]
    named = line_of(lines, f"luma, as the protocol's, {SCALE} pixels").psnr_db
    assert named == pytest.approx(protocol, abs=1e-9)
    assert "RGB, no pixels cut off" in as_measured(lines, round(rgb, 2)).splitlines()[1]
    assert as_measured(lines, 3.0).startswith("No choice of channels and border measures 3.00 dB")
    assert len(combinations(estimate[..., 0], truth[..., 0], SCALE)) == 3
