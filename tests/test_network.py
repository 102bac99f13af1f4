"""Networks as solvers: tiles, self-ensemble, traces, colour, refusals, shipped weights."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cscsr
from cscsr import InputError, weights
from cscsr.compare.machine import peak_memory
from cscsr.data.datasets import demo, load_dataset
from cscsr.imaging import degrade, imresize, score
from cscsr.network import TILE_BYTES, NetworkSolver
from cscsr.networks import build

SHIPPED = ("crnet-a-small", "crnet-b-small", "crnet-b-small+")


def random_weights(folder, architecture, line, recursions=3, **more):
    """A small network of random weights, as a file."""
    torch.manual_seed(1)
    arguments = {"n0": 6, "m0": 8, "recursions": recursions, **more}
    network = build(architecture, **arguments, scales=(2, 3, 4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    path = folder / f"{architecture}.safetensors"
    metadata = {
        "architecture": architecture,
        "network": arguments,
        "line": line,
        "scales": [2, 3, 4],
    }
    weights.write(path, {k: v.numpy() for k, v in network.state_dict().items()}, metadata)
    return NetworkSolver(weights=str(path)), network


@pytest.mark.parametrize(("architecture", "line"), [("crnet-a", "y"), ("crnet-b", "rgb")])
@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_do_not_change_the_answer(tmp_path, architecture, line, scale):
    solver, _ = random_weights(tmp_path, architecture, line)
    lr = np.random.default_rng(0).random((37, 50, 3), dtype=np.float32)
    problem = cscsr.SuperResolution(lr, scale)
    whole = solver.solve(problem).estimate
    tiled = replace(solver, tile=16).solve(problem).estimate
    assert np.abs(whole - tiled).max() < 1e-5


def test_more_recursions_go_on_from_the_trained_ones(tmp_path):
    trained, network = random_weights(tmp_path, "crnet-b", "rgb", s_rank=4)
    truth = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    problem = cscsr.SuperResolution(
        degrade(truth, 2, "rgb"), 2, truth=(truth / 255).astype(np.float32)
    )
    short, long = trained.solve(problem), replace(trained, recursions=5).solve(problem)
    assert short.trace["iteration"].tolist() == [0, 1, 2, 3]
    assert long.trace["iteration"].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(long.trace["psnr_db"][:4], short.trace["psnr_db"], atol=1e-4)
    network.block.recursions = 5
    with torch.no_grad():
        output = network(torch.from_numpy(network.prepare(problem.lr, 2))[None], 2)[0].numpy()
    np.testing.assert_allclose(long.estimate, output.transpose(1, 2, 0), atol=1e-5)
    added = replace(trained, recursions=5).operations(problem) - trained.operations(problem)
    assert added == 2 * 64 * (2 * 9 * 8 * 4)  # pixels, and S = n − A∘B of 4 filters for 8 codes
    for wrong in (-1, 2.5, 10**9):
        with pytest.raises(InputError, match="recursions"):
            replace(trained, recursions=wrong).solve(problem)
    with pytest.raises(InputError, match="recursions"):
        NetworkSolver("srcnn", recursions=3).solve(problem)
    for wrong in (-1, 2.5, "a"):
        with pytest.raises(InputError, match="tile"):
            NetworkSolver("srcnn", tile=wrong)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's peaks")
@pytest.mark.parametrize(("architecture", "line"), [("crnet-a", "y"), ("crnet-b", "rgb")])
def test_memory_for_tiles_does_not_grow_with_the_image(tmp_path, architecture, line):
    """Beside the image and its enlargement there is never another array of their size."""
    solver, _ = random_weights(tmp_path, architecture, line, recursions=1)
    solver = replace(solver, tile=128)
    lr = np.random.default_rng(0).random((700, 900, 3), dtype=np.float32)
    solver.solve(cscsr.SuperResolution(lr[:200, :200], 2))
    problem = cscsr.SuperResolution(lr, 2)
    status = Path("/proc/self/status").read_text().split()
    before = int(status[status.index("VmRSS:") + 1]) * 1024
    with peak_memory() as peak:
        estimate = solver.solve(problem).estimate
    assert estimate.shape == (1400, 1800, 3)
    assert estimate.dtype == np.float32
    assert peak.megabytes * 1e6 - before < 1.75 * estimate.nbytes


def test_a_wide_network_has_smaller_tiles(tmp_path):
    narrow, _ = random_weights(tmp_path, "crnet-b", "rgb")
    assert narrow.tile_side(2) == 512
    for architecture, line, scale in (("crnet-b", "rgb", 2), ("crnet-a", "y", 3)):
        arguments = {"n0": 64, "m0": 1024, "recursions": 25}
        wide = build(architecture, **arguments, scales=(2, 3, 4))
        path = tmp_path / f"wide-{architecture}.safetensors"
        metadata = {"architecture": architecture, "network": arguments, "line": line}
        tensors = {k: v.numpy() for k, v in wide.state_dict().items()}
        weights.write(path, tensors, {**metadata, "scales": [2, 3, 4]})
        wide_solver = NetworkSolver(weights=str(path))
        side, halo = wide_solver.tile_side(scale), wide_solver.halo(scale)
        ratio = 1 if line == "rgb" else scale
        assert 3 * 1024 * 4 * (ratio * (side + 2 * halo)) ** 2 <= TILE_BYTES
        assert side >= 32


@pytest.mark.parametrize(("architecture", "line"), [("crnet-a", "y"), ("crnet-b", "rgb")])
def test_bfloat16_is_near_float32(tmp_path, architecture, line):
    solver, _ = random_weights(tmp_path, architecture, line)
    truth = demo().images[0].read()[60:120, 60:120]
    problem = cscsr.SuperResolution(degrade(truth, 2, line), 2)
    exact = solver.solve(problem).estimate
    half = replace(solver, precision="bf16").solve(problem).estimate
    difference = np.abs(half - exact).max()
    assert 0 < difference < 0.02
    assert half.dtype == exact.dtype


def test_self_ensemble_commutes_with_flips_and_rotations(tmp_path):
    solver, _ = random_weights(tmp_path, "crnet-b", "rgb")
    solver = replace(solver, self_ensemble=True)
    lr = np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)

    def enlarge(image):
        return solver.solve(cscsr.SuperResolution(np.ascontiguousarray(image), 2)).estimate

    expected = enlarge(lr)
    np.testing.assert_allclose(enlarge(lr[:, ::-1])[:, ::-1], expected, atol=1e-5)
    np.testing.assert_allclose(np.rot90(enlarge(np.rot90(lr)), -1), expected, atol=1e-5)


def test_the_trace_has_a_row_for_each_recursion_and_ends_at_the_estimate(tmp_path):
    solver, _ = random_weights(tmp_path, "crnet-b", "rgb", recursions=5)
    truth = demo().images[0].read()[:60, :60]
    problem = cscsr.SuperResolution(degrade(truth, 2, "rgb"), 2, truth / np.float32(255))
    solution = solver.solve(problem)
    assert list(solution.trace["iteration"]) == list(range(6))
    assert (np.diff(solution.trace["seconds"]) > 0).all()
    expected = score(solution.estimate, truth, 2, "rgb")["psnr"]
    assert solution.trace["psnr_db"][-1] == pytest.approx(expected, abs=1e-3)
    assert solution.trace["nnz"][-1] == np.count_nonzero(solution.codes)


def test_the_trace_compares_each_code_with_the_one_before(tmp_path):
    """Also where a recursion overwrites the codes it starts from."""
    solver, network = random_weights(tmp_path, "crnet-a", "y", s_rank=4)
    lr, truth = np.random.default_rng(0).random((2, 24, 24), dtype=np.float32)
    truth = np.kron(truth, np.ones((2, 2), np.float32))
    trace = solver.solve(cscsr.SuperResolution(lr, 2, truth)).trace
    codes = []
    enlarged = torch.from_numpy(imresize(lr.astype(np.float64), 2)).float()
    network(enlarged[None, None], 2, lambda k, z, decode: codes.append(z.detach()))
    changes = [float((b - a).norm() / b.norm()) for a, b in itertools.pairwise(codes)]
    assert min(changes) > 0.01
    np.testing.assert_allclose(trace["relative_change"][1:], changes, rtol=1e-3)


def test_a_grey_image_goes_through_three_equal_channels(tmp_path):
    solver, network = random_weights(tmp_path, "crnet-b", "rgb")
    lr = np.random.default_rng(0).random((9, 8), dtype=np.float32)
    grey = solver.solve(cscsr.SuperResolution(lr, 2)).estimate
    with torch.no_grad():
        batch = torch.from_numpy(lr).expand(1, 3, 9, 8)
        expected = network(batch, 2)[0].mean(0).numpy()
    np.testing.assert_allclose(grey, expected, atol=1e-6)


def test_what_it_refuses(tmp_path):
    solver, _ = random_weights(tmp_path, "crnet-b", "rgb")
    lr = np.zeros((8, 8), dtype=np.float32)
    with pytest.raises(InputError, match="x2, x3, x4, not for x5"):
        solver.solve(cscsr.SuperResolution(lr, 5))
    with pytest.raises(InputError, match="no init"):
        solver.solve(cscsr.SuperResolution(lr, 2), init=lr)
    with pytest.raises(InputError, match="fp32 or bf16"):
        replace(solver, precision="int8")
    with pytest.raises(InputError, match="tile must be at least 0"):
        replace(solver, tile=-1)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device among"):
            replace(solver, device="cuda").solve(cscsr.SuperResolution(lr, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_computes_on_the_device_of_the_image(tmp_path):
    solver, _ = random_weights(tmp_path, "crnet-b", "rgb")
    lr = torch.rand(16, 20, 3, generator=torch.Generator().manual_seed(0))
    torch.cuda.reset_peak_memory_stats()
    on_gpu = solver.solve(cscsr.SuperResolution(lr.cuda(), 2)).estimate
    assert torch.cuda.max_memory_allocated() > 4 * 8 * 16 * 20  # the codes
    on_cpu = solver.solve(cscsr.SuperResolution(lr, 2)).estimate
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=0, atol=1e-2)  # TF32


def correlated(layer: str, x: np.ndarray, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """A zero-padded layer of a weight file on (C,H,W), by its definition, in float64."""
    filters, bias = tensors[f"{layer}.weight"], tensors.get(f"{layer}.bias")
    size = filters.shape[-1]
    padded = np.pad(x, ((0, 0), *[(size // 2,) * 2] * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    output = np.tensordot(filters.astype(np.float64), windows, ((1, 2, 3), (0, 3, 4)))
    return output if bias is None else output + bias[:, None, None]


def coded(y: np.ndarray, tensors: dict[str, np.ndarray], recursions: int) -> np.ndarray:
    """The codes z_K of features y, eq. (12), with S⊗z = z − (A⊗(B⊗z) + b)."""
    drive = correlated("block.W", y, tensors)
    z = np.maximum(drive, 0)
    for _ in range(recursions):
        recurred = z - correlated("block.S.A", correlated("block.S.B", z, tensors), tensors)
        z = np.maximum(drive + recurred, 0)
    return z


def equations_of_crnet_a(image: np.ndarray, tensors: dict, recursions: int) -> np.ndarray:
    """Eqs. (11) to (14) on an enlarged luma image (H,W) in [0, 1]."""
    y = image[None] - 0.4415
    for layer in ("F0", "F1"):
        y = np.maximum(correlated(layer, y, tensors), 0)
    z = coded(y, tensors, recursions)
    return image + correlated("H", np.maximum(correlated("Wh", z, tensors), 0), tensors)[0]


def equations_of_crnet_b(image: np.ndarray, tensors: dict, recursions: int) -> np.ndarray:
    """Fig. 6 for ×2 on (H,W,3) in [0, 1], but for the bicubic enlargement that is added."""
    rgb_mean = np.array([0.4488, 0.4371, 0.4040])  # DIV2K's, as EDSR and A.4 subtract it
    x = correlated("head", np.moveaxis(image - rgb_mean, -1, 0), tensors)
    inner = np.maximum(correlated("pre.2.first", x, tensors), 0)
    features = x + correlated("pre.2.second", inner, tensors)
    y = features
    for layer in ("F0", "F1"):
        y = np.maximum(correlated(layer, y, tensors), 0)
    z = coded(y, tensors, recursions)
    x = features + correlated("H", np.maximum(correlated("Wh", z, tensors), 0), tensors)
    x = correlated("up.2.0", x, tensors)
    channels, height, width = len(x) // 4, *x.shape[1:]
    x = x.reshape(channels, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    x = x.reshape(channels, 2 * height, 2 * width)
    return np.moveaxis(correlated("tail", x, tensors), 0, -1)


def test_the_shipped_crnet_a_computes_the_equations_on_images_less_their_mean():
    """The mean is part of what the weights were trained with, though no weight file holds it:
    with another one the network still enlarges, worse. The values stand here a second time."""
    tensors, metadata = weights.load("crnet-a-small")
    lr = (dict(demo())["camera"][100:116, 90:108] / 255).astype(np.float32)
    enlarged = imresize(lr, 2.0)
    expected = equations_of_crnet_a(enlarged, tensors, metadata["network"]["recursions"])
    estimate = cscsr.make_solver("crnet-a-small").solve(cscsr.SuperResolution(lr, 2)).estimate
    np.testing.assert_allclose(estimate, expected, atol=1e-4)
    assert np.abs(estimate - enlarged).max() > 0.02


def test_the_shipped_crnet_b_computes_the_equations_on_images_less_their_mean():
    tensors, metadata = weights.load("crnet-b-small")
    lr = (dict(demo())["chelsea"][100:116, 90:108] / 255).astype(np.float32)
    estimate = cscsr.make_solver("crnet-b-small").solve(cscsr.SuperResolution(lr, 2)).estimate
    detail = equations_of_crnet_b(lr, tensors, metadata["network"]["recursions"])
    inside = (slice(8, -8), slice(8, -8))  # at the border bicubic kernels differ by convention
    np.testing.assert_allclose(estimate[inside], (imresize(lr, 2.0) + detail)[inside], atol=1e-4)
    assert np.abs(detail[inside]).max() > 0.02


def mean_psnr(name: str, images, scale: int) -> float:
    solver = cscsr.make_solver(name)
    values = []
    for _, truth in images:
        lr = degrade(truth, scale, solver.line)
        estimate = solver.solve(cscsr.SuperResolution(lr, scale)).estimate
        values.append(score(estimate, truth, scale, solver.line)["psnr"])
    return float(np.mean(values))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_self_ensemble_is_no_worse_on_set5(shared_data, scale):
    """On all images but baby, which has nearly half of the pixels of the set."""
    images = [(name, image) for name, image in load_dataset("Set5", shared_data) if name != "baby"]
    ensemble = mean_psnr("crnet-b-small+", images, scale)
    assert ensemble >= mean_psnr("crnet-b-small", images, scale)
