"""The transposed convolution and its ridge fit, against loops and dense least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cscsr import InputError
from cscsr.csc_sr.hr_filters import Fit, Mapping, project_to_simplex, start_from
from cscsr.csc_sr.mapping import NormalEquations, enlarge_codes, kernel_offset

CASES = [(2, 5, 5), (3, 5, 5), (2, 7, 5), (4, 3, 3)]
"""Scale, kernel's side in LR pixels, filters' side."""


def placed(codes, kernels, filter_size: int, scale: int, torus: bool) -> torch.Tensor:
    """Each code's kernel added around the middle of the HR pixels under its filter, one by one.

    The filter at i covers the LR pixels i … i+f−1, so the HR pixels s·i … s·(i+f)−1."""
    height, width = codes.shape[1:]
    side = kernels.shape[-1]
    under = np.arange(scale * filter_size)
    around = np.arange(side) - np.arange(side).mean() + under.mean()
    before = -int(around[0])
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


@given(
    scale=st.integers(1, 5),
    size=st.integers(1, 7),
    wider=st.integers(0, 3),
    row=st.integers(0, 9),
)
def test_a_kernel_is_centred_on_its_filter(scale, size, wider, row):
    """Both are centred on the same point of the HR image, whatever their sides."""
    side = scale * (size + 2 * wider)
    under_filter = scale * row + np.arange(scale * size)
    under_kernel = scale * row - kernel_offset(side, size, scale) + np.arange(side)
    assert under_kernel.mean() == under_filter.mean()


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
    equations = NormalEquations(3, scale, support, size, torch.float64)
    for seed, shape in enumerate([(13, 12), (10, 29)]):
        codes = random(seed, 3, *shape)
        equations.add(codes, placed(codes, kernels, size, scale, True))
    assert equations.pixels == 13 * 12 + 10 * 29
    torch.testing.assert_close(equations.solve(1e-13), kernels, atol=1e-8, rtol=0)


def test_ridge_equals_dense_least_squares():
    """min ‖Ag − x‖² + ρ‖g‖² as numpy's lstsq of A over √ρ·I, A made of placed kernels."""
    scale, support, size, ridge = 2, 3, 3, 0.05
    codes, target = random(0, 2, 8, 7), random(1, 16, 14)
    equations = NormalEquations(2, scale, support, size, torch.float64)
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


def simplex_rows(seed: int, *shape: int) -> torch.Tensor:
    return random(seed, *shape).abs().div_(random(seed, *shape).abs().sum(-1, keepdim=True))


def test_projection_is_the_nearest_point_of_the_simplex():
    """p is it exactly if (v − p)·(q − p) ≤ 0 for all corners q."""
    rows = 3 * random(0, 40, 7)
    nearest = project_to_simplex(rows)
    assert (nearest >= 0).all()
    torch.testing.assert_close(nearest.sum(1), torch.ones(40, dtype=torch.float64))
    towards = ((rows - nearest)[:, None] * (torch.eye(7) - nearest[:, None])).sum(-1)
    assert (towards <= 1e-12).all()
    torch.testing.assert_close(project_to_simplex(nearest), nearest)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_collapsed_kernels_are_mapping_then_hr_filters(scale):
    """Codes mapped at their place, zeros between, then the HR filters, step by step."""
    side = 5 * scale
    mapping = Mapping(simplex_rows(0, 5, 3), random(1, 5, side, side))
    codes = random(2, 3, 6, 5)
    in_steps = placed(
        torch.einsum("ji,ihw->jhw", mapping.mapping, codes), mapping.filters, 5, scale, False
    )
    torch.testing.assert_close(enlarge_codes(codes, mapping.kernels(), 5, scale), in_steps)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_delta_in_the_codes_lands_in_the_middle_of_its_pixel(scale):
    """The LR pixel p in the middle of a filter is the HR index s·p + (s − 2): there lies the
    tap 2s + (s − 2) of the HR filter, rows and columns alike."""
    tap = 2 * scale + (scale - 2)
    kernels = torch.zeros(1, 5 * scale, 5 * scale)
    kernels[0, tap, tap] = 1.0
    codes = torch.zeros(1, 9, 9)
    codes[0, 1, 3] = 1.0  # its filter's middle lies on the LR pixel (3, 5)
    enlarged = enlarge_codes(codes, kernels, 5, scale)
    assert enlarged.nonzero().tolist() == [[3 * scale + scale - 2, 5 * scale + scale - 2]]


@pytest.fixture(scope="module")
def fitted() -> dict:
    """Sums over codes and a target that no linear map explains, and a fit from the ridge."""
    codes, target = random(0, 4, 13, 12), random(1, 26, 24)
    equations = NormalEquations(4, 2, 3, 3, torch.float64)
    equations.add(codes, target)
    kernels = equations.solve(0.1)
    fit = Fit(equations, start_from(kernels, 6), 0.1)
    start = fit.result, fit.objective()
    return {
        "codes": codes,
        "target": target,
        "kernels": kernels,
        "start": start,
        "objectives": [fit.round() for _ in range(4)],
        "end": (fit.result, fit.objective()),
        "mean": float(codes.square().sum()) / 4,
    }


