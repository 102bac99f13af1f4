"""Learning the LR filters."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEARN = """
import hashlib
import numpy as np
from cscsr.csc_sr.dictionary import learn_filters
from cscsr.csc_sr.decompose import split
from cscsr.data.datasets import demo
from cscsr.imaging import luma_of
image = luma_of(demo().images[0].read())[64:160, 64:160] / 255.0
residual = split(image).residual
tiles = np.stack([residual[:48, :48], residual[48:, :48], residual[48:, 48:]])
filters = learn_filters(tiles, 6, 9, 0.01, 20, 0.1, np.random.default_rng(0), progress=False)
print(hashlib.sha256(filters.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_seed_determines_every_bit_in_each_process():
    """Fourier transforms that FFTW plans by measuring differ in their last bits."""
    words = [sys.executable, "-c", LEARN]
    runs = [subprocess.run(words, capture_output=True, text=True, check=True) for _ in range(4)]
    assert len({run.stdout for run in runs}) == 1
