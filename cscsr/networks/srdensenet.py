"""SRDenseNet (Tong et al. 2017): layers that each see the outputs of all layers before.

Needs torch only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from cscsr.networks.base import (
    Channels,
    Convolution,
    LumaEnlarger,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import convolution, fusion, start_small
from cscsr.networks.upsampling import Blocks, Doublings, bicubic, doublings


class SRDenseNet(LumaEnlarger):
    """SRDenseNet_All: dense blocks whose layers see all features before them, and transposed
    convolutions that double the image.

        x₀ = ρ(W₀⊗y),   xₖ = ρ(Wₖ⊗[x₀, …, xₖ₋₁]),   output = R⊗U⊗ … U⊗B[x₀, …, x_K]

    with K = blocks · layers, a 1×1 layer B, and a U of 4×4 for each doubling. The paper leaves open
    how wide the first layer is, what enters a block, and the size of U; it names 256 channels for
    B. The defaults are those of a public implementation, whose 5,452,449 parameters at ×4 later
    papers quote.

    Parameters
    ----------
    growth
        Channels that a layer adds.
    first
        Channels of x₀.
    blocks, layers
        K is their product; 8 and 8 in the paper.
    width
        Channels of B and of the transposed convolutions.
    scales
        The factors, among 2, 4 and 8; the paper has 4. They share all but the U and R.
    residual
        Add the bicubic enlargement to the output, which the paper does not: a network that is
        trained briefly learns little else without it.
    small_start
        With the skip, start the last layer as `CRNetA` starts its.

    Raises
    ------
    InputError
        For a factor that is no power of 2.

    References
    ----------
    T. Tong, G. Li, X. Liu, Q. Gao, "Image Super-Resolution Using Dense Skip Connections",
    ICCV 2017, section 3; github.com/wxywhu/SRDenseNet-pytorch for what it leaves open.
    """

    def __init__(
        self,
        growth: Channels = 16,
        first: Channels = 16,
        blocks: Blocks = 8,
        layers: Blocks = 8,
        width: Channels = 128,
        scales: Doublings = (2, 4),
        residual: bool = False,
        small_start: bool = True,
    ) -> None:
        super().__init__()
        levels = doublings(scales)
        self.scales = tuple(scales)
        self.residual = residual
        depth = blocks * layers
        self.head = convolution(1, first)
        self.layers = nn.ModuleList(
            convolution(first + number * growth, growth) for number in range(depth)
        )
        self.fusion = fusion(first + depth * growth, width)
        self.up = nn.ModuleDict(
            {
                str(scale): nn.Sequential(
                    *(nn.ConvTranspose2d(width, width, 4, 2, 1) for _ in range(levels[scale]))
                )
                for scale in self.scales
            }
        )
        self.tail = nn.ModuleDict({str(scale): convolution(width, 1) for scale in self.scales})
        if residual and small_start:
            for tail in self.tail.values():
                start_small(tail)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.head, self.layers, self.fusion)
        for number, doubling in enumerate(self.up[str(scale)].children()):
            yield Convolution(cast(nn.ConvTranspose2d, doubling), 1, 4**number)
        for layer in convolutions_of(self.tail[str(scale)]):
            yield layer._replace(places=scale**2)

    def pixel_bytes(self, scale: int) -> int:
        """All features and their copy with those of the next layer, or two enlargements."""
        return 4 * max(2 * self.fusion.in_channels, 2 * self.fusion.out_channels * scale**2)

    def input_radius(self, scale: int) -> int:
        """One for each 3×3 layer, and one for what follows: the transposed convolutions and the
        last layer reach one pixel of the low-resolution image together."""
        return len(self.layers) + 2

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge luma (B, 1, H, W) to (B, 1, scale·H, scale·W); see `Network`."""
        features = in_float32(self.head, x).relu()
        for layer in self.layers:
            features = torch.cat([features, layer(features).relu()], 1)
        enlarged = self.up[str(scale)](self.fusion(features))
        output = in_float32(self.tail[str(scale)], enlarged)
        return output + bicubic(x, scale) if self.residual else output
