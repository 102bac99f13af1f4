"""IMDN (Hui et al. 2019): blocks that set a part of their features aside at each layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from cscsr.errors import InputError
from cscsr.networks.base import (
    Channels,
    Convolution,
    RGBEnlarger,
    Scales,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import convolution, fusion
from cscsr.networks.upsampling import bicubic, scale_weights
from cscsr.schema import Range

SLOPE = 0.05
"""Of the leaky ReLU."""

REDUCTION = 16
"""By which the attention narrows the channels."""


class _Attention(nn.Module):
    """Contrast-aware channel attention: a factor per channel, from its mean + standard deviation.

    Both are over the whole image.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = convolution(width, max(width // REDUCTION, 1), 1)
        self.widen = convolution(max(width // REDUCTION, 1), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
        factors = self.widen(self.narrow(mean + deviation).relu_()).sigmoid()
        return x * factors


class _Block(nn.Module):
    """The information multi-distillation block: of each layer's output a quarter is set aside.

    What is set aside is joined, weighted by the attention, and added to the block's input.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.distilled = width // 4
        rest = width - self.distilled
        self.layers = nn.ModuleList(
            [convolution(width, width), convolution(rest, width), convolution(rest, width)]
        )
        self.last = convolution(rest, self.distilled)
        self.fusion = fusion(4 * self.distilled, width)
        scale_weights(self.fusion, 0.1)
        self.attention = _Attention(4 * self.distilled)

    def forward(self, x: Tensor) -> Tensor:
        aside, features = [], x
        for layer in self.layers:
            output = leaky_relu(layer(features), SLOPE)
            part, features = output.tensor_split([self.distilled], 1)
            aside.append(part)
        joined = torch.cat([*aside, self.last(features)], 1)
        return x + self.fusion(self.attention(joined))


class _Body(nn.Module):
    """The network of one factor."""

    def __init__(self, width: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.head = convolution(3, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.fusion = fusion(blocks * width, width)
        self.smooth = convolution(width, width)
        self.tail = convolution(width, 3 * scale**2)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        features = head = in_float32(self.head, x)
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        fused = leaky_relu(self.fusion(torch.cat(outputs, 1)), SLOPE)
        return self.shuffle(in_float32(self.tail, self.smooth(fused) + head))


class IMDN(RGBEnlarger):
    """IMDN: a complete network per factor, which enlarges in its last layer.

    The paper's networks have 694,404 parameters for ×2, 703,059 for ×3 and 715,176 for ×4. No mean
    is subtracted. Because the attention averages over the image, every output pixel depends on all
    of it, and an image is never cut into tiles.

    Parameters
    ----------
    width
        Channels of the features, a multiple of 4.
    blocks
        Distillation blocks.
    scales
        The factors.
    residual
        Add the bicubic enlargement to the output, which the paper does not; the last layer then
        starts small.

    Raises
    ------
    InputError
        For a width that is no multiple of 4.

    References
    ----------
    Z. Hui, X. Gao, Y. Yang, X. Wang, "Lightweight Image Super-Resolution with Information
    Multi-distillation Network", ACM Multimedia 2019, section 3.
    """

    def __init__(
        self,
        width: Channels = 64,
        blocks: Annotated[int, Range(1, 100)] = 6,
        scales: Scales = (2, 3, 4),
        residual: bool = False,
    ) -> None:
        super().__init__()
        if width % 4:
            raise InputError(f"width should be a multiple of 4, got {width}.")
        self.scales = tuple(scales)
        self.residual = residual
        self.bodies = nn.ModuleDict(
            {str(scale): _Body(width, blocks, scale) for scale in self.scales}
        )
        if residual:
            for scale in self.scales:
                scale_weights(self.body(scale).tail, 0.01)

    def body(self, scale: int) -> _Body:
        """The network of one factor."""
        return cast(_Body, self.bodies[str(scale)])

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        """Yield the convolutions of a pass, without those of the attention, which take place once
        per image and not per pixel."""
        body = self.body(scale)
        yield from convolutions_of(body.head)
        for block in (cast(_Block, block) for block in body.blocks):
            yield from convolutions_of(block.layers, block.last, block.fusion)
        yield from convolutions_of(body.fusion, body.smooth, body.tail)

    def radius(self, scale: int) -> int | None:
        return None

    def pixel_bytes(self, scale: int) -> int:
        """At least the outputs of all blocks and their copy side by side."""
        together = self.body(scale).fusion.in_channels
        return max(super().pixel_bytes(scale), 8 * together)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        output = self.body(scale)(x)
        return output + bicubic(x, scale) if self.residual else output
