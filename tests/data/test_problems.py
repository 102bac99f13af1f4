"""The stated problem of the sparse solvers: its signal, its atoms, its range."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import camera

from cscsr import InputError
from cscsr.data.problems import camera_problem


def test_signal_is_the_camera_less_its_smooth_part():
    """The smooth part x solves (I + 5(∂hᵀ∂h + ∂vᵀ∂v)) x = y on the torus of the extended image."""
    image = np.pad(camera() / 255, 16, mode="symmetric")
    signal = camera_problem(64, atoms=2, filter_size=3).signal
    frequencies = [2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(n)) for n in image.shape]
    energy = 1 + 5 * np.add.outer(*frequencies)
    high = image - np.fft.ifft2(np.fft.fft2(image) / energy).real
    expected = high[16 + 64 : 16 + 128, 16 + 192 : 16 + 256]
    np.testing.assert_allclose(signal, expected, atol=1e-12)


def test_atoms_have_unit_norm_and_follow_the_seed():
    first, again, other = (
        camera_problem(32, atoms=3, filter_size=5, seed=seed).dictionary for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(np.linalg.norm(first, axis=(1, 2)), 1.0)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("size", [4, 257])
def test_a_crop_that_does_not_fit_is_refused(size):
    with pytest.raises(InputError, match=f"from 5 .* to 256 pixels, got {size}"):
        camera_problem(size)
