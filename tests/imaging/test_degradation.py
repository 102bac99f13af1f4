"""Harder input: what each degradation does to an 8-bit image, and what it is called."""

import numpy as np
import pytest

from cscsr import InputError
from cscsr.data.datasets import demo
from cscsr.imaging import luma_of, psnr
from cscsr.imaging.degradation import Degradation


@pytest.fixture(scope="module")
def photo():
    return demo().images[0].read()[:96, :80]


@pytest.mark.parametrize("text", ["blur:1.2", "noise:5", "jpeg:40"])
def test_the_same_image_is_always_degraded_alike(photo, text):
    degradation = Degradation.parse(text)
    assert str(degradation) == text
    for image in (photo, luma_of(photo)):
        changed = degradation.apply(image)
        assert (changed.dtype, changed.shape) == (np.uint8, image.shape)
        assert 15 < psnr(changed, image) < 45
        np.testing.assert_array_equal(changed, degradation.apply(image))


def test_noise_has_the_deviation_that_was_asked_for_and_is_independent():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = Degradation.parse("noise:5").apply(grey) - 128.0
    assert noise.std() == pytest.approx(5.0, rel=0.02)
    assert abs(noise.mean()) < 0.1
    between = np.corrcoef(noise.reshape(-1, 3).T)[np.triu_indices(3, 1)]
    assert np.abs(between).max() < 0.02
    other = Degradation.parse("noise:5").apply(grey[:, :199]) - 128.0
    assert abs(np.corrcoef(other.ravel(), noise[:, :199].ravel())[0, 1]) < 0.02


def test_blur_is_a_gaussian_that_leaves_what_is_even():
    point = np.zeros((31, 31), np.uint8)
    point[15, 15] = 255
    blurred = Degradation.parse("blur:2").apply(point).astype(float)
    offsets = np.arange(-15, 16)
    gaussian = np.exp(-(offsets**2) / (2 * 2.0**2))
    expected = 255 * np.outer(gaussian, gaussian) / gaussian.sum() ** 2
    np.testing.assert_allclose(blurred, expected, atol=0.5)
    even = np.full((20, 20, 3), 77, np.uint8)
    np.testing.assert_array_equal(Degradation.parse("blur:3").apply(even), even)


def test_jpeg_of_lower_quality_is_worse(photo):
    quality = [psnr(Degradation("jpeg", q).apply(photo), photo) for q in (10, 40, 90)]
    assert quality == sorted(quality)


_WRONG = ("", "blur", "blur:", "blur:x", "blur:-1", "blur:0", "blur:1:2", "fog:3")
_OUT_OF_RANGE = ("noise:nan", "noise:101", "jpeg:0", "jpeg:40.5", "jpeg:101")


@pytest.mark.parametrize("text", [*_WRONG, *_OUT_OF_RANGE])
def test_what_is_no_degradation_gets_one_sentence(text):
    with pytest.raises(InputError, match="blur:SIGMA in pixels, noise:SIGMA"):
        Degradation.parse(text)


def test_one_degradation_has_one_name():
    assert str(Degradation.parse("blur:1.20")) == "blur:1.2"
    assert Degradation.parse("jpeg:40.0") == Degradation.parse("jpeg:40")
