"""A+: adjusted anchored neighbourhood regression (Timofte, De Smet and Van Gool, ACCV 2014).

Each patch of the bicubic enlargement is corrected by the regression of the anchor that its
features are nearest to. docs/patch-methods.md has the equations. Needs numpy and scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cscsr.imaging import imresize
from cscsr.patches.geometry import SUPPORT, features_of, mean_of_patches, patch_elements
from cscsr.patches.regression import assign
from cscsr.patches.solver import PatchSolver
from cscsr.patches.weight_file import Shape
from cscsr.super_resolution import SuperResolution


@dataclass(frozen=True)
class AnchoredScale:
    """What A+ has learned for a scale s.

    Attributes
    ----------
    projection
        (d,81), float32: from the pixels around a patch to its features.
    anchors
        (K,d), float32, of unit norm.
    regressors
        (K,(3s)²,d), float32: from features to what is missing in the bicubic image.
    """

    KIND: ClassVar[str] = "a-plus"
    DTYPES: ClassVar[dict[str, str]] = {
        "projection": "<f4",
        "anchors": "<f4",
        "regressors": "<f2",
    }

    projection: np.ndarray
    anchors: np.ndarray
    regressors: np.ndarray

    @staticmethod
    def shapes(scale: int, sides: Shape) -> dict[str, Shape]:
        """Return the shapes of the tensors where the anchors have the shape `sides`."""
        count, dimensions = sides
        return {
            "projection": (dimensions, SUPPORT),
            "anchors": (count, dimensions),
            "regressors": (count, patch_elements(scale), dimensions),
        }


@dataclass(frozen=True)
class APlus(PatchSolver[AnchoredScale]):
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

    weights_type: ClassVar[Any] = AnchoredScale

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float:
        """Return the multiply-adds of features, correlations with all anchors and regression of
        each patch, and of the bicubic enlargement."""
        trained, scale = self.scale_weights()[problem.scale], problem.scale
        height, width = problem.lr.shape[:2]
        anchors, dimensions = trained.anchors.shape
        per_patch = dimensions * (SUPPORT + anchors + patch_elements(scale))
        bicubic = 4.0 * scale * (1 + scale) * height * width
        return float(per_patch) * (height + 2) * (width + 2) + bicubic

    def enlarged(self, luma: np.ndarray, scale: int) -> np.ndarray:
        return enlarged_luma(luma, scale, self.scale_weights()[scale])


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
    features = features_of(luma, trained.projection)
    nearest, _ = assign(features, trained.anchors.astype(float))
    order = np.argsort(nearest, kind="stable")
    bounds = np.searchsorted(nearest[order], np.arange(len(trained.anchors) + 1))
    patches = np.empty((len(features), patch_elements(scale)))
    for anchor in np.flatnonzero(np.diff(bounds)):
        members = order[bounds[anchor] : bounds[anchor + 1]]
        patches[members] = features[members] @ trained.regressors[anchor].T.astype(float)
    return imresize(luma, scale) + mean_of_patches(patches, height, width, scale)
