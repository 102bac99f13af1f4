"""CRNet-B, the post-upsampling model of the paper (Fig. 6). Needs torch only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cscsr.networks.base import (
    MEAN_RGB,
    Channels,
    Convolution,
    Kernel,
    Recursions,
    RGBEnlarger,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import Block, CISTABlock, convolution, with_decoder
from cscsr.schema import Distinct, Range

UpsampledScales = Annotated[Sequence[Annotated[int, Range(2, 4)]], Distinct()]
"""The factors that `_upsampler` knows."""


def bicubic(image: Tensor, scale: int) -> Tensor:
    """Return the bicubic enlargement (B, C, scale·H, scale·W) of (B, C, H, W), float32.

    With antialias torch takes the kernel a = −0.5 of MATLAB and PIL (without, a = −0.75). In
    enlarging it differs from theirs only in a pixel or two at the border.
    """
    return interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


class _ResidualUnit(nn.Module):
    """x + conv(ReLU(conv(x))), CRNet-B's pre-processing of one scale."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.first = convolution(channels, channels, bias=bias)
        self.second = convolution(channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu_())


def _upsampler(channels: int, scale: int, bias: bool) -> nn.Sequential:
    """Sub-pixel convolutions to `scale`: ×4 is ×2 twice, as in EDSR and MDSR."""
    factors = {2: [2], 3: [3], 4: [2, 2]}[scale]
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [convolution(channels, channels * factor**2, bias=bias), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class CRNetB(RGBEnlarger):
    """CRNet-B: works at low resolution, with pre-processing and upsampling modules per scale.

    The paper's widths are n0=64, m0=1024, recursions=25: 11,730,307 parameters.

    Parameters
    ----------
    n0
        Feature channels.
    m0
        Code channels.
    recursions
        K.
    scales
        The factors that it can enlarge by, among 2, 3 and 4.
    residual
        Add the bicubic enlargement to the output, as eq. (14) does in CRNet-A. The paper's
        CRNet-B does not.
    s_kernel, bias, s_rank
        See `CISTABlock`; without `bias` no layer has a bias.
    small_start
        Initialise the layers at the end of a skip, and the last layer, with a tenth of A.4's
        standard deviation (the last layer, with `residual`, with a hundredth).
    """

    mean: Tensor

    def __init__(
        self,
        n0: Channels = 64,
        m0: Channels = 1024,
        recursions: Recursions = 25,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
        s_kernel: Kernel = 3,
        bias: bool = True,
        s_rank: Channels | None = None,
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.residual = residual
        self.head = convolution(3, n0, bias=bias)
        units = {str(scale): _ResidualUnit(n0, bias) for scale in self.scales}
        self.pre = nn.ModuleDict(units)
        self.F0 = convolution(n0, n0, bias=bias)
        self.F1 = convolution(n0, n0, bias=bias)
        self.block: Block = CISTABlock(
            n0, m0, recursions, s_kernel=s_kernel, bias=bias, s_rank=s_rank
        )
        self.Wh = convolution(m0, n0, bias=bias)
        self.H = convolution(n0, n0, bias=bias)
        self.up = nn.ModuleDict({str(scale): _upsampler(n0, scale, bias) for scale in self.scales})
        self.tail = convolution(n0, 3, bias=bias)
        if small_start:
            with torch.no_grad():
                for layer in (*(unit.second for unit in units.values()), self.H):
                    layer.weight.mul_(0.1)
                self.tail.weight.mul_(0.01 if residual else 0.1)
        mean = torch.tensor(MEAN_RGB)
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)

    @property
    def recursions(self) -> int:
        return self.block.recursions

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.head, self.pre[str(scale)], self.F0, self.F1)
        yield from self.block.convolutions()
        yield from convolutions_of(self.Wh, self.H, self.up[str(scale)], self.tail)

    def pixel_bytes(self, scale: int) -> int:
        return max(super().pixel_bytes(scale), self.block.pixel_bytes())

    def coded(self, features: Tensor) -> Tensor:
        """Return the signal y that the block codes, of features (B, n0, H, W)."""
        return self.F1(self.F0(features).relu_()).relu_()

    def decode(self, z: Tensor, features: Tensor, image: Tensor, scale: int) -> Tensor:
        """Return the enlarged image (B, 3, scale·H, scale·W) of codes z.

        Parameters
        ----------
        z
            (B, m0, H, W).
        features
            The features at the start of the skip, (B, n0, H, W).
        image
            The low-resolution image, (B, 3, H, W).
        scale
            One of `scales`.
        """
        x = self.up[str(scale)](features + self.H(self.Wh(z).relu_()))
        detail = in_float32(self.tail, x)
        return detail + (bicubic(image, scale) if self.residual else self.mean)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        features = self.pre[str(scale)](in_float32(self.head, x - self.mean))
        y = self.coded(features)

        def decode(z: Tensor) -> Tensor:
            return self.decode(z, features, x, scale)

        return decode(self.block(y, with_decoder(visit, decode)))
