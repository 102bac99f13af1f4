"""CARN-M (Ahn et al. 2018): cascaded residual blocks whose units share grouped convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

UNITS = 3
"""Units of a block, and blocks of the network."""


def _grouped(inputs: int, outputs: int, groups: int) -> nn.Conv2d:
    """A 3×3 convolution whose outputs depend on a part of the inputs each."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups)


class _Unit(nn.Module):
    """The efficient residual unit: ReLU(x + 1×1(ReLU(grouped(ReLU(grouped(x))))))."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.first = _grouped(width, width, groups)
        self.second = _grouped(width, width, groups)
        self.third = convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(self.first(x).relu_()).relu_()
        return (x + self.third(inner)).relu_()


def _fusions(width: int) -> nn.ModuleList:
    """The 1×1 convolutions after each step of `_cascaded`."""
    return nn.ModuleList(fusion((step + 2) * width, width) for step in range(UNITS))


def _cascaded(
    x: Tensor, steps: Sequence[Callable[[Tensor], Tensor]], fusions: nn.ModuleList
) -> Tensor:
    """Apply the steps in turn, each to a fusion of the input and all outputs before it."""
    outputs, features = [x], x
    for step, fuse in zip(steps, fusions, strict=True):
        outputs.append(step(features))
        features = fuse(torch.cat(outputs, 1)).relu_()
    return features


class _Block(nn.Module):
    """A cascade of three applications of one unit: CARN-M shares it, CARN does not."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.unit = _Unit(width, groups)
        self.fusions = _fusions(width)

    def forward(self, x: Tensor) -> Tensor:
        return _cascaded(x, [self.unit] * UNITS, self.fusions)


def _upsampler(width: int, scale: int, groups: int) -> nn.Sequential:
    """Sub-pixel convolutions with ReLU; ×4 is ×2 twice."""
    layers: list[nn.Module] = []
    for factor in {2: [2], 3: [3], 4: [2, 2]}[scale]:
        layers += [_grouped(width, width * factor**2, groups), nn.ReLU(), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class CARNM(MeanShiftedEnlarger):
    """CARN-M: one body for all scales, and an upsampler for each.

    The paper's network for ×2, ×3 and ×4 has 412,032 weights (and 2,755 biases, which the paper
    does not count).

    Parameters
    ----------
    width
        Channels of the features.
    groups
        Groups of the 3×3 convolutions between the first and the last.
    scales
        The factors, among 2, 3 and 4.
    residual
        See `MeanShiftedEnlarger`; the last layer then starts small.

    References
    ----------
    N. Ahn, B. Kang, K.-A. Sohn, "Fast, Accurate, and Lightweight Super-Resolution with Cascading
    Residual Network", ECCV 2018, section 3.
    """

    def __init__(
        self,
        width: Channels = 64,
        groups: Annotated[int, Range(1, 64)] = 4,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
    ) -> None:
        super().__init__(residual)
        self.scales = tuple(scales)
        self.head = convolution(3, width)
        self.blocks = nn.ModuleList(_Block(width, groups) for _ in range(UNITS))
        self.fusions = _fusions(width)
        self.up = nn.ModuleDict(
            {str(scale): _upsampler(width, scale, groups) for scale in self.scales}
        )
        self.tail = convolution(width, 3)
        if residual:
            scale_weights(self.tail, 0.01)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.head)
        for block in (cast(_Block, block) for block in self.blocks):
            for layer in convolutions_of(block.unit):
                yield layer._replace(times=UNITS)
            yield from convolutions_of(block.fusions)
        yield from convolutions_of(self.fusions, self.up[str(scale)], self.tail)

    def pixel_bytes(self, scale: int) -> int:
        """At least what both cascades hold at once: their outputs and a copy of these."""
        cascades = 2 * 2 * (UNITS + 1) * self.head.out_channels
        return max(super().pixel_bytes(scale), 4 * cascades)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        features = in_float32(self.head, x - self.mean)
        features = _cascaded(features, list(self.blocks), self.fusions)
        return self.completed(self.tail, self.up[str(scale)](features), x, scale)
