"""PSNR and SSIM on the 0-255 scale, and the crops that are made before they are taken.

Needs numpy only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cscsr.errors import InputError

PEAK = 255.0

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K = (0.01, 0.03)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, 10 log₁₀(255² / mean (a - b)²).

    a, b: arrays of one shape on the 0-255 scale, uint8 or floating point. Equal arrays
    give infinity. Raises InputError if the shapes differ.
    """
    a, b = _pair(a, b)
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004, eq. 13), the mean over all whole windows.

    a, b: (H,W) on the 0-255 scale, uint8 or floating point, of at least 11×11 pixels.
    The window is an 11×11 Gaussian with σ = 1.5, K = (0.01, 0.03); windows that leave the
    image are not counted, and the image is not down-sampled first.

    Raises InputError if the shapes differ, are not (H,W), or are smaller than the window.
    """
    a, b = _pair(a, b)
    if a.ndim != 2 or min(a.shape) < SSIM_WINDOW:
        raise InputError(
            f"SSIM needs images (H, W) of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, "
            f"got shape {a.shape}."
        )
    c1, c2 = ((k * PEAK) ** 2 for k in SSIM_K)
    # Variances do not feel a shift; near zero they lose fewer digits to cancellation.
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


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise InputError(
            f"two images are compared that must have one shape, got {a.shape} and {b.shape}."
        )
    return a, b


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """`image` (H,W[,C]) without the last rows and columns that `scale` does not divide.

    Raises InputError for an image smaller than the scale.
    """
    height, width = image.shape[:2]
    if min(height, width) < scale:
        raise InputError(f"an image of {height}x{width} pixels is smaller than the scale {scale}.")
    return image[: height // scale * scale, : width // scale * scale]


def crop_border(image: np.ndarray, pixels: int) -> np.ndarray:
    """`image` (H,W[,C]) without `pixels` pixels on each side.

    Raises InputError if nothing would be left.
    """
    height, width = image.shape[:2]
    if min(height, width) <= 2 * pixels:
        raise InputError(
            f"an image of {height}x{width} pixels has nothing left "
            f"without {pixels} pixels on each side."
        )
    return image[pixels : height - pixels, pixels : width - pixels]
