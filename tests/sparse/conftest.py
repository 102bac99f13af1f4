"""The problem on which the sparse solvers are compared: a real image and a learned dictionary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cscsr import Solution, SparseCoding
from cscsr.data.problems import camera_problem as camera
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


@pytest.fixture(scope="session")
def dense_matrix() -> Callable[[SparseCoding], np.ndarray]:
    """Makes F of a problem with a circular boundary, (C·H·W, M·H·W): each column a filter, shifted
    and wrapped element by element."""

    def make(problem: SparseCoding) -> np.ndarray:
        height, width = problem.signal.shape[-2:]
        columns = []
        for atom in problem.dictionary:
            for row, column in np.ndindex(height, width):
                image = np.zeros((atom.shape[0], height, width))
                for i, j in np.ndindex(atom.shape[1:]):
                    image[:, (row + i) % height, (column + j) % width] += atom[:, i, j]
                columns.append(image.ravel())
        return np.stack(columns, axis=1)

    return make
