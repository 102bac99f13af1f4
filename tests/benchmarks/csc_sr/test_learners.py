"""The study of the learners of CSC-SR's filters, and sporco's learner in it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks._study.curves import read_curves
from benchmarks.csc_sr.learners import CODERS, RUNS, markdown
from benchmarks.csc_sr.sporco_filters import FLAT, first_patches, sporco_filters
from cscsr import InputError
from cscsr.csc_sr.options import Options
from cscsr.data.datasets import training_textures
from cscsr.imaging import write_image

REFERENCE = Path(__file__).parents[3] / "reports" / "reference" / "csc-sr"
LEARN = """
import sys
from tests.benchmarks.csc_sr.test_learners import digest
print(digest(sys.argv[1]))
"""


def digest(folder: str) -> str:
    options = replace(Options(), atoms=6, filter_size=9, filter_lam=0.01, filter_steps=20)
    return hashlib.sha256(sporco_filters(folder, options).tobytes()).hexdigest()


@pytest.mark.slow
def test_a_seed_determines_every_bit_of_sporcos_filters_in_each_process(tmp_path):
    """Fourier transforms that FFTW plans by measuring differ in their last bits."""
    (tmp_path / "T91").mkdir()
    for name in ("brick", "coins", "page"):
        write_image(tmp_path / "T91" / f"{name}.png", training_textures()[name][:120, :120])
    (tmp_path / "holdout.txt").write_text("T91/brick.png\n")
    words = [sys.executable, "-c", LEARN, str(tmp_path)]
    runs = [subprocess.run(words, capture_output=True, text=True, check=True) for _ in range(4)]
    assert len({run.stdout for run in runs}) == 1


def test_sporcos_learner_starts_from_patches_with_contrast():
    """Patches of 1x1 have the norm of their pixel: at `FLAT` none is drawn, above it all are."""
    rng = np.random.default_rng(0)
    patches = first_patches(rng.standard_normal((3, 20, 20)), 7, 5, rng)
    np.testing.assert_allclose(np.linalg.norm(patches, axis=(1, 2)), 1, rtol=1e-6)
    with pytest.raises(InputError, match="contrast"):
        first_patches(np.full((1, 4, 4), FLAT), 2, 1, rng)
    patches = first_patches(np.full((1, 4, 4), np.nextafter(FLAT, 1)), 2, 1, rng)
    np.testing.assert_array_equal(patches, np.ones((2, 1, 1)))


def test_the_reference_has_every_run_and_its_table():
    rows = read_curves(REFERENCE / "learners.csv")
    runs = {(row["learner"], int(row["steps"]), row["coder"], row["seed"]) for row in rows}
    seeds = {row["seed"] for row in rows}
    assert len(seeds) == 2
    assert runs == {(*run, coder, seed) for run in RUNS for coder in CODERS for seed in seeds}
    assert len(rows) == len(runs)
    assert markdown(rows) == (REFERENCE / "learners.md").read_text(encoding="utf-8")
    assert len({(row["lr_pixels"], row["bicubic_psnr_db"]) for row in rows}) == 1


def test_sporcos_row_is_the_first_one_of_the_choices():
    """The same filters, sizes and images, in another study."""
    rows = read_curves(REFERENCE / "learners.csv")
    choices = read_curves(REFERENCE / "choices.csv")
    for coder in CODERS:
        first = next(row for row in choices if row["coder"] == coder)
        (own,) = (
            row
            for row in rows
            if row["learner"].startswith("sporco") and (row["coder"], row["seed"]) == (coder, "0")
        )
        assert float(own["psnr_db"]) == pytest.approx(float(first["psnr_db"]), abs=2e-3)
