"""LapSRN (Lai et al. 2017): a pyramid that doubles the image and its residual level by level."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Annotated, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from cscsr.networks.base import (
    Channels,
    Convolution,
    LumaEnlarger,
    Visit,
    convolutions_of,
    in_float32,
)
from cscsr.networks.cista_block import convolution, start_small
from cscsr.networks.upsampling import Doublings, doublings
from cscsr.schema import Range

SLOPE = 0.2
"""Of the leaky ReLU."""


class _Level(nn.Module):
    """Convolutions, a transposed convolution that doubles the features, and the residual of luma.

    The image branch enlarges luma by a transposed convolution of its own, 4×4, which starts as
    bilinear interpolation.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(width, width) for _ in range(depth))
        self.enlarge_features = nn.ConvTranspose2d(width, width, 3, stride=2)
        self.residual = convolution(width, 1)
        start_small(self.residual)
        self.enlarge_image = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
        if not self.enlarge_image.weight.is_meta:
            taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
            with torch.no_grad():
                self.enlarge_image.weight.copy_(torch.outer(taps, taps))

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The features (B, width, 2h, 2w) and the luma (B, 1, 2h, 2w) of the next level."""
        for layer in self.layers:
            features = leaky_relu(layer(features), SLOPE, inplace=True)
        # stride 2 with 3×3 gives 2h + 1 rows, of which the published network drops the last
        features = leaky_relu(self.enlarge_features(features)[..., :-1, :-1], SLOPE)
        residual = in_float32(self.residual, features)
        return features, in_float32(self.enlarge_image, image) + residual


class _Pyramid(nn.Module):
    """The network of one factor."""

    def __init__(self, width: int, depth: int, levels: int) -> None:
        super().__init__()
        self.head = convolution(1, width)
        self.doublings = nn.ModuleList(_Level(width, depth) for _ in range(levels))

    @property
    def levels(self) -> list[_Level]:
        return [cast(_Level, level) for level in self.doublings]


class LapSRN(LumaEnlarger):
    """A pyramid of levels, each of which doubles the luma, with a complete network per factor.

    In the published network for ×2, 406,656 of the parameters are weights, 769 biases and 16 the
    image's own filter.

    Parameters
    ----------
    width
        Channels of the features.
    depth
        Convolutions of a level, the transposed one not counted; 10 in the paper.
    scales
        The factors, among 2, 4 and 8.

    Raises
    ------
    InputError
        For a factor that is no power of 2.

    References
    ----------
    W.-S. Lai, J.-B. Huang, N. Ahuja, M.-H. Yang, "Deep Laplacian Pyramid Networks for Fast and
    Accurate Super-Resolution", CVPR 2017, section 3.
    """

    def __init__(
        self,
        width: Channels = 64,
        depth: Annotated[int, Range(1, 100)] = 10,
        scales: Doublings = (2, 4),
    ) -> None:
        super().__init__()
        levels = doublings(scales)
        self.scales = tuple(scales)
        self.pyramids = nn.ModuleDict(
            {str(scale): _Pyramid(width, depth, levels[scale]) for scale in self.scales}
        )

    def pyramid(self, scale: int) -> _Pyramid:
        """The network of one factor."""
        return cast(_Pyramid, self.pyramids[str(scale)])

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        pyramid = self.pyramid(scale)
        yield from convolutions_of(pyramid.head)
        for number, level in enumerate(pyramid.levels):
            places = 4**number
            for layer in convolutions_of(level.layers):
                yield layer._replace(places=places)
            yield Convolution(level.enlarge_features, 1, places)
            yield Convolution(level.enlarge_image, 1, places)
            yield Convolution(level.residual, 1, 4 * places)

    def pixel_bytes(self, scale: int) -> int:
        """The doubled features of the last level: as they are made, cut to size, and after ReLU."""
        width = self.pyramid(scale).head.out_channels
        return 4 * 3 * width * scale**2

    def input_radius(self, scale: int) -> int:
        """One for the first layer, and of the levels one per convolution of their own pixels.

        The transposed convolution and the residual reach one more pixel of a level's input.
        """
        reach, levels = 1.0, self.pyramid(scale).levels
        for number, level in enumerate(levels):
            last = number == len(levels) - 1
            reach += (len(level.layers) + (1 if last else 0.5)) / 2**number
        return ceil(reach)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge luma (B, 1, H, W) to (B, 1, scale·H, scale·W); see `Network`."""
        pyramid = self.pyramid(scale)
        features, image = leaky_relu(in_float32(pyramid.head, x), SLOPE), x
        for level in pyramid.levels:
            features, image = level(features, image)
        return image
