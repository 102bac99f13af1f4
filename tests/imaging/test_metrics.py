"""PSNR in closed form, SSIM against scikit-image, and the crops before them."""

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
from cscsr.imaging import crop_border, crop_to_multiple, imresize, psnr, rgb_to_y, ssim

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
    with pytest.raises(InputError, match="2x9 pixels is smaller than the scale 3"):
        crop_to_multiple(np.zeros((2, 9)), 3)
    with pytest.raises(InputError, match="nothing left"):
        crop_border(np.zeros((4, 9)), 2)
