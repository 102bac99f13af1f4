"""D-DBPN (Haris et al. 2018): up- and down-projections that correct each other's errors."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from cscsr.networks.base import (
    Channels,
    Convolution,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import convolution, fusion
from cscsr.networks.upsampling import MeanShiftedEnlarger, UpsampledScales, scale_weights
from cscsr.schema import Range

BORDER = 2
"""Padding of the projections, whose filters are scale + 2·BORDER wide and have stride scale: as in
the paper, 6 for ×2 and 8 for ×4."""


class _Projection(nn.Module):
    """A projection: y + P(Q(y) − x) with y = P(x), of which one of P and Q enlarges and the other
    shrinks.

    A dense one first reduces what it is given to `width` channels. Every layer has a PReLU.
    """

    def __init__(self, width: int, scale: int, up: bool, inputs: int | None) -> None:
        super().__init__()
        self.reduce: nn.Module = nn.Identity()
        if inputs is not None:
            self.reduce = nn.Sequential(fusion(inputs, width), nn.PReLU())
        enlarge, shrink = nn.ConvTranspose2d, nn.Conv2d
        kinds = (enlarge, shrink, enlarge) if up else (shrink, enlarge, shrink)
        side = scale + 2 * BORDER
        self.project, self.back, self.correct = (
            nn.Sequential(kind(width, width, side, scale, BORDER), nn.PReLU()) for kind in kinds
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        projected = self.project(x)
        return projected + self.correct(self.back(projected) - x)


class _Body(nn.Module):
    """The network of one factor, but for the mean."""

    def __init__(self, width: int, features: int, stages: int, scale: int) -> None:
        super().__init__()
        self.head = nn.Sequential(convolution(3, features), nn.PReLU())
        self.reduce = nn.Sequential(fusion(features, width), nn.PReLU())
        # The first of each kind has one input; the k-th sees the k − 1 before it of the other kind
        # (the second up-projection one).
        ups = [_Projection(width, scale, True, n * width if n > 1 else None) for n in range(stages)]
        downs = [
            _Projection(width, scale, False, n * width if n > 1 else None) for n in range(1, stages)
        ]
        self.ups, self.downs = nn.ModuleList(ups), nn.ModuleList(downs)
        self.tail = convolution(stages * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The features that the last layer sees, (B, stages·width, scale·H, scale·W)."""
        small = self.reduce(in_float32(self.head, x))
        large: list[Tensor] = [self.ups[0](small)]
        shrunk: list[Tensor] = []
        for up, down in zip(list(self.ups)[1:], self.downs, strict=True):
            shrunk.insert(0, down(torch.cat(large, 1)))
            large.insert(0, up(torch.cat(shrunk, 1)))
        return torch.cat(large, 1)


class DDBPN(MeanShiftedEnlarger):
    """D-DBPN: a complete network per factor; dense up- and down-projections, whose enlarged
    features the last layer joins.

    The paper's network has seven up- and six down-projections for ×2, ×4 and ×8; here ×3 follows
    the same rule.

    Parameters
    ----------
    width
        n_R, channels of the projections.
    features
        n₀, channels of the first layer.
    stages
        T, the number of up-projections.
    scales
        The factors, among 2, 3 and 4.
    residual
        See `MeanShiftedEnlarger`; the last layer then starts small.

    References
    ----------
    M. Haris, G. Shakhnarovich, N. Ukita, "Deep Back-Projection Networks for Super-Resolution",
    CVPR 2018, sections 3 and 4.
    """

    def __init__(
        self,
        width: Channels = 64,
        features: Channels = 256,
        stages: Annotated[int, Range(2, 50)] = 7,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
    ) -> None:
        super().__init__(residual)
        self.scales = tuple(scales)
        self.bodies = nn.ModuleDict(
            {str(scale): _Body(width, features, stages, scale) for scale in self.scales}
        )
        if residual:
            for scale in self.scales:
                scale_weights(self.body(scale).tail, 0.01)

    def body(self, scale: int) -> _Body:
        """The network of one factor."""
        return cast(_Body, self.bodies[str(scale)])

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        body = self.body(scale)
        yield from convolutions_of(body.head, body.reduce)
        for unit in (*body.ups, *body.downs):
            up = unit in list(body.ups)
            for layer in unit.modules():
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                    # a dense down-projection reduces enlarged features
                    large = not up and layer.kernel_size[0] == 1
                    yield Convolution(layer, 1, scale**2 if large else 1)
        yield Convolution(body.tail, 1, scale**2)

    def input_radius(self, scale: int) -> int:
        """Followed through all layers: `reach` pixels beyond one of low resolution, `enlarged`
        beyond its square of high resolution."""
        body, reach = self.body(scale), 1
        enlargements = (3 * (len(body.ups) + len(body.downs)) + 1) // 2
        for _ in range(enlargements - 1):
            enlarged = scale * reach + BORDER
            reach = (enlarged + BORDER - 1) // scale + 1
        return ceil((scale * reach + BORDER + 1) / scale)

    def pixel_bytes(self, scale: int) -> int:
        """All enlarged features, and their copy side by side."""
        return 8 * self.body(scale).tail.in_channels * scale**2

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        body = self.body(scale)
        return self.completed(body.tail, body(x - self.mean), x, scale)
