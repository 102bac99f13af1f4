"""Each script in examples/ runs to its end and makes its picture."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cscsr.imaging import read_image

ROOT = Path(__file__).parent.parent


def run(name, folder):
    """What an example prints; its picture is then in the folder."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert np.ptp(read_image((folder / name).with_suffix(".png"))) > 100
    return ended.stdout


@pytest.mark.slow
def test_inpainting_reaches_what_the_page_of_solvers_says(tmp_path):
    """Better than the median at impulses, not as good as linear interpolation at filling in."""
    printed = run("inpainting.py", tmp_path)
    psnr = {name: float(value) for name, value in re.findall(r"^(.*?) +(\S+) dB$", printed, re.M)}
    assert psnr["sparse coding with an impulse atom"] > psnr["median of 3×3"] + 1
    assert psnr["linear interpolation"] > psnr["sparse coding with a mask"] + 1


GALLERY = sorted(
    path.name
    for path in (ROOT / "examples").glob("*.py")
    if path.read_text(encoding="utf-8").startswith("# %% [markdown]")
)
"""The scripts that are notebooks too; tests/website runs them as such where it can."""


def test_every_example_is_in_the_gallery():
    assert sorted(path.name for path in (ROOT / "examples").glob("*.py")) == GALLERY
    assert len(GALLERY) == 11


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_scripts_of_the_gallery_end_in_a_picture(name, tmp_path):
    if all(importlib.util.find_spec(tool) for tool in ("mkdocs", "jupytext", "nbclient")):
        pytest.skip("tests/website runs the same code as a notebook")
    run(name, tmp_path)
