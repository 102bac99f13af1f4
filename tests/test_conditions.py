"""Solvers inside other programs: their settings of torch, their arrays, their scales."""

from __future__ import annotations

import dataclasses
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cscsr
from cscsr import InputError, SparseCoding, SuperResolution
from cscsr.imaging import gmsd, psnr, score, ssim, write_image
from cscsr.network import load_network
from cscsr.registry import is_builtin
from cscsr.testing_problems import image, sparse_arrays

NAMES = [name for name in cscsr.list_solvers() if is_builtin(name)]
SPARSE = [name for name in cscsr.list_solvers("SparseCoding") if is_builtin(name)]


def solved(name: str) -> np.ndarray:
    if name in SPARSE:
        solver = cscsr.make_solver(name, iterations=8)
        signal, dictionary = sparse_arrays(solver, "float32")
        problem = SparseCoding(signal, dictionary, 0.2)
        codes = solver.solve(problem).estimate
        assert problem.objective_and_gap(codes) == pytest.approx(measured(problem, codes), rel=1e-4)
        return codes
    return cscsr.make_solver(name).solve(SuperResolution(image(20, 16, 3), 2)).estimate


def measured(problem, codes):
    """Objective and gap by numpy in float64, from sums over shifted filters."""
    residual = problem.signal.astype("f8").copy()
    filters, codes = problem.dictionary.astype("f8"), codes.astype("f8")
    shifts = list(np.ndindex(*filters.shape[-2:]))
    for i, j in shifts:
        rolled = np.roll(codes, (i, j), (1, 2))
        residual -= np.einsum("mc,mhw->chw", filters[:, :, i, j], rolled)
    largest = np.abs(
        sum(
            np.einsum("mc,chw->mhw", filters[:, :, i, j], np.roll(residual, (-i, -j), (1, 2)))
            for i, j in shifts
        )
    ).max()
    primal = 0.5 * (residual**2).sum() + problem.lam * np.abs(codes).sum()
    dual = residual * min(1, problem.lam / largest)
    signal = problem.signal.astype("f8")
    return primal, primal - 0.5 * ((signal**2).sum() - ((signal - dual) ** 2).sum())


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default dtype": default_dtype,
    "default device": default_device,
    "inference": torch.inference_mode,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_callers_settings_of_torch_change_no_bit(name):
    expected = solved(name)
    for label, setting in SETTINGS.items():
        load_network.cache_clear()
        with setting():
            answer = solved(name)
        np.testing.assert_array_equal(answer, expected, err_msg=label)
        assert answer.dtype == expected.dtype
    load_network.cache_clear()


