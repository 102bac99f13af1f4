"""Convolutions with filters of one pixel, which a CPU computes by oneDNN. Needs torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve x (B, C, H, W) with weight (M, C, 1, 1) to (B, M, H, W).

    With one thread, torch leaves this to MKL's product of matrices unless the filters are dilated.
    A dilation means nothing to a filter of one pixel, and makes torch call oneDNN. On an EPYC that
    was up to twice as fast; docs/decisions.md says how to measure it.
    """
    dilation = 2 if x.device.type == "cpu" and not torch.compiler.is_compiling() else 1
    return conv2d(x, weight, bias, dilation=dilation)


class PointwiseConvolution(nn.Conv2d):
    """The layer of `pointwise`.

    Parameters
    ----------
    inputs, outputs
        Channels.
    bias
        Whether it adds one.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, inputs, H, W) to (B, outputs, H, W)."""
        return pointwise(x, self.weight, self.bias)
