"""The transposed convolution and its ridge fit, against loops and dense least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr import InputError
from cscsr.classical.mapping import NormalEquations, enlarge_codes, kernel_offset

CASES = [(2, 5, 5), (3, 5, 5), (2, 7, 5), (4, 3, 3)]
"""Scale, kernel's side in LR pixels, filters' side."""


def placed(codes, kernels, filter_size: int, scale: int, torus: bool) -> torch.Tensor:
    """Each code's kernel added at its place, one by one."""
    height, width = codes.shape[1:]
    side = kernels.shape[-1]
    before = kernel_offset(side, filter_size, scale)
    size = (scale * height, scale * width)
    out = torch.zeros(size, dtype=codes.dtype)
    for row in range(height):
        for column in range(width):
            kernel = torch.einsum("n,nij->ij", codes[:, row, column], kernels)
            y = scale * row - before + torch.arange(side)
            x = scale * column - before + torch.arange(side)
            if torus:
                out[y[:, None] % size[0], x % size[1]] += kernel
                continue
            in_y, in_x = (y >= 0) & (y < size[0]), (x >= 0) & (x < size[1])
            out[y[in_y][:, None], x[in_x]] += kernel[in_y][:, in_x]
    return out


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("scale", "support", "size"), CASES)
def test_enlarge_codes_places_kernels(scale, support, size):
    codes, kernels = random(0, 2, 6, 7), random(1, 2, scale * support, scale * support)
    torch.testing.assert_close(
        enlarge_codes(codes, kernels, size, scale), placed(codes, kernels, size, scale, False)
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_code_lands_under_its_filter(scale):
    """A code at (i, j) covers LR pixels i…i+4 and HR pixels s·i…s·(i+5)−1."""
    codes = torch.zeros(1, 12, 13)
    codes[0, 3, 4] = 1.0
    enlarged = enlarge_codes(codes, torch.ones(1, 5 * scale, 5 * scale), 5, scale)
    rows, columns = torch.nonzero(enlarged, as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (3 * scale, 8 * scale - 1)
    assert (int(columns.min()), int(columns.max())) == (4 * scale, 9 * scale - 1)


@pytest.mark.parametrize(("scale", "support", "size"), CASES)
def test_linear_data_give_back_the_map(scale, support, size):
    kernels = random(1, 3, scale * support, scale * support)
    equations = NormalEquations(3, scale, support, size)
    for seed, shape in enumerate([(13, 12), (10, 14)]):
        codes = random(seed, 3, *shape)
        equations.add(codes, placed(codes, kernels, size, scale, True))
    assert equations.pixels == 13 * 12 + 10 * 14
    torch.testing.assert_close(equations.solve(1e-13), kernels, atol=1e-8, rtol=0)


def test_ridge_equals_dense_least_squares():
    """min ‖Ag − x‖² + ρ‖g‖² as numpy's lstsq of A over √ρ·I, A made of placed kernels."""
    scale, support, size, ridge = 2, 3, 3, 0.05
    codes, target = random(0, 2, 8, 7), random(1, 16, 14)
    equations = NormalEquations(2, scale, support, size)
    equations.add(codes, target)
    side = scale * support
    basis = torch.eye(2 * side**2, dtype=torch.float64).reshape(-1, 2, side, side)
    matrix = torch.stack([placed(codes, one, size, scale, True).flatten() for one in basis], 1)
    # Each of the s² places in a block sees the same codes, so their mean square is that of A.
    weight = ridge * float(codes.square().sum()) / codes.shape[0]
    dense = np.vstack([matrix.numpy(), np.sqrt(weight) * np.eye(2 * side**2)])
    right = np.concatenate([target.flatten().numpy(), np.zeros(2 * side**2)])
    expected = np.linalg.lstsq(dense, right, rcond=None)[0].reshape(2, side, side)
    np.testing.assert_allclose(equations.solve(ridge), expected, atol=1e-10)


@pytest.mark.parametrize("support", [3, 6])
def test_support_that_fits_no_filter(support):
    with pytest.raises(InputError, match="even number more"):
        NormalEquations(2, 2, support, 5)
