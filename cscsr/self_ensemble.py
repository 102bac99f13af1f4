"""Self-ensemble: the mean of an enlargement over the eight flips and rotations of its input.

R. Timofte, R. Rothe, L. Van Gool, "Seven ways to improve example-based single image super
resolution", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mean_over_orientations(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the mean of `apply` over the eight flips and rotations of `x`, each turned back.

    Parameters
    ----------
    apply
        From (B,C,H,W) to (B,C',sH,sW), and for the turned ones from (B,C,W,H) to (B,C',sW,sH).
    x
        (B,C,H,W).
    """
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for turns in range(4):
        for flip in (False, True):
            turned = torch.rot90(x.flip(3) if flip else x, turns, (2, 3))
            output = torch.rot90(apply(turned), -turns, (2, 3))
            total = total + (output.flip(3) if flip else output)
    return total / 8
