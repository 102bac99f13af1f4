"""Colour conversion against the standard's fixed points, skimage and exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import rgb2ycbcr

from cscsr import InputError
from cscsr.imaging import (
    imresize,
    luma_of,
    rgb_to_y,
    rgb_to_ycbcr,
    to_uint8,
    with_luma,
    ycbcr_to_rgb,
)
from cscsr.imaging.colour import to_samples

colour_images = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


def test_black_white_and_primaries_of_bt601():
    rgb = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(rgb_to_y(rgb), [[16, 235, 81, 145, 41]])


@given(colour_images)
def test_equals_skimage(image):
    rgb = image / 255
    np.testing.assert_allclose(rgb_to_ycbcr(rgb) * 255, rgb2ycbcr(image), atol=1e-11)
    np.testing.assert_allclose(rgb_to_y(rgb), rgb_to_ycbcr(rgb)[..., 0], atol=1e-15)


def test_8_bit_luma_is_rounded_half_up_from_the_exact_value():
    grid = np.arange(0, 256, 3, dtype=np.uint8)
    image = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(
        grid.size, -1, 3
    )
    exact = 16 * 255000 + image.astype(np.int64) @ [65481, 128553, 24966]
    luma = rgb_to_y(image)
    assert luma.dtype == np.uint8
    error = luma.astype(np.int64) * 255000 - exact
    assert error.max() <= 127500 and error.min() > -127500


@given(colour_images)
def test_rgb_comes_back(image):
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 2e-6)):
        rgb = (image / 255).astype(dtype)
        back = ycbcr_to_rgb(rgb_to_ycbcr(rgb))
        assert back.dtype == dtype
        np.testing.assert_allclose(back, rgb, atol=tolerance)


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_8_bits_come_back_from_single_precision(image):
    np.testing.assert_array_equal(to_uint8((image / 255).astype(np.float32)), image)


def test_to_uint8_clips_and_rounds_half_up():
    levels = np.array([-0.5, 0.5, 1.5, 254.5, 300.0]) / 255
    np.testing.assert_array_equal(to_uint8(levels), [0, 1, 2, 255, 255])


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(InputError, match=r"\(H, W, 3\), got \(4, 4\)"):
        rgb_to_y(np.zeros((4, 4)))
    with pytest.raises(InputError, match="got int64"):
        rgb_to_y(np.zeros((4, 4, 3), int))
    with pytest.raises(InputError, match=r"floating point in \[0, 1\], got uint8"):
        rgb_to_ycbcr(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="NaN"):
        to_uint8(np.array([[np.nan]]))
    for function in (rgb_to_y, luma_of, rgb_to_ycbcr):
        with pytest.raises(InputError, match=r"from 166\.6 to 166\.6; divide 8-bit values by 255"):
            function(np.full((4, 4, 3), 166.6))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_half_precision_is_computed_in_single(dtype):
    image = np.linspace(0, 1, 999, dtype=np.float16)
    expected = to_samples(image.astype(np.float32), dtype)
    np.testing.assert_array_equal(to_samples(image, dtype), expected)
    assert expected[-1] == np.iinfo(dtype).max


def test_with_luma_keeps_the_luma_and_interpolates_chroma():
    rng = np.random.default_rng(0)
    lr, luma = rng.uniform(0.2, 0.8, (9, 7, 3)), rng.uniform(0.2, 0.8, (27, 21))
    rgb = with_luma(luma, lr, 3)
    # Y, Cb and Cr as ITU-R BT.601 defines them, on the 0-255 scale.
    weights = np.array(
        [[65.481, 128.553, 24.966], [-37.797, -74.203, 112], [112, -93.786, -18.214]]
    )
    np.testing.assert_allclose((rgb @ weights[0] + 16) / 255, luma, atol=1e-12)
    for channel in (1, 2):
        chroma = imresize(lr @ weights[channel], 3)
        np.testing.assert_allclose(rgb @ weights[channel], chroma, atol=1e-10)
    assert with_luma(luma, lr[..., 0], 3) is luma
