"""What networks that enlarge RGB at the end share: sub-pixel convolutions and the bicubic skip.

Needs torch only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cscsr.errors import InputError
from cscsr.networks.base import MEAN_RGB, RGBEnlarger, in_float32
from cscsr.networks.cista_block import convolution
from cscsr.schema import Distinct, Range

UpsampledScales = Annotated[Sequence[Annotated[int, Range(2, 4)]], Distinct()]
"""The factors that `upsampler` knows."""

Doublings = Annotated[Sequence[Annotated[int, Range(2, 8)]], Distinct()]
"""The factors that levels of ×2 can make; see `doublings`."""

Blocks = Annotated[int, Range(1, 200)]
"""The number of a network's blocks, units or layers."""


def doublings(scales: Sequence[int]) -> dict[int, int]:
    """Return how many times each of the factors 2, 4 and 8 doubles an image.

    Raises
    ------
    InputError
        For a factor that is no power of 2.
    """
    if any(scale & (scale - 1) for scale in scales):
        raise InputError(f"scales should be among 2, 4 and 8, got {list(scales)}.")
    return {scale: scale.bit_length() - 1 for scale in scales}


def bicubic(image: Tensor, scale: int) -> Tensor:
    """Return the bicubic enlargement (B, C, scale·H, scale·W) of (B, C, H, W), float32.

    With antialias torch takes the kernel a = −0.5 of MATLAB and PIL (without, a = −0.75). In
    enlarging it differs from theirs only in a pixel or two at the border.
    """
    return interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


def upsampler(channels: int, scale: int, bias: bool = True) -> nn.Sequential:
    """Sub-pixel convolutions to `scale`: ×4 is ×2 twice, as in EDSR and MDSR."""
    factors = {2: [2], 3: [3], 4: [2, 2]}[scale]
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [convolution(channels, channels * factor**2, bias=bias), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class ResidualUnit(nn.Module):
    """x + factor · conv(ReLU(conv(x))).

    Parameters
    ----------
    channels
        Of x.
    kernel
        The side of both layers' filters.
    bias
        Whether the layers have biases.
    factor
        Scales what is added.
    """

    def __init__(
        self, channels: int, kernel: int = 3, bias: bool = True, factor: float = 1.0
    ) -> None:
        super().__init__()
        self.factor = factor
        self.first = convolution(channels, channels, kernel, bias)
        self.second = convolution(channels, channels, kernel, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor (B, channels, H, W) of the shape of `x`."""
        inner = self.second(self.first(x).relu_())
        return x + (inner if self.factor == 1 else self.factor * inner)


class MeanShiftedEnlarger(RGBEnlarger):
    """A network of line rgb that works on RGB less its mean.

    Parameters
    ----------
    residual
        Add the bicubic enlargement to the output, which few papers do: a network that is trained
        briefly learns little else without it.
    """

    mean: Tensor

    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        mean = torch.tensor(MEAN_RGB)
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)

    def completed(self, tail: nn.Module, features: Tensor, image: Tensor, scale: int) -> Tensor:
        """Return the enlarged image (B, 3, scale·H, scale·W).

        Parameters
        ----------
        tail
            The last layer.
        features
            What it is applied to.
        image
            The low-resolution image, (B, 3, H, W).
        scale
            The factor.
        """
        detail = in_float32(tail, features)
        return detail + (bicubic(image, scale) if self.residual else self.mean)


@torch.no_grad()
def scale_weights(layer: nn.Conv2d, factor: float) -> None:
    """Multiply the initial weights of a layer, so that a sum or a skip starts without it."""
    layer.weight.mul_(factor)
