"""CRNet-B whose recursions are sparse coding by construction. Needs torch only."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from cscsr.networks.base import Channels, Recursions
from cscsr.networks.cista_block import convolution
from cscsr.networks.crnet_b import CRNetB
from cscsr.networks.tied_block import TiedCISTABlock
from cscsr.networks.upsampling import UpsampledScales
from cscsr.schema import Range

Threshold = Annotated[float, Range(0, 1)]
"""Where thresholds start."""


class CRNetBTied(CRNetB):
    """CRNet-B with W and S tied to one learned dictionary: see `TiedCISTABlock`.

    F1 maps the features to a signal of `signal` channels, which may be negative. With `signal`
    equal to the rank of a `FactoredS`, the recursions take the same number of multiply-adds.

    Parameters
    ----------
    n0
        Feature channels.
    m0
        Code channels, the atoms of the dictionary.
    signal
        Channels of the coded signal.
    recursions
        K.
    scales
        The factors that it can enlarge by, among 2, 3 and 4.
    residual, small_start
        See `CRNetB`.
    threshold
        The initial threshold of every atom.
    """

    block: TiedCISTABlock

    def __init__(
        self,
        n0: Channels = 64,
        m0: Channels = 256,
        signal: Channels = 64,
        recursions: Recursions = 25,
        scales: UpsampledScales = (2, 3, 4),
        residual: bool = True,
        small_start: bool = True,
        threshold: Threshold = 0.02,
    ) -> None:
        super().__init__(n0, m0, recursions, scales, residual, s_rank=1, small_start=small_start)
        self.F1 = convolution(n0, signal)
        self.block = TiedCISTABlock(signal, m0, recursions, threshold=threshold)

    def coded(self, features: Tensor) -> Tensor:
        """Return the signal y (B, signal, H, W) that the block codes, of features (B, n0, H, W)."""
        return self.F1(self.F0(features).relu_())
