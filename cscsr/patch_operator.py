"""Convolution by small filters and its adjoint, patch by patch, block by block of the codes' rows.

`cscsr.operators` uses it for filters so small that products with their elements are cheaper than
Fourier transforms. Needs torch. Not differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch
import torch.nn.functional as F

PATCH_ELEMENTS = 128
"""Filters of at most this many elements (C·h·w) are applied patch by patch by matrix products,
larger ones by FFT."""

BLOCK_BYTES = {"cpu": 2**23, "cuda": 2**28}
"""The most bytes of patches and codes per block: on a CPU they fit into its caches, so that a block
is read from memory only once."""

LANES = 16
"""Number of output channels that a convolution layer on a CPU computes together."""

Block = tuple[slice, slice, slice]
"""An index of codes (B,M,H,W): some signals, all atoms, some rows."""


def by_layers(filters: torch.Tensor) -> bool:
    """Whether torch's convolution layers do the products: in float32 on a CPU."""
    return (
        filters.dtype == torch.float32
        and filters.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
    )


def largest_patch(filters: torch.Tensor) -> int:
    """Return the most elements (C·h·w) of filters (M,C,h,w) that are applied patch by patch; larger
    ones go by FFT.

    Patches take C·h·w multiply-adds per code, a transform some tens at the pace of memory and a
    product with each channel. Convolution layers compute nearly at the processor's peak: they and
    transforms take the same time at about 64 + 112·C elements, at 256×256 and 96×96.
    """
    return 64 + 112 * filters.shape[1] if by_layers(filters) else PATCH_ELEMENTS


