"""The two problems: sparse coding and super-resolution.

A problem owns its data and its measures (objective, duality gap, PSNR), so that every
solver is scored by the same code. Needs numpy; torch only when codes are handled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cscsr.errors import InputError


def check_scale(scale: Any) -> int:
    """`scale` as an int of at least 1. Raises InputError for anything else."""
    if isinstance(scale, bool) or not isinstance(scale, (int, np.integer)) or scale < 1:
        raise InputError(f"scale must be a whole number of at least 1, got {scale!r}.")
    return int(scale)


@dataclass(frozen=True, eq=False)
class SuperResolution:
    """A low-resolution image to be enlarged.

    lr: (H,W) or (H,W,3) RGB, floating point in [0,1], numpy or torch.
    scale: the whole-number factor wanted.
    truth: the high-resolution image (scale·H, scale·W[, 3]) where it is known; solvers
    never see it, traces are scored with it.

    Raises InputError if a shape, a value (NaN, infinity) or the scale is wrong.
    """

    lr: Any
    scale: int
    truth: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_scale(self.scale))
        _check_image("lr", self.lr)
        if self.truth is not None:
            _check_image("truth", self.truth)
            want = tuple(self.scale * n for n in self.lr.shape[:2]) + tuple(self.lr.shape[2:])
            if tuple(self.truth.shape) != want:
                raise InputError(
                    f"truth must have shape {want} (scale times that of lr), "
                    f"got {tuple(self.truth.shape)}."
                )


def _check_image(what: str, image: Any) -> None:
    shape = tuple(getattr(image, "shape", ()))
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise InputError(f"{what} must have shape (H, W) or (H, W, 3), got {shape}.")
    if "float" not in str(image.dtype):
        raise InputError(
            f"{what} must be floating point in [0, 1], got {image.dtype}; divide 8-bit values by 255."
        )
    if isinstance(image, np.ndarray):
        finite = bool(np.isfinite(image).all())
    else:
        finite = bool(image.isfinite().all())
    if not finite:
        raise InputError(f"{what} must be finite, but it holds NaN or infinity.")
