"""Bicubic interpolation: the baseline of every table, exact to MATLAB's imresize.

Needs numpy and scipy only, and torch where the image is a tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from cscsr.arrays import to_numpy, to_type_of
from cscsr.errors import InputError
from cscsr.imaging.resize import BOUNDARIES, imresize
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch
from cscsr.super_resolution import SuperResolution


@dataclass(frozen=True)
class Bicubic(Solver[SuperResolution]):
    """Keys' cubic kernel with a = -1/2 on every channel; see `cscsr.imaging.imresize`.

    The estimate is neither rounded nor clipped: it may leave [0,1] a little at edges.

    Parameters
    ----------
    boundary
        "clamp" repeats the edge pixel (the tables' convention), "mirror" reflects.

    Raises
    ------
    InputError
        For an unknown boundary.
    """

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "y"

    boundary: str = "clamp"

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise InputError(
                f"boundary must be one of {', '.join(BOUNDARIES)}, got {self.boundary!r}."
            )

    @property
    def name(self) -> str:
        return "bicubic"

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float:
        """Four multiply-adds per pixel in each of the two dimensions, rows first."""
        height, width, *channels = problem.lr.shape
        rows = problem.scale * height * width
        return 4.0 * math.prod(channels) * (rows + problem.scale * rows)

    def halo(self, scale: int) -> int:
        """Two pixels: the support of the cubic kernel."""
        return 2

    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Enlarge the image; `init` and `callback` have no effect.

        Raises
        ------
        InputError
            For a problem of another type.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        clock = Stopwatch()
        estimate = to_type_of(
            imresize(to_numpy(problem.lr), problem.scale, boundary=self.boundary), problem.lr
        )
        return Solution(estimate, Status.DIRECT, seconds=clock.seconds)
