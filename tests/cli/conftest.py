"""What the tests of the command share: an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(tmp_path) -> Path:
    """A colour PNG of 30 x 24 pixels."""
    rows, columns = np.mgrid[:24, :30]
    pixels = np.stack([5 * rows, 4 * columns + 60, 100 + 50 * (columns > 12)], 2)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path