def test_operators_compute_in_their_own_precision_inside_autocast():
    signal, dictionary = (torch.from_numpy(a) for a in sparse_arrays(cscsr.ISTA(), "float32"))
    problem = SparseCoding(signal, dictionary, 0.2)
    codes = torch.randn(problem.codes_shape, generator=torch.Generator().manual_seed(0))
    results = []
    for inside in (nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        with inside:
            operator = SparseCoding(signal, dictionary, 0.2).operator()
            results.append(
                (
                    operator.synthesis(codes),
                    operator.adjoint(signal),
                    cscsr.ISTA().step(problem, codes),
                    cscsr.CISTA().step(problem, codes),
                )
            )
    for plain, autocast in zip(*results, strict=True):
        assert torch.equal(plain, autocast)


# Values and arrays


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_an_image_on_another_scale_is_refused_and_an_overshoot_is_not(kind):
    def made(array):
        return torch.from_numpy(array) if kind == "torch" else array

    lr = image(12, 10, 3)
    with pytest.raises(InputError, match=r"^lr must lie in \[0, 1\].*divide 8-bit values by 255"):
        SuperResolution(made(lr * 255), 2)
    with pytest.raises(InputError, match=r"^truth must lie in \[0, 1\]"):
        SuperResolution(made(lr), 1, truth=made(lr * 255))
    with pytest.raises(InputError, match="lr must lie in"):
        SuperResolution(made(lr - 3), 2)
    with pytest.raises(InputError, match="lr must be finite"):
        SuperResolution(made(np.where(lr > 0.5, np.nan, lr)), 2)
    edges = np.kron(np.eye(6, dtype=np.float32), np.ones((3, 3), np.float32))
    overshoot = cscsr.Bicubic().solve(SuperResolution(edges, 2)).estimate
    assert overshoot.max() > 1.1 or overshoot.min() < -0.1
    noisy = edges + np.random.default_rng(0).normal(0, 50 / 255, edges.shape).astype("f4")
    for array in (overshoot, noisy):
        SuperResolution(made(np.ascontiguousarray(array)), 2)


def test_a_mask_is_refused_and_a_masked_array_without_one_is_its_numbers():
    lr = image(12, 10)
    masked = np.ma.masked_greater(lr, 0.5)
    sentence = r"is a masked array with \d+ of 120 elements masked, which would be ignored"
    signal, dictionary = sparse_arrays(cscsr.FISTA())
    problem = SparseCoding(signal, dictionary, 0.2)
    codes = np.ma.masked_greater(np.ones(problem.codes_shape), 0)
    for refused in (
        lambda: SuperResolution(masked, 2),
        lambda: SuperResolution(lr, 1, truth=masked),
        lambda: SparseCoding(masked.astype("f8"), dictionary[:, 0], 0.2),
        lambda: psnr(masked, masked),
        lambda: score(masked, np.zeros((12, 10), np.uint8), 1, "y"),
        lambda: write_image("never.png", masked),
    ):
        with pytest.raises(InputError, match=sentence):
            refused()
    with pytest.raises(InputError, match="codes is a masked array"):
        problem.objective(codes)
    open_array = np.ma.masked_array(lr)
    estimate = cscsr.Bicubic().solve(SuperResolution(open_array, 2)).estimate
    assert type(estimate) is np.ndarray
    np.testing.assert_array_equal(estimate, cscsr.Bicubic().solve(SuperResolution(lr, 2)).estimate)
    with pytest.raises(InputError, match="must be a numpy array or a torch tensor"):
        SuperResolution(Fake(), 2)


class Fake:
    """An array of another library."""

    shape, dtype = (4, 4), "float32"


def test_tensors_are_written_and_measured_as_arrays_are(tmp_path):
    pixels = np.round(image(24, 20, 3) * 255)
    other = np.clip(pixels + np.random.default_rng(0).integers(-9, 9, pixels.shape), 0, 255)
    for metric, (a, b) in {
        psnr: (pixels, other),
        ssim: (pixels[..., 0], other[..., 0]),
        gmsd: (pixels[..., 0], other[..., 0]),
    }.items():
        tensors = (torch.from_numpy(x.copy()).requires_grad_() for x in (a, b))
        assert metric(*tensors) == metric(a, b)
    estimate = (other / 255).astype("f4")
    truth = pixels.astype(np.uint8)
    assert score(torch.from_numpy(estimate), truth, 2, "rgb") == score(estimate, truth, 2, "rgb")
    for name, array in (("float", estimate), ("bytes", truth)):
        write_image(tmp_path / f"{name}.png", torch.from_numpy(array))
        written = np.asarray(Image.open(tmp_path / f"{name}.png"))
        np.testing.assert_array_equal(written, other if name == "float" else truth)


def test_metrics_refuse_two_images_on_the_scale_of_fractions():
    fractions = image(24, 20)
    for metric in (psnr, ssim, gmsd):
        with pytest.raises(InputError, match="compared on the 0-255 scale"):
            metric(fractions, fractions * 0.9)
    assert psnr(np.zeros((12, 12)), np.ones((12, 12))) == pytest.approx(20 * np.log10(255))
    assert psnr(255.0 * fractions, fractions) < 12
    with pytest.raises(InputError, match="the mean of an estimate must lie in"):
        score(255 * fractions, np.zeros((24, 20), np.uint8), 2, "y")


def test_single_values_far_outside_are_clipped_in_the_score():
    truth = (255 * image(24, 20)).astype(np.uint8)
    estimate = image(24, 20)
    estimate[5, 7], estimate[9, 3] = 40.0, -30.0
    clipped = np.clip(estimate, 0, 1)
    assert score(estimate, truth, 2, "y") == score(clipped, truth, 2, "y")


# Units


@pytest.mark.slow
@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("factors", [(1e-20, 1), (1e-22, 1e3), (1e20, 1), (1, 1e-20), (1, 1e16)])
def test_the_unit_of_signal_and_dictionary_changes_nothing(name, factors):
    """In float32, whose squares reach from 1e-45 to 1e38."""
    a, b = (2.0 ** round(np.log2(factor)) for factor in factors)
    if name in ("lista[tied]", "lista[untied]"):
        return  # bound to one dictionary
    fixed = {"rho": 2.0} if name in ("admm", "sporco-admm") else {}
    if name == "sporco-admm":  # the ratio that it adapts ρ to depends on λ's unit
        fixed["auto_rho"] = False
    solver = cscsr.make_solver(name, iterations=40, tol=1e-4, gap=True, **fixed)
    signal, dictionary = sparse_arrays(solver, "float32")
    expected = solver.solve(SparseCoding(signal, dictionary, 0.2))
    if fixed:
        solver = dataclasses.replace(solver, rho=2.0 * b * b)
    problem = SparseCoding(signal * np.float32(a), dictionary * np.float32(b), 0.2 * a * b)
    codes_of_callback = []
    solution = solver.solve(problem, callback=lambda k, codes: codes_of_callback.append(codes))
    size = np.abs(expected.estimate).max()
    # powers of 2 round nothing, but a largest element that is no power is scaled to another one
    np.testing.assert_allclose(
        solution.estimate / (a / b), expected.estimate, atol=1e-4 * size, rtol=1e-3
    )
    np.testing.assert_array_equal(codes_of_callback[-1], solution.estimate)
    assert solution.status is expected.status
    for column in ("objective", "duality_gap"):
        np.testing.assert_allclose(
            solution.trace[column] / a**2, expected.trace[column], rtol=1e-3, atol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SPARSE if not n.startswith("lista")])
