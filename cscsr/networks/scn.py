"""SCN (Wang et al. 2015): sparse coding of patches by two steps of LISTA, as a network."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log2
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, softshrink

from cscsr.networks.base import (
    BICUBIC_REACH,
    Channels,
    Convolution,
    LumaEnlarger,
    Scales,
    Visit,
)
from cscsr.networks.cista_block import convolution

PATCH = 5
"""The side of a high-resolution patch."""

FIELD = 9
"""The side of the window whose features are coded, around the patch."""

BORDER = 6
"""Pixels by which an image is mirrored at its edge: half a window and half a patch."""

GAIN = 1.1
"""By which the published network amplifies its patches."""

BLUR_SIGMA, BLUR_REACH = 0.5, 3
"""Of the Gaussian filter before the result is shrunk, in pixels."""

TINY = 1e-12
"""The least norm that is divided by; a window without features has none."""


def _normalised(x: Tensor) -> Tensor:
    """x (B, C, H, W) over its norm in each pixel."""
    return x / x.norm(dim=1, keepdim=True).clamp(min=TINY)


def _mirrored(x: Tensor, border: int) -> Tensor:
    """x, of at least 2×2 pixels, with `border` more on each side, mirrored at the edge pixel."""
    for axis in (2, 3):
        period = 2 * (x.shape[axis] - 1)
        index = torch.arange(-border, x.shape[axis] + border, device=x.device) % period
        x = x.index_select(axis, torch.minimum(index, period - index))
    return x


def _interpolated(x: Tensor, height: int, width: int) -> Tensor:
    """x (B, C, H, W) at another size by Keys' cubic kernel with a = −0.75, not stretched for
    shrinking: as in OpenCV, which the authors' program uses, and not as in MATLAB (a = −0.5)."""
    return interpolate(x, size=(height, width), mode="bicubic", align_corners=False)


def _blurred(x: Tensor) -> Tensor:
    """x (B, 1, H, W) after a Gaussian filter, by which the authors' program prepares shrinking."""
    places = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=x.device, dtype=x.dtype)
    taps = torch.exp(-((places / BLUR_SIGMA) ** 2) / 2)
    taps = taps / taps.sum()
    return conv2d(_mirrored(x, BLUR_REACH), torch.outer(taps, taps)[None, None])


