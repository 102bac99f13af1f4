"""A+: adjusted anchored neighbourhood regression (Timofte, De Smet and Van Gool, ACCV 2014).

Each patch of the bicubic enlargement is corrected by the regression of the anchor that its
features are nearest to. docs/patch-methods.md has the equations. Needs numpy and scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cscsr import weights
from cscsr.arrays import to_numpy, to_type_of
from cscsr.errors import InputError
from cscsr.imaging import imresize, luma_of, with_luma
from cscsr.patches.geometry import HALO, SUPPORT, mean_of_patches, surroundings
from cscsr.patches.regression import assign
from cscsr.patches.weight_file import A_PLUS, AnchoredScale, cached_a_plus
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch
from cscsr.super_resolution import SuperResolution


@dataclass(frozen=True)
class APlus(Solver[SuperResolution]):
    """One linear map per anchor, from the features of a patch to what bicubic lacks there.

    Colour: luma by A+, Cb and Cr by bicubic. The estimate is not clipped to [0,1]. Computes in
    float64, so that the nearest anchor does not depend on how an image is cut.

    Parameters
    ----------
    weights
        A ``.safetensors`` file from ``cscsr train a-plus``; None: the one that this command made
        last without ``--out``.

    References
    ----------
    Timofte, De Smet, Van Gool, "A+: Adjusted anchored neighborhood regression for fast
    super-resolution", ACCV 2014.
    """

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "y"

    weights: str | None = None

    @property
    def name(self) -> str:
        return A_PLUS

    def weights_sha256(self) -> str:
        return weights.sha256(self._source())

    def _source(self) -> str:
        return A_PLUS if self.weights is None else self.weights

    def _scales(self) -> dict[int, AnchoredScale]:
        source = self._source()
        return cached_a_plus(source, weights.sha256(source))

    def supports(self, problem: SuperResolution) -> str | None:
        """Return None, or the reason against: another type of problem, or a scale without
        regressors."""
        reason = super().supports(problem)
        if reason is None and problem.scale not in self._scales():
            known = ", ".join(f"×{scale}" for scale in self._scales())
            reason = f"{self.name} was trained for {known}, not for ×{problem.scale}."
        return reason

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float:
        """Return the multiply-adds of features, correlations with all anchors and regression of
        each patch, and of the bicubic enlargement."""
        trained, scale = self._scales()[problem.scale], problem.scale
        height, width = problem.lr.shape[:2]
        anchors, dimensions = trained.anchors.shape
        per_patch = dimensions * (SUPPORT + anchors + trained.regressors.shape[1])
        bicubic = 4.0 * scale * (1 + scale) * height * width
        return float(per_patch) * (height + 2) * (width + 2) + bicubic

    def halo(self, scale: int) -> int:
        """Return 5 pixels: an enlarged pixel is in patches around pixels up to 1 away, whose
        features depend on pixels up to 4 away."""
        return HALO

    def tile_side(self, scale: int) -> int:
        """Return 256 pixels, which bounds the memory."""
        return 256

    def prepare(self, problem: SuperResolution) -> None:
        """Read the weights."""
        self._scales()

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
        luma = enlarged_luma(luma_of(lr).astype(np.float64), scale, self._scales()[scale])
        estimate = to_type_of(with_luma(luma, lr, scale), problem.lr)
        return Solution(estimate, Status.DIRECT, seconds=clock.seconds)


def enlarged_luma(luma: np.ndarray, scale: int, trained: AnchoredScale) -> np.ndarray:
    """Enlarge a luma.

    Parameters
    ----------
    luma
        (H,W), float64, on the [0,1] scale.
    scale
        s.
    trained
        Features, anchors and regressors of that scale.

    Returns
    -------
    np.ndarray
        (sH,sW), float64.
    """
    height, width = luma.shape
    around = surroundings(np.pad(luma, 1, mode="edge"))
    projection, anchors = trained.projection.astype(float), trained.anchors.astype(float)
    features = np.concatenate(
        [row.reshape(-1, SUPPORT) @ projection.T for row in around]  # all at once is 81 images
    )
    nearest, _ = assign(features, anchors)
    order = np.argsort(nearest, kind="stable")
    bounds = np.searchsorted(nearest[order], np.arange(len(anchors) + 1))
    patches = np.empty((len(features), trained.regressors.shape[1]))
    for anchor in np.flatnonzero(np.diff(bounds)):
        members = order[bounds[anchor] : bounds[anchor + 1]]
        patches[members] = features[members] @ trained.regressors[anchor].T.astype(float)
    return imresize(luma, scale) + mean_of_patches(patches, height, width, scale)
