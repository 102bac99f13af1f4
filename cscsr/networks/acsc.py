"""ACSC (Sreter and Giryes 2018): convolutional LISTA and a linear decoder. Needs torch only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from cscsr.networks.base import (
    MEAN_Y,
    Channels,
    Convolution,
    Kernel,
    LumaRefiner,
    Recursions,
    Scales,
    Visit,
    in_float32,
)
from cscsr.networks.cista_block import initialised, start_small
from cscsr.networks.one_channel import OneChannelConvolution
from cscsr.networks.tied_block import lipschitz_bound

FIRST_THRESHOLD = 1e-3
"""θ before training. A high one makes all codes zero, and a training never leaves that."""


class Shrinkage(Function):
    """h_θ(z), whose gradient needs the result alone."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor) -> Tensor:
        result = z - z.clamp(-threshold, threshold)
        ctx.save_for_backward(result)
        ctx.shape = threshold.shape
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (result,) = ctx.saved_tensors
        sign = result.sign()
        falling = (gradient * sign).sum_to_size(ctx.shape)
        return gradient * sign.abs_(), -falling


class ACSC(LumaRefiner):
    """x + d⊗z, where z ← h_θ(z + wₑ⊗(y − w_d⊗z)) from h_θ(wₑ⊗y), and y is x less its mean.

    The encoder is ISTA on the dictionary w_d if wₑ is its adjoint divided by L, and it starts as
    that; training frees wₑ, w_d and d, which all recursions share. The nearest relative of
    CRNet-A, which codes features instead of pixels.

    The paper trains it for denoising and inpainting only. The use on enlarged luma, the skip and
    the default sizes are not from the paper.

    Parameters
    ----------
    atoms
        m, channels of the codes.
    kernel
        Side of all filters.
    recursions
        K; as in `CISTABlock`, they amount to K + 1 iterations from zero.
    residual
        Add x to the output. Without, the mean is added, as the paper's decoder has no skip.
    small_start
        With the skip, start d as `CRNetA` starts its last layer.
    scales
        The factors it is trained for; the layers do not depend on them.

    References
    ----------
    H. Sreter and R. Giryes, "Learned Convolutional Sparse Coding", ICASSP 2018, sections 3 and 4.
    """

    def __init__(
        self,
        atoms: Channels = 64,
        kernel: Kernel = 7,
        recursions: Recursions = 25,
        residual: bool = True,
        small_start: bool = True,
        scales: Scales = (2, 3, 4),
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.residual, self.K = residual, recursions
        self.encode = initialised(OneChannelConvolution(1, atoms, kernel))
        self.synthesis = initialised(OneChannelConvolution(atoms, 1, kernel))
        self.decode = initialised(OneChannelConvolution(atoms, 1, kernel))
        self.raw_threshold = nn.Parameter(torch.full((atoms,), FIRST_THRESHOLD))
        if not self.synthesis.weight.is_meta:
            with torch.no_grad():
                weight = self.synthesis.weight
                weight /= lipschitz_bound(weight).sqrt()
                self.encode.weight.copy_(weight.transpose(0, 1).flip(-2, -1))
        if residual and small_start:
            start_small(self.decode)

    @property
    def recursions(self) -> int:
        return self.K

    @property
    def threshold(self) -> Tensor:
        """θ (m, 1, 1), nonnegative: an absolute value, which can leave zero again."""
        return self.raw_threshold.abs()[:, None, None]

    def shrink(self, z: Tensor) -> Tensor:
        """Return h_θ(z), z moved towards zero by θ, both (B, m, H, W)."""
        return Shrinkage.apply(z, self.threshold)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield Convolution(self.encode, self.K + 1, 1)
        yield Convolution(self.synthesis, self.K, 1)
        yield Convolution(self.decode, 1, 1)

    def pixel_bytes(self, scale: int) -> int:
        """z, wₑ⊗(y − w_d⊗z) and their sum; or z and the products of all atoms' taps with it."""
        atoms, _, kernel, _ = self.encode.weight.shape
        return 4 * (2 * atoms + max(atoms, kernel * kernel))

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        y = x - MEAN_Y
        z = self.shrink(in_float32(self.encode, y))
        for k in range(self.K + 1):
            if k > 0:
                missing = y - in_float32(self.synthesis, z)
                z = self.shrink(z + in_float32(self.encode, missing))
            if visit is not None:
                visit(k, z, partial(self.completed, z, x))
        return self.completed(z, x)

    def completed(self, z: Tensor, image: Tensor) -> Tensor:
        """Return the refined luma (B, 1, H, W) of codes z for the enlarged `image`."""
        detail = in_float32(self.decode, z)
        return detail + (image if self.residual else MEAN_Y)
