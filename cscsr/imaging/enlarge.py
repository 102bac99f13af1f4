"""What the super-resolution solvers share: array kinds, and colour around a luma method.

Needs numpy; torch only where a torch tensor came in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cscsr.imaging.colour import rgb_to_ycbcr, ycbcr_to_rgb
from cscsr.imaging.resize import imresize


def to_numpy(image: Any) -> np.ndarray:
    """A numpy or torch image as a numpy array of at least float32."""
    if not isinstance(image, np.ndarray):
        image = image.detach().cpu().numpy()
    return image.astype(np.float32) if image.dtype == np.float16 else image


def like(image: np.ndarray, reference: Any) -> Any:
    """`image` clipped to [0,1], of the kind (numpy or torch), dtype and device of `reference`."""
    image = image.clip(0, 1)
    if isinstance(reference, np.ndarray):
        return image.astype(reference.dtype)
    import torch

    return torch.from_numpy(image).to(reference)


def enlarge_luma(
    lr: np.ndarray, scale: int, method: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Enlarge an image with a method for luma.

    lr: (H,W) or (H,W,3) RGB, floating point in [0,1]. method: (H,W) -> (scale·H, scale·W).
    Y of a colour image is enlarged by `method`, Cb and Cr by bicubic interpolation.
    """
    if lr.ndim == 2:
        return method(lr)
    channels = rgb_to_ycbcr(lr)
    luma = method(channels[..., 0])
    chroma = imresize(channels[..., 1:], scale)
    return ycbcr_to_rgb(np.dstack([luma.astype(chroma.dtype), chroma]))
