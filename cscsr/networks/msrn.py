"""MSRN (Li et al. 2018): blocks of 3×3 and 5×5 layers that exchange features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from cscsr.networks.base import Channels, Convolution, Visit, convolutions_of, in_float32
from cscsr.networks.cista_block import convolution, fusion
from cscsr.networks.upsampling import (
    Blocks,
    MeanShiftedEnlarger,
    UpsampledScales,
    scale_weights,
    upsampler,
)


class _Block(nn.Module):
    """The multi-scale residual block: twice a 3×3 and a 5×5 layer side by side, then 1×1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.ModuleList([convolution(width, width, 3), convolution(width, width, 5)])
        self.second = nn.ModuleList(
            [convolution(2 * width, 2 * width, 3), convolution(2 * width, 2 * width, 5)]
        )
        self.fusion = fusion(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for pair in (self.first, self.second):
            features = torch.cat([layer(features).relu_() for layer in pair], 1)
        return x + self.fusion(features)


class MSRN(MeanShiftedEnlarger):
    """MSRN: multi-scale residual blocks, whose outputs and input are fused by a 1×1 layer.

    The paper trains a network per factor, which ``scales=[s]`` gives; with several, they share all
    but the upsampler.

    Parameters
    ----------
    width
        Channels of the features.
    blocks
        Multi-scale residual blocks.
    scales
        The factors, among 2, 3 and 4.
    residual
        See `MeanShiftedEnlarger`.
    small_start
        See `CRNetB`.

    References
    ----------
    J. Li, F. Fang, K. Mei, G. Zhang, "Multi-scale Residual Network for Image Super-Resolution",
    ECCV 2018, section 3.
    """

    def __init__(
        self,
        width: Channels = 64,
        blocks: Blocks = 8,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
        small_start: bool = True,
    ) -> None:
        super().__init__(residual)
        self.scales = tuple(scales)
        self.head = convolution(3, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.fusion = nn.Sequential(fusion((blocks + 1) * width, width), convolution(width, width))
        self.up = nn.ModuleDict({str(scale): upsampler(width, scale) for scale in self.scales})
        self.tail = convolution(width, 3)
        if small_start:
            for block in self.blocks:
                scale_weights(cast(_Block, block).fusion, 0.1)
            scale_weights(self.tail, 0.01 if residual else 0.1)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(
            self.head, self.blocks, self.fusion, self.up[str(scale)], self.tail
        )

    def input_radius(self, scale: int) -> int:
        """Of each block, the reach of its two 5×5 layers: the 3×3 ones beside them reach less."""
        beside = sum(
            layer.kernel_size[0] // 2
            for block in (cast(_Block, block) for block in self.blocks)
            for pair in (block.first, block.second)
            for layer in [cast(nn.Conv2d, pair[0])]
        )
        return super().input_radius(scale) - beside

    def pixel_bytes(self, scale: int) -> int:
        """At least the outputs of all blocks and their copy side by side."""
        together = cast(nn.Conv2d, self.fusion[0]).in_channels
        return max(super().pixel_bytes(scale), 8 * together)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        features = in_float32(self.head, x - self.mean)
        outputs = [features]
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        features = self.fusion(torch.cat(outputs, 1))
        return self.completed(self.tail, self.up[str(scale)](features), x, scale)
