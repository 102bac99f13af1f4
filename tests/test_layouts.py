"""Arrays as torch's and sporco's users have them give the answers of the package's own layout."""

import numpy as np
import pytest
import torch

import cscsr
from cscsr import InputError, SuperResolution
from cscsr.data.datasets import demo
from cscsr.sparse.sporco import SporcoADMM

PHOTO = dict(demo())["astronaut"][40:60, 100:116]


def plain(image, scale, name="bicubic"):
    """By the problem and the solver, image by image."""
    return cscsr.make_solver(name).solve(SuperResolution(image, scale)).estimate


@pytest.mark.parametrize("name", ["bicubic", "crnet-b-small"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_channels_first_and_last_give_the_same_image(name, kind):
    image = PHOTO.astype(np.float32) / 255
    expected = plain(image, 2, name)
    first = np.ascontiguousarray(image.transpose(2, 0, 1))
    given = first if kind == "numpy" else torch.from_numpy(first)
    large = cscsr.upscale(given, 2, name, layout="chw")
    assert type(large) is type(given) and large.dtype == given.dtype
    assert tuple(large.shape) == (3, 40, 32)
    np.testing.assert_array_equal(np.asarray(large).transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(cscsr.upscale(image, 2, cscsr.make_solver(name)), expected)


@pytest.mark.parametrize("layout", ["hwc", "chw"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_members(layout, channels):
    batch = np.stack([PHOTO, PHOTO[::-1]]).astype(np.float64)[..., :channels] / 255
    expected = [plain(one.squeeze(), 3).reshape(60, 48, channels) for one in batch]
    given = torch.from_numpy(batch if layout == "hwc" else batch.transpose(0, 3, 1, 2).copy())
    large = cscsr.upscale(given, 3, "bicubic", layout=layout)
    assert large.dtype == torch.float64 and large.is_contiguous()
    large = large.numpy() if layout == "hwc" else large.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(large, np.stack(expected))


def test_one_channel_keeps_its_axis():
    grey = PHOTO[..., 1].astype(np.float32) / 255
    expected = plain(grey, 2)
    for given, layout in (
        (grey, "hwc"),
        (grey, "chw"),
        (grey[..., None], "hwc"),
        (grey[None], "chw"),
    ):
        large = cscsr.upscale(given, 2, "bicubic", layout=layout)
        assert large.ndim == given.ndim
        np.testing.assert_array_equal(large.squeeze(), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tensor", [False, True])
def test_whole_numbers_stand_for_their_share_and_come_back_rounded(dtype, tensor):
    largest = np.iinfo(dtype).max
    pixels = (PHOTO.astype(np.uint64) * largest // 255).astype(dtype)
    expected = plain((pixels / largest).astype(np.float32), 2)
    given = torch.from_numpy(pixels) if tensor else pixels
    large = np.asarray(cscsr.upscale(given, 2, "bicubic"))
    assert large.dtype == dtype
    assert np.abs(large - (expected * largest).clip(0, largest)).max() <= 0.5 + 1e-6 * largest
    assert expected.max() > 0.5, "or the clipping is not tested"


@pytest.mark.parametrize(
    ("images", "options", "sentence"),
    [
        (np.zeros((3, 8, 9)), {}, r"layout 'hwc' must have shape \(H, W\), .* got \(3, 8, 9\)"),
        (np.zeros((8, 9, 3)), {"layout": "chw"}, r"layout 'chw' .* got \(8, 9, 3\)"),
        (np.zeros((8, 9, 4)), {}, "1 or 3 channels"),
        (np.zeros((2, 2, 3, 8, 9)), {"layout": "chw"}, "must have shape"),
        (np.zeros((8, 9)), {"layout": "bchw"}, "unknown layout 'bchw'"),
        (np.zeros((8, 9), np.int32), {}, r"in \[0, 1\], uint8 or uint16, got int32\.$"),
        (np.zeros((8, 9), bool), {}, r"in \[0, 1\], uint8 or uint16, got bool\.$"),
        (torch.zeros(8, 9, dtype=torch.bfloat16), {}, r"or uint16, got torch\.bfloat16\.$"),
        (np.zeros((8, 9)), {"solver": 3}, "expected the name of a solver or a solver, got 3"),
        (np.full((8, 9), 200.0), {}, "divide 8-bit values by 255"),
        (np.zeros((8, 9)), {"solver": "ista"}, "ista does not enlarge images"),
        ("photo.png", {}, "must have shape"),
    ],
)
def test_what_is_no_image_is_refused(images, options, sentence):
    with pytest.raises(InputError, match=sentence):
        cscsr.upscale(images, 2, **{"solver": "bicubic", **options})


@pytest.mark.parametrize("channels", [1, 3])
def test_sporcos_arrays_make_sporcos_problem(channels):
    """The objective is that of sporco's own arrays, computed from its definition by FFTs, and our
    solver comes to the optimum that sporco itself comes to."""
    from sporco.admm import cbpdn

    numbers = np.random.default_rng(channels)
    atoms = numbers.standard_normal((5, 3, channels, 6))
    image = numbers.random((18, 21, channels))
    if channels == 1:
        atoms, image = atoms[:, :, 0], image[..., 0]
    problem = cscsr.from_sporco(atoms, image, 0.4)
    assert problem.dictionary.shape[-2:] == (5, 3) and problem.codes_shape == (6, 18, 21)
    codes = numbers.standard_normal(problem.codes_shape)
    spectrum = np.fft.fft2(np.moveaxis(atoms, -1, 0), (18, 21), axes=(1, 2))
    products = spectrum * np.fft.fft2(codes)[(...,) + (None,) * (atoms.ndim - 3)]
    synthesis = np.fft.ifft2(products.sum(0), axes=(0, 1)).real
    expected = 0.5 * ((synthesis - image) ** 2).sum() + 0.4 * np.abs(codes).sum()
    assert problem.objective(codes) == pytest.approx(expected, rel=1e-10)

    options = cbpdn.ConvBPDN.Options(
        {"MaxMainIter": 400, "RelStopTol": 1e-6, "AutoRho": {"Enabled": True}}
    )
    dim = 2
    theirs = cbpdn.ConvBPDN(atoms, image, 0.4, options, dimK=0 if channels == 3 else None, dimN=dim)
    found = np.moveaxis(theirs.solve().squeeze(), -1, 0)
    assert problem.duality_gap(found) < 1e-2 * problem.objective(found)
    ours = cscsr.ADMM(iterations=400).solve(problem).codes
    assert problem.objective(ours) == pytest.approx(problem.objective(found), rel=1e-3)


def test_sporcos_one_channel_arrays_and_weights_by_atom():
    numbers = np.random.default_rng(0)
    atoms, image = numbers.standard_normal((4, 4, 5)), numbers.random((9, 12))
    lam = np.linspace(0.1, 0.5, 5)
    one = cscsr.from_sporco(atoms, image, lam)
    other = cscsr.from_sporco(atoms[:, :, None], image[..., None], lam, nonnegative=True)
    codes = np.abs(numbers.standard_normal(one.codes_shape))
    assert one.objective(codes) == pytest.approx(other.objective(codes))
    assert other.nonnegative and one.lam.shape == (5, 1, 1)
    for shapes in (((4, 4, 3, 5), (9, 12)), ((4, 4, 5), (9, 12, 3)), ((4, 5), (9, 12))):
        with pytest.raises(InputError, match="sporco's arrays have shapes"):
            cscsr.from_sporco(*map(np.zeros, shapes), 0.1)


def test_sporcos_solver_runs_on_the_problem():
    numbers = np.random.default_rng(3)
    problem = cscsr.from_sporco(numbers.standard_normal((3, 5, 4)), numbers.random((10, 16)), 0.3)
    solution = SporcoADMM(iterations=200).solve(problem)
    assert problem.objective(solution.codes) < problem.objective(0 * solution.codes)
