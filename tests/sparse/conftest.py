"""The problem on which the sparse solvers are compared: a real image and a learned dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._study.problems import camera_problem as camera
from cscsr import Solution, SparseCoding
from cscsr.sparse.ista import FISTA


@pytest.fixture(scope="session")
def camera_problem() -> SparseCoding:
    """A 64×64 crop of scikit-image's camera, high-passed; 16 atoms of 7×7 that sporco learned
    on other crops; λ = 0.05, circular."""
    problem = camera(size=64, atoms=16, filter_size=7, lam=0.05)
    np.testing.assert_allclose(np.linalg.norm(problem.dictionary, axis=(1, 2)), 1.0)
    return problem


@pytest.fixture(scope="session")
def certified(camera_problem) -> Solution:
    """FISTA's answer to `camera_problem`, with its duality gap every 50 iterations."""
    return FISTA(iterations=900, tol=0, record_every=50, gap=True).solve(camera_problem)
