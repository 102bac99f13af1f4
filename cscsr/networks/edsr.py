"""EDSR (Lim et al. 2017): residual units without normalisation at low resolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from torch import Tensor, nn

from cscsr.networks.base import Channels, Convolution, Visit, convolutions_of, in_float32
from cscsr.networks.cista_block import convolution
from cscsr.networks.upsampling import (
    Blocks,
    MeanShiftedEnlarger,
    ResidualUnit,
    UpsampledScales,
    scale_weights,
    upsampler,
)
from cscsr.schema import Range

Factor = Annotated[float, Range(0, 1, open_low=True)]
"""What a unit adds is scaled by it."""


def residual_body(width: int, blocks: int, factor: float, small_start: bool) -> nn.Sequential:
    """Return residual units and a convolution, whose output EDSR and MDSR add to the input.

    With `small_start` each unit, and the whole, starts with a tenth of what it would add.
    """
    units = [ResidualUnit(width, factor=factor) for _ in range(blocks)]
    last = convolution(width, width)
    if small_start:
        for layer in (*(unit.second for unit in units), last):
            scale_weights(layer, 0.1)
    return nn.Sequential(*units, last)


class EDSR(MeanShiftedEnlarger):
    """EDSR: a body of residual units, then sub-pixel convolutions.

    The default is the paper's baseline; its largest network has ``width=256, blocks=32,
    factor=0.1``. The paper trains a network per factor, which ``scales=[s]`` gives; with several,
    they share all but the upsampler.

    Parameters
    ----------
    width
        Channels of the features.
    blocks
        Residual units.
    factor
        The residual scaling.
    scales
        The factors, among 2, 3 and 4.
    residual
        See `MeanShiftedEnlarger`.
    small_start
        See `CRNetB`.

    References
    ----------
    B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced Deep Residual Networks for Single Image
    Super-Resolution", CVPR Workshops 2017, section 3 and Table 1.
    """

    def __init__(
        self,
        width: Channels = 64,
        blocks: Blocks = 16,
        factor: Factor = 1.0,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
        small_start: bool = True,
    ) -> None:
        super().__init__(residual)
        self.scales = tuple(scales)
        self.head = convolution(3, width)
        self.body = residual_body(width, blocks, factor, small_start)
        self.up = nn.ModuleDict({str(scale): upsampler(width, scale) for scale in self.scales})
        self.tail = convolution(width, 3)
        if small_start:
            scale_weights(self.tail, 0.01 if residual else 0.1)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.head, self.body, self.up[str(scale)], self.tail)

    def shallow(self, x: Tensor, scale: int) -> Tensor:
        """Return the input of the body, (B, width, H, W), of an image (B, 3, H, W)."""
        return in_float32(self.head, x - self.mean)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        features = self.shallow(x, scale)
        features = features + self.body(features)
        return self.completed(self.tail, self.up[str(scale)](features), x, scale)
