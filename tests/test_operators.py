"""F, Fᵀ, L and the CISTA filters against sums written out, dense matrices and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cscsr.convolution import convolve, stack_filters
from cscsr.errors import InputError
from cscsr.operators import ConvDictionary
from cscsr.patch_operator import BLOCK_BYTES, PATCH_ELEMENTS


@st.composite
def operators(draw):
    size = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    shape = tuple(draw(st.integers(side, side + 7)) for side in size)
    atoms, channels = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    filters = rng.standard_normal((atoms, channels, *size))
    return ConvDictionary(filters, shape, draw(st.sampled_from(["circular", "zero"]))), rng


def written_out(operator: ConvDictionary, codes: np.ndarray) -> np.ndarray:
    """Σᵢ fᵢ⊗zᵢ as the sum of shifted codes, wrapped afterwards if circular."""
    height, width = operator.shape
    filters = operator.filters.numpy()
    full = np.zeros((operator.channels, *operator.full_shape))
    for row, column in np.ndindex(*operator.filter_shape):
        full[:, row : row + height, column : column + width] += np.einsum(
            "mc,mhw->chw", filters[:, :, row, column], codes
        )
    if operator.boundary == "zero":
        return full
    wrapped = np.zeros((operator.channels, height, width))
    for row, column in np.ndindex(operator.full_shape):
        wrapped[:, row % height, column % width] += full[:, row, column]
    return wrapped


def dense(operator: ConvDictionary) -> np.ndarray:
    """F as a matrix, from its columns."""
    count = operator.atoms * operator.shape[0] * operator.shape[1]
    units = np.eye(count).reshape(count, operator.atoms, *operator.shape)
    return operator.synthesis(units).reshape(count, -1).T


@given(operators())
def test_synthesis_is_true_convolution_from_the_top_left(drawn):
    operator, rng = drawn
    codes = rng.standard_normal((operator.atoms, *operator.shape))
    np.testing.assert_allclose(operator.synthesis(codes), written_out(operator, codes), atol=1e-12)


@given(operators())
def test_adjoint(drawn):
    operator, rng = drawn
    codes = rng.standard_normal((2, operator.atoms, *operator.shape))
    residual = rng.standard_normal((2, operator.channels, *operator.grid))
    left = np.vdot(operator.synthesis(codes), residual)
    right = np.vdot(codes, operator.adjoint(residual))
    scale = np.linalg.norm(codes) * np.linalg.norm(residual) * operator.lipschitz**0.5
    assert abs(left - right) <= 1e-13 * scale


@pytest.mark.parametrize("shape", [(8, 8), (300, 40), (1, 90000)])
@pytest.mark.parametrize("batch", [1, 5])
def test_blocks_are_all_codes_once_and_fill_the_cache(batch, shape):
    atoms, size = 6, 1 if shape[0] == 1 else 5
    operator = ConvDictionary(np.ones((atoms, 1, size, size), np.float32), shape)
    blocks, times = list(operator.blocks(batch)), np.zeros((batch, atoms, *shape), int)
    for block in blocks:
        times[block] += 1
    assert (times == 1).all()
    most = BLOCK_BYTES["cpu"] / (4 * (atoms + size**2)) / shape[1]  # rows that fit
    parts = times.sum() / atoms / shape[1] / max(most, 1)
    assert len(blocks) <= batch * math.ceil(parts / batch)
    if shape == (8, 8):
        assert len(blocks) == 1  # small signals go together
    for signals, _, rows in blocks:
        assert (signals.stop - signals.start) * (rows.stop - rows.start) <= max(most, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_several_blocks_make_the_sums_of_one(boundary, dtype):
    """F written out, and ⟨Fz, r⟩ = ⟨z, Fᵀr⟩, where codes are taken block by block."""
    rng = np.random.default_rng(0)
    filters = torch.from_numpy(rng.standard_normal((6, 1, 5, 5))).to(dtype)
    operator = ConvDictionary(filters, (800, 96), boundary)
    assert len(list(operator.blocks(1))) > 1
    codes = rng.standard_normal((6, 800, 96))
    residual = rng.standard_normal((1, *operator.grid))
    image = operator.synthesis(codes)
    atol = 1e3 * torch.finfo(dtype).eps
    np.testing.assert_allclose(image, written_out(operator, codes), atol=atol)
    sweep = operator.sweep(torch.from_numpy(residual[None]).to(dtype))
    for block, correlation in sweep:
        expected = torch.from_numpy(operator.adjoint(residual)[None])[block]
        assert torch.equal(correlation.double(), expected)
        sweep.put(block, torch.from_numpy(codes[None]).to(dtype)[block])
    np.testing.assert_array_equal(sweep.image[0].double(), image)
    scale = np.linalg.norm(codes) * np.linalg.norm(residual) * operator.lipschitz**0.5
    difference = np.vdot(image, residual) - np.vdot(codes, operator.adjoint(residual))
    assert abs(difference) <= 10 * torch.finfo(dtype).eps * scale


@given(operators(), st.integers(1, 3))
def test_layers_of_single_precision_are_the_same_sums(drawn, batch):
    exact, rng = drawn
    operator = ConvDictionary(exact.filters.float(), exact.shape, exact.boundary)
    codes = torch.from_numpy(rng.standard_normal((batch, exact.atoms, *exact.shape)))
    residual = torch.from_numpy(rng.standard_normal((batch, exact.channels, *exact.grid)))
    image, correlation = exact.synthesis(codes), exact.adjoint(residual)
    for arranged in (codes.float(), operator.arrange(codes.float())):
        torch.testing.assert_close(
            operator.synthesis(arranged).double(), image, rtol=0, atol=1e-5 * float(image.norm())
        )
    codes = operator.adjoint(residual.float())
    torch.testing.assert_close(
        codes.double(), correlation, rtol=0, atol=1e-5 * float(correlation.norm())
    )


def test_arranged_codes_are_the_same_codes():
    operator = ConvDictionary(torch.randn(4, 1, 3, 3), (6, 7))
    for shape in ((4, 6, 7), (2, 4, 6, 7)):
        codes = torch.randn(shape)
        arranged = operator.arrange(codes)
        assert arranged.shape == codes.shape
        if torch.backends.mkldnn.is_available():
            assert arranged.stride(-3) == 1  # a pixel's atoms lie side by side
        assert torch.equal(arranged, codes)
        zeros = operator.zeros(*shape[:-3])
        assert zeros.shape == shape
        assert zeros.stride() == arranged.stride()
        assert not zeros.any()
    double = ConvDictionary(torch.randn(4, 1, 3, 3).double(), (6, 7))
    assert double.arrange(codes) is codes


@given(operators())
def test_lipschitz_is_the_largest_eigenvalue_or_bounds_it(drawn):
    operator, _ = drawn
    largest = np.linalg.norm(dense(operator), 2) ** 2
    if operator.boundary == "circular":
        assert operator.lipschitz == pytest.approx(largest, rel=1e-10)
    else:
        # The full convolution is the circular one on the larger grid, of codes that are
        # zero in the margin.
        filters = operator.filters
        larger = ConvDictionary(filters, operator.grid, "circular")
        assert operator.lipschitz == pytest.approx(larger.lipschitz, rel=1e-12)
        assert largest <= operator.lipschitz * (1 + 1e-12)


def test_lipschitz_against_power_iteration():
    rng = np.random.default_rng(3)
    operator = ConvDictionary(rng.standard_normal((12, 3, 5, 5)), (40, 33))
    codes = rng.standard_normal((12, 40, 33))
    for _ in range(400):
        codes = operator.adjoint(operator.synthesis(codes / np.linalg.norm(codes)))
    assert np.linalg.norm(codes) == pytest.approx(operator.lipschitz, rel=1e-4)
    assert np.linalg.norm(codes) <= operator.lipschitz * (1 + 1e-12)


@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_patches_and_transforms_are_the_same_map(boundary):
    rng = np.random.default_rng(0)
    filters = rng.standard_normal((6, 1, 5, 5))
    patches = ConvDictionary(filters, (17, 14), boundary)
    # In a 12x12 frame of zeros the same filters are past the limit and go by FFT.
    framed = ConvDictionary(np.pad(filters, ((0, 0), (0, 0), (0, 7), (0, 7))), (17, 14), boundary)
    assert patches.elements <= PATCH_ELEMENTS < framed.elements
    codes = rng.standard_normal((6, 17, 14))
    height, width = patches.grid
    by_transform = framed.synthesis(codes)
    np.testing.assert_allclose(
        patches.synthesis(codes), by_transform[:, :height, :width], atol=1e-12
    )
    assert np.abs(by_transform[:, height:]).max(initial=0) < 1e-12


@pytest.mark.parametrize("boundary", ["circular", "zero"])
@pytest.mark.parametrize("size", [(4, 4), (7, 7), (4, 7), (5, 2)])
def test_recurrent_filters_are_identity_minus_the_gram(boundary, size):
    rng = np.random.default_rng(1)
    operator = ConvDictionary(rng.standard_normal((4, 3, *size)), (11, 9), boundary)
    weights, recurrent = operator.cista_filters()
    below, right = size[0] - 1, size[1] - 1
    assert weights.shape == (4, 3, *size)
    assert recurrent.shape == (4, 4, 2 * below + 1, 2 * right + 1)
    codes = rng.standard_normal((4, 11, 9))
    mode = {"circular": "wrap", "zero": "constant"}[boundary]
    maps = np.pad(codes, ((0, 0), (below, below), (right, right)), mode=mode)
    by_filters = convolve(torch.from_numpy(maps)[None], recurrent)[0].numpy()
    by_operator = codes - operator.adjoint(operator.synthesis(codes)) / operator.lipschitz
    np.testing.assert_allclose(by_filters, by_operator, atol=1e-13)


def test_convolve_is_the_same_in_float32_and_float64():
    rng = np.random.default_rng(2)
    maps = torch.from_numpy(rng.standard_normal((2, 5, 13, 11)))
    filters = torch.from_numpy(rng.standard_normal((4, 5, 3, 3)))
    exact = convolve(maps, filters)
    written = sum(
        torch.einsum(
            "ij,bjhw->bihw", filters[:, :, r, c], maps[..., 2 - r : 13 - r, 2 - c : 11 - c]
        )
        for r in range(3)
        for c in range(3)
    )
    torch.testing.assert_close(exact, written)
    torch.testing.assert_close(
        convolve(maps.float(), filters.float()).double(), exact, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("size", [3, 6])
def test_zero_extension_is_what_a_network_pads(size):
    rng = np.random.default_rng(0)
    operator = ConvDictionary(rng.standard_normal((4, 1, size, size)), (12, 10), "zero")
    signal = torch.from_numpy(rng.standard_normal((1, 12, 10)))
    extended = operator.extend(signal)
    assert extended.shape == (1, 12 + size - 1, 10 + size - 1)
    before, after = (size - 1) // 2, size // 2
    padded = torch.nn.functional.pad(signal[None], (before, after, before, after))
    same = torch.nn.functional.conv2d(padded, operator.filters)[0]
    torch.testing.assert_close(operator.adjoint(extended), same)


def test_differentiable():
    rng = np.random.default_rng(0)
    for size in (3, 7):
        for boundary in ("circular", "zero"):
            operator = ConvDictionary(rng.standard_normal((2, 1, size, size)), (7, 8), boundary)
            codes = torch.from_numpy(rng.standard_normal((2, 7, 8))).requires_grad_()
            assert torch.autograd.gradcheck(operator.synthesis, codes)
            residual = torch.from_numpy(rng.standard_normal((1, *operator.grid))).requires_grad_()
            assert torch.autograd.gradcheck(operator.adjoint, residual)


@pytest.mark.parametrize("size", [3, 12])
def test_gradients_reach_the_filters_at_each_use(size):
    """Also after one without gradients, from which something may be kept."""
    filters = torch.randn(2, 1, size, size, dtype=torch.float64, requires_grad=True)
    operator = ConvDictionary(filters, (13, 12))
    codes = torch.randn(2, 13, 12, dtype=torch.float64)
    residual = torch.randn(1, 13, 12, dtype=torch.float64)
    with torch.no_grad():
        operator.synthesis(codes)
        operator.adjoint(residual)
    for _ in range(2):
        (through_f,) = torch.autograd.grad((operator.synthesis(codes) * residual).sum(), filters)
        (through_ft,) = torch.autograd.grad((operator.adjoint(residual) * codes).sum(), filters)
        torch.testing.assert_close(through_f, through_ft)
        assert through_f.any()


def test_kind_and_dtype_are_kept():
    operator = ConvDictionary(np.ones((3, 5, 5), np.float32), (9, 9))
    out = operator.synthesis(np.ones((3, 9, 9), np.float32))
    assert isinstance(out, np.ndarray)
    assert out.dtype == np.float32
    out = operator.synthesis(torch.ones(2, 3, 9, 9, dtype=torch.float64))
    assert isinstance(out, torch.Tensor)
    assert out.dtype == torch.float64
    assert out.shape == (2, 1, 9, 9)


@given(operators(), st.booleans())
def test_a_mask_multiplies_the_image(drawn, batched):
    """m∘F and its adjoint, in whole and in a sweep; L bounds its norm."""
    plain, rng = drawn
    shape = (2, plain.channels, *plain.grid) if batched else plain.grid
    mask = rng.random(shape) * (rng.random(shape) > 0.4)
    operator = ConvDictionary(plain.filters, plain.shape, plain.boundary, mask)
    codes = rng.standard_normal((2, plain.atoms, *plain.shape))
    residual = rng.standard_normal((2, plain.channels, *plain.grid))
    image = np.stack([written_out(plain, part) for part in codes]) * mask
    np.testing.assert_allclose(operator.synthesis(codes), image, atol=1e-12)
    adjoint = operator.adjoint(residual)
    scale = np.linalg.norm(codes) * np.linalg.norm(residual) * plain.lipschitz**0.5
    assert abs(np.vdot(image, residual) - np.vdot(codes, adjoint)) <= 1e-13 * scale
    sweep = operator.sweep(torch.from_numpy(residual))
    for block, correlation in sweep:
        np.testing.assert_allclose(correlation, adjoint[block], atol=1e-12)
        sweep.put(block, torch.from_numpy(codes)[block])
    np.testing.assert_allclose(sweep.image, image, atol=1e-12)
    if not batched:
        assert np.linalg.norm(dense(operator), 2) ** 2 <= operator.lipschitz * (1 + 1e-12)
        weaker = ConvDictionary(plain.filters, plain.shape, plain.boundary, 0.5 * mask)
        assert weaker.lipschitz == pytest.approx(operator.lipschitz / 4)


def test_filters_of_different_sizes_are_centred():
    small, wide = np.arange(1.0, 7).reshape(2, 1, 3), np.arange(1.0, 31).reshape(2, 3, 5)
    filters = stack_filters([small, wide])
    assert filters.shape == (2, 2, 3, 5)
    np.testing.assert_array_equal(filters[1], wide)
    expected = np.zeros((2, 3, 5))
    expected[:, 1:2, 1:4] = small
    np.testing.assert_array_equal(filters[0], expected)
    even = stack_filters(
        [torch.ones(2, 2), torch.ones(5, 3)]
    )  # of 3 rows 1 comes before, of 1 none
    assert isinstance(even, torch.Tensor)
    assert even[0].nonzero().tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]
    for wrong in ([], [np.ones((3, 3)), np.ones((1, 3, 3))], [np.ones(3)]):
        with pytest.raises(InputError, match="must all have shape"):
            stack_filters(wrong)
    for wrong in (np.full((3, 3), np.nan), torch.full((3, 3), torch.inf)):
        with pytest.raises(InputError, match="the filters must be finite"):
            stack_filters([wrong])


def test_bad_input():
    with pytest.raises(InputError, match=r"circlar.*did you mean circular"):
        ConvDictionary(np.ones((1, 3, 3)), (8, 8), "circlar")
    with pytest.raises(InputError, match="they are 9x9"):
        ConvDictionary(np.ones((1, 9, 9)), (8, 20))
    with pytest.raises(InputError, match=r"got \(2, 8, 8\)"):
        ConvDictionary(np.ones((1, 3, 3)), (8, 8)).synthesis(np.ones((2, 8, 8)))
    with pytest.raises(InputError, match="must have shape"):
        ConvDictionary(np.ones((3, 4)), (8, 8))


@pytest.mark.parametrize("size", [3, 12])
def test_what_is_prepared_serves_every_later_product(size):
    """`prepare` computes L, and the layers of small filters or the transforms of large ones: with
    the filters changed afterwards, the products are still those of the filters before."""
    filters = torch.randn(2, 1, size, size)
    operator = ConvDictionary(filters.clone(), (13, 12))
    fresh = ConvDictionary(filters.clone(), (13, 12))
    operator.prepare()
    operator.filters.zero_()
    codes = torch.randn(2, 13, 12)
    assert operator.lipschitz == fresh.lipschitz > 0
    torch.testing.assert_close(operator.synthesis(codes), fresh.synthesis(codes))
