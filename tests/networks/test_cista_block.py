"""The CISTA block as an iteration of sparse coding, with a free and a factored S."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr.networks import CISTABlock, CRNetA, CRNetB, FactoredS
from cscsr.operators import ConvDictionary


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("recursions", [0, 1, 7])
def test_block_with_exact_filters_is_nonnegative_ista_at_lambda_zero(recursions):
    """K recursions from ReLU(W⊗y) are K + 1 iterations of nonnegative ISTA from zero,
    when S is n − (1/L) flip(f)⊗f and W is (1/L) flip(f)."""
    generator = torch.Generator().manual_seed(0)
    s, atoms, channels, height, width = 3, 6, 2, 14, 11
    filters = torch.randn(atoms, channels, s, s, generator=generator, dtype=torch.float64)
    operator = ConvDictionary(filters, (height, width), "zero")
    grid = (1, channels, height + s - 1, width + s - 1)  # that of the full convolution
    y = torch.randn(grid, generator=generator, dtype=torch.float64)
    z = torch.zeros_like(operator.adjoint(y))
    for _ in range(recursions + 1):
        z = torch.relu(z + operator.adjoint(y - operator.synthesis(z)) / operator.lipschitz)

    W, S = operator.cista_filters()
    block = CISTABlock(channels, atoms, recursions, s, s_kernel=2 * s - 1, bias=False).double()
    block.W.padding = (0, 0)  # the adjoint of the full convolution is the valid correlation
    with torch.no_grad():
        block.W.weight.copy_(W.flip(-2, -1))  # torch correlates
        block.S.weight.copy_(S.flip(-2, -1))
        assert torch.allclose(block(y), z, atol=1e-12, rtol=0)


def test_a_factored_s_starts_as_nonnegative_ista_of_its_filters():
    """z − A⊗(B⊗z) is n − (1/L) flip(f)⊗f where B is f and A its adjoint over L."""
    torch.manual_seed(0)
    block = CISTABlock(2, 6, recursions=3, bias=False, s_rank=4).double()
    z = torch.rand(1, 6, 12, 13, dtype=torch.float64, requires_grad=True)
    energy = block.S.B(z).square().sum() / 2
    (gradient,) = torch.autograd.grad(energy, z)
    with torch.no_grad():
        step = z - block.S(z)
        lipschitz = (gradient / step).median()
        torch.testing.assert_close(step * lipschitz, gradient)
        assert 2 * energy / z.square().sum() <= lipschitz * 1.001


def test_a_factored_s_is_one_layer_but_at_the_border():
    torch.manual_seed(0)
    layer = FactoredS(5, 3).double()
    z = torch.randn(2, 5, 11, 9, dtype=torch.float64)
    with torch.no_grad():
        layer.A.bias.copy_(torch.arange(1.0, 6.0))  # it starts at zero, which has no sign
        whole = torch.nn.functional.conv2d(z, layer.weight, layer.bias, padding=2)
        inside = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(layer(z)[inside], whole[inside])
    assert FactoredS(5, 3, bias=False).bias is None


@pytest.mark.parametrize(("codes", "rank", "kernel"), [(6, 4, 3), (16, 5, 3), (4, 9, 3), (8, 3, 5)])
def test_a_factored_s_starts_with_the_step_one_over_l(codes, rank, kernel):
    """L is the largest eigenvalue of flip(f)⊗f over all frequencies, so ‖A∘B‖ is 1 there: S is
    positive semidefinite, and with half the step it would be at least ½."""
    torch.manual_seed(0)
    layer = FactoredS(codes, rank, kernel)
    A, B = (part.weight.detach().double().numpy() for part in (layer.A, layer.B))
    frequencies = 2 * np.pi * np.arange(96) / 96
    waves = np.exp(1j * np.outer(frequencies, np.arange(kernel) - kernel // 2))
    # A layer correlates, out[n] = Σ_d B[d] z[n + d]: it multiplies exp(iωn) by Σ_d B[d] exp(iωd).
    outer, inner = (np.einsum("uk,vl,ijkl->uvij", waves, waves, taps) for taps in (A, B))
    gram = np.conj(np.swapaxes(inner, -1, -2)) @ inner
    product = outer @ inner
    lipschitz = np.linalg.eigvalsh(gram).max()
    # L is taken at 16×16 frequencies, between which the symbol may be larger.
    np.testing.assert_allclose(product * lipschitz, gram, rtol=0.02, atol=0.02 * lipschitz)
    assert np.linalg.norm(product, 2, axis=(-2, -1)).max() == pytest.approx(1.0, abs=0.02)
    coarse = product[::6, ::6]
    assert np.linalg.norm(coarse, 2, axis=(-2, -1)).max() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kernel", [9, 17, 31])
def test_the_step_of_wide_filters_is_one_over_l_as_well(kernel):
    """‖A∘B‖ by numpy at 384 frequencies a side, and 30 recursions."""
    torch.manual_seed(0)
    layer = FactoredS(4, 2, kernel)
    outer, inner = (
        np.fft.rfft2(part.weight.detach().numpy(), (384, 384)).transpose(2, 3, 0, 1)
        for part in (layer.A, layer.B)
    )
    norm = np.linalg.norm(outer @ inner, 2, axis=(-2, -1)).max()
    assert 1 - 1e-5 <= norm <= 1.04
    z = torch.randn(1, 4, 48, 48)
    with torch.no_grad():
        iterate = z
        for _ in range(30):
            iterate = layer(iterate)
    assert iterate.norm() <= z.norm()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("rank", [1, 6])
@pytest.mark.parametrize("shape", [(2, 4, 17, 13), (1, 4, 1, 1), (1, 4, 1, 9), (3, 4, 8, 1)])
def test_the_recursions_of_inference_are_those_of_training(dtype, bound, rank, shape):
    """Sums and ReLU inside of A's convolution, in inference mode, change nothing but rounding."""
    torch.manual_seed(0)
    block = CISTABlock(4, 12, recursions=5, s_rank=rank)
    with torch.no_grad():
        block.S.A.bias.normal_(std=0.1)
        block.W.bias.normal_(std=0.1)
    y = torch.randn(shape)
    expected, iterates = [], []
    block(y, lambda k, z: expected.append(z.detach()))
    block.to(dtype)
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            iterates.clear()
            drive = y.to(dtype).contiguous(memory_format=layout)
            block(drive, lambda k, z: iterates.append(z.float().clone()))
            for z, exact in zip(iterates, expected, strict=True):
                assert (z - exact).abs().max() <= bound * exact.abs().max()
    assert not torch.allclose(expected[1], expected[2], rtol=0.01)


@pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="no oneDNN, whose operation this is"
)
def test_the_fused_recursion_is_used_in_inference_alone():
    block = CISTABlock(4, 12, recursions=1, s_rank=6)
    codes = torch.rand(1, 12, 9, 8).contiguous(memory_format=torch.channels_last)
    assert block.S.fused(codes) is None
    with torch.inference_mode():
        assert block.S.fused(codes) is not None
        assert block.S.fused(codes.double()) is None
        assert block.S.fused(codes.contiguous()) is None
        for layer in (block.S, block.S.A):
            for register in (layer.register_forward_hook, layer.register_forward_pre_hook):
                handle = register(lambda *arguments: None)
                assert block.S.fused(codes) is None, "a hook would not be called"
                handle.remove()
        assert block.S.fused(codes) is not None


def test_a_factored_s_is_counted_and_felt_in_every_recursion():
    plain, factored = CRNetA(8, 16, 3), CRNetA(8, 16, 3, s_rank=4)
    assert count(plain) - count(factored) == 9 * 16 * 16 - 2 * 9 * 16 * 4
    saved = plain.multiply_adds(2) - factored.multiply_adds(2)
    assert saved == 4 * 3 * (9 * 16 * 16 - 2 * 9 * 16 * 4)
    assert factored.input_radius(2) == plain.input_radius(2) + 3
    assert count(CRNetB(8, 16, 3, s_rank=4)) < count(CRNetB(8, 16, 3))


@pytest.mark.parametrize("local_residual", [True, False])
@pytest.mark.parametrize("pre_activation", [True, False])
def test_the_switches_of_the_ablation(local_residual, pre_activation):
    torch.manual_seed(0)
    block = CISTABlock(
        3, 5, 3, s_kernel=1, local_residual=local_residual, pre_activation=pre_activation
    )
    y = torch.randn(2, 3, 6, 7)
    drive = block.W(y)
    u = drive
    for _ in range(3):
        fed = drive if local_residual else 0
        u = block.S(torch.relu(u)) + fed if pre_activation else torch.relu(block.S(u)) + fed
    iterates = []
    z = block(y, lambda k, codes: iterates.append(codes))
    torch.testing.assert_close(z, torch.relu(u))
    torch.testing.assert_close(iterates[0], torch.relu(drive))
    assert iterates[-1] is z
    z.square().sum().backward()
    assert block.S.weight.grad.abs().sum() > 0
