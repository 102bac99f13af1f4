"""DRCN (Kim et al. 2016): one layer applied again and again, each result an image of its own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

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
from cscsr.networks.upsampling import Blocks


class DRCN(LumaRefiner):
    """Σ_d w_d·(x + R(H_d)), H_d = ρ(W⊗H_{d−1}), H₀ = E(x), of enlarged luma x.

    The embedding E and the reconstruction R are two layers each. The paper's network has 16
    recursions of 256 channels and 1,774,080 weights of convolutions. Its training also supervises
    the image of each recursion; the trainer here has the one loss of the result.

    Parameters
    ----------
    width
        Channels between the layers.
    depth
        D, the number of recursions.
    scales
        The factors it is trained for; the layers do not depend on them.
    small_start
        See `CRNetA`.

    References
    ----------
    J. Kim, J. K. Lee, K. M. Lee, "Deeply-Recursive Convolutional Network for Image
    Super-Resolution", CVPR 2016, section 3.
    """

    def __init__(
        self,
        width: Channels = 256,
        depth: Blocks = 16,
        scales: Scales = (2, 3, 4),
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.embed = nn.ModuleList([convolution(1, width), convolution(width, width)])
        self.recur = convolution(width, width)
        self.reconstruct = nn.ModuleList([convolution(width, width), convolution(width, 1)])
        self.weighting = nn.Parameter(torch.full((depth,), 1 / depth))
        if small_start:
            start_small(self.reconstruct[1])

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.embed)
        for layer in convolutions_of(self.recur, self.reconstruct):
            yield layer._replace(times=len(self.weighting))

    def input_radius(self, scale: int) -> int:
        """Of the last recursion's image: the layers of E and R, and the recursions."""
        return 4 + len(self.weighting)

    def pixel_bytes(self, scale: int) -> int:
        """H_d, and what a layer reads and writes."""
        return 4 * 3 * self.recur.out_channels

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        features = in_float32(self.embed[0], x).relu_()
        features = self.embed[1](features).relu_()
        output = torch.zeros_like(x)
        for weight in self.weighting:
            features = self.recur(features).relu_()
            detail = in_float32(self.reconstruct[1], self.reconstruct[0](features).relu_())
            output = output + weight * (x + detail)
        return output
