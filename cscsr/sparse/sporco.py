"""ADMM and PGM of the sporco package as `Solver[SparseCoding]`.

They run on the CPU, with as many threads as torch. sporco is imported at the first use.
"""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch

from cscsr.convolution import transform_operations
from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.solver import Solution, Status
from cscsr.sparse.admm import Splitting, dual_of
from cscsr.sparse.loop import IterativeCoder, Monitor, as_batch, relative_change
from cscsr.sparse.units import Units

PLAN_SECONDS = 1.0
"""Seconds for which pyFFTW keeps the plan of a transform, and the arrays in it, after its last
use. sporco's 300 keep tens of megabytes for each new size of image. What was measured for a plan
stays known to FFTW, so that making it again is quick."""

_sporco_lock = threading.RLock()
"""Held while sporco's settings are changed. They belong to the process: a solve in another thread
would change the plans of this one, and so the rounding of its answer. Such solves wait."""


class _Clock:
    """sporco's own timer: the seconds of its initialisation and of its iterations, without
    callbacks."""

    def __init__(self, timer: Any) -> None:
        self._timer = timer

    @property
    def seconds(self) -> float:
        return self._timer.elapsed("init") + self._timer.elapsed("solve_wo_func")

    @contextmanager
    def paused(self) -> Iterator[None]:
        running = [label for label, since in self._timer.t0.items() if since is not None]
        self._timer.stop(running)
        try:
            yield
        finally:
            self._timer.start(running)


@dataclass(frozen=True)
class _Sporco(IterativeCoder):
    """What sporco's two solvers share: its options, its clock, its layout of the codes. The
    duality gap that `gap_tol` requests is not part of the seconds."""

    supports_lam_array: ClassVar[bool] = True
    circular_only: ClassVar[bool] = True
    stops_itself: ClassVar[bool] = False
    """Whether sporco judges convergence by `tol`."""

    @property
    def target_device(self) -> str:
        return "cpu"

    def operations(self, problem: SparseCoding, iterations: int | None = None) -> float:
        """Per iteration, the transforms of M maps and back, and two inner products of the
        filters' and the codes' spectra at each frequency (C = 1)."""
        count = self.iterations if iterations is None else iterations
        pixels = math.prod(problem.signal.shape[-2:])
        maps = math.prod(problem.codes_shape[:-2])
        return count * maps * (2 * transform_operations(pixels) + 4.0 * pixels)

    def prepare(self, problem: SparseCoding) -> None:
        """Let sporco plan its transforms for this size, by one iteration."""
        once = replace(self, iterations=1)
        with _settings_of_sporco():
            once.method(problem.on("cpu", self.dtype), None, {}).solve()

    @abstractmethod
    def method(
        self, problem: SparseCoding, start: torch.Tensor | None, options: dict[str, Any]
    ) -> Any:
        """Return sporco's solver object for `problem`, with `options` added to its own."""

    @abstractmethod
    def latest(self, method: Any) -> np.ndarray:
        """Return the codes in sporco's layout."""

    @abstractmethod
    def earlier(self, method: Any) -> np.ndarray:
        """Return the codes of the previous iteration in sporco's layout."""

    def create(self, module: Any, problem: SparseCoding, options: dict[str, Any]) -> Any:
        """Return `module.ConvBPDN` for `problem`, with `options` added to the shared ones, or
        `module.ConvBPDNMask` if it has a mask. An array λ is a number, `lam_of_sporco`, times
        sporco's L1Weight."""
        signal = as_batch(problem.observed(masked=False))
        filters = problem.operator().filters.permute(2, 3, 1, 0).numpy()
        lam = lam_of_sporco(problem)
        common = {
            "Verbose": False,
            "StatusHeader": False,
            "FastSolve": True,  # no statistics of its own
            "MaxMainIter": self.iterations,
            "IterTimer": "solve_wo_func",
            "NonNegCoef": problem.nonnegative,
        }
        if problem.has_lam_array:
            common["L1Weight"] = to_sporco(problem.weights() / lam)
        arrays = (filters, signal.permute(2, 3, 1, 0).numpy(), lam)
        mask = problem.operator().mask
        if mask is None:
            return module.ConvBPDN(*arrays, module.ConvBPDN.Options(common | options))
        weights = mask.expand(signal.shape).permute(2, 3, 1, 0).numpy()
        # sporco subtracts the signal before it masks: large missing elements would cost precision.
        observed = np.where(weights == 0, 0, arrays[1])
        options = module.ConvBPDNMask.Options(common | options)
        return module.ConvBPDNMask(filters, observed, lam, weights[..., None], options)

    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        def latest(method: Any) -> torch.Tensor:
            return from_sporco(self.latest(method), problem)

        def earlier(method: Any) -> torch.Tensor:
            return from_sporco(self.earlier(method), problem)

        def callback(method: Any) -> bool:
            clock = _Clock(method.timer)
            with clock.paused():
                ended = monitor.ends(
                    method.k + 1,
                    latest(method),
                    lambda: earlier(method),
                    clock,
                    tol=0.0 if self.stops_itself else self.tol,
                )
            return ended or method.k + 1 == self.iterations

        with _settings_of_sporco():
            start = monitor.start if monitor.start.any() else None
            method = self.method(problem, start, {"Callback": callback})
            method.solve()
            while monitor.status is Status.MAX_ITERATIONS and method.k < self.iterations:
                if monitor.is_near_optimum(method.k, latest(method)):
                    break
                method.solve()  # goes on where it stopped
        codes, seconds = latest(method), _Clock(method.timer).seconds
        if monitor.status is Status.MAX_ITERATIONS and method.k < self.iterations:
            if not monitor.is_recorded(method.k):
                monitor.record(method.k, seconds, codes, relative_change(codes, earlier(method)))
            monitor.status = Status.CONVERGED
        return monitor.finish(codes, seconds)