class _Stage(nn.Module):
    """SCN for ×2, on luma that bicubic interpolation has doubled.

    The 9×9 features of a window are normalised and coded over 128 atoms by z₀ = h₁(Wy),
    z = h₁(Wy + Sz₀); the patch Dz takes the norm of the patch of the image, less its mean, and
    patches are added where they overlap, to the mean.
    """

    patch_taps: Tensor
    mean_taps: Tensor
    placing_taps: Tensor

    def __init__(self, features: int, codes: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, features, FIELD, bias=False)
        self.encode = convolution(features, codes, 1, bias=False)
        if not self.encode.weight.is_meta:
            # of normalised features: a third of the codes exceed the threshold at first, whereas
            # with smaller weights none would, and nothing would be learned
            nn.init.normal_(self.encode.weight)
        self.recur = convolution(codes, codes, 1, bias=False)
        self.decode = convolution(codes, PATCH**2, 1, bias=False)
        self.weighting = nn.Parameter(torch.ones(PATCH**2))
        for name, taps in zip(("patch", "mean", "placing"), fixed_taps(), strict=True):
            tensor = torch.from_numpy(taps.astype(np.float32))
            self.register_buffer(f"{name}_taps", tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = _mirrored(x, BORDER)
        drive = self.encode(_normalised(self.features(padded)))
        codes = softshrink(drive + self.recur(softshrink(drive, 1.0)), 1.0)  # θ is in the filters
        patches = _normalised(self.decode(codes))
        norms = conv2d(padded, self.patch_taps).norm(dim=1, keepdim=True)
        weighting = GAIN * self.weighting.view(1, -1, 1, 1)
        placed = conv2d(patches * norms * weighting, self.placing_taps)
        return conv2d(padded, self.mean_taps) + placed


def fixed_taps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the filters of a stage that are not learned.

    Returns
    -------
    patch, mean, placing : numpy.ndarray
        (25, 1, 9, 9): a pixel of the patch, column by column, less the mean of the patch.
        (1, 1, 13, 13): the mean over the patches that hold a pixel of their means.
        (1, 25, 5, 5): adds the patches' pixels where they belong.
    """
    middle = slice((FIELD - PATCH) // 2, (FIELD + PATCH) // 2)
    patch = np.zeros((PATCH**2, 1, FIELD, FIELD))
    patch[:, 0, middle, middle] = -1 / PATCH**2
    placing = np.zeros((1, PATCH**2, PATCH, PATCH))
    for pixel in range(PATCH**2):
        column, row = divmod(pixel, PATCH)
        patch[pixel, 0, middle.start + row, middle.start + column] += 1
        placing[0, pixel, PATCH - 1 - row, PATCH - 1 - column] = 1
    triangle = np.convolve(np.ones(PATCH), np.ones(PATCH)) / PATCH**2
    mean = np.zeros((1, 1, 2 * BORDER + 1, 2 * BORDER + 1))
    inner = slice(BORDER - PATCH + 1, BORDER + PATCH)
    mean[0, 0, inner, inner] = np.outer(triangle, triangle)
    return patch, mean, placing


class SCN(LumaEnlarger):
    """The cascade of SCN: each stage doubles luma, and interpolation shrinks it to a factor that is
    no power of 2.

    All is computed in float32. A stage has 40,484 weights, and 25 factors of the patch's pixels.
    The interpolation before a stage is that of the authors' program, OpenCV's, to which the
    published weights belong: with MATLAB's they do worse.

    Parameters
    ----------
    features
        Filters of the first layer, 9×9.
    codes
        Atoms of the dictionary of 5×5 patches.
    scales
        The factors; the stages are as many as the largest needs.

    References
    ----------
    Z. Wang, D. Liu, J. Yang, W. Han, T. Huang, "Deep Networks for Image Super-Resolution with
    Sparse Prior", ICCV 2015, section 3.
    """

    def __init__(
        self, features: Channels = 100, codes: Channels = 128, scales: Scales = (2, 3, 4)
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.stages = nn.ModuleList(
            _Stage(features, codes) for _ in range(_stages(max(self.scales)))
        )

    def convolutions(self, scale: int) -> Iterator[Convolution]:
        """Yield the learned convolutions: those with fixed filters are sums over small boxes."""
        for number in range(_stages(scale)):
            stage = cast(_Stage, self.stages[number])
            for layer in (stage.features, stage.encode, stage.recur, stage.decode):
                yield Convolution(layer, 1, 4 ** (number + 1))

    def pixel_bytes(self, scale: int) -> int:
        """Of the last stage: Wy, Sz₀, the codes and what is shrunk off them, at the widest layer.

        The border of a small image is allowed for by counting the widest of all layers.
        """
        stage = cast(_Stage, self.stages[0])
        width = max(stage.features.out_channels, stage.encode.out_channels, PATCH**2)
        return 4 * 4 * width * 4 ** _stages(scale)

    def input_radius(self, scale: int) -> int:
        """Of each stage the reach of interpolation and the border, in pixels of its input; of
        shrinking that of its filter and of interpolation, in pixels of the last output."""
        stages = _stages(scale)
        reach = sum((BICUBIC_REACH + BORDER / 2) / 2**number for number in range(stages))
        if scale != 2**stages:
            reach += (BLUR_REACH + BICUBIC_REACH) / 2**stages
        return ceil(reach)

    def forward(self, x: Tensor, scale: int, visit: Visit | None = None) -> Tensor:
        """Enlarge luma (B, 1, H, W) to (B, 1, scale·H, scale·W); see `Network`."""
        height, width = x.shape[2:]
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            for number in range(_stages(scale)):
                x = self.stages[number](_interpolated(x, 2 * x.shape[2], 2 * x.shape[3]))
            if x.shape[2] != scale * height:
                x = _interpolated(_blurred(x), scale * height, scale * width)
        return x


def _stages(scale: int) -> int:
    """Doublings that reach at least a factor."""
    return ceil(log2(scale))
