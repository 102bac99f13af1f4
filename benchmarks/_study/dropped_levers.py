"""Changes of our solvers that were measured and dropped, for `benchmarks.solver_levers`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from cscsr import SparseCoding
from cscsr.patch_operator import Block, PatchOperator
from cscsr.sparse import active_set
from cscsr.sparse.admm import ADMM, FrequencySolver, default_rho
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink

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
class HalfFirstADMM(HalfADMM):
    """`HalfADMM` for the first `half` iterations, and ADMM in float32 from its codes.

    The multiplier is estimated anew from the codes, since sums of the rounded Fz have drifted, and
    ρ is the default again, fixed from there on.
    """

    half: int = 40

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        for iterate in itertools.islice(super().iterates(problem, codes), self.half):
            yield iterate
        yield from ADMM(auto_rho=False).iterates(problem, iterate.codes)


@dataclass(frozen=True)
class ScaledADMM(ADMM):
    """ADMM whose ρ starts at `factor` times the default."""

    factor: float = 1.0

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        scaled = replace(self, rho=self.factor * default_rho(problem))
        yield from super(ScaledADMM, scaled).iterates(problem, codes)


@dataclass(frozen=True)
class CoordinateDescent(ProximalSolver):
    """Locally greedy coordinate descent on the residual (Moreau, Oudre and Vayatis 2018), batched.

    The pixels are divided into squares of the filters' size, of which every second in each
    direction makes a class. The codes of two squares of a class share no pixel of the signal, so
    the best code of each square is set to its optimum at once. An iteration goes over the four
    classes and computes Fᵀr for each. It declines grids that are no even multiples of the filters'
    size.
    """

    @property
    def name(self) -> str:
        return "coordinate-descent"

    def supports(self, problem: SparseCoding) -> str | None:
        size = np.shape(problem.dictionary)[-1]
        if any(side % (2 * size) for side in np.shape(problem.signal)[-2:]):
            return f"{self.name} takes grids whose sides are multiples of {2 * size}."
        return super().supports(problem)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        operator, z = problem.operator(), codes.contiguous().clone()
        size = operator.filter_shape[0]
        energy = operator.filters.square().sum((1, 2, 3))[:, None, None]
        residual = problem.observed() - operator.synthesis(z)
        while True:
            z = z.clone()
            for down, across in itertools.product((0, size), repeat=2):
                point = z + operator.adjoint(residual) / energy
                move = shrink(point, problem.lam / energy, problem.nonnegative) - z
                shifted = move.roll((-down, -across), (-2, -1))
                step = torch.zeros_like(shifted)
                moves, steps = (_squares(codes, size) for codes in (shifted, step))
                flat = moves.flatten(2)
                largest = flat.abs().argmax(-1, keepdim=True)
                best = torch.zeros_like(flat).scatter_(-1, largest, flat.gather(-1, largest))
                steps.copy_(best.view(moves.shape))
                step = step.roll((down, across), (-2, -1))
                z += step
                residual -= operator.synthesis(step)
            yield Iterate(z, 0.0)


def _squares(codes: torch.Tensor, size: int) -> torch.Tensor:
    """A view of every second square of size×size pixels in each direction, (·,·,M,size,size)."""
    parts = codes.unflatten(-2, (-1, 2 * size)).unflatten(-1, (-1, 2 * size))
    return parts[:, :, :size, :, :size].permute(1, 3, 0, 2, 4)


def preconditioned_direction(self: Any, active: Any, gradient: np.ndarray) -> np.ndarray:
    """`_ActiveCodes._newton_direction` with the preconditioner I + σ p FFᵀ, where p is the share of
    active codes: what the matrix is on average over all sets of so many codes. For the boundary
    circular, without a mask."""
    if active.shape[0] == 0:
        return -gradient
    weight = self._sigma * active.shape[0] / np.prod(self._shape)
    solve = _solver_of(self)

    def precondition(vector: np.ndarray) -> np.ndarray:
        signal = torch.from_numpy(vector).view(self._observed.shape)
        return solve(signal, 1.0 / weight).numpy().reshape(-1) / weight

    direction = np.zeros_like(gradient)
    residual = -gradient
    better = precondition(residual)
    search = better.copy()
    start, product_before = float(np.vdot(residual, residual)), float(np.vdot(residual, better))
    for _ in range(active_set.GRADIENT_STEPS):
        product = search + self._sigma * self._product(active.T, self._product(active, search))
        length = product_before / float(np.vdot(search, product))
        direction += length * search
        residual -= length * product
        if not np.vdot(residual, residual) > active_set.GRADIENT_ACCURACY**2 * start:
            break
        better = precondition(residual)
        product_now = float(np.vdot(residual, better))
        search *= product_now / product_before
        search += better
        product_before = product_now
    return direction


def _solver_of(codes: Any) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The solver of (FFᵀ + ρI), made once for a problem."""
    if not hasattr(codes, "frequency_solver"):
        codes.frequency_solver = FrequencySolver(codes._problem)
    return codes.frequency_solver
