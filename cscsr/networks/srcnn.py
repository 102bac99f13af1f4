"""SRCNN 9-1-5 (Dong et al. 2014): patch extraction, non-linear mapping, reconstruction."""

from __future__ import annotations

from torch import Tensor

from cscsr.networks.base import Channels, LumaRefiner, Scales, Visit, in_float32
from cscsr.networks.cista_block import convolution, initialised
from cscsr.networks.one_channel import OneChannelConvolution


class SRCNN(LumaRefiner):
    """Three convolutions on luma that was enlarged by bicubic interpolation.

    It predicts the image itself, without a skip. With the published widths it has 8,032 weights
    and 97 biases. Its layers pad with zeros, where the published ones shrink the image, and are
    initialised like CRNet's, with larger standard deviations than the published 0.001.

    Parameters
    ----------
    n1
        Filters of the first layer, 9×9.
    n2
        Filters of the second layer, 1×1.
    scales
        The factors it is trained for; the layers do not depend on them.

    References
    ----------
    C. Dong, C. C. Loy, K. He, X. Tang, "Learning a Deep Convolutional Network for Image
    Super-Resolution", ECCV 2014, section 3.
    """

    def __init__(self, n1: Channels = 64, n2: Channels = 32, scales: Scales = (2, 3, 4)) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.extraction = convolution(1, n1, 9)
        self.mapping = convolution(n1, n2, 1)
        self.reconstruction = initialised(OneChannelConvolution(n2, 1, 5, bias=True))

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        features = in_float32(self.extraction, x).relu_()
        return in_float32(self.reconstruction, self.mapping(features).relu_())
