"""LW-CSC (He et al. 2021): CRNet-A whose codes have a weight for each channel. Needs torch only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from cscsr.networks.base import (
    Channels,
    Convolution,
    LumaRefiner,
    Recursions,
    Scales,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import convolution, start_small

REDUCTION = 16
"""By which a gate narrows the channels."""


class _Gate(nn.Module):
    """Channel attention: z·σ(V⊗ρ(N⊗mean z)), the mean over the whole image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = convolution(width, max(width // REDUCTION, 1), 1, bias=False)
        self.widen = convolution(max(width // REDUCTION, 1), width, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        mean = z.float().mean(dim=(2, 3), keepdim=True)
        return z * self.widen(self.narrow(mean).relu()).sigmoid()


class LWCSC(LumaRefiner):
    """u ← W⊗y + S⊗c(u) from W⊗y, with the codes c(u) = g₂·ρ(g₁·u − θ); x + H⊗ρ(Wₕ⊗c(u)).

    CRNet-A without biases and with two gates, g₁ and g₂, that all recursions share: the weights of
    weighted sparse coding, which a channel's mean over the image decides. θ is one number. Because
    of the means every output pixel depends on all of the image, and an image is never cut into
    tiles.

    The paper's network (n0=128, m0=256, recursions=25) has 1,345,793 parameters. Luma enters as
    it is, no mean is subtracted.

    Parameters
    ----------
    n0
        Feature channels.
    m0
        Code channels.
    recursions
        K.
    small_start
        Start the last layer as `CRNetA` starts its; the paper starts it like all others.
    scales
        The factors it is trained for; the layers do not depend on them.

    References
    ----------
    J. He, L. Yu, Z. Liu and W. Yang, "Image super-resolution by learning weighted convolutional
    sparse coding", Signal, Image and Video Processing, 2021; equations from the authors' program,
    github.com/Achhhe/LW-CSC.
    """

    def __init__(
        self,
        n0: Channels = 128,
        m0: Channels = 256,
        recursions: Recursions = 25,
        small_start: bool = True,
        scales: Scales = (2, 3, 4),
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.K = recursions
        self.F0 = convolution(1, n0, bias=False)
        self.F1 = convolution(n0, n0, bias=False)
        self.W = convolution(n0, m0, bias=False)
        self.S = convolution(m0, m0, bias=False)
        self.first, self.second = _Gate(m0), _Gate(m0)
        self.threshold = nn.Parameter(torch.zeros(1))
        self.Wh = convolution(m0, n0, bias=False)
        self.H = convolution(n0, 1, bias=False)
        if small_start:
            start_small(self.H)

    @property
    def recursions(self) -> int:
        return self.K

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        """Yield the convolutions of a pass, without those of the gates, which take place once per
        image and not per pixel."""
        yield from convolutions_of(self.F0, self.F1, self.W)
        yield Convolution(self.S, self.K, 1)
        yield from convolutions_of(self.Wh, self.H)

    def radius(self, scale: int) -> int | None:
        return None

    def pixel_bytes(self, scale: int) -> int:
        """W⊗y, u, the codes and what a gate makes of them."""
        return 4 * 4 * self.W.out_channels

    def codes(self, u: Tensor) -> Tensor:
        """Return c(u), both (B, m0, H, W)."""
        return self.second((self.first(u) - self.threshold).relu())

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Refine luma (B, 1, H, W) that bicubic interpolation has enlarged; see `Network`."""
        drive = self.W(self.F1(in_float32(self.F0, x).relu()).relu())
        codes = self.codes(drive)
        for k in range(self.K + 1):
            if k > 0:
                codes = self.codes(drive + self.S(codes))
            if visit is not None:
                visit(k, codes, partial(self.decode, codes, x))
        return self.decode(codes, x)

    def decode(self, z: Tensor, image: Tensor) -> Tensor:
        """Return the refined luma (B, 1, H, W) of codes z for the enlarged `image`."""
        return image + in_float32(self.H, self.Wh(z).relu())
