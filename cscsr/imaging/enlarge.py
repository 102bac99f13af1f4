"""What the super-resolution solvers share: kinds of arrays, and colour around a luma method.

Needs numpy; torch only where a torch tensor came in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cscsr.imaging.colour import rgb_to_ycbcr, ycbcr_to_rgb
from cscsr.imaging.resize import imresize


def as_array(image: Any) -> np.ndarray:
    """An image, numpy or torch, as a numpy array of its dtype."""
    return image if isinstance(image, np.ndarray) else image.detach().cpu().numpy()


def as_image(array: np.ndarray, like: Any) -> Any:
    """`array` as the kind of array, of the dtype and on the device that the image `like` is."""
    if isinstance(like, np.ndarray):
        return array.astype(like.dtype, copy=False)
    return like.new_tensor(array)


def with_luma(luma: np.ndarray, lr: np.ndarray, scale: int) -> np.ndarray:
    """The enlarged image whose luma a method has found: Cb and Cr by bicubic interpolation.

    luma: (scale·H, scale·W). lr: the image it was enlarged from, (H,W) or (H,W,3) RGB.
    Returns `luma` itself for a grey image; RGB in float64, not clipped, for a colour one.
    """
    if lr.ndim == 2:
        return luma
    enlarged = imresize(rgb_to_ycbcr(lr.astype(np.float64)), scale)
    enlarged[..., 0] = luma
    return ycbcr_to_rgb(enlarged)
