"""Metrics of image quality on the 0-255 scale, and the crops that precede them.

`METRICS` lists them: a metric is one row there, which the comparison, its tables and its report
read. Needs numpy, and torch where an image is a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cscsr.arrays import dtype_name, is_tensor, plain, to_numpy
from cscsr.errors import InputError, unknown_name
from cscsr.super_resolution import check_scale

PEAK = 255.0

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K = (0.01, 0.03)

GMSD_T = 170.0


def psnr(a: Any, b: Any) -> float:
    """Peak signal-to-noise ratio, 10 log₁₀(255² / mean (a - b)²).

    Parameters
    ----------
    a, b
        Arrays of one shape on the 0-255 scale, uint8 or floating point, numpy or torch.

    Returns
    -------
    float
        The ratio in dB; infinity for equal arrays.

    Raises
    ------
    InputError
        If the shapes differ, for values that are no finite real numbers, for a masked array in
        which anything is masked, and where both images are on the [0,1] scale: fractions, none of
        them above 1.
    """
    a, b = _pair(a, b)
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(a: Any, b: Any) -> float:
    """Structural similarity, the mean over all windows that lie inside the image.

    The window is an 11×11 Gaussian with σ = 1.5, K = (0.01, 0.03); the image is not
    down-sampled first.

    Parameters
    ----------
    a, b
        (H,W) on the 0-255 scale, uint8 or floating point, numpy or torch, of at least 11×11
        pixels.

    Returns
    -------
    float
        From −1 to 1; 1 for equal images.

    Raises
    ------
    InputError
        As `psnr`, and if the shapes are not (H,W) or are smaller than the window.

    References
    ----------
    Wang et al., "Image quality assessment: from error visibility to structural similarity",
    2004, eq. 13.
    """
    a, b = _pair(a, b)
    if a.ndim != 2 or min(a.shape) < SSIM_WINDOW:
        raise InputError(
            f"SSIM needs images (H, W) of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, "
            f"got shape {a.shape}."
        )
    c1, c2 = ((k * PEAK) ** 2 for k in SSIM_K)
    # Variances are invariant to a shift, and near zero they lose fewer digits to cancellation.
    shift = a.mean()
    a, b = a - shift, b - shift
    mean_a, mean_b, aa, bb, ab = _local_mean(np.stack([a, b, a * a, b * b, a * b]))
    variances = aa - mean_a**2 + bb - mean_b**2
    covariance = ab - mean_a * mean_b
    mean_a, mean_b = mean_a + shift, mean_b + shift
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return float(np.mean(luminance * structure))


def _local_mean(images: np.ndarray) -> np.ndarray:
    """Gaussian means (N,H-10,W-10) of images (N,H,W), over whole windows."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    gaussian = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    gaussian /= gaussian.sum()
    for axis in (2, 1):
        images = sliding_window_view(images, SSIM_WINDOW, axis) @ gaussian
    return images


def gmsd(a: Any, b: Any) -> float:
    """Gradient magnitude similarity deviation: how unevenly an estimate's edges differ.

    This is the paper's variant: both images are averaged over 2×2 pixels and decimated by 2 (an odd
    last row or column is averaged with zeros); the gradient is Prewitt's, divided by 3, with zeros
    around the image; T = 170 on the 0-255 scale; and the deviation is normalised by the number of
    pixels N, not by N − 1 as in the authors' MATLAB file. `piq.gmsd` computes the same.

    Parameters
    ----------
    a, b
        (H,W) on the 0-255 scale, uint8 or floating point, numpy or torch.

    Returns
    -------
    float
        At least 0, its value for equal images; lower is better.

    Raises
    ------
    InputError
        As `psnr`, and if the shapes are not (H,W).

    References
    ----------
    Xue et al., "Gradient magnitude similarity deviation: a highly efficient perceptual image
    quality index", 2014, eqs. 1 to 6.
    """
    a, b = _pair(a, b)
    if a.ndim != 2:
        raise InputError(f"GMSD needs images (H, W), got shape {a.shape}.")
    a, b = _gradient_magnitude(a), _gradient_magnitude(b)
    similarity = (2 * a * b + GMSD_T) / (a**2 + b**2 + GMSD_T)
    return float(similarity.std())


