"""CSC-SR as a solver: coders, colour, traces, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cscsr import InputError, Status, SuperResolution, weights
from cscsr.csc_sr.decompose import MARGIN
from cscsr.csc_sr.solver import CSCSR, divide, enlarged_residual
from cscsr.csc_sr.weight_file import KIND, TRAINED_FOR, read_weights, weights_name
from cscsr.data.datasets import demo
from cscsr.imaging import degrade, imresize, psnr, rgb_to_y, rgb_to_ycbcr, score

SCALES = (2, 3, 4)
SHIPPED = ("admm", "ista", "fista")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, str]:
    """Weight files with 6 random filters and maps of x2 and x3, one for each coder."""
    rng = np.random.default_rng(0)
    filters = rng.standard_normal((6, 5, 5)).astype(np.float32)
    filters /= np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    folder = tmp_path_factory.mktemp("weights")
    files = {}
    for coder in SHIPPED:
        tensors = {"filters": filters}
        for s in (2, 3):
            shape = (5 * s, 5 * s)
            tensors[f"kernels_x{s}"] = 0.05 * rng.standard_normal((6, *shape)).astype(np.float32)
            tensors[f"mapping_x{s}"] = rng.dirichlet(np.ones(6), 9).astype(np.float32)
            tensors[f"hr_filters_x{s}"] = 0.1 * rng.standard_normal((9, *shape)).astype(np.float32)
        settings = {"iterations": 12, "tol": 0.0}
        if coder == "admm":
            settings |= {"rho": 1.0, "auto_rho": False, "relaxation": 1.8}
        row = {"lam": 0.004, "settings": settings}
        metadata = {"kind": KIND, "coder": coder, "scales": {"2": row, "3": row}}
        path = folder / f"{coder}.safetensors"
        weights.write(path, tensors, metadata)
        files[coder] = str(path)
    return files


def photo(side: int = 32, colour: bool = False) -> np.ndarray:
    """Part of a photograph of the embedded set, uint8."""
    image = dict(demo())["chelsea"][100 : 100 + side, 60 : 60 + side]
    return image if colour else rgb_to_y(image)


@pytest.mark.parametrize("scale", [2, 3])
def test_cista_gives_the_image_of_ista(small, scale):
    lr = degrade(photo(48), scale, "y").astype(np.float64)
    ista, cista = (
        CSCSR(coder, weights=small["ista"], dtype="float64").solve(SuperResolution(lr, scale))
        for coder in ("ista", "cista")
    )
    assert np.abs(ista.estimate - imresize(lr, scale)).max() > 1e-3
    np.testing.assert_allclose(cista.estimate, ista.estimate, rtol=0, atol=1e-6)
    np.testing.assert_allclose(cista.codes, ista.codes, rtol=0, atol=1e-10)


def test_sporco_makes_the_codes_of_our_admm(small):
    """With ρ fixed both are the same iteration, so that they can share a map."""
    lr = degrade(photo(36), 2, "y").astype(np.float64)
    ours, theirs = (
        CSCSR(coder, weights=small["admm"], dtype="float64").solve(SuperResolution(lr, 2))
        for coder in ("admm", "sporco-admm")
    )
    assert np.count_nonzero(ours.codes) > 100
    np.testing.assert_allclose(theirs.codes, ours.codes, rtol=0, atol=1e-10)
    np.testing.assert_allclose(theirs.estimate, ours.estimate, rtol=0, atol=1e-10)


def test_ridge_form_uses_the_ridge_kernels(small):
    lr = degrade(photo(28), 2, "y").astype(np.float64)
    solver = CSCSR("ista", "ridge", weights=small["ista"], dtype="float64")
    solution = solver.solve(SuperResolution(lr, 2))
    kernels = read_weights(small["ista"]).kernels[2]
    smooth, _ = divide(lr, 2, "float64")
    expected = smooth + enlarged_residual(torch.from_numpy(solution.codes), kernels, 5, 2)
    np.testing.assert_allclose(solution.estimate, expected, atol=1e-12)
    assert (solver.name, CSCSR(form="ridge").name) == ("csc-ridge[ista]", "csc-ridge")


def test_estimate_is_smooth_part_plus_mapped_codes(small):
    """By hand: smooth part enlarged, and a loop over the non-zero codes, each mapped to the HR
    codes at its place, each of which adds its HR filter."""
    lr = degrade(photo(28), 2, "y").astype(np.float64)
    solution = CSCSR("ista", weights=small["ista"], dtype="float64").solve(SuperResolution(lr, 2))
    trained = read_weights(small["ista"])
    smooth, residual = divide(lr, 2, "float64")
    assert residual.shape == tuple(n + 2 * MARGIN for n in lr.shape)
    mapping = trained.mappings[2]
    full = np.zeros([2 * n + 10 for n in residual.shape])
    for atom, row, column in zip(*np.nonzero(solution.codes), strict=True):
        place = np.s_[2 * row : 2 * row + 10, 2 * column : 2 * column + 10]
        for share, hr_filter in zip(mapping.mapping[:, atom], mapping.filters, strict=True):
            full[place] += solution.codes[atom, row, column] * float(share) * hr_filter.numpy()
    inside = full[2 * MARGIN :, 2 * MARGIN :][: 2 * lr.shape[0], : 2 * lr.shape[1]]
    np.testing.assert_allclose(solution.estimate, smooth + inside, rtol=0, atol=1e-7)


def test_codes_do_not_improve_when_stopped_elsewhere(small):
    """The stop rule is that of the weights: as many iterations as they say, no tolerance."""
    lr = degrade(photo(), 2, "y")
    solution = CSCSR("ista", weights=small["ista"], trace=True).solve(SuperResolution(lr, 2))
    assert solution.status is Status.MAX_ITERATIONS
    np.testing.assert_array_equal(solution.trace["iteration"], np.arange(1, 13))


@pytest.mark.parametrize("coder", SHIPPED)
def test_trace_ends_at_the_psnr_of_the_estimate(small, coder):
    truth = photo()
    lr = degrade(truth, 2, "y")
    problem = SuperResolution(lr, 2, truth=(truth / 255).astype(np.float32))
    solution = CSCSR(coder, weights=small[coder], trace=True).solve(problem)
    expected = score(solution.estimate, truth, 2, "y")["psnr"]
    assert len(solution.trace) == 12
    assert solution.trace["psnr_db"][-1] == pytest.approx(expected, abs=1e-3)
    assert np.isfinite(solution.trace["psnr_db"]).all()
    assert np.isfinite(solution.trace["objective"]).all()
    assert (np.diff(solution.trace["seconds"]) >= 0).all()


def test_no_psnr_without_a_truth(small):
    lr = degrade(photo(), 2, "y")
    solution = CSCSR("ista", weights=small["ista"], trace=True).solve(SuperResolution(lr, 2))
    assert np.isnan(solution.trace["psnr_db"]).all()


def test_callback_sees_images_and_can_stop(small):
    lr = degrade(photo(colour=True), 2, "rgb")
    images = []

    def third(iteration, image):
        images.append(image)
        return iteration == 3

    solution = CSCSR("ista", weights=small["ista"]).solve(SuperResolution(lr, 2), callback=third)
    assert [image.shape for image in images] == [(32, 32, 3)] * 3
    np.testing.assert_array_equal(images[-1], solution.estimate)


def test_colour_is_luma_by_the_method_and_bicubic_chroma(small):
    lr = degrade(photo(colour=True), 2, "rgb").astype(np.float64)
    solver = CSCSR("ista", weights=small["ista"], dtype="float64")
    colour = rgb_to_ycbcr(solver.solve(SuperResolution(lr, 2)).estimate)
    luma = solver.solve(SuperResolution(rgb_to_y(lr), 2)).estimate
    np.testing.assert_allclose(colour[..., 0], luma, atol=1e-12)
    chroma = imresize(rgb_to_ycbcr(lr)[..., 1:], 2)
    np.testing.assert_allclose(colour[..., 1:], chroma, atol=1e-12)


def test_tensors_in_tensors_out(small):
    lr = degrade(photo(), 2, "y")
    solver = CSCSR("ista", weights=small["ista"])
    numpy, tensor = (solver.solve(SuperResolution(x, 2)) for x in (lr, torch.from_numpy(lr)))
    assert isinstance(tensor.estimate, torch.Tensor)
    assert isinstance(tensor.codes, torch.Tensor)
    np.testing.assert_array_equal(tensor.estimate.numpy(), numpy.estimate)


def test_flat_image_stays_flat(small):
    lr = np.full((12, 10), 0.4, dtype=np.float32)
    for coder, trained in TRAINED_FOR.items():
        estimate = CSCSR(coder, weights=small[trained]).solve(SuperResolution(lr, 2)).estimate
        np.testing.assert_allclose(estimate, 0.4, atol=1e-6)


@pytest.mark.parametrize(
    ("coder", "trained"),
    [("ista", "admm"), ("cista", "fista"), ("sporco-admm", "ista"), ("admm", "fista")],
)
def test_map_of_another_coder_is_refused(small, coder, trained):
    problem = SuperResolution(degrade(photo(), 2, "y"), 2)
    with pytest.raises(InputError, match=f"fitted to codes of {trained}"):
        CSCSR(coder, weights=small[trained]).solve(problem)


def test_weights_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    weights.write(path, {"filters": np.zeros(3)}, {"kind": "something else"})
    with pytest.raises(InputError, match="something else"):
        read_weights(str(path))


def test_weights_cut_short_are_refused(small, tmp_path):
    cut = tmp_path / "cut.safetensors"
    with open(small["ista"], "rb") as whole:
        cut.write_bytes(whole.read()[:-100])
    with pytest.raises(InputError, match="cut short"):
        CSCSR("ista", weights=str(cut)).solve(SuperResolution(degrade(photo(), 2, "y"), 2))


def test_reasons_why_not(small):
    ista = CSCSR("ista", weights=small["ista"])
    assert "maps for ×2, ×3, not for ×4" in ista.supports(SuperResolution(np.zeros((9, 9)), 4))
    assert "at least 5x5" in ista.supports(SuperResolution(np.zeros((4, 9)), 2))
    assert ista.supports(SuperResolution(np.zeros((5, 5)), 2)) is None
    with pytest.raises(InputError, match="on the CPU only, not on cuda"):
        CSCSR("sporco-admm", weights=small["admm"], device="cuda")


def test_explicit_cista_past_its_cap_says_so(small):
    cista = CSCSR("cista", weights=small["ista"])
    large = SuperResolution(np.zeros((3000, 3000), np.float32), 2)
    assert "6 atoms of 5x5" in cista.supports(large)
    assert "its cap of 2e+10" in cista.supports(large)
    assert CSCSR("ista", weights=small["ista"]).supports(large) is None


def test_unknown_coder_and_dtype():
    with pytest.raises(InputError, match="did you mean"):
        CSCSR("sporco-adm")
    with pytest.raises(InputError, match="float16"):
        CSCSR("ista", dtype="float16")
    with pytest.raises(InputError, match="form"):
        CSCSR("ista", "rigde")


@pytest.mark.parametrize("coder", SHIPPED)
def test_shipped_metadata_is_complete(coder):
    trained = read_weights(weights_name(coder))
    assert trained.coder == coder
    assert trained.scales == list(SCALES)
    np.testing.assert_allclose(np.linalg.norm(trained.filters, axis=(1, 2)), 1, rtol=1e-6)
    for scale in SCALES:
        assert trained.settings[scale]["tol"] == 0
        assert trained.kernels[scale].shape[0] == len(trained.filters)
        assert trained.kernels[scale].shape[1] % scale == 0
        mapping = trained.mappings[scale].mapping
        assert mapping.shape[1] == len(trained.filters)
        assert mapping.shape[0] == len(trained.mappings[scale].filters) >= len(trained.filters)
        assert (mapping >= 0).all()
        torch.testing.assert_close(mapping.sum(1), torch.ones(len(mapping)), atol=2e-3, rtol=0)
    assert weights.weights_path(weights_name(coder)).stat().st_size < 12_000_000


@pytest.mark.slow
@pytest.mark.parametrize("coder", ["ista", "fista"])
def test_a_map_wants_the_codes_it_was_fitted_to(coder, tmp_path):
    """Near its stop rule the map does well; before it and long after it, worse."""
    tensors, metadata = weights.load(weights_name(coder))
    settings = metadata["scales"]["2"]["settings"]
    stop = settings["iterations"]
    settings["iterations"] = 150
    longer = tmp_path / "longer.safetensors"
    weights.write(longer, tensors, metadata)
    truth = rgb_to_y(dict(demo())["chelsea"])[60:156, 60:156]
    problem = SuperResolution(degrade(truth, 2, "y"), 2, truth=(truth / 255).astype(np.float32))
    trace = CSCSR(coder, weights=str(longer), trace=True).solve(problem).trace
    psnr_db = trace["psnr_db"]
    assert psnr_db[stop - 1] > max(psnr_db[0], psnr_db[-1]) + 0.3
    assert psnr_db[stop - 1] > psnr_db.max() - 0.15


def test_psnr_of_a_trace_is_that_of_the_protocol(small):
    """The trace rounds to 8 bits and cuts off `scale` pixels, as the tables do."""
    truth = photo(30)
    problem = SuperResolution(degrade(truth, 3, "y"), 3, truth=(truth / 255).astype(np.float32))
    solution = CSCSR("ista", weights=small["ista"], trace=True).solve(problem)
    rounded = np.clip(np.floor(solution.estimate.astype(float) * 255 + 0.5), 0, 255)
    expected = psnr(rounded[3:-3, 3:-3], truth[3:-3, 3:-3].astype(float))
    assert solution.trace["psnr_db"][-1] == pytest.approx(expected, abs=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_computes_on_the_device_of_the_image(small):
    lr = torch.from_numpy(degrade(photo(), 2, "y"))
    torch.cuda.reset_peak_memory_stats()
    on_gpu = CSCSR("ista", weights=small["ista"]).solve(SuperResolution(lr.cuda(), 2)).estimate
    assert torch.cuda.max_memory_allocated() > 4 * 6 * (16 + 2 * MARGIN) ** 2  # the codes
    on_cpu = CSCSR("ista", weights=small["ista"]).solve(SuperResolution(lr, 2)).estimate
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=0, atol=1e-4)


@pytest.mark.parametrize("colour", [False, True])
def test_self_ensemble_is_the_mean_over_the_eight_orientations(small, colour):
    """By numpy, of a single solve of each: a square image would hide sides that are swapped."""
    lr = degrade(photo(36, colour)[:, :30], 2, "rgb" if colour else "y").astype(np.float64)
    single = CSCSR("ista", weights=small["ista"], dtype="float64")
    luma = rgb_to_y(lr) if colour else lr
    total = np.zeros((36, 30))
    for mirrored in (False, True):
        for turns in range(4):
            turned = np.rot90(luma[::-1] if mirrored else luma, turns).copy()
            back = np.rot90(single.solve(SuperResolution(turned, 2)).estimate, -turns)
            total += back[::-1] if mirrored else back
    plus = CSCSR("ista", weights=small["ista"], dtype="float64", self_ensemble=True)
    solution = plus.solve(SuperResolution(lr, 2))
    estimate = rgb_to_y(solution.estimate) if colour else solution.estimate
    np.testing.assert_allclose(estimate, total / 8, rtol=0, atol=1e-12 if not colour else 1e-6)
    assert np.abs(estimate - single.solve(SuperResolution(luma, 2)).estimate).max() > 1e-4
    assert (plus.name, solution.codes, len(solution.trace)) == ("csc-sr[ista]+", None, 0)


@pytest.mark.parametrize("self_ensemble", [False, True])
def test_back_projection_brings_the_estimate_to_the_input(small, self_ensemble):
    lr = degrade(photo(48), 3, "y").astype(np.float64)

    def estimate(steps: int) -> np.ndarray:
        solver = CSCSR(
            "ista",
            weights=small["ista"],
            dtype="float64",
            self_ensemble=self_ensemble,
            back_projections=steps,
        )
        return solver.solve(SuperResolution(lr, 3)).estimate

    before, once = estimate(0), estimate(1)
    expected = before + imresize(lr - imresize(before, 1 / 3), 3)
    np.testing.assert_allclose(once, expected, rtol=0, atol=1e-12)
    assert np.abs(imresize(once, 1 / 3) - lr).max() < np.abs(imresize(before, 1 / 3) - lr).max()


def test_operations_of_eight_orientations_are_eight_times_one(small):
    problem = SuperResolution(degrade(photo(), 2, "y"), 2)
    one, eight = (
        CSCSR("ista", weights=small["ista"], self_ensemble=plus).operations(problem)
        for plus in (False, True)
    )
    assert eight == 8 * one


@pytest.mark.parametrize("steps", [-1, 101, 1.5])
def test_steps_of_back_projection_are_a_whole_number_of_at_most_100(steps):
    with pytest.raises(InputError, match="back_projections"):
        CSCSR(back_projections=steps)
