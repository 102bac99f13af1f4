"""What the tests of the command share: an image, and a command that must fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cscsr.cli import main


@pytest.fixture
def photo(tmp_path) -> Path:
    """A colour PNG of 30 x 24 pixels."""
    rows, columns = np.mgrid[:24, :30]
    pixels = np.stack([5 * rows, 4 * columns + 60, 100 + 50 * (columns > 12)], 2)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail: returns its one sentence, without the 'cscsr: '."""

    def run(*arguments) -> str:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # how argparse ends
            code = stopped.code
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert captured.err.startswith("cscsr: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        return captured.err.removeprefix("cscsr: ").strip()

    return run
