"""Harder input: a low-resolution image that is blurred, noisy or compressed as JPEG.

A degradation maps an 8-bit image to an 8-bit image, so that every solver gets the same input.
Needs numpy, and scipy or pillow when applied.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np

from cscsr.errors import InputError

_LIMITS = {"blur": (0.0, 20.0), "noise": (0.0, 100.0), "jpeg": (1.0, 100.0)}
_FORMS = "blur:SIGMA in pixels, noise:SIGMA on the 0-255 scale or jpeg:QUALITY from 1 to 100"


@dataclass(frozen=True)
class Degradation:
    """A degradation of a low-resolution image.

    Parameters
    ----------
    kind
        "blur": a Gaussian filter, with the edge pixels repeated. "noise": white Gaussian noise,
        independent in each channel; its seed is a hash of the image, so that the noise of an image
        is always the same. "jpeg": JPEG compression, with chroma at half resolution as in cameras.
    amount
        The standard deviation of the blur in low-resolution pixels, or of the noise on the 0-255
        scale; or the JPEG quality, 1 to 100.

    Raises
    ------
    InputError
        For another kind, or an amount out of range.
    """

    kind: str
    amount: float

    def __post_init__(self) -> None:
        low, high = _LIMITS.get(self.kind, (0.0, 0.0))
        whole = self.kind != "jpeg" or float(self.amount).is_integer()
        if not (low <= self.amount <= high and self.amount > 0 and whole):
            raise InputError(f"a degradation is {_FORMS}, got {self}.")

    @classmethod
    def parse(cls, text: str) -> Degradation:
        """Return the degradation that a text such as "blur:1.2", "noise:5" or "jpeg:40" names.

        Raises
        ------
        InputError
            For any other text.
        """
        kind, _, amount = text.partition(":")
        try:
            return cls(kind, float(amount))
        except ValueError:  # InputError is one too
            raise InputError(f"a degradation is {_FORMS}, got {text!r}.") from None

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}"

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return a degraded copy, of the same shape, of an image, uint8 (H,W) or (H,W,3)."""
        if self.kind == "jpeg":
            return _through_jpeg(image, int(self.amount))
        if self.kind == "blur":
            from scipy.ndimage import gaussian_filter

            sigma = (self.amount, self.amount) + (0.0,) * (image.ndim - 2)
            changed = gaussian_filter(image.astype(np.float64), sigma, mode="nearest")
        else:
            seed = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
            draw = np.random.default_rng(int.from_bytes(seed[:8], "little"))
            changed = image + self.amount * draw.standard_normal(image.shape)
        return np.clip(np.floor(changed + 0.5), 0, 255).astype(np.uint8)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    return np.array(Image.open(file))
