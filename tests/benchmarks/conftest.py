"""A little of T91 and Set5, for studies that train, and what a drawn picture looks like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cscsr.data.datasets import demo, training_textures
from cscsr.imaging import read_image, write_image


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A folder with a little of T91, one of its images held out, and of Set5, all embedded."""
    for name in ("T91", "Set5"):
        (tmp_path / name).mkdir()
    names = list(training_textures())[:2]
    for name in names:
        write_image(tmp_path / "T91" / f"{name}.png", training_textures()[name][:60, :60])
    (tmp_path / "holdout.txt").write_text(f"T91/{min(names)}.png\n")
    write_image(tmp_path / "Set5" / "only.png", demo().images[0].read()[100:148, 100:148])
    return str(tmp_path)


@pytest.fixture
def is_drawn() -> Callable[[Path], bool]:
    """Whether a picture is large and has many colours."""

    def check(picture: Path) -> bool:
        pixels = read_image(picture)
        colours = np.unique(pixels.reshape(-1, 3), axis=0)
        return min(pixels.shape[:2]) > 400 and len(colours) > 50

    return check
