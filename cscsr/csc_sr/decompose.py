"""The smooth part of an image and the residual that is sparsely coded (CSC-SR, Gu et al. 2015).

Closed form on a torus, by one Fourier transform each way. Needs numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLUR = 3
"""Side of the box s that the smooth part is made of: ones(3, 3), not normalised."""

GAMMA = 30.0
"""Weight γ of the gradients of the smooth part's code."""

MARGIN = 8
"""Pixels by which a low-resolution image is continued on each side, so that what wraps
around stays out of the picture."""


class Split(NamedTuple):
    """The two parts of an image, smooth + residual = y.

    Attributes
    ----------
    smooth, residual
        (…,H,W), float64.
    """

    smooth: np.ndarray
    residual: np.ndarray


def smooth_code(y: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """Return the code Z of the smooth part, the minimiser of

        ‖y − s⊗Z‖² + γ(‖∂h⊗Z‖² + ‖∂v⊗Z‖²),    s = ones(3, 3), ∂ = [1, −1], all wrapping:

        Z = IFFT( conj(Ŝ)·ŷ / (|Ŝ|² + γ(|Ĥ|² + |V̂|²)) ).

    Filters have their origin in the top-left element. The denominator is nowhere zero: Ŝ(0) = 9,
    and Ĥ or V̂ differs from zero at every other frequency.

    Parameters
    ----------
    y
        (…,H,W), real, at least 3×3.
    gamma
        γ.

    Returns
    -------
    np.ndarray
        Z, float64, of the shape of `y`.

    References
    ----------
    Gu et al., ICCV 2015: the decomposition into smooth part and residual.
    """
    blur, energy = _transfer(y.shape[-2:], gamma)
    return np.fft.irfft2(blur.conj() * np.fft.rfft2(y) / energy, y.shape[-2:])


def split(y: np.ndarray, gamma: float = GAMMA) -> Split:
    """Split y into its smooth part s⊗Z and the residual y − s⊗Z.

    Parameters are those of `smooth_code`.
    """
    blur, energy = _transfer(y.shape[-2:], gamma)
    smooth = np.fft.irfft2(np.abs(blur) ** 2 / energy * np.fft.rfft2(y), y.shape[-2:])
    return Split(smooth, y - smooth)


def _transfer(shape: tuple[int, int], gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Ŝ and |Ŝ|² + γ(|Ĥ|² + |V̂|²) on the half spectrum of an (H,W) grid."""
    blur = np.fft.rfft2(np.ones((BLUR, BLUR)), shape)
    horizontal = np.fft.rfft2([[1.0, -1.0]], shape)
    vertical = np.fft.rfft2([[1.0], [-1.0]], shape)
    gradients = np.abs(horizontal) ** 2 + np.abs(vertical) ** 2
    return blur, np.abs(blur) ** 2 + gamma * gradients


def continued(image: np.ndarray, margin: int = MARGIN) -> np.ndarray:
    """Repeat the edge pixels, as the authors do: (H,W) to (H+2·margin, W+2·margin)."""
    return np.pad(image, margin, mode="edge")


def reflected(image: np.ndarray) -> np.ndarray:
    """Put an image (H,W) and its reflections together, (2H,2W), without a seam on the torus."""
    rows = np.concatenate([image, image[::-1]])
    return np.concatenate([rows, rows[:, ::-1]], axis=1)
