"""A change of our ADMM that was measured and dropped, for `benchmarks.solver_levers`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F

from cscsr import SparseCoding
from cscsr.patch_operator import Block, PatchOperator
from cscsr.sparse.admm import ADMM
from cscsr.sparse.proximal import Iterate

HALF = torch.bfloat16


class _HalfPatches(PatchOperator):
    """F and Fᵀ by layers in bfloat16, whose sums are rounded to it too."""

    def correlate(self, residual: torch.Tensor, block: Block) -> torch.Tensor:
        signals, _, rows = block
        lines, height = self.filter_shape[0], rows.stop - rows.start
        part = residual[signals, :, rows.start : rows.stop + lines - 1].to(HALF)
        stacked = torch.cat([part[:, :, line : line + height] for line in range(lines)], 1)
        stacked = stacked.contiguous(memory_format=torch.channels_last)
        return F.conv2d(stacked, self._stacked_layer)

    @cached_property
    def _stacked_layer(self) -> torch.Tensor:
        """The filters with their rows as channels, (M,h·C,1,w)."""
        filters = self.filters.to(HALF).transpose(1, 2).flatten(1, 2).unsqueeze(2)
        return filters.contiguous(memory_format=torch.channels_last)

    @cached_property
    def _synthesis_layer(self) -> torch.Tensor:
        return super()._synthesis_layer.to(HALF)

    def _lines_by_layer(self, codes: torch.Tensor) -> torch.Tensor:
        return super()._lines_by_layer(codes.to(HALF))


@dataclass(frozen=True)
class HalfADMM(ADMM):
    """ADMM with F and Fᵀ in bfloat16; objectives are computed in float32 all the same."""

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        own = replace(problem)
        operator = own.operator(masked=False)
        operator._patches = _HalfPatches(operator.filters, operator.shape)
        yield from super().iterates(own, codes)
