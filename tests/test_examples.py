"""Each script in examples/ runs to its end and makes its picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cscsr.imaging import read_image

ROOT = Path(__file__).parent.parent


def run(name, folder):
    """What an example prints."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_inpainting_reaches_what_the_page_of_solvers_says(tmp_path):
    """Better than the median at impulses, not as good as linear interpolation at filling in."""
    lines = [line for line in run("inpainting.py", tmp_path).splitlines() if line.startswith("| ")]
    psnr = {}
    for label, value in (line.strip("| ").rsplit(" | ", 1) for line in lines[1:]):
        psnr[label] = float(value)
    assert psnr["sparse coding with an impulse atom"] > psnr["median of 3x3"] + 1
    linear = psnr["half of the pixels missing: linear interpolation"]
    assert linear > psnr["sparse coding with a mask"] + 1
    assert np.ptp(read_image(tmp_path / "inpainting.png")) > 100


def test_each_example_has_a_test():
    assert [path.name for path in (ROOT / "examples").glob("*.py")] == ["inpainting.py"]