class PatchOperator:
    """The full convolution by a dictionary, codes (B,M,H,W) to (B,C,H+h−1,W+w−1), in parts.

    Parameters
    ----------
    filters
        (M,C,h,w).
    shape
        (H,W) of the codes.

    Attributes
    ----------
    uses_layers
        Whether torch's convolution layers do the products (float32 on a CPU), for which
        a pixel's atoms lie side by side in memory, instead of matrix products.
    """

    def __init__(self, filters: torch.Tensor, shape: tuple[int, int]) -> None:
        self.filters = filters
        self.atoms, self.channels, *self.filter_shape = (int(n) for n in filters.shape)
        self.shape = shape
        self.uses_layers = by_layers(filters)

    def blocks(self, batch: int) -> Iterator[Block]:
        """Yield the blocks of `batch` signals: whole rows of all M maps of one signal, or of
        several small signals."""
        height, width = self.shape
        elements = self.channels * math.prod(self.filter_shape)
        pixel = (self.atoms + elements) * self.filters.element_size()
        rows = max(
            BLOCK_BYTES.get(self.filters.device.type, BLOCK_BYTES["cuda"]) // (pixel * width), 1
        )
        signals = max(rows // height, 1)
        for first in range(0, batch, signals):
            for top in range(0, height, rows):
                bottom = min(top + rows, height)
                yield slice(first, min(first + signals, batch)), slice(None), slice(top, bottom)

    def adjoint(self, residual: torch.Tensor) -> torch.Tensor:
        """Return Fᵀ of a residual (B,C,H+h−1,W+w−1): (B,M,H,W)."""
        codes = torch.empty(
            (len(residual), self.atoms, *self.shape),
            dtype=residual.dtype,
            device=residual.device,
            memory_format=torch.channels_last if self.uses_layers else torch.contiguous_format,
        )
        for block in self.blocks(len(residual)):
            codes[block] = self.correlate(residual, block)
        return codes

    def correlate(self, residual: torch.Tensor, block: Block) -> torch.Tensor:
        """Return Fᵀ of a residual (B,C,H+h−1,W+w−1) on the codes of `block`: (b,M,rows,W)."""
        signals, _, rows = block
        (lines, columns), width = self.filter_shape, self.shape[1]
        part = residual[signals, :, rows.start : rows.stop + lines - 1]
        if self.uses_layers:
            part = torch.empty_like(part, memory_format=torch.channels_last).copy_(part)
            return F.conv2d(part, self._analysis_layer)
        height = rows.stop - rows.start
        patches = part.new_empty(self.channels, lines, columns, len(part), height, width)
        for row in range(lines):  # C, column, b, rows, W
            shifted = part[:, :, row : row + height].unfold(-1, width, 1)
            patches[:, row] = shifted.permute(1, 3, 0, 2, 4)
        codes = self._matrix @ patches.flatten(3).flatten(0, 2)
        return codes.view(self.atoms, len(part), height, width).transpose(0, 1)

    def add_synthesis(self, codes: torch.Tensor, full: torch.Tensor, block: Block) -> None:
        """Add F of the codes (b,M,rows,W) of `block` to `full`, (B,C,H+h−1,W+w−1)."""
        signals, _, rows = block
        lines = self._lines_by_layer(codes) if self.uses_layers else self._lines(codes)
        for row, line in enumerate(lines):
            top = rows.start + row
            full[signals, :, top : top + codes.shape[-2]].add_(line)

    def prepare(self) -> None:
        """Arrange the filters for the layers now, where layers are used."""
        if self.uses_layers:
            _ = self._analysis_layer
            _ = self._synthesis_layer

    def _lines(self, codes: torch.Tensor) -> torch.Tensor:
        """What each row of the filters adds to the output: (h,b,C,rows,W+w−1)."""
        (rows, taps), width = self.filter_shape, self.shape[1]
        count, _, height, _ = codes.shape
        columns = self._matrix.T @ codes.transpose(0, 1).reshape(self.atoms, -1)
        columns = columns.view(self.channels, rows, taps, count, height, width)
        lines = columns.new_zeros(self.channels, rows, count, height, width + taps - 1)
        for column in range(taps):
            lines[..., column : column + width] += columns[:, :, column]
        return lines.permute(1, 2, 0, 3, 4)

    def _lines_by_layer(self, codes: torch.Tensor) -> torch.Tensor:
        """`_lines`, by a layer whose channels are the filters' rows at `_phases` columns each."""
        (rows, taps), phases = self.filter_shape, self._phases
        lines = F.conv2d(
            codes, self._synthesis_layer, stride=(1, phases), padding=(0, taps + phases - 2)
        )
        lines = lines.permute(0, 2, 3, 1).unflatten(-1, (rows, self.channels, phases))
        lines = lines.permute(3, 0, 4, 1, 2, 5).flatten(-2)
        # Padding is the same on both sides, so that the first output is at column 1 − phases.
        return lines[..., phases - 1 : phases - 1 + self.shape[1] + taps - 1]

    @property
    def _matrix(self) -> torch.Tensor:
        """The filters as rows, (M, C·h·w)."""
        return self.filters.flatten(1)

    @cached_property
    def _phases(self) -> int:
        """How many neighbouring columns F's layer makes as channels of one output.

        Each further one takes one more tap of zero per line, and fills up the `LANES` computed
        anyway.
        """
        height, width = self.filter_shape
        rows = self.channels * height

        def cost(phases: int) -> float:
            channels = math.ceil(rows * phases / LANES) * LANES
            return channels * (width + phases - 1) / phases

        return min(range(1, width + 1), key=cost)

    @cached_property
    def _analysis_layer(self) -> torch.Tensor:
        """The filters (M,C,h,w): Fᵀ is a correlation with them."""
        return self.filters.contiguous(memory_format=torch.channels_last)

    @cached_property
    def _synthesis_layer(self) -> torch.Tensor:
        """The rows of the filters, flipped and shifted: (h·C·phases,M,1,w+phases−1)."""
        (rows, taps), phases = self.filter_shape, self._phases
        bank = self.filters.new_zeros(rows, self.channels, phases, self.atoms, taps + phases - 1)
        for phase in range(phases):
            bank[:, :, phase, :, phase : phase + taps] = self.filters.flip(-1).permute(2, 1, 0, 3)
        bank = bank.flatten(0, 2).unsqueeze(2)
        return bank.contiguous(memory_format=torch.channels_last)
