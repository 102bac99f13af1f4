"""Bicubic as a solver: MATLAB's imresize on every channel, numpy and torch alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr import InputError, Status, SuperResolution
from cscsr.bicubic import Bicubic
from cscsr.imaging import imresize


@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_constant_stays_constant(scale):
    lr = np.full((6, 7, 3), 0.3, dtype=np.float32)
    solution = Bicubic().solve(SuperResolution(lr, scale))
    assert solution.status is Status.DIRECT
    np.testing.assert_allclose(solution.estimate, 0.3, rtol=1e-6)


@pytest.mark.parametrize("boundary", ["clamp", "mirror"])
def test_is_imresize_channel_by_channel(boundary):
    lr = np.random.default_rng(0).random((9, 8, 3))
    estimate = Bicubic(boundary).solve(SuperResolution(lr, 3)).estimate
    for channel in range(3):
        np.testing.assert_array_equal(
            estimate[..., channel], imresize(lr[..., channel], 3, boundary=boundary)
        )


def test_straight_lines_are_continued():
    """Keys' kernel reproduces polynomials of degree 2 away from the border."""
    rows = np.arange(12.0)[:, None] + np.zeros(10)
    lr = 0.1 + 0.03 * rows + 0.002 * rows**2
    estimate = Bicubic().solve(SuperResolution(lr, 2)).estimate
    place = ((np.arange(24) + 0.5) / 2 - 0.5)[:, None] + np.zeros(20)
    expected = 0.1 + 0.03 * place + 0.002 * place**2
    np.testing.assert_allclose(estimate[6:-6], expected[6:-6], atol=1e-12)


def test_tensor_in_tensor_out():
    lr = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    estimate = Bicubic().solve(SuperResolution(lr, 2)).estimate
    assert isinstance(estimate, torch.Tensor)
    assert estimate.dtype == lr.dtype
    np.testing.assert_array_equal(estimate.numpy(), imresize(lr.numpy(), 2))


def test_unknown_boundary():
    with pytest.raises(InputError, match="clamp, mirror"):
        Bicubic("wrap")
