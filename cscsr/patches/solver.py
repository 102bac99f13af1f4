"""What the solvers of this package share: weights per scale, luma, colour, halo and parts.

Needs numpy and scipy.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from cscsr import weights
from cscsr.arrays import to_numpy, to_type_of
from cscsr.errors import InputError
from cscsr.imaging import luma_of, with_luma
from cscsr.patches.geometry import HALO
from cscsr.patches.weight_file import ScaleWeights, cached_weights
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch
from cscsr.super_resolution import SuperResolution

W = TypeVar("W", bound=ScaleWeights)


@dataclass(frozen=True)
class PatchSolver(Solver[SuperResolution], Generic[W]):
    """A solver that enlarges luma patch by patch, with weights of its own for each scale.

    Computes in float64, so that what is chosen for a patch does not depend on how an image is cut.

    Attributes
    ----------
    weights_type
        The class of the weights of a scale; its `KIND` is the solver's name.

    Parameters
    ----------
    weights
        A ``.safetensors`` file from ``cscsr train NAME``; None: the one that this command made
        last without ``--out``.
    """

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "y"
    weights_type: ClassVar[Any]

    weights: str | None = None

    @property
    def name(self) -> str:
        return str(self.weights_type.KIND)

    def weights_sha256(self) -> str:
        return weights.sha256(self._source())

    def _source(self) -> str:
        return self.name if self.weights is None else self.weights

    def scale_weights(self) -> dict[int, W]:
        """Return the weights by scale. Raises InputError where there are none."""
        source = self._source()
        by_scale: dict[int, W] = cached_weights(self.weights_type, source, weights.sha256(source))
        return by_scale

    def supports(self, problem: SuperResolution) -> str | None:
        """Return None, or the reason against: another type of problem, or a scale without
        weights."""
        reason = super().supports(problem)
        if reason is None and problem.scale not in self.scale_weights():
            known = ", ".join(f"×{scale}" for scale in self.scale_weights())
            reason = f"{self.name} was trained for {known}, not for ×{problem.scale}."
        return reason

    def halo(self, scale: int) -> int:
        """Return 5 pixels: an enlarged pixel is in patches around pixels up to 1 away, whose
        features depend on pixels up to 4 away."""
        return HALO

    def tile_side(self, scale: int) -> int:
        """Return 256 pixels, which bounds the memory."""
        return 256

    def prepare(self, problem: SuperResolution) -> None:
        """Read the weights."""
        self.scale_weights()

    @abstractmethod
    def enlarged(self, luma: np.ndarray, scale: int) -> np.ndarray:
        """Enlarge a luma (H,W), float64, on the [0,1] scale, to (sH,sW)."""

    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Enlarge the image; `init` and `callback` have no effect.

        Raises
        ------
        InputError
            If `supports(problem)` returns a reason.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        clock = Stopwatch()
        lr, scale = to_numpy(problem.lr), problem.scale
        luma = self.enlarged(luma_of(lr).astype(np.float64), scale)
        estimate = to_type_of(with_luma(luma, lr, scale), problem.lr)
        return Solution(estimate, Status.DIRECT, seconds=clock.seconds)
