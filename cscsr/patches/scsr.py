"""ScSR: super-resolution by sparse representation (Yang, Wright, Huang and Ma, TIP 2010).

Two dictionaries share their codes: one makes the features of a patch, the other what is missing in
its bicubic enlargement. docs/patch-methods.md has the equations. Needs numpy and scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from cscsr.imaging import imresize
from cscsr.imaging.back_projection import PROJECTION_REACH, back_projected
from cscsr.patches.geometry import HALO, SUPPORT, features_of, mean_of_patches, patch_elements
from cscsr.patches.lasso import LEAST_LAM, lasso_codes
from cscsr.patches.solver import PatchSolver
from cscsr.patches.weight_file import Shape
from cscsr.schema import Range, check_fields


@dataclass(frozen=True)
class CoupledScale:
    """What ScSR has learned for a scale s.

    Attributes
    ----------
    projection
        (d,81), float32: from the pixels around a patch to its features.
    low
        (K,d), float32: the dictionary of features, an atom a row.
    high
        (K,(3s)²), float32: the dictionary of what is missing in the bicubic image.
    """

    KIND: ClassVar[str] = "scsr"
    DTYPES: ClassVar[dict[str, str]] = {"projection": "<f4", "low": "<f4", "high": "<f4"}

    projection: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def shapes(scale: int, sides: Shape) -> dict[str, Shape]:
        """Return the shapes of the tensors where `low` has the shape `sides`."""
        count, dimensions = sides
        return {
            "projection": (dimensions, SUPPORT),
            "low": (count, dimensions),
            "high": (count, patch_elements(scale)),
        }


@dataclass(frozen=True)
class ScSR(PatchSolver[CoupledScale]):
    """Sparse codes of the features of each patch, decoded by a coupled dictionary.

    Colour: luma by ScSR, Cb and Cr by bicubic. The estimate is not clipped to [0,1].

    Parameters
    ----------
    weights
        A ``.safetensors`` file from ``cscsr train scsr``; None: the one that this command made last
        without ``--out``.
    lam
        λ of the lasso, for features of unit norm; at least 0.01, from where on the codes are exact.
    back_projections
        Steps of back-projection, which bring the estimate, shrunk, nearer to the input.

    Raises
    ------
    InputError
        For a λ below 0.01 or above 1, and a number of steps that is negative or above 100.

    References
    ----------
    Yang, Wright, Huang, Ma, "Image super-resolution via sparse representation", IEEE Transactions
    on Image Processing 19, 2010.
    """

    weights_type: ClassVar[Any] = CoupledScale

    lam: Annotated[float, Range(LEAST_LAM, 1)] = 0.05
    back_projections: Annotated[int, Range(0, 100)] = 2

    def __post_init__(self) -> None:
        check_fields(self)

    def halo(self, scale: int) -> int:
        """Return 5 pixels, as of the patches, and 4 more for each step of back-projection."""
        return HALO + PROJECTION_REACH * self.back_projections

    def enlarged(self, luma: np.ndarray, scale: int) -> np.ndarray:
        return enlarged_luma(
            luma, scale, self.scale_weights()[scale], self.lam, self.back_projections
        )


def enlarged_luma(
    luma: np.ndarray, scale: int, trained: CoupledScale, lam: float, back_projections: int
) -> np.ndarray:
    """Enlarge a luma.

    Parameters
    ----------
    luma
        (H,W), float64, on the [0,1] scale.
    scale
        s.
    trained
        Features and dictionaries of that scale.
    lam, back_projections
        As of `ScSR`.

    Returns
    -------
    np.ndarray
        (sH,sW), float64.
    """
    height, width = luma.shape
    features = features_of(luma, trained.projection)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    norms[norms == 0] = 1
    codes = lasso_codes(features / norms, trained.low.astype(float), lam)
    patches = np.asarray(codes @ trained.high.astype(float)) * norms
    estimate = imresize(luma, scale) + mean_of_patches(patches, height, width, scale)
    return back_projected(estimate, luma, scale, back_projections)
