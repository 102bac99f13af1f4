"""MemNet (Tai et al. 2017): blocks that recur, and gates that remember all blocks before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
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
from cscsr.networks.cista_block import convolution, fusion, start_small
from cscsr.networks.upsampling import Blocks, scale_weights


class _MemoryBlock(nn.Module):
    """B = gate of [h₁, …, h_R, B₀, …, B_{m−1}] with hᵣ = hᵣ₋₁ + W₂⊗ρ(W₁⊗ρ(hᵣ₋₁)), h₀ = B_{m−1}.

    The recursions share W₁ and W₂; the gate is a ReLU and a 1×1 layer.
    """

    def __init__(self, width: int, units: int, memories: int) -> None:
        super().__init__()
        self.units = units
        self.first = convolution(width, width)
        self.second = convolution(width, width)
        self.gate = fusion((units + memories) * width, width)

    def forward(self, memories: list[Tensor]) -> Tensor:
        features, states = memories[-1], []
        for _ in range(self.units):
            features = features + self.second(self.first(relu(features)).relu_())
            states.append(features)
        return self.gate(torch.cat([*states, *memories], 1).relu_())


class MemNet(LumaRefiner):
    """x + W⊗ρ(B_M), of memory blocks B₁ … B_M and B₀ = W₀⊗x, on enlarged luma x.

    The defaults are the paper's M6R6, with 80 layers and 676,992 weights, in its basic form: one
    output, not one per block. The paper normalises over the batch before each ReLU, which is left
    out as in `DRRN`.

    Parameters
    ----------
    width
        Channels between the layers.
    blocks
        M, memory blocks.
    units
        R, the number of times that a block applies its residual unit.
    scales
        The factors it is trained for; the layers do not depend on them.
    small_start
        Start the last layer as `CRNetA` does, and each unit with a tenth of what it would add.

    References
    ----------
    Y. Tai, J. Yang, X. Liu, C. Xu, "MemNet: A Persistent Memory Network for Image Restoration",
    ICCV 2017, section 3.
    """

    def __init__(
        self,
        width: Channels = 64,
        blocks: Blocks = 6,
        units: Blocks = 6,
        scales: Scales = (2, 3, 4),
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.first = convolution(1, width)
        self.blocks = nn.ModuleList(
            _MemoryBlock(width, units, number + 1) for number in range(blocks)
        )
        self.last = convolution(width, 1)
        if small_start:
            for block in self.blocks:
                scale_weights(cast(_MemoryBlock, block).second, 0.1)
            start_small(self.last)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.first)
        for block in (cast(_MemoryBlock, block) for block in self.blocks):
            for layer in convolutions_of(block.first, block.second):
                yield layer._replace(times=block.units)
            yield from convolutions_of(block.gate)
        yield from convolutions_of(self.last)

    def pixel_bytes(self, scale: int) -> int:
        """What the last gate joins, and its copy side by side."""
        return 8 * cast(_MemoryBlock, self.blocks[-1]).gate.in_channels

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        memories = [in_float32(self.first, x)]
        for block in self.blocks:
            memories.append(block(memories))
        return x + in_float32(self.last, memories[-1].relu_())