@dataclass(frozen=True)
class SporcoADMM(Splitting, _Sporco):
    """`sporco.admm.cbpdn.ConvBPDN`: min ½‖y − Fx‖² + λ‖z‖₁ subject to x = z, by ADMM.

    The codes are z, the sparse one of the two variables; the trace's objective is the problem's
    own at z. Parameters are those of `Splitting`, with these particulars:

    Parameters
    ----------
    tol
        sporco's RelStopTol, on the primal and the dual residual; 0 runs all iterations.
    rho
        None: sporco's 50λ + 1.
    auto_rho
        Let sporco adapt ρ to the residuals.
    """

    stops_itself: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "sporco-admm"

    def method(
        self, problem: SparseCoding, start: torch.Tensor | None, options: dict[str, Any]
    ) -> Any:
        import sporco.admm.cbpdn

        adapt: dict[str, Any] = {"Enabled": self.auto_rho}
        if self.rho_growth > 1:
            # sporco multiplies ρ by Scaling where the primal residual exceeds RsdlRatio times
            # the dual one, which with a ratio of nearly zero is always.
            adapt = {
                "Enabled": True,
                "Period": 1,
                "AutoScaling": False,
                "Scaling": self.rho_growth,
                "RsdlRatio": 1e-9,
            }
        options = options | {
            "FastSolve": adapt["Enabled"],  # a fixed ρ needs the statistics to stop
            "RelStopTol": self.tol,
            "RelaxParam": self.relaxation,
            "AutoRho": adapt,
            "rho": self.rho,
        }
        if start is not None:
            # sporco, given z only, fails on its own start of the scaled dual u = Fᵀ(y − Fz)/ρ.
            rho = 50.0 * lam_of_sporco(problem) + 1.0 if self.rho is None else self.rho
            dual = dual_of(problem, start) / rho
            options |= {"Y0": to_sporco(start), "U0": to_sporco(dual)}
        return self.create(sporco.admm.cbpdn, problem, options)

    def latest(self, method: Any) -> np.ndarray:
        return method.Y

    def earlier(self, method: Any) -> np.ndarray:
        return method.Yprev


