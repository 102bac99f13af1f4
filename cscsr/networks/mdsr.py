"""MDSR (Lim et al. 2017): one body of residual units for all factors, with a head for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from cscsr.networks.base import Channels, Convolution, convolutions_of
from cscsr.networks.edsr import EDSR, Factor
from cscsr.networks.upsampling import Blocks, ResidualUnit, UpsampledScales, scale_weights


class MDSR(EDSR):
    """EDSR's body shared by all factors, after two 5×5 residual units and before an upsampler of
    each factor.

    The default is the paper's baseline; its large network has ``blocks=80``.

    Parameters
    ----------
    width
        Channels of the features.
    blocks
        Residual units of the body.
    factor
        The residual scaling of the body's units.
    scales
        The factors, among 2, 3 and 4.
    residual
        See `MeanShiftedEnlarger`.
    small_start
        See `CRNetB`.

    References
    ----------
    B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced Deep Residual Networks for Single Image
    Super-Resolution", CVPR Workshops 2017, section 3.3 and Table 1.
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
        super().__init__(width, blocks, factor, scales, residual, small_start)
        units = {str(scale): [ResidualUnit(width, 5) for _ in range(2)] for scale in self.scales}
        self.pre = nn.ModuleDict({key: nn.Sequential(*pair) for key, pair in units.items()})
        if small_start:
            for unit in (unit for pair in units.values() for unit in pair):
                scale_weights(unit.second, 0.1)

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        key = str(scale)
        yield from convolutions_of(self.head, self.pre[key], self.body, self.up[key], self.tail)

    def shallow(self, x: Tensor, scale: int) -> Tensor:
        return cast(Tensor, self.pre[str(scale)](super().shallow(x, scale)))
