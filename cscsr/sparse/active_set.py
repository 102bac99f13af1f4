"""A solver of `SparseCoding` that works on the active codes only: dense iterations locate them, and
a semismooth Newton method then solves for them. Needs torch and scipy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from cscsr.errors import InputError
from cscsr.operators import ConvDictionary
from cscsr.problem import SparseCoding
from cscsr.sparse.admm import ADMM, default_rho
from cscsr.sparse.ista import FISTA
from cscsr.sparse.loop import TINY, as_batch
from cscsr.sparse.proximal import Iterate, ProximalSolver
from cscsr.weighting import part_of

DENSE = 0.25
"""The dense method solves for codes of which more than this share is active."""

EARLY = 10
"""ADMM's iterations after which few active codes, at most `EARLY_SHARE`, end the warm-up."""

EARLY_SHARE = 0.008
"""The more codes are active, the more a Newton step costs beside a dense iteration."""

SIGMA_GROWTH = 1.5
"""Factor of σ per iteration."""

SIGMA_START = 10.0
"""First σ in units of 1/ρ, with ADMM's ρ."""

LARGEST_SIGMA = 300.0
"""Largest σ in the same units."""

ACCURACY = 0.3
"""Newton steps end when ‖∇φ‖ is at most this fraction of ‖z − z_before‖/√σ (Li, Sun and Toh's
criterion B)."""

NEWTON_STEPS = 20
"""The most Newton steps of an iteration."""

GRADIENT_STEPS = 300
"""The most conjugate-gradient steps of a Newton step."""

GRADIENT_ACCURACY = 0.1
"""Conjugate-gradient steps end when the residual is at most this fraction of ‖∇φ‖."""

INDEX: Any = np.int32
"""The type of the sparse matrix's indices, where they fit into it: its products are bound by
memory."""


