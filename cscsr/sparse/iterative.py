"""What every iterative solver of `SparseCoding` shares, our own and those of other packages: its
parameters, how a solve begins, and how it ends. Needs torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.solver import Callback, Solution, Solver, Status
from cscsr.sparse.monitor import GROWTH, Monitor


@dataclass(frozen=True)
class IterativeCoder(Solver[SparseCoding]):
    """An iterative solver of `SparseCoding`.

    iterations: the cap.
    tol: stop when the relative change ‖zₖ − zₖ₋₁‖/‖zₖ‖ (and the method's own residual, if it
    has one) is at most this; 0 runs to the cap.
    dtype: "float32" or "float64", to compute in; None: as the signal.
    record_every: iterations between two rows of the trace; 0: only the last has one.
    gap: record the duality gap too.
    gap_tol: stop, certified, when the duality gap is at most this fraction of the objective;
    0: never. It is looked at every `GAP_EVERY` iterations, at the price of one F and one Fᵀ.
    max_seconds: stop when the solver's own time has reached this; None: never.

    Raises InputError for a parameter out of range.
    """

    problem_type: ClassVar[type] = SparseCoding
    growth: ClassVar[float] = GROWTH

    iterations: int = 500
    tol: float = 1e-4
    dtype: Any = None
    record_every: int = 1
    gap: bool = False
    gap_tol: float = 0.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations!r}.")
        for what in ("tol", "gap_tol"):
            value = getattr(self, what)
            if not 0 <= value < math.inf:
                raise InputError(f"{what} must be a finite number of at least 0, got {value!r}.")
        if self.record_every < 0:
            raise InputError(f"record_every must be at least 0, got {self.record_every!r}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds must be above 0, got {self.max_seconds!r}.")

    def place(self) -> Any:
        """The device to compute on; None: the signal's."""
        return None

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or a duality gap is asked for at λ = 0."""
        reason = super().supports(problem)
        if reason is None and self.gap_tol > 0 and problem.lam == 0:
            return f"{self.name} cannot stop by the duality gap at lam = 0, where there is none."
        return reason

    def solve(
        self, problem: SparseCoding, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Codes of `problem`, from `init` (M,H,W) or (B,M,H,W), or from zero.

        At λ ≥ λ_max the codes are zero, exactly and at once: converged at iteration 0.
        Raises InputError if `supports(problem)` gives a reason or `init` has another shape.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        with torch.no_grad():
            here = problem.on(self.place(), self.dtype)
            start = None if init is None else here.codes(init)
            monitor = Monitor(self, here, problem.signal, start, callback)
            if problem.lam >= here.lambda_max():
                zero = torch.zeros_like(monitor.start)
                monitor.record(0, 0.0, zero, 0.0)
                return monitor.finish(zero, Status.CONVERGED, 0.0)
            return self.run(here, monitor)

    @abstractmethod
    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        """Solves `problem`, in torch and in its place, from `monitor.start`."""
