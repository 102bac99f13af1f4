"""ADMM of the sporco package (Wohlberg 2016) as a `Solver[SparseCoding]`. Runs on the CPU,
with as many threads as torch.

sporco is imported at the first use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from cscsr.errors import InputError
from cscsr.operators import transform_operations
from cscsr.problem import SparseCoding
from cscsr.solver import Callback, Solution, Solver, Status
from cscsr.sparse.admm import check_splitting, dual_of, only_circular
from cscsr.sparse.monitor import Monitor, check_parameters, relative_change, zero_is_the_answer


@dataclass(frozen=True)
class SporcoADMM(Solver[SparseCoding]):
    """`sporco.admm.cbpdn.ConvBPDN`: min ½‖y − Fx‖² + λ‖z‖₁ subject to x = z, by ADMM.

    The estimate is z, the sparse one of the two variables; the trace's objective is the
    problem's own at z. Seconds are sporco's timer 'solve_wo_func' and its initialisation.

    iterations: the cap.
    tol: sporco's RelStopTol, on primal and dual residual; 0 runs to the cap.
    dtype: "float32" or "float64"; None: as the signal.
    record_every: iterations between two rows of the trace; 0: only the last has one.
    gap: record the duality gap too.
    rho: the penalty ρ at the start; None: sporco's 50λ + 1.
    auto_rho: let sporco adapt ρ to the residuals.
    relaxation: sporco's RelaxParam, in [1, 2).

    Raises InputError for a parameter out of range.
    """

    problem_type: ClassVar[type] = SparseCoding

    iterations: int = 500
    tol: float = 1e-4
    dtype: Any = None
    record_every: int = 1
    gap: bool = False
    rho: float | None = None
    auto_rho: bool = True
    relaxation: float = 1.8

    def __post_init__(self) -> None:
        check_parameters(self.iterations, self.tol, self.record_every)
        check_splitting(self.rho, self.relaxation)

    @property
    def name(self) -> str:
        return "sporco-admm"

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or its boundary is not circular."""
        return super().supports(problem) or only_circular(self.name, problem)

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float:
        """An iteration takes the transforms of M maps and back, and the two inner products of
        the Sherman–Morrison formula at each frequency (C = 1)."""
        count = self.iterations if iterations is None else iterations
        pixels = math.prod(problem.signal.shape[-2:])
        maps = math.prod(problem.codes_shape[:-2])
        return count * maps * (2 * transform_operations(pixels) + 4.0 * pixels)

    def prepare(self, problem: SparseCoding) -> None:
        """Has sporco plan its transforms for this size, by one iteration."""
        once = replace(self, iterations=1)
        with _threads_of_torch():
            once._admm(problem.on("cpu", self.dtype), None, None).solve()

    def solve(
        self, problem: SparseCoding, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Codes of `problem`; `init` (M,H,W) or (B,M,H,W) is where z starts.

        At λ ≥ λ_max the codes are zero, exactly and at once: converged at iteration 0.
        Raises InputError if `supports(problem)` gives a reason or `init` has another shape.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        with torch.no_grad(), _threads_of_torch():
            return self._solve(problem, init, callback)

    def _solve(self, original: SparseCoding, init: Any, callback: Callback | None) -> Solution:
        problem = original.on("cpu", self.dtype)
        start = None if init is None else problem.codes(init)
        monitor = Monitor(
            problem,
            original.signal,
            start,
            iterations=self.iterations,
            record_every=self.record_every,
            gap=self.gap,
            callback=callback,
        )
        if zero_is_the_answer(problem):
            codes = torch.zeros_like(monitor.start)
            monitor.record(0, 0.0, codes, 0.0)
            return monitor.finish(codes, Status.CONVERGED, 0.0)

        stopped, diverged = False, False
        timers = ["solve", "solve_wo_func", "solve_wo_rsdl"]

        def seconds(admm: Any) -> float:
            return admm.timer.elapsed("init") + admm.timer.elapsed("solve_wo_func")

        def watch(admm: Any) -> bool:
            nonlocal stopped, diverged
            admm.timer.stop(timers)
            iteration = admm.k + 1
            codes = from_sporco(admm.Y, problem)
            stopped = monitor.stops(iteration, codes)
            if stopped or monitor.wants_row(iteration):
                change = relative_change(codes, from_sporco(admm.Yprev, problem))
                diverged = monitor.record(iteration, seconds(admm), codes, change)
            else:
                diverged = monitor.diverged(iteration, codes)
            admm.timer.start(timers)
            return stopped or diverged

        admm = self._admm(problem, start, watch)
        admm.solve()
        codes = from_sporco(admm.Y, problem)
        status = Status.MAX_ITERATIONS
        if diverged:
            status = Status.DIVERGED
        elif stopped:
            status = Status.STOPPED
        elif admm.k < self.iterations:
            status = Status.CONVERGED
            if not monitor.wants_row(admm.k):
                change = relative_change(codes, from_sporco(admm.Yprev, problem))
                monitor.record(admm.k, seconds(admm), codes, change)
        return monitor.finish(codes, status, seconds(admm))

    def _admm(self, problem: SparseCoding, start: torch.Tensor | None, watch: Any) -> Any:
        options = {
            "Verbose": False,
            "StatusHeader": False,
            "FastSolve": self.auto_rho,  # without statistics; but a fixed ρ needs them to stop
            "MaxMainIter": self.iterations,
            "RelStopTol": self.tol,
            "IterTimer": "solve_wo_func",
            "NonNegCoef": problem.nonnegative,
            "RelaxParam": self.relaxation,
            "AutoRho": {"Enabled": self.auto_rho},
            "rho": self.rho,
            "Callback": watch,
        }
        if start is not None:
            options |= self._warm_start(problem, start)
        conv_bpdn = _conv_bpdn()
        signal = problem.observed()
        signal = signal if signal.ndim == 4 else signal[None]
        return conv_bpdn(
            problem.operator().filters.permute(2, 3, 1, 0).numpy(),
            signal.permute(2, 3, 1, 0).numpy(),
            problem.lam,
            conv_bpdn.Options(options),
        )

    def _warm_start(self, problem: SparseCoding, start: torch.Tensor) -> dict[str, np.ndarray]:
        """z and the scaled dual u = Fᵀ(y − Fz)/ρ that belongs to it (sporco, given z
        only, fails on its own start of u)."""
        dual = dual_of(problem, start)
        rho = 50.0 * problem.lam + 1.0 if self.rho is None else self.rho
        return {"Y0": to_sporco(start), "U0": to_sporco(dual / rho)}


@contextmanager
def _threads_of_torch() -> Iterator[None]:
    """Inside, sporco's transforms use as many threads as torch, not one for each core."""
    import sporco.fft

    before = sporco.fft.pyfftw_threads
    sporco.fft.pyfftw_threads = torch.get_num_threads()
    try:
        yield
    finally:
        sporco.fft.pyfftw_threads = before


def _conv_bpdn() -> type:
    from sporco.admm.cbpdn import ConvBPDN

    return ConvBPDN


def to_sporco(codes: torch.Tensor) -> np.ndarray:
    """Codes ([B,]M,H,W) in sporco's layout (H,W,1,B,M)."""
    batch = codes if codes.ndim == 4 else codes[None]
    return batch.permute(2, 3, 0, 1)[:, :, None].numpy()


def from_sporco(codes: np.ndarray, problem: SparseCoding) -> torch.Tensor:
    """Codes in sporco's layout (H,W,1,B,M) as a tensor of the problem's `codes_shape`."""
    tensor = torch.from_numpy(np.ascontiguousarray(codes[:, :, 0].transpose(2, 3, 0, 1)))
    return tensor.reshape(problem.codes_shape)
