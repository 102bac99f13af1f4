"""RDN (Zhang et al. 2018): residual dense blocks, all of whose outputs are fused."""

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


class _DenseBlock(nn.Module):
    """Layers that each see the block's input and all outputs before; their 1×1 fusion is added.

    Parameters: G₀ = `width`, G = `growth`, C = `layers`.
    """

    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            convolution(width + number * growth, growth) for number in range(layers)
        )
        self.fusion = fusion(width + layers * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for layer in self.layers:
            features = torch.cat([features, layer(features).relu_()], 1)
        return x + self.fusion(features)


class RDN(MeanShiftedEnlarger):
    """RDN: D dense blocks of C layers, local and global fusion of features.

    The defaults are the paper's D = 16, C = 8, G = G₀ = 64. The paper trains a network per factor,
    which ``scales=[s]`` gives; with several, they share all but the upsampler.

    Parameters
    ----------
    width
        G₀, channels between the blocks.
    growth
        G, channels that a layer adds.
    blocks
        D.
    layers
        C, layers of a block.
    scales
        The factors, among 2, 3 and 4.
    residual
        See `MeanShiftedEnlarger`.
    small_start
        See `CRNetB`.

    References
    ----------
    Y. Zhang, Y. Tian, Y. Kong, B. Zhong, Y. Fu, "Residual Dense Network for Image
    Super-Resolution", CVPR 2018, sections 3 and 4.
    """

    def __init__(
        self,
        width: Channels = 64,
        growth: Channels = 64,
        blocks: Blocks = 16,
        layers: Blocks = 8,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
        small_start: bool = True,
    ) -> None:
        super().__init__(residual)
        self.scales = tuple(scales)
        self.head = convolution(3, width)
        self.second = convolution(width, width)
        self.blocks = nn.ModuleList(_DenseBlock(width, growth, layers) for _ in range(blocks))
        self.fusion = nn.Sequential(fusion(blocks * width, width), convolution(width, width))
        self.up = nn.ModuleDict({str(scale): upsampler(width, scale) for scale in self.scales})
        self.tail = convolution(width, 3)
        if small_start:
            for block in self.blocks:
                scale_weights(cast(_DenseBlock, block).fusion, 0.1)
            scale_weights(self.tail, 0.01 if residual else 0.1)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.head, self.second)
        yield from convolutions_of(self.blocks, self.fusion, self.up[str(scale)], self.tail)

    def pixel_bytes(self, scale: int) -> int:
        """At least the outputs of all blocks and their copy side by side, or those of a block."""
        block = cast(_DenseBlock, self.blocks[0])
        widest = max(cast(nn.Conv2d, self.fusion[0]).in_channels, block.fusion.in_channels)
        return max(super().pixel_bytes(scale), 8 * widest)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        shallow = in_float32(self.head, x - self.mean)
        features, outputs = self.second(shallow), []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        features = shallow + self.fusion(torch.cat(outputs, 1))
        return self.completed(self.tail, self.up[str(scale)](features), x, scale)
