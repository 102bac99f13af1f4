"""DRRN (Tai et al. 2017): one residual unit, applied again and again to enlarged luma."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import relu

from cscsr.networks.base import (
    Channels,
    Convolution,
    LumaRefiner,
    Scales,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import convolution, start_small
from cscsr.networks.upsampling import Blocks, scale_weights


class _RecursiveBlock(nn.Module):
    """h₀ = W₀⊗x, hᵤ = h₀ + W₂⊗ρ(W₁⊗ρ(hᵤ₋₁)): the units share W₁ and W₂.

    Before each layer but that of the image is a ReLU.
    """

    def __init__(self, inputs: int, width: int, units: int) -> None:
        super().__init__()
        self.units, self.image = units, inputs == 1
        self.enter = convolution(inputs, width)
        self.first = convolution(width, width)
        self.second = convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        start = in_float32(self.enter, x) if self.image else self.enter(relu(x))
        features = start
        for _ in range(self.units):
            features = start + self.second(self.first(relu(features)).relu_())
        return features


class DRRN(LumaRefiner):
    """x + W⊗ρ(R(x)), where R consists of recursive blocks.

    The defaults are the paper's B1U25, with 52 layers and 297,216 weights. The paper normalises
    over the batch before each ReLU, which is left out here: its counts do not include it, and it
    does not say whether the recursions share the statistics.

    Parameters
    ----------
    width
        Channels between the layers.
    blocks
        B, recursive blocks.
    units
        U, the number of times that a block applies its residual unit.
    scales
        The factors it is trained for; the layers do not depend on them.
    small_start
        Start the last layer as `CRNetA` does, and each unit with a tenth of what it would add.

    References
    ----------
    Y. Tai, J. Yang, X. Liu, "Image Super-Resolution via Deep Recursive Residual Network", CVPR
    2017, section 3.
    """

    def __init__(
        self,
        width: Channels = 128,
        blocks: Blocks = 1,
        units: Blocks = 25,
        scales: Scales = (2, 3, 4),
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.blocks = nn.Sequential(
            *(_RecursiveBlock(width if number else 1, width, units) for number in range(blocks))
        )
        self.last = convolution(width, 1)
        if small_start:
            for block in self.blocks:
                scale_weights(cast(_RecursiveBlock, block).second, 0.1)
            start_small(self.last)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        for block in (cast(_RecursiveBlock, block) for block in self.blocks):
            yield from convolutions_of(block.enter)
            for layer in convolutions_of(block.first, block.second):
                yield layer._replace(times=block.units)
        yield from convolutions_of(self.last)

    def pixel_bytes(self, scale: int) -> int:
        """Of a block: its start, the features, and what a unit's layer reads and writes."""
        return 4 * 4 * self.last.in_channels

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        return x + in_float32(self.last, self.blocks(x).relu_())