def _gradient_magnitude(image: np.ndarray) -> np.ndarray:
    """The size of the gradient of an image (H,W) at half its size (⌈H/2⌉,⌈W/2⌉)."""
    even = np.pad(image, [(0, side % 2) for side in image.shape])
    half = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    padded = np.pad(half, 1)
    across = padded[:, 2:] - padded[:, :-2]
    down = padded[2:] - padded[:-2]
    across = across[:-2] + across[1:-1] + across[2:]
    down = down[:, :-2] + down[:, 1:-1] + down[:, 2:]
    return np.hypot(across, down) / 3


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as float64; refuses two shapes, empty and masked arrays, what is no finite real
    number, and the [0,1] scale."""
    a, b = (plain("an image", image) for image in (a, b))
    for image in (a, b):
        if not dtype_name(image).startswith(("uint", "int", "float", "bool")):
            raise InputError(f"an image must be uint8 or floating point, got {image.dtype}.")
    if _is_fraction(a) and _is_fraction(b):
        raise InputError(
            "two images are compared on the 0-255 scale, but all values of both are fractions of "
            "at most 1; multiply them by 255, or use cscsr.imaging.luma_psnr or score."
        )
    a, b = (to_numpy(image).astype(np.float64, copy=False) for image in (a, b))
    if a.shape != b.shape or a.size == 0:
        raise InputError(
            "two images to compare must have the same shape and not be empty, "
            f"got {a.shape} and {b.shape}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("an image must be finite, but it holds NaN or infinity.")
    return a, b


def _is_fraction(image: Any) -> bool:
    """Whether an image is floating point, at most 1, and not of whole numbers only."""
    floating = image.is_floating_point() if is_tensor(image) else image.dtype.kind == "f"
    if not floating or 0 in image.shape or not bool((abs(image) <= 1).all()):
        return False
    return not bool((image == image.round()).all())


@dataclass(frozen=True)
class Metric:
    """A measure of an estimate's quality, and how its values are written.

    Attributes
    ----------
    name
        Its key in `METRICS` and its name on the command line.
    label, unit
        Its name in headings, and its unit ("" for a pure number).
    digits
        Decimals in tables.
    higher_is_better
        Whether a better estimate has a higher value.
    function
        Computes it from the lumas of the estimate and of the truth, (H,W), uint8, without the
        border.
    column
        Its column in CSV files.
    """

    name: str
    label: str
    unit: str
    digits: int
    higher_is_better: bool
    function: Callable[[np.ndarray, np.ndarray], float]
    column: str

    @property
    def heading(self) -> str:
        """The label with the unit: PSNR (dB), SSIM, GMSD (lower is better)."""
        remarks = [self.unit, "" if self.higher_is_better else "lower is better"]
        shown = ", ".join(filter(None, remarks))
        return f"{self.label} ({shown})" if shown else self.label


_ROWS = (
    Metric("psnr", "PSNR", "dB", 2, True, psnr, "psnr_db"),
    Metric("ssim", "SSIM", "", 4, True, ssim, "ssim"),
    Metric("gmsd", "GMSD", "", 4, False, gmsd, "gmsd"),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}
"""All metrics by name, in their order of display."""

DEFAULT_METRICS = ("psnr", "ssim")


def check_metrics(names: Iterable[str]) -> list[str]:
    """Return the names of metrics without repeats.

    Raises
    ------
    InputError
        For a name that is not in `METRICS`.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    return names


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Cut off the last rows and columns that `scale` does not divide.

    Parameters
    ----------
    image
        (H,W[,C]).
    scale
        At least 1.

    Returns
    -------
    numpy.ndarray
        A view of `image`.

    Raises
    ------
    InputError
        For an image smaller than the scale, and a scale that is no whole number of at least 1.
    """
    scale = check_scale(scale)
    height, width = image.shape[:2]
    if min(height, width) < scale:
        raise InputError(f"an image of {height}x{width} pixels is smaller than the scale {scale}.")
    return image[: height // scale * scale, : width // scale * scale]


def crop_border(image: np.ndarray, pixels: int) -> np.ndarray:
    """Cut off `pixels` pixels on each side.

    Parameters
    ----------
    image
        (H,W[,C]).
    pixels
        At least 0.

    Returns
    -------
    numpy.ndarray
        A view of `image`.

    Raises
    ------
    InputError
        If nothing would be left, and for fewer pixels than 0.
    """
    if pixels < 0:
        raise InputError(f"the pixels to cut off must be at least 0, got {pixels!r}.")
    height, width = image.shape[:2]
    if min(height, width) <= 2 * pixels:
        raise InputError(
            f"nothing is left of an image of {height}x{width} pixels "
            f"without {pixels} pixels on each side."
        )
    return image[pixels : height - pixels, pixels : width - pixels]
