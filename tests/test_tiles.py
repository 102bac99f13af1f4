"""Pictures enlarged in parts: the same pixels as in one piece, and memory that does not grow."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cscsr
from cscsr import InputError, Solution, Solver, Status, SuperResolution
from cscsr.data.datasets import demo
from cscsr.imaging import imresize, to_uint8
from cscsr.imaging.picture import Picture
from cscsr.network import TILE_BYTES
from cscsr.tiles import PARTS, enlarged_bands, tiles


def photo(height: int, width: int, channels: int | None = 3) -> np.ndarray:
    image = dict(demo())["coffee"]
    tiled = np.tile(image, (-(-height // 256), -(-width // 256), 1))[:height, :width]
    return tiled if channels else np.ascontiguousarray(tiled[..., 0])


def enlarged(solver: Solver, picture: Picture, scale: int, **options) -> np.ndarray:
    return np.concatenate(list(enlarged_bands(solver, picture, scale, **options)))


@pytest.mark.parametrize("channels", [None, 3])
def test_bicubic_in_parts_is_bicubic(channels):
    image = photo(300, 530, channels)
    calls = []
    out = enlarged(
        cscsr.make_solver("bicubic"), Picture(image), 3, progress=lambda *args: calls.append(args)
    )
    whole = to_uint8(imresize((image / np.float32(255)).astype(np.float32), 3))
    np.testing.assert_array_equal(out.squeeze(), whole)
    assert [(done, parts) for done, parts, _ in calls] == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("name", ["crnet-a-small", "crnet-b-small"])
def test_networks_in_parts_are_the_whole(name, monkeypatch):
    """To one 8-bit step where rounding falls on the other side, in very few pixels."""
    image = photo(84, 52)
    solver = cscsr.make_solver(name)
    whole = enlarged(solver, Picture(image), 2)
    ratio = solver.network().input_ratio(2)
    solver = cscsr.make_solver(name, tile=28 * ratio)
    parts = enlarged(solver, Picture(image), 2)
    different = parts.astype(int) - whole
    assert np.abs(different).max() <= 1
    assert (different != 0).mean() < 1e-3
    monkeypatch.setattr(type(solver), "halo", lambda self, scale: 2)
    seams = enlarged(solver, Picture(image), 2).astype(int) - whole
    assert (seams != 0).mean() > 1e-3, "a halo that is too small makes seams"


def test_the_least_tile_is_one_pixel_of_the_image():
    """A tile of 2 pixels of the network's input, which has 3x3 of them for each of the image's."""
    image, length = photo(30, 4), 30
    whole, solver = (cscsr.make_solver("crnet-a-small", tile=tile) for tile in (0, 2))
    halo = solver.halo(3)
    heights = [min(length, row + halo + 1) - max(0, row - halo) for row in range(length)]
    problem = SuperResolution((image / 255).astype(np.float32), 3)
    expected = solver.network().multiply_adds(3) * 4 * sum(heights)
    assert solver.operations(problem) == pytest.approx(expected)
    parts = enlarged(solver, Picture(image), 3)
    different = parts.astype(int) - enlarged(whole, Picture(image), 3)
    assert np.abs(different).max() <= 1


CSC = [name for name in cscsr.list_solvers("SuperResolution") if name.startswith("csc-")]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CSC if "cista" not in name])  # ista's iterates
def test_csc_sr_owes_little_to_pixels_beyond_its_halo(name):
    luma = photo(100, 100)[..., 1].astype(np.float32) / 255
    solver = cscsr.make_solver(name)
    halo = solver.halo(2)
    whole = solver.solve(SuperResolution(luma, 2)).estimate
    first, last = 40, 60
    window = slice(first - halo, last + halo)  # not at the edge
    part = solver.solve(SuperResolution(np.ascontiguousarray(luma[window, window]), 2)).estimate
    inside, there = slice(2 * halo, -2 * halo), slice(2 * first, 2 * last)
    assert np.abs(part[inside, inside] - whole[there, there]).max() * 255 < 0.01


def test_sixteen_bits_are_not_rounded_to_eight():
    ramp = np.linspace(20_000, 21_000, 64).astype(np.uint16)
    image = np.tile(ramp, (40, 1))
    out = enlarged(cscsr.make_solver("bicubic"), Picture(image), 2)
    assert out.dtype == np.uint16
    assert len(np.unique(out)) > 100
    expected = np.floor(imresize(image / 65535, 2) * 65535 + 0.5)
    assert np.abs(out[..., 0] - expected).max() <= 1


def test_alpha_is_enlarged_and_hidden_colours_do_not_bleed():
    image = np.zeros((40, 40, 3), np.uint8)  # black where it is hidden, as many programs leave it
    alpha = np.zeros((40, 40), np.uint8)
    image[10:30, 10:30], alpha[10:30, 10:30] = (200, 100, 50), 255
    out = enlarged(cscsr.make_solver("bicubic"), Picture(image, alpha), 3)
    assert out.shape == (120, 120, 4)
    expected = to_uint8(imresize(alpha / 255.0, 3))
    assert np.abs(out[..., 3].astype(int) - expected).max() <= 1
    visible = out[..., 3] > 0
    assert np.abs(out[visible][:, :3].astype(int) - (200, 100, 50)).max() <= 1
    hidden = enlarged(cscsr.make_solver("bicubic"), Picture(image, 0 * alpha), 3)
    assert not hidden[..., 3].any()


@pytest.mark.parametrize("side", [None, 16])
def test_hidden_pixels_take_the_nearest_colour_of_the_whole_picture(side):
    """Of two visible pixels the second lies outside the window of the part that holds the first. No
    pixel is as near to the one as to the other: the squares of their distances differ in parity."""
    colours, places = np.array([(250, 10, 90), (20, 240, 130)], np.uint8), ((8, 15), (8, 18))
    image, alpha = np.full((40, 48, 3), 128, np.uint8), np.zeros((40, 48), np.uint8)
    for colour, place in zip(colours, places, strict=True):
        image[place], alpha[place] = colour, 255
    rows, columns = np.mgrid[:40, :48]
    squares = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in places]
    filled = colours[np.argmin(squares, axis=0)]
    expected = to_uint8(imresize((filled / np.float32(255)).astype(np.float32), 2))
    out = enlarged(cscsr.make_solver("bicubic"), Picture(image, alpha), 2, side=side)
    np.testing.assert_array_equal(out[..., :3], expected)


@pytest.mark.parametrize("channels", [None, 3])
def test_parts_of_a_picture_that_is_mostly_hidden_are_the_whole(channels):
    alpha = np.where(np.random.default_rng(0).random((96, 96)) < 0.03, 255, 0).astype(np.uint8)
    picture, solver = Picture(photo(96, 96, channels), alpha), cscsr.make_solver("bicubic")
    whole, parts = (enlarged(solver, picture, 2, side=side) for side in (96, 16))
    np.testing.assert_array_equal(parts, whole)


def test_memory_does_not_grow_with_the_height():
    """Beyond the image itself: a band and the work on one part, whatever the number of bands."""
    solver = cscsr.make_solver("bicubic")
    peaks = []
    for height in (512, 1536):
        picture = Picture(photo(height, 300, None))
        tracemalloc.start()
        for _band in enlarged_bands(solver, picture, 4):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@dataclass(frozen=True)
class Capped(Solver[SuperResolution]):
    """Bicubic that declines more than `side` pixels a side; knows its halo if `local`."""

    side: int = 200
    local: bool = True
    broken: bool = False
    problem_type = SuperResolution
    name = "capped"

    def supports(self, problem):
        return "capped: too large." if max(problem.lr.shape[:2]) > self.side else None

    def halo(self, scale):
        return 2 if self.local else None

    def solve(self, problem, *, init=None, callback=None):
        assert self.supports(problem) is None
        estimate = imresize(problem.lr, problem.scale)
        return Solution(estimate * np.nan if self.broken else estimate, Status.DIRECT)


def test_smaller_parts_where_the_solver_declines_large_ones():
    image = photo(300, 300, None)
    np.testing.assert_array_equal(
        enlarged(Capped(), Picture(image), 2),
        enlarged(cscsr.make_solver("bicubic"), Picture(image), 2),
    )
    with pytest.raises(InputError, match="too large"):
        enlarged(Capped(side=min(PARTS) // 2), Picture(image), 2)


@pytest.mark.parametrize("name", ["crnet-a-small", "crnet-b-small", "csc-sr[admm]"])
def test_a_scale_that_was_not_trained_for_is_refused_with_the_reason(name):
    with pytest.raises(InputError, match=r"for x2, x3, x4, not for x5|maps for ×2, ×3, ×4"):
        enlarged(cscsr.make_solver(name), Picture(photo(30, 20)), 5)


def test_solver_without_a_halo_gets_the_whole_image():
    with pytest.raises(InputError, match="too large"):
        enlarged(Capped(local=False), Picture(photo(300, 20, None)), 2)
    assert enlarged(Capped(local=False), Picture(photo(150, 20, None)), 2).shape == (300, 40, 1)


def test_answer_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="returned an estimate with NaN or infinity"):
        enlarged(Capped(broken=True), Picture(photo(20, 20)), 2)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(4, 30), st.integers(0, 12))
def test_tiles_cover_every_pixel_once_with_their_halos(height, width, side, halo):
    covered = np.zeros((height, width), int)
    for tile in itertools.chain.from_iterable(tiles(height, width, side, halo)):
        covered[tile.rows, tile.columns] += 1
        for part, around, length in zip(
            (tile.rows, tile.columns), tile.window, (height, width), strict=True
        ):
            size = part.stop - part.start
            assert 1 <= size <= side or size == length <= side + 2 * halo
            assert around == slice(max(0, part.start - halo), min(length, part.stop + halo))
    assert (covered == 1).all()
    numbered = np.arange(height * width).reshape(height, width)
    for tile in itertools.chain.from_iterable(tiles(height, width, side, halo)):
        window = np.kron(numbered[tile.window], np.ones((2, 2), int))
        part = np.kron(numbered[tile.rows, tile.columns], np.ones((2, 2), int))
        np.testing.assert_array_equal(window[tile.inside(2)], part)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("crnet-a-small", 3), ("crnet-b-small", 2)])
def test_no_pixel_of_a_file_is_computed_more_often_than_the_halo_demands(name, scale):
    """Cut once: the network sees each part with its halo, as far as the image reaches."""
    side, height, width = 20, 90, 50
    solver = cscsr.make_solver(name)
    network = solver.network()
    ratio, halo = network.input_ratio(scale), solver.halo(scale)
    solver = cscsr.make_solver(name, tile=side * ratio)
    sizes = []
    handle = network.register_forward_hook(lambda layer, x, out: sizes.append(x[0].shape[2:]))
    enlarged(solver, Picture(photo(height, width)), scale)
    handle.remove()
    rows, columns = (
        [
            min(length, (i + 1) * length // n + halo) - max(0, i * length // n - halo)
            for i in range(n)
        ]
        for length, n in ((height, 5), (width, 1 if width <= side + 2 * halo else 3))
    )
    assert sizes == [(ratio * r, ratio * c) for r in rows for c in columns]


@pytest.mark.parametrize("name", ["crnet-a-small", "crnet-b-small"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_part_of_a_large_file_with_its_halo_is_computed_whole_and_fits_the_bound(name, scale):
    solver = cscsr.make_solver(name)
    network, halo = solver.network(), solver.halo(scale)
    window = solver.tile_side(scale) + 2 * halo
    problem = SuperResolution(np.zeros((window, window, 3), np.float32), scale)
    assert solver.operations(problem) == network.multiply_adds(scale) * window**2
    assert network.pixel_bytes(scale) * (network.input_ratio(scale) * window) ** 2 <= TILE_BYTES
