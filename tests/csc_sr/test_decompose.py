"""The smooth part solves its normal equations, and the split adds up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cscsr.csc_sr.decompose import MARGIN, continued, reflected, smooth_code, split


def box(image: np.ndarray, step: int = 1) -> np.ndarray:
    """ones(3, 3) ⊗ image on a torus, origin top-left; step −1: its adjoint."""
    return sum(np.roll(image, (step * i, step * j), (0, 1)) for i in range(3) for j in range(3))


def gradient_energy(image: np.ndarray) -> np.ndarray:
    """(∂hᵀ∂h + ∂vᵀ∂v) image on a torus."""
    neighbours = sum(np.roll(image, d, a) for d in (1, -1) for a in (0, 1))
    return 4 * image - neighbours


@given(
    st.integers(3, 12), st.integers(3, 12), st.sampled_from([0.3, 30.0]), st.integers(0, 2**32 - 1)
)
def test_smooth_code_solves_its_normal_equations(height, width, gamma, seed):
    """sᵀ(s⊗Z − y) + γ(∂hᵀ∂h + ∂vᵀ∂v)Z = 0."""
    y = np.random.default_rng(seed).random((height, width))
    code = smooth_code(y, gamma)
    gradient = box(box(code) - y, -1) + gamma * gradient_energy(code)
    np.testing.assert_allclose(gradient, 0, atol=1e-10)


def test_split_is_the_blurred_code_and_what_is_left():
    y = np.random.default_rng(0).random((11, 14))
    parts = split(y)
    np.testing.assert_allclose(parts.smooth, box(smooth_code(y)), atol=1e-13)
    np.testing.assert_allclose(parts.smooth + parts.residual, y, atol=1e-15)


def test_a_constant_is_smooth():
    parts = split(np.full((9, 12), 0.7))
    np.testing.assert_allclose(parts.residual, 0, atol=1e-15)


def test_more_weight_on_gradients_leaves_more_to_the_residual():
    y = np.random.default_rng(0).random((16, 16))
    energies = [np.square(split(y, gamma).residual).sum() for gamma in (1.0, 30.0, 1000.0)]
    assert energies == sorted(energies)


def test_continued_repeats_the_edges():
    image = np.arange(12.0).reshape(3, 4)
    wide = continued(image)
    assert wide.shape == (3 + 2 * MARGIN, 4 + 2 * MARGIN)
    np.testing.assert_array_equal(wide[MARGIN:-MARGIN, MARGIN:-MARGIN], image)
    np.testing.assert_array_equal(wide[: MARGIN + 1, MARGIN], image[0, 0])
    np.testing.assert_array_equal(wide[MARGIN + 1, -MARGIN - 1 :], image[1, 3])


def test_reflected_has_no_seam():
    """On the torus every pixel of a reflected ramp has a neighbour at most one step away."""
    torus = reflected(np.add.outer(np.arange(5.0), np.arange(4.0)))
    assert torus.shape == (10, 8)
    for axis in (0, 1):
        assert np.abs(torus - np.roll(torus, 1, axis)).max() == pytest.approx(1)
