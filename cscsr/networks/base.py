"""The interface of super-resolution networks: planes in, planes out, and the cost of a pass.

A network belongs to one of the two lines of `cscsr.imaging.protocol`. On line y, a `LumaRefiner`
refines luma that bicubic interpolation has enlarged and a `LumaEnlarger` enlarges luma itself; on
line rgb, an `RGBEnlarger` enlarges RGB itself. A new network is one file in this folder with one
class derived from one of them; see `cscsr.networks.build`. Needs torch and numpy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_of
from cscsr.imaging.colour import with_luma
from cscsr.schema import Distinct, Range

MEAN_Y = 0.4415
MEAN_RGB = (0.4488, 0.4371, 0.4040)
"""Approximate means of natural images, subtracted before the first layer. The RGB mean is that of
DIV2K in EDSR, which the paper (A.4) subtracts as well. Trained weights belong to these values: with
others they give worse results."""

Visit = Callable[[int, Tensor, Callable[[], Tensor]], None]
"""Called as visit(k, z, decode) at each recursion k of a forward pass, with the codes z and a
function that decodes them to the network's output. The next recursion may overwrite z."""

Channels = Annotated[int, Range(1, 4096)]
"""A width of a network."""

Recursions = Annotated[int, Range(0, 1000)]
"""K: a pass takes as many convolutions."""

Kernel = Annotated[int, Range(1, 31, odd=True)]
"""The side of a filter; an odd one has a pixel in its middle."""

Scales = Annotated[Sequence[Annotated[int, Range(2, 16)]], Distinct()]
"""The factors that a network enlarges by.

The annotations of a network's constructor are the schema of the ``[network]`` table of recipes and
of the metadata of weight files; see `cscsr.networks.build`."""

BICUBIC_REACH = 2
"""The reach of bicubic interpolation to each side, in pixels of the low-resolution image."""


class Convolution(NamedTuple):
    """A convolution of a forward pass.

    Attributes
    ----------
    layer
        The layer.
    times
        The number of times that one forward pass applies it.
    places
        Pixels of its output (of its input, where it is transposed) per pixel of the network's
        input.
    """

    layer: nn.Conv2d | nn.ConvTranspose2d
    times: int
    places: int


