"""PSNR in closed form, SSIM against scikit-image, GMSD against piq, and the crops before them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity

from cscsr import InputError
from cscsr.data.datasets import demo
from cscsr.imaging import (
    METRICS,
    crop_border,
    crop_to_multiple,
    gmsd,
    imresize,
    luma_of,
    psnr,
    rgb_to_y,
    ssim,
)

pairs = st.tuples(st.integers(11, 20), st.integers(11, 20)).flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape))
)


def skimage_ssim(a: np.ndarray, b: np.ndarray) -> float:
    _, similarity = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    return float(similarity[5:-5, 5:-5].mean())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ssim_equals_skimage_on_photographs(scale):
    for _, image in demo():
        truth = image if image.ndim == 2 else rgb_to_y(image)
        blurred = imresize(imresize(truth, 1 / scale), shape=truth.shape)
        wanted = skimage_ssim(truth.astype(np.float64), blurred.astype(np.float64))
        assert ssim(truth, blurred) == pytest.approx(wanted, abs=1e-12)


@given(pairs)
def test_ssim_equals_skimage_on_anything(pair):
    a, b = (image.astype(np.float64) for image in pair)
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b), abs=1e-9)


@given(pairs)
def test_ssim_is_symmetric_bounded_and_one_for_equals(pair):
    a, b = pair
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-10)
    assert -1 <= ssim(a, b) <= 1 + 1e-12
    assert ssim(a, a) == pytest.approx(1, abs=1e-12)


@given(arrays(np.uint8, (4, 5), elements=st.integers(0, 200)), st.integers(1, 55))
def test_psnr_of_a_constant_error(image, error):
    assert psnr(image, image + np.uint8(error)) == pytest.approx(20 * math.log10(255 / error))
    assert psnr(image, image) == math.inf


def test_psnr_does_not_wrap_around_in_8_bits():
    assert psnr(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)) == 0


PIQ_GMSD = {
    "camera": 0.10837775086319974,
    "chelsea": 0.06772089421092965,
    "coffee": 0.069429444356141,
}
"""What piq 0.8.0 gives on torch 2.13.0: `piq.gmsd(truth, estimate, data_range=255)`, float64, of
the pairs that `distorted` makes."""


def distorted(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The luma of an image of `demo`, of even, odd or mixed size, and its distortion: bicubic ×4
    and back, quantised to steps of 24, every other pixel repeated."""
    luma = luma_of(dict(demo())[name])
    if name == "camera":
        return luma, imresize(imresize(luma, 1 / 4), shape=luma.shape)
    if name == "chelsea":
        return luma[:255, :251], luma[:255, :251] // 24 * 24
    return luma[:, :255], luma[::2, ::2].repeat(2, 0).repeat(2, 1)[:, :255]


@pytest.mark.parametrize(("name", "value"), PIQ_GMSD.items())
def test_gmsd_equals_piq(name, value):
    truth, estimate = distorted(name)
    assert gmsd(estimate, truth) == pytest.approx(value, abs=1e-12)


@given(pairs)
def test_gmsd_is_symmetric_and_zero_for_equals(pair):
    a, b = pair
    assert gmsd(a, b) == pytest.approx(gmsd(b, a), abs=1e-12)
    assert 0 <= gmsd(a, b) <= 1
    assert gmsd(a, a) == 0


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_metric_knows_which_way_is_better(metric):
    truth = luma_of(dict(demo())["camera"])
    noise = np.random.default_rng(0).normal(0, 1, truth.shape)
    little, much = (
        metric.function((truth + amount * noise).clip(0, 255), truth) for amount in (5, 20)
    )
    assert (little > much) is metric.higher_is_better


def test_crops():
    image = np.arange(7 * 8 * 3).reshape(7, 8, 3)
    np.testing.assert_array_equal(crop_to_multiple(image, 3), image[:6, :6])
    np.testing.assert_array_equal(crop_border(image, 2), image[2:5, 2:6])
    assert crop_border(image, 0).shape == image.shape


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(InputError, match=r"got \(4, 4\) and \(4, 5\)"):
        psnr(np.zeros((4, 4)), np.zeros((4, 5)))
    with pytest.raises(InputError, match="11x11"):
        ssim(np.zeros((10, 40)), np.zeros((10, 40)))
    with pytest.raises(InputError, match=r"GMSD needs images \(H, W\)"):
        gmsd(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="2x9 pixels is smaller than the scale 3"):
        crop_to_multiple(np.zeros((2, 9)), 3)
    for scale in (0, -1, 1.5):
        with pytest.raises(InputError, match="scale must be a whole number of at least 1"):
            crop_to_multiple(np.zeros((2, 9)), scale)
    with pytest.raises(InputError, match="nothing is left"):
        crop_border(np.zeros((4, 9)), 2)
    with pytest.raises(InputError, match="at least 0, got -1"):
        crop_border(np.zeros((4, 9)), -1)
    image = np.full((12, 12), 9.0)
    for value, sentence in ((np.inf, "finite"), (np.nan, "finite"), (1j, "got complex128")):
        for measure in (psnr, ssim, gmsd):
            for pair in ((image, image * value), (image * value, image)):
                with pytest.raises(InputError, match=sentence):
                    measure(*pair)
