"""Convolutions from or to one channel, which a CPU computes faster as a product with the taps.

A convolution of m channels to one is, at each pixel, a product of the m codes with the k² taps of
every filter, and a sum of the products that fall on the same pixel. The libraries under torch pad
the one channel to the width of a register instead, and compute what nobody reads. Needs torch only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from cscsr.networks.pointwise import pointwise


class OneChannelConvolution(nn.Conv2d):
    """A zero-padded convolution that keeps the size, from or to one channel.

    On other devices than a CPU, and in a network that is exported, it is torch's convolution.

    Parameters
    ----------
    inputs, outputs
        Channels, one of them 1.
    kernel
        Side of the filters, odd.
    bias
        Whether it adds one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = False) -> None:
        assert min(inputs, outputs) == 1 and kernel % 2
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, inputs, H, W) to (B, outputs, H, W)."""
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        if self.in_channels == 1:
            return self._from_one(x)
        total = self._to_one(x)
        return total if self.bias is None else total + self.bias

    def _from_one(self, y: Tensor) -> Tensor:
        """Multiply the shifts of y by the taps of each filter."""
        kernel, reach = self.kernel_size[0], self.kernel_size[0] // 2
        shifts = unfold(y, kernel, padding=reach).unflatten(-1, y.shape[2:])
        shifts = shifts.contiguous(memory_format=torch.channels_last)
        return pointwise(shifts, self.weight.flatten(1)[..., None, None], self.bias)

    def _to_one(self, z: Tensor) -> Tensor:
        """Multiply the codes by the taps of all filters, and add up what falls on a pixel."""
        kernel, reach = self.kernel_size[0], self.kernel_size[0] // 2
        taps = self.weight[0].flatten(1).flip(1).T[..., None, None]
        return fold(pointwise(z, taps).flatten(2), z.shape[2:], kernel, padding=reach)
