"""CRNet-A, the pre-upsampling model of the paper (Fig. 2, eqs. 11-14). Needs torch only."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from cscsr.networks.base import (
    MEAN_Y,
    Channels,
    Convolution,
    Kernel,
    LumaRefiner,
    Recursions,
    Scales,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import CISTABlock, convolution, start_small, with_decoder


class CRNetA(LumaRefiner):
    """CRNet-A: refines luma that was enlarged by bicubic interpolation, one model for all scales.

    The paper's widths are n0=128, m0=256, recursions=25: 1,330,305 parameters.

    Parameters
    ----------
    n0
        Feature channels.
    m0
        Code channels.
    recursions
        K.
    residual
        Whether to use the global skip of eq. (14), which Fig. 5 switches off.
    s_kernel, bias, local_residual, pre_activation, s_rank
        See `CISTABlock`; without `bias` no layer has a bias.
    small_start
        With the skip, initialise the last layer so small that training starts at the bicubic
        enlargement (A.4 initialises it like all others).
    scales
        The factors it is trained for; the layers do not depend on them.
    """

    def __init__(
        self,
        n0: Channels = 128,
        m0: Channels = 256,
        recursions: Recursions = 25,
        residual: bool = True,
        s_kernel: Kernel = 3,
        bias: bool = True,
        local_residual: bool = True,
        pre_activation: bool = True,
        s_rank: Channels | None = None,
        small_start: bool = True,
        scales: Scales = (2, 3, 4),
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.residual = residual
        self.F0 = convolution(1, n0, bias=bias)
        self.F1 = convolution(n0, n0, bias=bias)
        self.block = CISTABlock(
            n0,
            m0,
            recursions,
            s_kernel=s_kernel,
            bias=bias,
            local_residual=local_residual,
            pre_activation=pre_activation,
            s_rank=s_rank,
        )
        self.Wh = convolution(m0, n0, bias=bias)
        self.H = convolution(n0, 1, bias=bias)
        if residual and small_start:
            start_small(self.H)

    @property
    def recursions(self) -> int:
        return self.block.recursions

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.F0, self.F1)
        yield from self.block.convolutions()
        yield from convolutions_of(self.Wh, self.H)

    def pixel_bytes(self, scale: int) -> int:
        return max(super().pixel_bytes(scale), self.block.pixel_bytes())

    def decode(self, z: Tensor, image: Tensor) -> Tensor:
        """Return the refined luma (B, 1, H, W) of codes z, eqs. (13) and (14)."""
        detail = in_float32(self.H, self.Wh(z).relu_())
        return image + detail if self.residual else MEAN_Y + detail

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        y = self.F1(in_float32(self.F0, x - MEAN_Y).relu_()).relu_()

        def decode(z: Tensor) -> Tensor:
            return self.decode(z, x)

        return decode(self.block(y, with_decoder(visit, decode)))
