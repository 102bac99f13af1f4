"""The problem of super-resolution: an image, a factor and, where it is known, the truth.

Needs numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cscsr.arrays import check_unit_range, described, dtype_name, plain
from cscsr.errors import InputError


def check_scale(scale: Any) -> int:
    """Return `scale` as an int of at least 1; raise InputError for anything else."""
    if isinstance(scale, bool) or not isinstance(scale, (int, np.integer)) or scale < 1:
        raise InputError(f"scale must be a whole number of at least 1, got {scale!r}.")
    return int(scale)


@dataclass(frozen=True, eq=False, repr=False)
class SuperResolution:
    """A low-resolution image to enlarge.

    Parameters
    ----------
    lr
        (H,W) or (H,W,3) RGB, floating point in [0,1], numpy or torch. Overshoots down to −1 and up
        to 2 are allowed (`cscsr.arrays.UNIT_RANGE`): bicubic interpolation and noise cause them,
        and values of 0 to 255 lie beyond.
    scale
        The factor, a whole number.
    truth
        The high-resolution image (scale·H, scale·W[, 3]) where it is known. It scores traces;
        no solver computes with it.

    Raises
    ------
    InputError
        If a shape, a value (NaN, infinity, far outside [0,1]) or the scale is wrong, and for a
        masked array in which anything is masked.
    """

    lr: Any
    scale: int
    truth: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_scale(self.scale))
        object.__setattr__(self, "lr", _checked_image("lr", self.lr))
        if self.truth is not None:
            object.__setattr__(self, "truth", _checked_image("truth", self.truth))
            shape = tuple(self.scale * n for n in self.lr.shape[:2]) + tuple(self.lr.shape[2:])
            if tuple(self.truth.shape) != shape:
                raise InputError(
                    f"truth must have shape {shape} (scale times that of lr), "
                    f"got {tuple(self.truth.shape)}."
                )

    def __repr__(self) -> str:
        truth = "" if self.truth is None else ", truth known"
        return f"SuperResolution(lr {described(self.lr)}, scale {self.scale}{truth})"

    def _repr_html_(self) -> str:
        """A table and the image, for notebooks."""
        from cscsr.notebook import super_resolution_html

        return super_resolution_html(self)


def _checked_image(name: str, image: Any) -> Any:
    """`image` as a plain array; refuses what is no image on the [0,1] scale."""
    shape = tuple(getattr(image, "shape", ()))
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        remedy = "; cscsr.upscale takes channels first and batches" if len(shape) in (3, 4) else ""
        raise InputError(f"{name} must have shape (H, W) or (H, W, 3), got {shape}{remedy}.")
    if dtype_name(image) not in ("float16", "float32", "float64"):
        raise InputError(
            f"{name} must be floating point in [0, 1], got {image.dtype}; "
            "divide 8-bit values by 255, or use cscsr.upscale."
        )
    image = plain(name, image)
    check_unit_range(name, image)
    return image
