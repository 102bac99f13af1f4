"""Small weights and small data folders for patch-based methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cscsr import weights
from cscsr.data.datasets import training_textures
from cscsr.imaging import write_image
from cscsr.patches.a_plus import AnchoredScale
from cscsr.patches.geometry import feature_matrix
from cscsr.patches.scsr import CoupledScale
from cscsr.patches.weight_file import tensors_of


def random_scale(scale: int, anchors: int = 7, dimensions: int = 5) -> AnchoredScale:
    """Random directions among the features of a scale, anchors and regressors."""
    rng = np.random.default_rng(scale)
    matrix = feature_matrix(scale)
    components = np.linalg.qr(rng.standard_normal((len(matrix), dimensions)))[0]
    directions = rng.standard_normal((anchors, dimensions)).astype(np.float32)
    return AnchoredScale(
        (components.T @ matrix).astype(np.float32),
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        rng.standard_normal((anchors, 9 * scale**2, dimensions)).astype(np.float16).astype("f4"),
    )


def _write_a_plus(path: Path) -> Path:
    tensors: dict[str, np.ndarray] = {}
    for scale in (2, 3, 4):
        tensors |= tensors_of(random_scale(scale), scale)
    weights.write(
        path, tensors, {"kind": AnchoredScale.KIND, "scales": {"2": {}, "3": {}, "4": {}}}
    )
    return path


@pytest.fixture(scope="session")
def write_a_plus() -> Callable[[Path], Path]:
    """Writes a weight file with random weights for three scales."""
    return _write_a_plus


@pytest.fixture(scope="session")
def a_plus_file(tmp_path_factory) -> str:
    """A weight file with random weights for three scales."""
    return str(_write_a_plus(tmp_path_factory.mktemp("weights") / "a-plus.safetensors"))


@pytest.fixture(scope="session")
def scsr_file(tmp_path_factory) -> str:
    """A weight file with random dictionaries for three scales."""
    tensors: dict[str, np.ndarray] = {}
    for scale in (2, 3, 4):
        some = random_scale(scale)
        high = some.regressors[:, :, 0]
        tensors |= tensors_of(CoupledScale(some.projection, some.anchors, high), scale)
    path = tmp_path_factory.mktemp("weights") / "scsr.safetensors"
    scales: dict[str, dict] = {"2": {}, "3": {}, "4": {}}
    weights.write(path, tensors, {"kind": CoupledScale.KIND, "scales": scales})
    return str(path)


@pytest.fixture(scope="session")
def textures(tmp_path_factory) -> Path:
    """A data folder: four textures as T91, the brick held out."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "T91").mkdir()
    images = training_textures()
    for name in ("brick", "coins", "motorcycle_left", "page"):
        write_image(folder / "T91" / f"{name}.png", images[name][:120, :120])
    (folder / "holdout.txt").write_text("T91/brick.png\n")
    return folder
