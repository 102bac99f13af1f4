"""Each script in examples/ runs to its end and makes its picture."""

from __future__ import annotations

import importlib.util
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


GALLERY = sorted(
    path.name
    for path in (ROOT / "examples").glob("*.py")
    if path.read_text(encoding="utf-8").startswith("# %% [markdown]")
)
"""The scripts that are notebooks too; tests/website runs them as such where it can."""


def test_each_example_has_a_test():
    others = {path.name for path in (ROOT / "examples").glob("*.py")} - set(GALLERY)
    assert others == {"inpainting.py"}
    assert len(GALLERY) == 10


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_scripts_of_the_gallery_end_in_a_picture(name, tmp_path):
    if all(importlib.util.find_spec(tool) for tool in ("mkdocs", "jupytext", "nbclient")):
        pytest.skip("tests/website runs the same code as a notebook")
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert np.ptp(read_image((tmp_path / name).with_suffix(".png"))) > 100