def convolutions_of(*modules: nn.Module) -> Iterator[Convolution]:
    """Yield the convolutions of `modules`, which are applied in turn, once each."""
    places = 1
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.PixelShuffle):
                places *= layer.upscale_factor**2
            elif isinstance(layer, nn.Conv2d):
                yield Convolution(layer, 1, places)


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply `layer` in float32, even under autocast.

    The first and last layers handle image values, of which bfloat16 retains only eight bits.
    """
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


class Network(nn.Module, ABC):
    """A super-resolution network, trained and scored on one line.

    Attributes
    ----------
    line
        "y" or "rgb".
    joint_scales
        Whether one batch can hold patches of several scales, because all scales share the layers
        and the size of patches.
    scales
        The factors that it can enlarge by.
    """

    line: ClassVar[str]
    joint_scales: ClassVar[bool]
    scales: tuple[int, ...]

    @property
    def recursions(self) -> int:
        """K if the network unrolls an iteration, else 0."""
        return 0

    @abstractmethod
    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge input planes.

        Parameters
        ----------
        x
            (B, C, h, w), float, in [0, 1].
        scale
            One of `scales`.
        visit
            Called at each recursion, if the network has any.

        Returns
        -------
        Tensor
            (B, C, H, W), `scale` times the size of the low-resolution image.
        """

    @abstractmethod
    def prepare(self, image: np.ndarray, scale: int) -> np.ndarray:
        """Return the network's input for an image.

        Parameters
        ----------
        image
            Low-resolution image (H, W) or (H, W, 3), floating point in [0, 1].
        scale
            One of `scales`.

        Returns
        -------
        numpy.ndarray
            (C, r·H, r·W), float32, r being `input_ratio`.
        """

    @abstractmethod
    def finish(self, output: np.ndarray, image: np.ndarray, scale: int) -> np.ndarray:
        """Return the enlarged image, with the colours of the low-resolution `image`.

        Parameters
        ----------
        output
            (C, scale·H, scale·W), from `forward`.
        image
            The low-resolution image, (H, W) or (H, W, 3).
        scale
            One of `scales`.

        Returns
        -------
        numpy.ndarray
            (scale·H, scale·W) or (scale·H, scale·W, 3), not clipped.
        """

    def scored(self, output: np.ndarray, image: np.ndarray, scale: int) -> np.ndarray:
        """Return the part of an output that is scored on the network's line; parameters as
        `finish`."""
        return self.finish(output, image, scale)

    @staticmethod
    @abstractmethod
    def training_pair(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the input and the target for one image.

        Parameters
        ----------
        image
            uint8, (H, W) or (H, W, 3); it is cropped to a multiple of `scale`.
        scale
            The factor.

        Returns
        -------
        input, target : numpy.ndarray
            (C, h, w), uint8 or float32 in [0, 1], and (C, H, W), uint8.
        """

    @abstractmethod
    def input_ratio(self, scale: int) -> int:
        """Return the pixels of the network's input per low-resolution pixel and side."""

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        """Yield the convolutions of a forward pass at `scale`; by default all layers, once each."""
        return convolutions_of(self)

    def input_radius(self, scale: int) -> int:
        """Return how far the influence of an input pixel reaches, in pixels of the input.

        It is the sum of half the kernels of all convolutions. Layers after a pixel shuffle count in
        full, which overestimates it.
        """
        return sum(
            conv.times * (conv.layer.kernel_size[0] // 2) for conv in self.convolutions(scale)
        )

    @abstractmethod
    def radius(self, scale: int) -> int | None:
        """Return the radius, in low-resolution pixels, of the window that an output pixel depends
        on; None if each depends on the whole image, which is then never cut into tiles."""

    def multiply_adds(self, scale: int) -> float:
        """Return the multiply-adds of all convolutions per low-resolution pixel, without biases."""
        each = sum(
            conv.times * conv.places * conv.layer.weight.numel()
            for conv in self.convolutions(scale)
        )
        return float(self.input_ratio(scale) ** 2 * each)

    def pixel_bytes(self, scale: int) -> int:
        """Return the peak memory of activations per pixel of the network's input, in bytes of
        float32.

        By default it covers the output of the widest layer and one copy of it, after ReLU or pixel
        shuffle.
        """
        return 8 * max(conv.places * conv.layer.out_channels for conv in self.convolutions(scale))


class _LumaNetwork(Network):
    """A network of line y: Cb and Cr of a colour image are enlarged by bicubic interpolation."""

    line = "y"

    def finish(self, output: np.ndarray, image: np.ndarray, scale: int) -> np.ndarray:
        return with_luma(output[0], image, scale)

    def scored(self, output: np.ndarray, image: np.ndarray, scale: int) -> np.ndarray:
        return output[0]


class LumaRefiner(_LumaNetwork):
    """A network of line y: it refines luma that bicubic interpolation has enlarged.

    The same layers serve all scales.
    """

    joint_scales = True

    def prepare(self, image: np.ndarray, scale: int) -> np.ndarray:
        return _enlarged_luma(image, scale)

    @staticmethod
    def training_pair(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the enlargement of the degraded luma, float32 (1, H, W), and the luma, uint8."""
        truth = crop_to_multiple(image, scale)
        return _enlarged_luma(degrade(truth, scale, "y"), scale), luma_of(truth)[None]

    def input_ratio(self, scale: int) -> int:
        return scale

    def radius(self, scale: int) -> int | None:
        return -(-self.input_radius(scale) // scale) + BICUBIC_REACH


class LumaEnlarger(_LumaNetwork):
    """A network of line y: it enlarges luma itself, with separate layers for each scale."""

    joint_scales = False

    def prepare(self, image: np.ndarray, scale: int) -> np.ndarray:
        return np.array(luma_of(image)[None], np.float32, order="C")  # never the caller's own

    @staticmethod
    def training_pair(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the degraded luma, float32 (1, H/s, W/s), and the luma, uint8 (1, H, W)."""
        truth = crop_to_multiple(image, scale)
        return degrade(truth, scale, "y")[None], luma_of(truth)[None]

    def input_ratio(self, scale: int) -> int:
        return 1

    def radius(self, scale: int) -> int | None:
        return max(self.input_radius(scale), BICUBIC_REACH)


class RGBEnlarger(Network):
    """A network of line rgb: it enlarges RGB itself, with separate layers for each scale.

    A grey image enters as three equal channels, and the result is the mean of the three outputs.
    """

    line = "rgb"
    joint_scales = False

    def prepare(self, image: np.ndarray, scale: int) -> np.ndarray:
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        return np.ascontiguousarray(colour.transpose(2, 0, 1), np.float32)

    def finish(self, output: np.ndarray, image: np.ndarray, scale: int) -> np.ndarray:
        return output.transpose(1, 2, 0) if image.ndim == 3 else output.mean(axis=0)

    @staticmethod
    def training_pair(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the 8-bit low-resolution image (3, H/s, W/s) and the image (3, H, W), both
        uint8."""
        truth = crop_to_multiple(image, scale)
        colour = truth if truth.ndim == 3 else np.repeat(truth[..., None], 3, axis=2)
        small = np.rint(degrade(colour, scale, "rgb") * 255).astype(np.uint8)
        return small.transpose(2, 0, 1), colour.transpose(2, 0, 1)

    def input_ratio(self, scale: int) -> int:
        return 1

    def radius(self, scale: int) -> int | None:
        return max(self.input_radius(scale), BICUBIC_REACH)


def _enlarged_luma(image: np.ndarray, scale: int) -> np.ndarray:
    """Luma (1, scale·H, scale·W), float32, of an image enlarged by bicubic interpolation."""
    enlarged = imresize(luma_of(image).astype(np.float64), scale)
    return np.ascontiguousarray(enlarged[None], np.float32)
