"""VDSR (Kim et al. 2016): twenty layers that predict what bicubic interpolation lacks."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from cscsr.networks.base import Channels, LumaRefiner, Scales, Visit, in_float32
from cscsr.networks.cista_block import convolution, start_small
from cscsr.schema import Range


class VDSR(LumaRefiner):
    """x + R(x): 3×3 convolutions with ReLU between them, on luma enlarged by bicubic interpolation.

    One set of layers serves all scales. The paper's network has 664,704 weights and 1,217 biases.

    Parameters
    ----------
    width
        Channels between the layers.
    depth
        Layers, the first and the last included.
    scales
        The factors it is trained for; the layers do not depend on them.
    small_start
        See `CRNetA`.

    References
    ----------
    J. Kim, J. K. Lee, K. M. Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional
    Networks", CVPR 2016, section 3.
    """

    def __init__(
        self,
        width: Channels = 64,
        depth: Annotated[int, Range(2, 100)] = 20,
        scales: Scales = (2, 3, 4),
        small_start: bool = True,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        widths = [1, *[width] * (depth - 1), 1]
        self.layers = nn.ModuleList(map(convolution, widths, widths[1:]))
        if small_start:
            start_small(self.layers[-1])

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        first, *inner, last = self.layers
        features = in_float32(first, x).relu_()
        for layer in inner:
            features = layer(features).relu_()
        return x + in_float32(last, features)
