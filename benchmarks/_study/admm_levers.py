"""Changes of our ADMM that were measured and dropped, for `benchmarks.solver_levers`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F

from cscsr import SparseCoding
from cscsr.patch_operator import Block, PatchOperator
from cscsr.sparse.admm import ADMM, default_rho, frequency_solver
from cscsr.sparse.loop import as_batch
from cscsr.sparse.proximal import Iterate, shrink

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


@dataclass(frozen=True)
class AndersonADMM(ADMM):
    """ADMM at its first ρ with Anderson acceleration of type II over the last `memory` changes."""

    memory: int = 2

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        operator, observed = problem.operator(), as_batch(problem.observed())
        rho, solve, alpha = default_rho(problem), frequency_solver(problem), self.relaxation
        v, image_v = as_batch(codes), torch.zeros_like(observed)
        history: deque[tuple[torch.Tensor, ...]] = deque(maxlen=self.memory + 1)
        while True:
            z = shrink(v, problem.lam / rho, problem.nonnegative)
            yield Iterate(z if codes.ndim == 4 else z[0])
            image = operator.synthesis(z)
            g = solve(observed - 2 * image + image_v, rho)
            new = v.lerp(z, alpha).add_(operator.adjoint(g), alpha=alpha)
            new_image = image_v + alpha * (observed - rho * g - image)
            history.append((new - v, new, new_image))
            v, image_v = new, new_image
            pairs = zip(list(history)[1:], list(history)[:-1], strict=True)
            changes = [tuple(map(torch.sub, *pair)) for pair in pairs]
            if changes:
                moves = torch.stack([change[0].flatten() for change in changes]).double()
                gram, right = moves @ moves.T, moves @ history[-1][0].flatten().double()
                gram += 1e-8 * gram.diagonal().max() * torch.eye(len(gram), dtype=gram.dtype)
                for weight, (_, of_v, of_image) in zip(
                    torch.linalg.solve(gram, right).tolist(), changes, strict=True
                ):
                    v, image_v = v - weight * of_v, image_v - weight * of_image
