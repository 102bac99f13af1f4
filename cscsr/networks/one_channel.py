"""Convolutions from or to one channel, which a CPU computes faster as a product with the taps.

A convolution of m channels to one is, at each pixel, a product of the m codes with the k² taps of
every filter, and a sum of the products that fall on the same pixel. The libraries under torch pad
the one channel to the width of a register instead, and compute what nobody reads. Needs torch only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import conv2d, fold, unfold


class OneChannelConvolution(nn.Conv2d):
    """A zero-padded convolution that keeps the size, without biases, from or to one channel.

    On other devices than a CPU, and in a network that is exported, it is torch's convolution.

    Parameters
    ----------
    inputs, outputs
        Channels, one of them 1.
    kernel
        Side of the filters, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        assert min(inputs, outputs) == 1 and kernel % 2
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, inputs, H, W) to (B, outputs, H, W)."""
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        return (_ToOne if self.out_channels == 1 else _FromOne).apply(x, self.weight)


def to_one(z: Tensor, weight: Tensor) -> Tensor:
    """Convolve z (B, m, H, W) with weight (1, m, k, k) to (B, 1, H, W)."""
    taps, kernel = weight[0].flatten(1).flip(1), weight.shape[-1]
    return fold((_pixels(z) @ taps).mT, z.shape[2:], kernel, padding=kernel // 2)


def _pixels(z: Tensor) -> Tensor:
    """z (B, m, H, W) as (B, H·W, m), a view where its layout is one of torch's two."""
    if z.is_contiguous(memory_format=torch.channels_last):
        return z.permute(0, 2, 3, 1).flatten(1, 2)
    return z.flatten(2).mT


def from_one(y: Tensor, weight: Tensor) -> Tensor:
    """Convolve y (B, 1, H, W) with weight (m, 1, k, k) to (B, m, H, W)."""
    return conv2d(y, weight, padding=weight.shape[-1] // 2)


def adjoint(weight: Tensor) -> Tensor:
    """The filters of the adjoint convolution."""
    return weight.transpose(0, 1).flip(-2, -1)


def correlation(y: Tensor, z: Tensor, kernel: int) -> Tensor:
    """Correlate z (B, m, H, W) with the shifts of y (B, 1, H, W): (m, 1, k, k), the gradient of the
    weights of `from_one` where z is that of its output."""
    total = y.new_zeros(z.shape[1], kernel * kernel)
    for image, codes in zip(y, _pixels(z), strict=True):  # so that the shifts stay in the cache
        total.addmm_(codes.T, unfold(image, kernel, padding=kernel // 2).T)
    return total.view(-1, 1, kernel, kernel)


class _FromOne(Function):
    """`from_one` whose gradients are a `to_one` and a `correlation`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(y, weight)
        return from_one(y, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        y, weight = ctx.saved_tensors
        return to_one(gradient, adjoint(weight)), correlation(y, gradient, weight.shape[-1])


class _ToOne(Function):
    """`to_one` whose gradients are a `from_one` and a `correlation`."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(z, weight)
        return to_one(z, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        z, weight = ctx.saved_tensors
        filters = correlation(gradient, z, weight.shape[-1])
        return from_one(gradient, adjoint(weight)), adjoint(filters)
