"""CRNet: the paper's parameter counts, and the block as an iteration of sparse coding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr.imaging import imresize
from cscsr.network import multiply_adds, receptive_radius
from cscsr.networks import CISTABlock, CRNetA, CRNetB
from cscsr.networks.crnet import FactoredS
from cscsr.operators import ConvDictionary


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "arguments", "parameters"),
    [
        (CRNetA, {}, 1_330_305),
        (CRNetA, {"bias": False}, 1_329_408),
        (CRNetA, {"n0": 64}, 923_457),
        (CRNetA, {"m0": 128}, 592_769),
        (CRNetB, {"m0": 256}, 1_996_675),
        (CRNetB, {}, 11_730_307),
    ],
)
def test_parameters_of_the_paper(network, arguments, parameters):
    with torch.device("meta"):
        assert count(network(**arguments)) == parameters


def test_recursions_share_their_parameters():
    assert count(CRNetA(8, 8, recursions=1)) == count(CRNetA(8, 8, recursions=25))


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
    expected, seen = [], []
    block(y, lambda k, z: expected.append(z.detach()))
    block.to(dtype)
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            seen.clear()
            drive = y.to(dtype).contiguous(memory_format=layout)
            block(drive, lambda k, z: seen.append(z.float().clone()))
            for found, exact in zip(seen, expected, strict=True):
                assert (found - exact).abs().max() <= bound * exact.abs().max()
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
                handle = register(lambda *seen: None)
                assert block.S.fused(codes) is None, "a hook would not be called"
                handle.remove()
        assert block.S.fused(codes) is not None


def test_a_factored_s_is_counted_and_felt_in_every_recursion():
    plain, factored = CRNetA(8, 16, 3), CRNetA(8, 16, 3, s_rank=4)
    assert count(plain) - count(factored) == 9 * 16 * 16 - 2 * 9 * 16 * 4
    saved = multiply_adds(plain, 2) - multiply_adds(factored, 2)
    assert saved == 3 * (9 * 16 * 16 - 2 * 9 * 16 * 4)
    assert receptive_radius(factored, 2) == receptive_radius(plain, 2) + 3
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
    seen = []
    z = block(y, lambda k, codes: seen.append(codes))
    torch.testing.assert_close(z, torch.relu(u))
    torch.testing.assert_close(seen[0], torch.relu(drive))
    assert seen[-1] is z
    z.square().sum().backward()
    assert block.S.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("network", [CRNetA, CRNetB])
def test_without_a_small_start_every_layer_is_drawn_as_in_the_paper(network):
    """Appendix A.4: variance 2 / n_out, n_out = k² × output channels (He et al., 2015, eq. 14)."""
    torch.manual_seed(0)
    layers = network(24, 32, 1, residual=True, small_start=False).named_modules()
    for name, layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            deviation = (2 / (9 * layer.out_channels)) ** 0.5
            assert layer.weight.detach().std() == pytest.approx(deviation, rel=0.15), name
    small = network(24, 32, 1, residual=True)
    last = small.H if network is CRNetA else small.tail
    assert last.weight.detach().std() < 0.005


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shapes_and_the_recursions_seen(scale):
    torch.manual_seed(0)
    seen: list[int] = []
    network = CRNetB(8, 12, recursions=3).eval()
    image = torch.rand(2, 3, 9, 7)
    decoded = {}

    def visit(k, z, decode):
        seen.append(k)
        assert z.shape == (2, 12, 9, 7)
        assert (z >= 0).all()
        decoded[k] = decode()

    with torch.no_grad():
        output = network(image, scale, visit)
    assert output.shape == (2, 3, 9 * scale, 7 * scale)
    assert seen == [0, 1, 2, 3]
    assert torch.equal(decoded[3], output)
    assert not torch.equal(decoded[2], output)


def test_residual_switch_adds_the_enlarged_image():
    torch.manual_seed(0)
    network = CRNetA(8, 8, 2, residual=True).eval()
    plain = CRNetA(8, 8, 2, residual=False).eval()
    plain.load_state_dict(network.state_dict())
    image = torch.rand(1, 1, 12, 12)
    with torch.no_grad():
        difference = network(image) - plain(image)
    offset = difference - image
    assert offset.std() < 1e-6
    assert network(torch.zeros_like(image)).abs().max() < 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_residual_switch_of_crnet_b_adds_matlabs_bicubic(scale):
    torch.manual_seed(0)
    network = CRNetB(6, 6, 1, residual=True).eval()
    plain = CRNetB(6, 6, 1).eval()
    plain.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 16, 14)
    with torch.no_grad():
        added = network(image, scale) - plain(image, scale) + plain.mean
    expected = imresize(image[0].permute(1, 2, 0).numpy(), scale)
    inside = slice(3 * scale, -3 * scale)  # torch treats the border its own way
    difference = added[0].permute(1, 2, 0).numpy() - expected
    assert abs(difference[inside, inside]).max() < 1e-5
