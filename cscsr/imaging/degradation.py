"""Harder input: a low-resolution image that was blurred, is noisy, or went through JPEG.

Each works on the 8-bit image that a solver would be given, and gives an 8-bit image back, so
that every solver can be given the same file. Needs numpy, and scipy or pillow when applied.
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
    """What is done to a low-resolution image before a solver sees it.

    kind: "blur", a Gaussian of standard deviation `amount` pixels of the low-resolution
    image, its edge pixels repeated; "noise", white Gaussian noise of standard deviation
    `amount` on the 0-255 scale, independent in each channel, drawn from a seed that is made
    of the image, so that an image always gets the same; "jpeg", written as JPEG of quality
    `amount` and read again, colour at half resolution as cameras write it.
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
        """The degradation that "blur:1.2", "noise:5" or "jpeg:40" names. Raises InputError
        for anything else."""
        kind, _, amount = text.partition(":")
        try:
            return cls(kind, float(amount))
        except ValueError:  # InputError is one too
            raise InputError(f"a degradation is {_FORMS}, got {text!r}.") from None

    def __str__(self) -> str:
        return f"{self.kind}:{self.amount:g}"

    def apply(self, image: np.ndarray) -> np.ndarray:
        """`image`, uint8 (H,W) or (H,W,3), degraded; of the same shape and dtype."""
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