@dataclass(frozen=True)
class ActiveSet(ProximalSolver):
    """The proximal point method on a working set of codes, each step solved by a semismooth
    Newton method in the dual (Li, Sun and Toh 2018):

        z ← argmin P(z) + ‖z − z_before‖²/(2σ) = h_{σλ}(z_before + σFᵀu),
        u = argmin φ(u) = ½‖u‖² − ⟨u, y⟩ + ‖h_{σλ}(z_before + σFᵀu)‖²/(2σ),
        (I + σ F_A F_Aᵀ) d = −∇φ(u),   u ← u + t d,

    where A are the codes that h leaves nonzero. u has the size of the signal and converges to the
    residual y − Fz. Conjugate gradients solve the system, at C·s² multiply-adds per active code and
    product; backtracking chooses t.

    The working set consists of the active codes and of as many again (at least a 16th of the
    signal's elements) for which |Aᵀ(b − Az)|/λ is largest and near 1, and of all exempt codes. One
    sweep over all codes per iteration selects it and computes the duality gap as well (with exempt
    codes, the gap takes one F and one Fᵀ more, and the projection of `cscsr.certificate`).

    Parameters are those of `IterativeCoder`, with these particulars:

    Parameters
    ----------
    tol
        Besides the change of the codes, the relative duality gap must be at most tol.
    device
        None or "cpu", the only device it runs on.
    warm_up
        The number of first iterations that a dense method makes (`ADMM`; `FISTA` at the boundary
        "zero"): none from an `init` that is not zero, and no more than ten of ADMM, whatever the
        number, if at most 0.8 % of the codes are active by then. The dense method continues at
        λ = 0 and while over a quarter of the codes are active.

    Raises
    ------
    InputError
        For a parameter out of range.

    References
    ----------
    Li, Sun and Toh, "A highly efficient semismooth Newton augmented Lagrangian method for solving
    Lasso problems", SIAM J. Optim. 28 (2018).
    """

    growth: ClassVar[float] = ADMM.growth
    supports_lam_array: ClassVar[bool] = True
    supports_mask: ClassVar[bool] = True

    warm_up: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up < 1:
            raise InputError(f"warm_up must be at least 1, got {self.warm_up!r}.")
        if self.device not in (None, "cpu"):
            raise InputError(f"{self.name} computes on the CPU only, not on {self.device}.")

    @property
    def name(self) -> str:
        return "active-set"

    @property
    def target_device(self) -> str:
        return "cpu"

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float | None:
        """None: the cost of a Newton step depends on the codes. The trace counts it."""
        return None

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield zₖ and, except for the dense iterations, its relative duality gap."""
        dense = (ADMM() if problem.boundary == "circular" else FISTA()).iterates(problem, codes)
        per_iteration = math.prod(problem.codes_shape[:-3]) * problem.operator().operations
        iterations, operations = self.warm_up if codes.any() else 0, 0.0
        while iterations < self.warm_up or not problem.has_gap or active_share(codes) > DENSE:
            codes, residual, _ = next(dense)
            iterations, operations = iterations + 1, operations + per_iteration
            if problem.boundary == "circular" and ends_early(iterations, codes):
                iterations = self.warm_up
            residual = residual if active_share(codes) > DENSE else math.inf
            yield Iterate(codes, residual, operations)
        active = _ActiveCodes(problem, codes, operations)
        while True:
            active.advance()
            residual = active.gap / max(active.objective, TINY)
            yield Iterate(active.codes(), residual, active.operations)


def active_share(codes: torch.Tensor) -> float:
    """Return the share of codes that are not zero."""
    return int(codes.count_nonzero()) / codes.numel()


def ends_early(iteration: int, codes: torch.Tensor) -> bool:
    """Return whether so few codes are active after `EARLY` iterations of ADMM that Newton steps
    are the faster way on."""
    return iteration == EARLY and active_share(codes) <= EARLY_SHARE


class _ActiveCodes:
    """The codes of a working set and the state of the method between two iterations; `operations`
    counts the multiply-adds so far, the dense iterations included."""

    def __init__(self, problem: SparseCoding, codes: torch.Tensor, operations: float) -> None:
        self._problem, self.operations = problem, operations
        self._operator: ConvDictionary = problem.operator()
        self._observed = as_batch(problem.observed())
        self._y = self._observed.numpy().reshape(-1)
        self._shape = tuple(as_batch(codes).shape)
        self._mask = self._lam = None
        if self._operator.mask is not None:
            mask = np.broadcast_to(self._operator.mask.numpy(), self._observed.shape)
            self._mask = mask.reshape(-1)
        if problem.has_lam_array:
            self._lam = np.broadcast_to(as_batch(problem.weights()).numpy(), self._shape)
        rho = default_rho(problem)
        self._sigma, self._largest_sigma = SIGMA_START / rho, LARGEST_SIGMA / rho
        values = codes.numpy().reshape(-1)
        self._places = np.flatnonzero(values)
        self._values = values[self._places]
        self._screen()

    def codes(self) -> torch.Tensor:
        """Return the codes as a new tensor of the problem's `codes_shape`."""
        codes = self._observed.new_zeros(math.prod(self._shape))
        codes[torch.from_numpy(self._places)] = torch.from_numpy(self._values)
        return codes.view(self._problem.codes_shape)

    def _screen(self) -> None:
        """Compute the residual and the duality gap, and enlarge the working set."""
        problem, divisors = self._problem, self._problem.divisors()
        near_one = 0.9 if problem.has_lam_array else 0.9 * problem.lam
        image = self._product(self._columns(self._places).T, self._values)
        self._residual = (self._y - image).astype(self._y.dtype, copy=False)
        residual = torch.from_numpy(self._residual).view(self._observed.shape)
        batch, atoms, height, width = self._shape
        largest = residual.new_zeros(batch)
        near_places, near_sizes = [], []
        self.operations += len(residual) * self._operator.operations / 2
        for (signals, _, rows), correlation in self._operator.sweep(residual):
            if not problem.nonnegative:
                correlation.abs_()
            if problem.has_lam_array:
                correlation.div_(part_of(divisors, (signals, slice(None), rows)))
            largest[signals] = torch.maximum(largest[signals], correlation.amax((1, 2, 3)))
            near = (correlation >= near_one).nonzero(as_tuple=True)
            signal, atom, row, column = (index.numpy() for index in near)
            lines = ((signal + signals.start) * atoms + atom) * height + row + rows.start
            near_places.append(lines * width + column)
            near_sizes.append(correlation[near].numpy())
        self.objective = 0.5 * _dot(self._residual, self._residual)
        sizes_of_values = np.abs(self._values).astype(np.float64)
        self.objective += float(np.sum(self._lam_at(self._places) * sizes_of_values))
        if problem.has_exempt:
            self.gap = problem.duality_gap(self.codes())
        else:
            like = problem.observed()
            shape = () if like.ndim == 3 else (batch,)
            relative = largest.view(shape) / (1.0 if problem.has_lam_array else problem.lam)
            scale = problem.dual_scale(relative)
            self.gap = self.objective - problem.dual_objective(residual.view(like.shape), scale)

        places, sizes = np.concatenate(near_places), np.concatenate(near_sizes)
        room = max(len(self._places), len(self._y) // 16)
        if len(places) > room:
            places = places[np.argpartition(sizes, -room)[-room:]]
        working = np.union1d(self._places, places)
        if problem.has_exempt:
            working = np.union1d(working, self._exempt)
        values = np.zeros(len(working), self._y.dtype)
        values[np.searchsorted(working, self._places)] = self._values
        self._places, self._values = working, values

    def _lam_at(self, places: np.ndarray) -> Any:
        """λ of the codes at `places` of the flat array: a number, or one each."""
        if self._lam is None:
            return self._problem.lam
        return self._lam[np.unravel_index(places, self._shape)]

    @cached_property
    def _exempt(self) -> np.ndarray:
        """The places of the exempt codes."""
        assert self._lam is not None
        return np.flatnonzero(self._lam == 0)

    def _columns(self, places: np.ndarray) -> Any:
        """The columns of A for the codes at `places` of the flat array, as rows of a sparse
        matrix."""
        from scipy.sparse import csr_array

        operator, elements = self._operator, self._operator.elements
        height, width = operator.grid
        small = max(len(places) * elements, len(self._y)) <= np.iinfo(INDEX).max
        index = INDEX if small else np.int64
        signal, atom, row, column = (
            part.astype(index) for part in np.unravel_index(places, self._shape)
        )
        reach = [np.arange(n, dtype=index) for n in operator.filter_shape]
        rows = (row[:, None] + reach[0]) % height
        columns = (column[:, None] + reach[1]) % width
        channel = signal[:, None] * operator.channels + np.arange(operator.channels, dtype=index)
        lines = (channel[:, :, None] * height + rows[:, None]) * width
        pixels = (lines[..., None] + columns[:, None, None]).reshape(-1)
        starts = np.arange(0, len(places) * elements + 1, elements, dtype=index)
        values = operator.filters.numpy()[atom].reshape(-1)
        if self._mask is not None:
            values = values * self._mask[pixels]
        return csr_array((values, pixels, starts), shape=(len(places), len(self._y)))

    def _product(self, matrix: Any, vector: np.ndarray) -> np.ndarray:
        self.operations += matrix.nnz
        return matrix @ vector

    def _shrink(self, correlation: np.ndarray, threshold: Any) -> np.ndarray:
        """h_{σλ}(z_before + σFᵀu), at the threshold σλ."""
        point = self._values + self._sigma * correlation
        if self._problem.nonnegative:
            return np.maximum(point - threshold, 0)
        return point - np.clip(point, -threshold, threshold)

    def _value(self, u: np.ndarray, codes: np.ndarray) -> float:
        """φ(u); `codes` are h_{σλ}(z_before + σFᵀu)."""
        return 0.5 * _dot(u, u) - _dot(u, self._y) + _dot(codes, codes) / (2 * self._sigma)

    def advance(self) -> None:
        """Make one step of the proximal point method and select the next working set."""
        columns = self._columns(self._places)
        threshold = self._sigma * self._lam_at(self._places)
        u = self._residual
        correlation = self._product(columns, u)
        codes = self._shrink(correlation, threshold)
        for _ in range(NEWTON_STEPS):
            gradient = u - self._y + self._product(columns.T, codes)
            moved = _dot(codes - self._values, codes - self._values)
            if not _dot(gradient, gradient) > ACCURACY**2 * moved / self._sigma:
                break
            active = columns[np.flatnonzero(codes)]
            direction = self._newton_direction(active, gradient)
            slope, before = _dot(gradient, direction), self._value(u, codes)
            along = self._product(columns, direction)
            length = 1.0
            while True:
                codes = self._shrink(correlation + length * along, threshold)
                value = self._value(u + length * direction, codes)
                if not value > before + 1e-4 * length * slope or length < 1e-4:
                    break
                length *= 0.5
            u, correlation = u + length * direction, correlation + length * along
        nonzero = np.flatnonzero(codes)
        self._places, self._values = self._places[nonzero], codes[nonzero]
        self._screen()
        self._sigma = min(SIGMA_GROWTH * self._sigma, self._largest_sigma)

    def _newton_direction(self, active: Any, gradient: np.ndarray) -> np.ndarray:
        """Solve (I + σ F_A F_Aᵀ) d = −∇φ for d by conjugate gradients."""
        direction = np.zeros_like(gradient)
        residual = -gradient
        search = residual.copy()
        square = start = _dot(residual, residual)
        for _ in range(GRADIENT_STEPS):
            across = self._product(active.T, self._product(active, search))
            product = search + self._sigma * across
            length = square / _dot(search, product)
            direction += length * search
            residual -= length * product
            square, before = _dot(residual, residual), square
            if not square > GRADIENT_ACCURACY**2 * start:
                break
            search *= square / before
            search += residual
        return direction


def _dot(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.vdot(left, right))