@pytest.mark.parametrize("tol", [1e-2, 1e-3])
def test_converged_is_within_a_hundredth_of_the_optimum(name, tol):
    """A constant signal: slow methods change little long before they are near the optimum."""
    rng = np.random.default_rng(0)
    dictionary = rng.standard_normal((8, 5, 5))
    dictionary /= np.sqrt((dictionary**2).sum((1, 2), keepdims=True))
    for signal in (np.full((16, 16), 0.5), rng.standard_normal((16, 16))):
        problem = SparseCoding(signal, dictionary, 0.005)
        best = cscsr.make_solver("active-set", tol=0, gap_tol=1e-7, iterations=300).solve(problem)
        optimum = problem.objective(best.estimate) - problem.duality_gap(best.estimate)
        solution = cscsr.make_solver(name, tol=tol, iterations=300).solve(problem)
        above = problem.objective(solution.estimate) / optimum - 1
        if solution.status is cscsr.Status.CONVERGED:
            assert above <= 0.01
            assert solution.trace["relative_change"][-1] <= tol or name == "sporco-admm"
        else:
            assert solution.status is cscsr.Status.MAX_ITERATIONS


@pytest.mark.slow
def test_memory_of_sporcos_plans_does_not_grow_with_each_new_size():
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("memory is read as Linux tells it")
    from pyfftw.interfaces import cache

    solver = cscsr.SporcoADMM(iterations=2)
    _, dictionary = sparse_arrays(solver)
    for side in range(20, 26):
        solver.solve(SparseCoding(np.ones((1, side, side)), dictionary, 0.1))
    time.sleep(2.5)
    assert not cache._fftw_cache._cache_dict, "plans, and their arrays, outlive their use"
