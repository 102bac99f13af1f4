"""CRNet-B, the post-upsampling model of the paper (Fig. 6). Needs torch only."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from cscsr.networks.base import (
    Channels,
    Convolution,
    Kernel,
    Recursions,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import Block, CISTABlock, convolution, with_decoder
from cscsr.networks.upsampling import (
    MeanShiftedEnlarger,
    ResidualUnit,
    UpsampledScales,
    scale_weights,
    upsampler,
)


class CRNetB(MeanShiftedEnlarger):
    """CRNet-B: works at low resolution, with pre-processing and upsampling modules per scale.

    The paper's widths are n0=64, m0=1024, recursions=25: 11,730,307 parameters.

    Parameters
    ----------
    n0
        Feature channels.
    m0
        Code channels.
    recursions
        K.
    scales
        The factors that it can enlarge by, among 2, 3 and 4.
    residual
        Add the bicubic enlargement to the output, as eq. (14) does in CRNet-A. The paper's
        CRNet-B does not.
    s_kernel, bias, s_rank
        See `CISTABlock`; without `bias` no layer has a bias.
    small_start
        Initialise the layers at the end of a skip, and the last layer, with a tenth of A.4's
        standard deviation (the last layer, with `residual`, with a hundredth).
    """

    def __init__(
        self,
        n0: Channels = 64,
        m0: Channels = 1024,
        recursions: Recursions = 25,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = False,
        s_kernel: Kernel = 3,
        bias: bool = True,
        s_rank: Channels | None = None,
        small_start: bool = True,
    ) -> None:
        super().__init__(residual)
        self.scales = tuple(scales)
        self.head = convolution(3, n0, bias=bias)
        units = {str(scale): ResidualUnit(n0, bias=bias) for scale in self.scales}
        self.pre = nn.ModuleDict(units)
        self.F0 = convolution(n0, n0, bias=bias)
        self.F1 = convolution(n0, n0, bias=bias)
        self.block: Block = CISTABlock(
            n0, m0, recursions, s_kernel=s_kernel, bias=bias, s_rank=s_rank
        )
        self.Wh = convolution(m0, n0, bias=bias)
        self.H = convolution(n0, n0, bias=bias)
        self.up = nn.ModuleDict({str(scale): upsampler(n0, scale, bias) for scale in self.scales})
        self.tail = convolution(n0, 3, bias=bias)
        if small_start:
            for layer in (*(unit.second for unit in units.values()), self.H):
                scale_weights(layer, 0.1)
            scale_weights(self.tail, 0.01 if residual else 0.1)

    @property
    def recursions(self) -> int:
        return self.block.recursions

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        yield from convolutions_of(self.head, self.pre[str(scale)], self.F0, self.F1)
        yield from self.block.convolutions()
        yield from convolutions_of(self.Wh, self.H, self.up[str(scale)], self.tail)

    def pixel_bytes(self, scale: int) -> int:
        return max(super().pixel_bytes(scale), self.block.pixel_bytes())

    def coded(self, features: Tensor) -> Tensor:
        """Return the signal y that the block codes, of features (B, n0, H, W)."""
        return self.F1(self.F0(features).relu_()).relu_()

    def decode(self, z: Tensor, features: Tensor, image: Tensor, scale: int) -> Tensor:
        """Return the enlarged image (B, 3, scale·H, scale·W) of codes z.

        Parameters
        ----------
        z
            (B, m0, H, W).
        features
            The features at the start of the skip, (B, n0, H, W).
        image
            The low-resolution image, (B, 3, H, W).
        scale
            One of `scales`.
        """
        x = self.up[str(scale)](features + self.H(self.Wh(z).relu_()))
        return self.completed(self.tail, x, image, scale)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) to (B, 3, scale·H, scale·W); see `Network`."""
        features = self.pre[str(scale)](in_float32(self.head, x - self.mean))
        y = self.coded(features)

        def decode(z: Tensor) -> Tensor:
            return self.decode(z, features, x, scale)

        return decode(self.block(y, with_decoder(visit, decode)))
