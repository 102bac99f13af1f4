"""A solver of `SparseCoding` that picks one of the others by the problem. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from cscsr.errors import InputError
from cscsr.patch_operator import largest_patch
from cscsr.problem import SparseCoding
from cscsr.solver import Solution
from cscsr.sparse.active_set import ActiveSet, active_share, ends_early
from cscsr.sparse.admm import ADMM
from cscsr.sparse.ista import FISTA
from cscsr.sparse.loop import Monitor
from cscsr.sparse.proximal import Iterate, ProximalSolver

FIRST = 20
"""Dense iterations before the pick, those that `ActiveSet` begins with, unless `ends_early`."""

SHARES = {1e-5: 0.0078, 1e-4: 0.0069, 1e-3: 0.0060, 1e-2: 0.0042}
"""By accuracy: `largest_share` for filters of 64 elements."""


def largest_share(problem: SparseCoding, accuracy: float) -> float:
    """Return the share of codes that may be active after the first iterations of ADMM for Newton's
    method to be the faster way to a relative gap of `accuracy`.

    A Newton step costs C·h·w per active code; a dense iteration costs the same for any number of
    them, about 35 + 0.45·C·h·w per code if F goes patch by patch, and if it goes by FFT as much as
    the largest patches. The more accurate the codes are to be, the more dense iterations a Newton
    step saves. The share is interpolated between the accuracies of `SHARES`, in their logarithm.
    The numbers are a fit to times of `python -m benchmarks.race` on an image of CID22val and on the
    embedded images (docs/solvers.md).
    """
    operator = problem.operator()
    dense = 35.0 + 0.45 * min(operator.elements, largest_patch(operator.filters))
    decades = [math.log10(known) for known in SHARES]
    share = np.interp(math.log10(accuracy), decades, list(SHARES.values()))
    return float(share) * dense / operator.elements


@dataclass(frozen=True)
class Auto(ProximalSolver):
    """`ADMM` or `ActiveSet`, by the problem and the accuracy that is asked.

    At the boundary "circular" the first 20 iterations are ADMM's, or 10 if few codes are active,
    those that `ActiveSet` begins with. The share of codes that are active by then, which depends on
    λ/λ_max and on the image, decides which of the two goes on: `ActiveSet` if it is at most
    `largest_share`. From an `init` that is decided at once. At the boundary "zero" it is always
    `ActiveSet`. On a GPU, and where λ = 0 for all codes, it is the dense method, `ADMM` or at
    "zero" `FISTA`. The field `solver` of the solution names the pick.

    Parameters are those of `ProximalSolver`, which the picked solver gets, and:

    Parameters
    ----------
    accuracy
        The relative gap P(z)/P* − 1 that the codes are wanted to; `gap_tol`, where it is above 0,
        takes its place. It decides the pick and stops nothing.

    Raises
    ------
    InputError
        For a parameter out of range.
    """

    growth: ClassVar[float] = ADMM.growth
    supports_lam_array: ClassVar[bool] = True
    supports_mask: ClassVar[bool] = True

    accuracy: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.accuracy < math.inf:
            raise InputError(f"accuracy must be a finite number above 0, got {self.accuracy!r}.")

    @property
    def name(self) -> str:
        return "auto"

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float | None:
        """None: they depend on the pick. The trace counts them."""
        return None

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> _Iterates:
        """Yield those of ADMM or FISTA and, once it is picked, of `ActiveSet`."""
        return _Iterates(self, problem, codes)

    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        """Solve; the solution names what was picked."""
        iterates = self.iterates(problem, monitor.start)
        return replace(self.follow(iterates, problem, monitor), solver=iterates.picked)


class _Iterates(Iterator[Iterate]):
    """The iterates of a solve; `picked` is the name of the solver they come from so far."""

    def __init__(self, solver: Auto, problem: SparseCoding, codes: torch.Tensor) -> None:
        common: dict[str, Any] = solver.params()
        self._accuracy = solver.gap_tol or common["accuracy"]
        del common["accuracy"]
        dense = ADMM if problem.boundary == "circular" else FISTA
        self._dense: ProximalSolver = dense(**common)
        usable = codes.device.type == "cpu" and problem.has_gap
        self._newton = ActiveSet(**common) if usable else None
        self.picked = self._dense.name
        self._iterates = self._all(problem, codes)

    def __next__(self) -> Iterate:
        return next(self._iterates)

    def _all(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        per_iteration = math.prod(problem.codes_shape[:-3]) * problem.operator().operations
        operations, iterates = 0.0, self._dense.iterates(problem, codes)
        newton, circular = self._newton, problem.boundary == "circular"
        largest = largest_share(problem, self._accuracy) if circular else 1.0
        for iteration in range(1, FIRST + 1 if circular and not codes.any() else 1):
            iterate = next(iterates)
            operations += per_iteration
            codes = iterate.codes
            yield iterate._replace(operations=operations)
            early = newton is not None and ends_early(iteration, codes)
            if early and active_share(codes) <= largest:
                break
        if newton is None or active_share(codes) > largest:
            for iterate in iterates:
                operations += per_iteration
                yield iterate._replace(operations=operations)
        else:
            self.picked = newton.name
            for iterate in newton.iterates(problem, codes):
                yield iterate._replace(operations=operations + iterate.operations)
