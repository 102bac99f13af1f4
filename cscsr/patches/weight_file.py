"""The weight files of patch-based methods. Needs numpy and safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cscsr import weights
from cscsr.errors import InputError
from cscsr.patches.geometry import SUPPORT, WINDOW
from cscsr.schema import check_table, shown

A_PLUS = "a-plus"
"""The name of the solver, and the `kind` in the metadata of its weight files."""

LARGEST_SCALE = 16
"""The largest scale of a weight file."""


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

    projection: np.ndarray
    anchors: np.ndarray
    regressors: np.ndarray

    def tensors(self, scale: int) -> dict[str, np.ndarray]:
        """Return the tensors of a weight file; regressors are in half precision."""
        return {
            f"projection_x{scale}": self.projection,
            f"anchors_x{scale}": self.anchors,
            f"regressors_x{scale}": self.regressors.astype(np.float16),
        }


@dataclass(frozen=True)
class _Row:
    """What the header of a weight file says of a scale, for people."""

    patches: int = 0
    holdout_psnr_db: float | None = None
    holdout_bicubic_psnr_db: float | None = None


@dataclass(frozen=True)
class _Metadata:
    """What the header of a weight file says; all but the first two is for people."""

    kind: str
    scales: dict[str, _Row]
    seed: int = 0
    training_sets: list[str] | None = None
    training_images: int = 0
    options: dict[str, float] | None = None
    holdout_crop: int = 0


def read_a_plus(name: str, digest: str | None = None) -> dict[int, AnchoredScale]:
    """Read a weight file of A+; arguments as `cscsr.weights.load`.

    Returns
    -------
    dict[int, AnchoredScale]
        Scale to what was learned for it, ascending.

    Raises
    ------
    InputError
        If there is no such file, it holds something else, its metadata or tensors are wrong, or
        it does not have `digest`.
    """
    tensors, metadata = weights.load(name, digest)
    if metadata.get("kind") != A_PLUS:
        raise weights.of_another_method(name, metadata, f"weights of {A_PLUS}")
    try:
        about = check_table(_Metadata, metadata, "the metadata")
        scales = sorted(_scale(text) for text in about.scales)
        if not scales:
            raise InputError("scales should not be empty.")
    except InputError as error:
        raise InputError(f"weight file {name}: {error}") from error
    _check_a_plus(name, tensors, scales)
    return {
        s: AnchoredScale(
            *(
                tensors[f"{part}_x{s}"].astype(np.float32)
                for part in ("projection", "anchors", "regressors")
            )
        )
        for s in scales
    }


def _check_a_plus(name: str, tensors: Mapping[str, np.ndarray], scales: list[int]) -> None:
    """Check that projections, anchors and regressors fit each other. Raises InputError if not."""
    shapes: dict[str, tuple[int | None, ...]] = {}
    for scale in scales:
        anchors = tensors.get(f"anchors_x{scale}", np.empty((0, 0)))
        count, dimensions = anchors.shape if anchors.ndim == 2 else (None, None)
        shapes[f"projection_x{scale}"] = (dimensions, SUPPORT)
        shapes[f"anchors_x{scale}"] = (count, dimensions)
        shapes[f"regressors_x{scale}"] = (count, (WINDOW * scale) ** 2, dimensions)
    weights.check_shapes(name, tensors, shapes)


def _scale(text: str) -> int:
    """The scale that a key of a weight file's metadata names. Raises InputError for another key."""
    if text not in map(str, range(1, LARGEST_SCALE + 1)):
        raise InputError(
            f"each key of scales should be a whole number from 1 to {LARGEST_SCALE}, "
            f"got {shown(text)}."
        )
    return int(text)


@lru_cache(maxsize=4)
def cached_a_plus(name: str, sha256: str) -> dict[int, AnchoredScale]:
    """`read_a_plus`, once for each content of the file."""
    return read_a_plus(name, sha256)
