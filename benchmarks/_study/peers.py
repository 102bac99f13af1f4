"""Solvers of other packages that nothing here depends on, for the race.

Each is imported at its first use. `missing` says why one cannot run here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import numpy as np
import torch

from cscsr import SparseCoding
from cscsr.errors import one_line
from cscsr.solver import Solution, Stopwatch
from cscsr.sparse.admm import Splitting, default_rho
from cscsr.sparse.loop import Monitor

REQUIRED = {"scico-admm": ("scico", "pip install scico")}
"""By solver: the module that it needs, and the command that installs it."""


def missing(name: str) -> str | None:
    """Why the solver `name` cannot run here, None if it can."""
    if name not in REQUIRED:
        return None
    module, command = REQUIRED[name]
    if torch.get_num_threads() == 1:  # before jax is imported, which starts its threads
        os.environ.setdefault(
            "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{module} cannot be imported ({one_line(str(error))}); {command}"
    return None


def versions() -> Iterator[str]:
    """The peers that are installed, such as "scico 0.0.7"."""
    for module, _ in REQUIRED.values():
        with suppress(PackageNotFoundError):
            yield f"{module} {version(module)}"


@dataclass(frozen=True)
class ScicoADMM(Splitting):
    """scico's ADMM on the splitting x = z, its x-step by `FBlockCircularConvolveSolver`
    (Sherman–Morrison at each frequency), a whole iteration compiled by ``jax.jit``.

    scico does not adapt ρ. The compilation is off its clock, as is carrying over the codes.
    Parameters are those of `Splitting`, with these particulars:

    Parameters
    ----------
    rho
        None: that of our `ADMM`.
    auto_rho
        Must be False.

    References
    ----------
    Balke et al., "Scientific Computational Imaging COde (SCICO)", J. Open Source Softw. 7 (2022).
    """

    supports_lam_array: ClassVar[bool] = False

    auto_rho: bool = False

    @property
    def name(self) -> str:
        return "scico-admm"

    @property
    def target_device(self) -> str:
        return "cpu"

    def supports(self, problem: SparseCoding) -> str | None:
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if problem.operator().channels > 1:
            return f"{self.name} has no exact x-step for signals of several channels."
        if problem.signal.ndim == 4 or problem.nonnegative:
            return f"{self.name} is set up here for one signal and codes of any sign."
        return None

    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        """Iterate from zero codes or the monitor's start, with u = 0."""
        import jax

        advance = self._step(problem)
        start = jax.numpy.asarray(monitor.start.numpy())
        state = (start, start, jax.numpy.zeros_like(start))
        jax.block_until_ready(advance(*state))  # compiles
        clock = Stopwatch()
        codes = monitor.start
        for iteration in range(1, self.iterations + 1):
            state = jax.block_until_ready(advance(*state))
            before = codes
            with clock.paused():
                codes = torch.from_numpy(np.array(state[1]))
            if monitor.ends(iteration, codes, lambda z=before: z, clock, tol=self.tol):
                break
        return monitor.finish(codes, clock.seconds)

    def _step(self, problem: SparseCoding) -> Any:
        """The map (x, z, u) to those of the next iteration, compiled."""
        import jax
        from scico import functional, linop, loss
        from scico.optimize.admm import ADMM, FBlockCircularConvolveSolver

        filters = problem.operator().filters[:, 0].numpy()
        signal = problem.observed()[0].numpy()
        if signal.dtype == np.float64:
            jax.config.update("jax_enable_x64", True)
        shape, dtype = tuple(problem.codes_shape), signal.dtype
        convolve = linop.CircularConvolve(filters, input_shape=shape, ndims=2, input_dtype=dtype)
        total = linop.Sum(input_shape=shape, axis=0, input_dtype=dtype)
        admm = ADMM(
            f=loss.SquaredL2Loss(y=jax.numpy.asarray(signal), A=total @ convolve),
            g_list=[problem.lam * functional.L1Norm()],
            C_list=[linop.Identity(shape, input_dtype=dtype)],
            rho_list=[default_rho(problem) if self.rho is None else self.rho],
            alpha=self.relaxation,
            x0=jax.numpy.zeros(shape, dtype),
            subproblem_solver=FBlockCircularConvolveSolver(),
        )

        def step(x: Any, z: Any, u: Any) -> tuple[Any, Any, Any]:
            admm.x, admm.z_list, admm.u_list = x, [z], [u]
            admm.step()
            return admm.x, admm.z_list[0], admm.u_list[0]

        return jax.jit(step)