def test_the_fit_begins_at_the_ridge_kernels(fitted):
    start, _ = fitted["start"]
    torch.testing.assert_close(start.kernels().double(), fitted["kernels"], atol=1e-6, rtol=0)


def test_the_fit_keeps_the_constraints_and_never_rises(fitted):
    mapping = fitted["end"][0].mapping
    assert (mapping >= 0).all()
    torch.testing.assert_close(mapping.sum(1), torch.ones(6))
    objectives = [fitted["start"][1], *fitted["objectives"]]
    assert (np.diff(objectives) <= 1e-6).all()
    assert objectives[-1] < objectives[0] - 1e-3


def test_the_objective_is_that_of_the_images(fitted):
    """Its change over a fit, against residuals made of kernels placed one by one."""

    def direct(mapping: Mapping) -> float:
        made = placed(fitted["codes"], mapping.kernels().double(), 3, 2, True)
        misfit = float((fitted["target"] - made).square().sum()) / fitted["mean"]
        return misfit + 0.1 * float(mapping.filters.square().sum())

    (start, before), (end, after) = fitted["start"], fitted["end"]
    assert direct(end) - direct(start) == pytest.approx(after - before, rel=1e-4)


@given(
    atoms=st.integers(2, 9), share=st.floats(0, 1), side=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_the_start_is_on_the_simplex_and_gives_back_the_kernels(atoms, share, side, seed):
    """Up to one HR filter for each kernel and each pair of kernels."""
    kernels = random(seed, atoms, side, side)
    hr_atoms = atoms + int(share * (atoms * (atoms - 1) // 2))
    start = start_from(kernels, hr_atoms)
    assert (start.mapping.shape, len(start.filters)) == ((hr_atoms, atoms), hr_atoms)
    assert (start.mapping >= 0).all()
    assert torch.equal(start.mapping.sum(1), torch.ones(hr_atoms, dtype=torch.float64))
    assert len(torch.unique(start.mapping, dim=0)) == hr_atoms
    assert torch.equal(start.kernels(), kernels)


def test_at_the_ridge_solution_only_the_penalty_moves_the_mapping():
    """With wⱼ = eⱼ and hⱼ = Gⱼ the derivative in wⱼᵢ is −2ρ⟨hⱼ, hᵢ⟩: codes and images are not
    in it. (By differentiating the images' misfit.)"""
    codes, target, ridge = random(0, 4, 13, 12), random(1, 26, 24), 0.1
    equations = NormalEquations(4, 2, 3, 3, torch.float64)
    equations.add(codes, target)
    kernels = equations.solve(ridge)
    penalty = ridge * float(codes.square().sum()) / 4

    def misfit(mapping: torch.Tensor) -> torch.Tensor:
        made = placed(codes, Mapping(mapping, kernels).kernels(), 3, 2, True)
        return (target - made).square().sum()

    slope = torch.autograd.functional.jacobian(misfit, torch.eye(4, dtype=torch.float64))
    flat = kernels.flatten(1)
    torch.testing.assert_close(slope, -2 * penalty * flat @ flat.T, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize(("hr_atoms", "ridge"), [(4, 0.01), (4, 0.1), (6, 0.01), (12, 0.1)])
def test_with_enough_hr_filters_the_mapping_only_weighs_the_penalty(fitted, hr_atoms, ridge):
    """For a fixed W of rank N the best HR filters make the kernels of ridge regression with
    the penalty ρ tr Gᵀ(WᵀW)⁻¹G, and stay there however many steps are taken."""
    equations = NormalEquations(4, 2, 3, 3, torch.float64)
    equations.add(fitted["codes"], fitted["target"])
    rows = simplex_rows(0, hr_atoms, 4)
    fit = Fit(equations, Mapping(rows, torch.zeros(hr_atoms, 6, 6)), ridge)
    fit.improve_filters(2000)
    matrix, right = equations.system()
    weight = ridge * float(matrix.diagonal().mean())
    penalty = torch.kron(
        torch.eye(9, dtype=torch.float64), torch.linalg.inv(rows.T @ rows).contiguous()
    )
    expected = equations.kernels(torch.linalg.solve(matrix + weight * penalty, right))
    torch.testing.assert_close(fit.result.kernels().double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("hr_atoms", [3, 11])
def test_hr_filters_that_no_kernel_or_pair_starts(hr_atoms):
    with pytest.raises(InputError, match="4 filters go with 4 to 10 HR filters"):
        start_from(random(0, 4, 6, 6), hr_atoms)


def test_sums_that_were_saved_go_on(fitted):
    whole, part, rest = (NormalEquations(4, 2, 3, 3, torch.float64) for _ in range(3))
    for seed in (0, 1):
        whole.add(random(seed, 4, 13, 12), random(seed + 2, 26, 24))
    part.add(random(0, 4, 13, 12), random(2, 26, 24))
    rest.restore(part.state())
    rest.add(random(1, 4, 13, 12), random(3, 26, 24))
    assert rest.pixels == whole.pixels
    torch.testing.assert_close(rest.solve(0.1), whole.solve(0.1))
