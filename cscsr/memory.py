"""The memory that a solve of sparse coding takes, measured in a process of its own.

In one process, a solver would use again what earlier ones have left, and would seem to need less.
"""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cscsr.arrays import device_of
from cscsr.compare.machine import peak_memory
from cscsr.problem import SparseCoding
from cscsr.solver import Solver
from cscsr.sparse.loop import IterativeCoder

ITERATIONS = 24
"""Of the measured solve; the Newton steps of the active-set solver begin at the 21st."""


def solve_megabytes(problem: SparseCoding, solver: Solver[SparseCoding]) -> float:
    """Return by how much the resident memory of a new process grows, at the most, in a solve.

    The process has loaded and solved a small problem before. It is started by "spawn", so that a
    script needs the guard ``if __name__ == "__main__":``.

    Parameters
    ----------
    problem
        On the CPU.
    solver
        It makes `ITERATIONS` iterations and records none of them.

    Returns
    -------
    float
        In MB; NaN where it is not known: on systems other than Linux, on a GPU, and if the process
        was killed, as for want of memory.
    """
    if device_of(problem.signal).startswith("cuda"):
        return math.nan
    if isinstance(solver, IterativeCoder):
        solver = replace(solver, iterations=ITERATIONS, record_every=0, max_seconds=None)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        # The copy is without what the problem has computed.
        measured = process.submit(_growth, replace(problem), solver, torch.get_num_threads())
        try:
            return measured.result()
        except BrokenProcessPool:
            return math.nan


def _growth(problem: SparseCoding, solver: Solver[SparseCoding], threads: int) -> float:
    """The growth in this process; NaN where it is not known."""
    torch.set_num_threads(threads)
    small = _small(problem.boundary)
    if solver.supports(small) is None:
        solver.solve(small)
    before = _resident()
    with peak_memory() as peak:
        solver.solve(problem)
    return math.nan if peak.megabytes is None else peak.megabytes - before


def _small(boundary: str) -> SparseCoding:
    """A problem of a few kilobytes."""
    random = np.random.default_rng(0)
    signal = random.standard_normal((32, 32)).astype(np.float32)
    filters = random.standard_normal((4, 8, 8)).astype(np.float32)
    return SparseCoding(signal, filters, 10.0, boundary=boundary)


def _resident() -> float:
    """What this process holds in memory now, in MB; NaN where that is not known."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    return math.nan
