"""Bicubic resizing that equals MATLAB's `imresize`, pixel for pixel on 8-bit images.

That function makes the low-resolution images of the super-resolution literature, so every
figure in a table depends on it. Its rules: Keys' cubic kernel with a = -0.5,
stretched by 1/scale when shrinking (antialiasing); one dimension after the other, the
one with the smaller scale first and rows before columns; weights of each output pixel
summing to one; 8-bit values rounded, half away from zero, after *each* dimension.

Needs numpy and scipy.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, isfinite
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from cscsr.errors import InputError

BOUNDARIES = ("clamp", "mirror")

_LARGEST_DENOMINATOR = 10**6
_TIE = 1e-9


def imresize(
    image: np.ndarray,
    scale: float | None = None,
    *,
    shape: tuple[int, int] | None = None,
    boundary: str = "clamp",
) -> np.ndarray:
    """Resize an image by bicubic interpolation, as MATLAB's ``imresize(image, scale)``.

    Parameters
    ----------
    image
        (H,W) or (H,W,C), uint8 or floating point.
    scale
        The factor; the output has ⌈H·scale⌉ x ⌈W·scale⌉ pixels. A float within rounding of a
        ratio of whole numbers, such as 1/3, is taken as that ratio.
    shape
        The output size (h,w) instead; without `scale` the factors are h/H and w/W.
    boundary
        "clamp" repeats the edge pixel (older MATLAB, and the published test images), "mirror"
        reflects about the edge (newer MATLAB).

    Returns
    -------
    np.ndarray
        The resized image, of the dtype of `image`. uint8 is rounded and clipped after each
        dimension. Floating point is computed in float64 and neither rounded nor clipped, so it
        may overshoot the range of the input.

    Raises
    ------
    InputError
        For an image of another kind, NaN, a scale that is not positive, a bad shape, or an
        unknown boundary.

    References
    ----------
    R. Keys, Cubic convolution interpolation for digital image processing, IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29(6), 1981.
    """
    image = _checked(image)
    if boundary not in BOUNDARIES:
        raise InputError(f"boundary must be one of {', '.join(BOUNDARIES)}, got {boundary!r}.")
    scales, size = _scales_and_size((image.shape[0], image.shape[1]), scale, shape)
    out = image.astype(np.float64)
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        out = _along(out, axis, _weights(out.shape[axis], size[axis], scales[axis], boundary))
        if image.dtype == np.uint8:
            # Exact ties are common at scales 1/2 and 1/4. Where the weights are not binary
            # fractions, a tie may come out slightly low; `_TIE` rounds it up as well.
            out += 0.5 + _TIE
            np.clip(np.floor(out, out=out), 0, 255, out=out)
    return np.ascontiguousarray(out, dtype=image.dtype)


def _checked(image: Any) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or image.size == 0:
        shape = getattr(image, "shape", None)
        kind = type(image).__name__ if shape is None else f"shape {tuple(shape)}"
        raise InputError(f"an image must be a numpy array (H, W) or (H, W, C), got {kind}.")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"an image must be uint8 or floating point, got {image.dtype}.")
    if image.dtype != np.uint8 and not np.isfinite(image).all():
        raise InputError("an image must be finite, but it holds NaN or infinity.")
    return image


def _scales_and_size(
    size: tuple[int, int], scale: float | None, shape: tuple[int, int] | None
) -> tuple[tuple[Fraction, Fraction], tuple[int, int]]:
    """The exact factor and the output size of each dimension of an image of `size`."""
    if scale is None and shape is None:
        raise InputError("imresize needs a scale or a shape, got neither.")
    if shape is not None:
        shape = _checked_shape(shape)
        if scale is None:
            return (Fraction(shape[0], size[0]), Fraction(shape[1], size[1])), shape
    real = isinstance(scale, Real) and not isinstance(scale, bool) and isfinite(scale)
    factor = Fraction(float(scale or 0) if real else 0).limit_denominator(_LARGEST_DENOMINATOR)
    if factor <= 0:
        raise InputError(f"scale must be a positive number, got {scale!r}.")
    return (factor, factor), shape or (ceil(size[0] * factor), ceil(size[1] * factor))


def _checked_shape(shape: Any) -> tuple[int, int]:
    """`shape` as two whole numbers. Raises InputError if it is not."""
    shape = tuple(shape)
    if len(shape) != 2 or any(n != int(n) or n < 1 for n in shape):
        raise InputError(f"shape must be two whole numbers of at least 1, got {shape}.")
    return int(shape[0]), int(shape[1])


def _along(image: np.ndarray, axis: int, weights: csr_array) -> np.ndarray:
    """`weights` (h,H) applied to one axis of `image`."""
    moved = np.moveaxis(image, axis, 0)
    out = weights @ moved.reshape(moved.shape[0], -1)
    return np.moveaxis(out.reshape(-1, *moved.shape[1:]), 0, axis)


@lru_cache(maxsize=256)
def _weights(size: int, out_size: int, scale: Fraction, boundary: str) -> csr_array:
    """The interpolation matrix (out_size, size); its rows sum to one.

    Output pixel i lies at u = (i + ½)/scale - ½ of the input. With scale = p/q every
    distance u - j is a whole number over 2p, so all of them are correctly rounded.
    """
    p, q = scale.numerator, scale.denominator
    stretch = max(p, q)  # the kernel's unit is stretch/p input pixels
    doubled = (2 * np.arange(out_size, dtype=np.int64) + 1) * q - p  # 2p·u
    first = (doubled - 4 * stretch) // (2 * p)
    taps = first[:, None] + np.arange(4 * stretch // p + 3)
    values = cubic((doubled[:, None] - 2 * p * taps) / (2 * stretch))
    values /= values.sum(axis=1, keepdims=True)
    rows, columns = np.nonzero(values)
    inside = _fold(taps[rows, columns], size, boundary)
    matrix = csr_array((values[rows, columns], (rows, inside)), shape=(out_size, size))
    matrix.sum_duplicates()
    return matrix


def _fold(index: np.ndarray, size: int, boundary: str) -> np.ndarray:
    """Indices outside 0..size-1 moved inside: to the edge, or reflected about it."""
    if boundary == "clamp":
        return index.clip(0, size - 1)
    wrapped = index % (2 * size)
    return np.minimum(wrapped, 2 * size - 1 - wrapped)


def cubic(x: np.ndarray) -> np.ndarray:
    """Return Keys' cubic convolution kernel with a = -0.5, zero beyond |x| = 2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