@dataclass(frozen=True)
class SporcoPGM(_Sporco):
    """`sporco.pgm.cbpdn.ConvBPDN` (with a mask `ConvBPDNMask`): FISTA in the frequency domain,
    without restart.

    Parameters are those of `IterativeCoder`, and:

    Parameters
    ----------
    tol
        On the relative change of the codes, as for our own solvers (sporco's own rule compares
        an absolute change).
    lipschitz
        sporco's L, the inverse of the step; None: the exact one of the dictionary
        (sporco's default of 500 is too small for some dictionaries, and diverges).

    Raises
    ------
    InputError
        For a parameter out of range.
    """

    supports_mask: ClassVar[bool] = True

    lipschitz: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lipschitz is not None and not 0 < self.lipschitz < math.inf:
            raise InputError(f"lipschitz must be a finite number above 0, got {self.lipschitz!r}.")

    def in_units(self, units: Units) -> Self:
        """Return this solver with L in `units`: it bounds FᵀF."""
        if self.lipschitz is None or units.dictionary == 1:
            return self
        return replace(self, lipschitz=self.lipschitz / units.dictionary / units.dictionary)

    @property
    def name(self) -> str:
        return "sporco-pgm"

    def method(
        self, problem: SparseCoding, start: torch.Tensor | None, options: dict[str, Any]
    ) -> Any:
        import sporco.pgm.cbpdn

        length = problem.operator().lipschitz if self.lipschitz is None else self.lipschitz
        options = options | {"L": length or 1.0}
        if start is not None:
            options |= {"X0": to_sporco(start)}
        return self.create(sporco.pgm.cbpdn, problem, options)

    def latest(self, method: Any) -> np.ndarray:
        return method.X

    def earlier(self, method: Any) -> np.ndarray:
        import sporco.fft

        return sporco.fft.irfftn(method.Xfprv, method.Nv, method.axisN)


@contextmanager
def _settings_of_sporco() -> Iterator[None]:
    """Let sporco's transforms use as many threads as torch, not one per core, and forget their
    plans soon: see `PLAN_SECONDS`, which stays set. See `_sporco_lock`."""
    import sporco.fft

    if sporco.fft.have_pyfftw:
        from pyfftw.interfaces import cache

        if cache.is_enabled():
            cache.set_keepalive_time(PLAN_SECONDS)
    with _sporco_lock:
        before = sporco.fft.pyfftw_threads
        sporco.fft.pyfftw_threads = torch.get_num_threads()
        try:
            yield
        finally:
            sporco.fft.pyfftw_threads = before


@contextmanager
def quick_plans() -> Iterator[None]:
    """Have sporco plan its FFTs of a new size by rule inside the `with` block.

    By default it plans them by measuring, which takes ten times as long as the ten iterations
    wanted of that size, and makes none of them faster.
    """
    import sporco.fft

    with _sporco_lock:
        usual = sporco.fft.pyfftw_planner_effort
        sporco.fft.pyfftw_planner_effort = "FFTW_ESTIMATE"
        try:
            yield
        finally:
            sporco.fft.pyfftw_planner_effort = usual


def lam_of_sporco(problem: SparseCoding) -> float:
    """Return the number λ that sporco's default ρ depends on: of an array, the mean of those above
    zero."""
    weights = problem.weights()
    if isinstance(weights, torch.Tensor):
        positive = weights[weights > 0].double()
        return float(positive.mean()) if len(positive) else 1.0
    return weights


def to_sporco(codes: torch.Tensor) -> np.ndarray:
    """Return codes ([B,]M,H,W) in sporco's layout (H,W,1,B,M)."""
    batch = codes if codes.ndim == 4 else codes[None]
    return batch.permute(2, 3, 0, 1)[:, :, None].numpy()


def from_sporco(codes: np.ndarray, problem: SparseCoding) -> torch.Tensor:
    """Return codes in sporco's layout (H,W,1,B,M) as a tensor of the problem's `codes_shape`."""
    tensor = torch.from_numpy(np.ascontiguousarray(codes[:, :, 0].transpose(2, 3, 0, 1)))
    return tensor.reshape(problem.codes_shape)
