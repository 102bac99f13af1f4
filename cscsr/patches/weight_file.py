"""The weight files of patch-based methods. Needs numpy and safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np

from cscsr import weights
from cscsr.errors import InputError
from cscsr.schema import check_table, scale_of_key

Shape = tuple[int | None, ...]
"""Of a tensor; None for a length that is free."""


class ScaleWeights(Protocol):
    """The weights of a method for a scale: a dataclass whose fields are tensors.

    Attributes
    ----------
    KIND
        The name of the method, and the `kind` in the metadata of its weight files.
    DTYPES
        Field to its type in a file. The second field has the shape (K,d), with which `shapes` is
        called.
    """

    KIND: ClassVar[str]
    DTYPES: ClassVar[dict[str, str]]

    @staticmethod
    def shapes(scale: int, sides: Shape) -> dict[str, Shape]:
        """Return the shapes of all fields."""


def tensors_of(trained: ScaleWeights, scale: int) -> dict[str, np.ndarray]:
    """Return the tensors of a weight file for a scale."""
    return {
        f"{field}_x{scale}": getattr(trained, field).astype(dtype)
        for field, dtype in trained.DTYPES.items()
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


def read_weights(weights_type: type[Any], name: str, digest: str | None = None) -> dict[int, Any]:
    """Read a weight file of a method.

    Parameters
    ----------
    weights_type
        The class of the weights of a scale, a `ScaleWeights`.
    name, digest
        As of `cscsr.weights.load`.

    Returns
    -------
    dict[int, ScaleWeights]
        Scale to its weights, float32, ascending.

    Raises
    ------
    InputError
        If there is no such file, it holds something else, its metadata or tensors are wrong, or
        it does not have `digest`.
    """
    tensors, metadata = weights.load(name, digest)
    if metadata.get("kind") != weights_type.KIND:
        raise weights.of_another_method(name, metadata, f"weights of {weights_type.KIND}")
    try:
        about = check_table(_Metadata, metadata, "the metadata")
        scales = sorted(scale_of_key(text) for text in about.scales)
        if not scales:
            raise InputError("scales should not be empty.")
    except InputError as error:
        raise InputError(f"weight file {name}: {error}") from error
    _check_tensors(weights_type, name, tensors, scales)
    return {
        scale: weights_type(
            *(tensors[f"{field}_x{scale}"].astype(np.float32) for field in weights_type.DTYPES)
        )
        for scale in scales
    }


def _check_tensors(
    weights_type: type[Any], name: str, tensors: Mapping[str, np.ndarray], scales: list[int]
) -> None:
    """Check that the tensors fit each other. Raises InputError if they do not."""
    shapes: dict[str, Shape] = {}
    for scale in scales:
        sized = tensors.get(f"{list(weights_type.DTYPES)[1]}_x{scale}", np.empty(0))
        sides: Shape = sized.shape if sized.ndim == 2 else (None, None)
        for field, shape in weights_type.shapes(scale, sides).items():
            shapes[f"{field}_x{scale}"] = shape
    weights.check_shapes(name, tensors, shapes)


@lru_cache(maxsize=4)
def cached_weights(weights_type: type[Any], name: str, sha256: str) -> dict[int, Any]:
    """`read_weights`, once for each content of the file."""
    return read_weights(weights_type, name, sha256)
