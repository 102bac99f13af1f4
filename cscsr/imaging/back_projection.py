"""Back-projection: what an enlarged image, shrunk again, lacks of the low-resolution image."""

from __future__ import annotations

import numpy as np

from cscsr.imaging.resize import imresize

PROJECTION_REACH = 4
"""How many low-resolution pixels further a step reaches: two of shrinking and two of enlarging."""


def back_projected(estimate: np.ndarray, luma: np.ndarray, scale: int, steps: int) -> np.ndarray:
    """Bring an estimate nearer to the low-resolution image: x ← x + ↑(y − ↓x), some times.

    Both ↑ and ↓ are bicubic (Yang et al. 2010, after Irani and Peleg 1991).

    Parameters
    ----------
    estimate
        x, (sH,sW).
    luma
        y, (H,W).
    scale
        s.
    steps
        How many times.
    """
    for _ in range(steps):
        estimate = estimate + imresize(luma - imresize(estimate, 1 / scale), scale)
    return estimate
