"""Pixel values: 8-bit and floating point, RGB and the YCbCr of ITU-R BT.601.

The conversion is that of MATLAB's `rgb2ycbcr` (studio swing: Y from 16 to 235, Cb and Cr from 16 to
240 on the 0-255 scale), which the literature uses for its figures. Needs numpy, and scipy to
enlarge chroma.
"""

from __future__ import annotations

import numpy as np

from cscsr.arrays import check_unit_range
from cscsr.errors import InputError
from cscsr.imaging.resize import imresize

# [Y, Cb, Cr] on 0-255 = _OFFSET + _MATRIX @ [R, G, B] with RGB in [0, 1].
_MATRIX = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
_OFFSET = np.array([16.0, 128.0, 128.0])
_Y_THOUSANDTHS = np.array([65481, 128553, 24966])


def rgb_to_y(image: np.ndarray) -> np.ndarray:
    """Return the luma of an RGB image: Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255.

    Parameters
    ----------
    image
        (H,W,3), uint8 or floating point in [0,1].

    Returns
    -------
    np.ndarray
        (H,W) of the same dtype: uint8 rounded half up in whole-number arithmetic, floating
        point in [16/255, 235/255] and unrounded.

    Raises
    ------
    InputError
        For another shape or dtype, and floating point that is not on the [0,1] scale.
    """
    _check_rgb(image)
    if image.dtype == np.uint8:
        weighted = image.astype(np.int64) @ _Y_THOUSANDTHS
        return (16 + (weighted + 127_500) // 255_000).astype(np.uint8)
    return ((image @ _MATRIX[0] + _OFFSET[0]) / 255).astype(image.dtype)


def luma_of(image: np.ndarray) -> np.ndarray:
    """Return the luma (H,W) of an RGB image (H,W,3) by `rgb_to_y`, and a grey image (H,W)
    unchanged."""
    return image if image.ndim == 2 else rgb_to_y(image)


def rgb_to_ycbcr(image: np.ndarray) -> np.ndarray:
    """Return YCbCr (H,W,3) of a floating-point RGB image (H,W,3), both as fractions of 255.

    Raises
    ------
    InputError
        For another shape or dtype, and values that are not on the [0,1] scale.
    """
    _check_rgb(image, floating=True)
    return ((image @ _MATRIX.T + _OFFSET) / 255).astype(image.dtype)


def ycbcr_to_rgb(image: np.ndarray) -> np.ndarray:
    """Return RGB (H,W,3) of YCbCr: the inverse of `rgb_to_ycbcr`. Values are not clipped to [0,1].

    Raises
    ------
    InputError
        For another shape or dtype.
    """
    _check_colour(image, floating=True)
    return ((image * 255.0 - _OFFSET) @ np.linalg.inv(_MATRIX).T).astype(image.dtype)


def with_luma(luma: np.ndarray, lr: np.ndarray, scale: int) -> np.ndarray:
    """Return the enlarged image of the given luma, with chroma (Cb, Cr) by bicubic interpolation.

    Parameters
    ----------
    luma
        (scale·H, scale·W), the enlarged luma in [0,1].
    lr
        The low-resolution image, (H,W) grey or (H,W,3) RGB in [0,1].
    scale
        The factor.

    Returns
    -------
    np.ndarray
        `luma` itself where `lr` is grey; else RGB (scale·H, scale·W, 3) in float64, not clipped.
    """
    if lr.ndim == 2:
        return luma
    enlarged = imresize(rgb_to_ycbcr(lr.astype(np.float64)), scale)
    enlarged[..., 0] = luma
    return ycbcr_to_rgb(enlarged)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return a floating-point image in [0,1] as uint8: times 255, rounded half up, clipped.

    A uint8 image is returned unchanged.

    Raises
    ------
    InputError
        For another dtype, NaN or infinity.
    """
    if image.dtype == np.uint8:
        return image
    return to_samples(image, np.uint8)


def to_samples(image: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Return a floating-point image in [0,1] as whole numbers, rounded half up and clipped.

    Parameters
    ----------
    image
        Of any shape.
    dtype
        uint8 (times 255) or uint16 (times 65535).

    Raises
    ------
    InputError
        For an image of another dtype, NaN or infinity.
    """
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"an image must be uint8 or floating point, got {image.dtype}.")
    if not np.isfinite(image).all():
        raise InputError("an image must be finite, but it holds NaN or infinity.")
    largest = float(np.iinfo(dtype).max)
    image = image.astype(np.promote_types(image.dtype, np.float32), copy=False)
    return np.floor(image * largest + 0.5).clip(0, largest).astype(dtype)


def _check_rgb(image: np.ndarray, floating: bool = False) -> None:
    _check_colour(image, floating)
    if image.size and image.dtype != np.uint8:
        check_unit_range("a colour image", image)


def _check_colour(image: np.ndarray, floating: bool = False) -> None:
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"a colour image must have shape (H, W, 3), got {image.shape}.")
    if np.issubdtype(image.dtype, np.floating) or (image.dtype == np.uint8 and not floating):
        return
    accepted = "floating point in [0, 1]" if floating else "uint8 or floating point in [0, 1]"
    raise InputError(f"a colour image must be {accepted}, got {image.dtype}.")
