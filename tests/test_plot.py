"""Plots: curves are the traces, atoms and maps are where they belong, PSNR is the tables'."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch

import cscsr
from cscsr import InputError, SparseCoding, SuperResolution, plot
from cscsr.data.datasets import demo
from cscsr.imaging import degrade, score
from cscsr.solver import Trace

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def problem():
    numbers = np.random.default_rng(0)
    return SparseCoding(numbers.random((20, 24)), numbers.standard_normal((6, 3, 3)), lam=0.5)


@pytest.fixture(scope="module")
def solutions(problem):
    return {
        name: cscsr.make_solver(name, iterations=12, gap=True).solve(problem)
        for name in ("ista", "fista")
    }


def test_a_curve_is_the_column_of_its_trace(solutions):
    axes = plot.trace(solutions)
    assert [line.get_label() for line in axes.lines] == ["ista", "fista"]
    for line, solution in zip(axes.lines, solutions.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), solution.trace["iteration"])
        np.testing.assert_array_equal(line.get_ydata(), solution.trace["objective"])
    assert axes.get_yscale() == "linear"
    assert len({line.get_color() for line in axes.lines}) == 2
    assert len(axes.get_legend().get_texts()) == 2


def test_with_the_optimum_the_gap_is_drawn(problem, solutions):
    optimum = problem.objective(cscsr.ActiveSet(gap_tol=1e-8).solve(problem).codes)
    axes = plot.trace(solutions["ista"], optimum=optimum, x="seconds")
    expected = (solutions["ista"].trace["objective"] - optimum) / optimum
    np.testing.assert_allclose(axes.lines[0].get_ydata(), expected)
    assert axes.get_yscale() == "log" and axes.get_legend() is None


def test_curves_go_into_given_axes_and_many_stay_apart(solutions):
    figure, made = plot.panels(1, 2, (6, 3))
    given = plot.trace({str(n): solutions["ista"] for n in range(10)}, "duality_gap", ax=made[0, 1])
    assert given is made[0, 1] and given.figure is figure
    looks = {(line.get_color(), line.get_linestyle()) for line in given.lines}
    assert len(looks) == 10
    assert given.get_yscale() == "log"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"y": "psnr"}, "a trace has the columns iteration, seconds"),
        ({"y": "psnr_db"}, "has no values of psnr_db; give the problem its truth"),
        ({"x": "operations"}, "has no values of operations"),
        ({"y": "nnz", "optimum": 1.0}, "an optimum belongs to the objective, not to nnz"),
    ],
)
def test_a_column_that_is_not_there_is_refused(solutions, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        plot.trace(solutions["fista"], **arguments)


def test_what_has_no_trace_is_refused():
    for solutions in ({}, {"a": 3}, Trace()):
        with pytest.raises(InputError):
            plot.trace(solutions)


@pytest.mark.parametrize("count", [1, 5, 16, 23])
def test_a_montage_holds_every_atom_once(count):
    atoms = np.random.default_rng(count).standard_normal((count, 4, 3))
    sheet = plot.montage(atoms)
    rows, columns = (sheet.shape[0] - 1) // 5, (sheet.shape[1] - 1) // 4
    assert rows * columns >= count and (rows - 1) * columns < count
    for number, atom in enumerate(atoms):
        row, column = divmod(number, columns)
        drawn = sheet[5 * row + 1 : 5 * row + 5, 4 * column + 1 : 4 * column + 4]
        np.testing.assert_allclose(drawn, atom / np.abs(atom).max())
    assert np.isfinite(sheet).sum() == atoms.size


def test_a_flat_atom_is_grey_and_torch_and_colour_are_drawn():
    assert (plot.montage(np.zeros((1, 2, 2)))[1:3, 1:3] == 0).all()
    grey = plot.dictionary(torch.randn(5, 1, 4, 4)).images[0].get_array()
    assert grey.ndim == 2
    colour = plot.dictionary(torch.randn(5, 3, 4, 4)).images[0].get_array()
    assert colour.shape[2] == 3 and colour.min() >= 0 and colour.max() <= 1
    with pytest.raises(InputError, match="C = 1 or 3, got"):
        plot.dictionary(np.zeros((5, 2, 4, 4)))
    for draw in (plot.dictionary, plot.codes):
        with pytest.raises(InputError, match="must be finite"):
            draw(np.full((5, 4, 4), np.nan))


def test_the_strongest_maps_are_drawn_in_their_order(problem, solutions):
    maps = solutions["fista"].codes
    figure = plot.codes(maps, most=3, filters=problem.dictionary)
    total, *others = [axes for axes in figure.axes if axes.get_title()]
    np.testing.assert_allclose(total.images[0].get_array(), np.abs(maps).sum(0))
    strongest = np.argsort(-np.abs(maps).sum((1, 2)))[:3]
    for axes, number in zip(others, strongest, strict=True):
        assert axes.get_title().startswith(f"atom {number}, ")
        np.testing.assert_allclose(axes.images[0].get_array(), np.abs(maps[number]))
    with pytest.raises(InputError, match="of a batch, take one"):
        plot.codes(maps[None])
    with pytest.raises(InputError, match="6 maps, but the dictionary 5 atoms"):
        plot.codes(maps, filters=problem.dictionary[:5])


def test_images_have_the_psnr_of_the_tables():
    scale = 3
    truth = dict(demo())["astronaut"][:60, :48]
    small = degrade(truth, scale, "rgb")
    estimate = cscsr.Bicubic().solve(SuperResolution(small, scale)).estimate
    box = (10, 20, 12, 9)
    figure = plot.compare_images({"bicubic": estimate}, truth, scale=scale, box=box)
    titled = [axes for axes in figure.axes if axes.get_title()]
    expected = score(estimate, truth, scale, "rgb")["psnr"]
    assert titled[0].get_title() == f"bicubic\n{expected:.2f} dB"
    assert titled[1].get_title().strip() == "truth"
    parts = [axes.images[0].get_array() for axes in figure.axes if not axes.get_title()]
    np.testing.assert_array_equal(parts[1], truth[10:22, 20:29])
    for images, box, sentence in (
        ({"a": estimate[1:]}, None, "one size, but a has shape"),
        ({"a": estimate}, (50, 0, 20, 5), "does not lie in 60x48 pixels"),
        ({}, None, "no image"),
    ):
        with pytest.raises(InputError, match=sentence):
            plot.compare_images(images, truth, box=box)


def test_matplotlib_is_imported_by_a_plot_alone():
    code = (
        "import sys, cscsr.plot\nassert 'matplotlib' not in sys.modules\n"
        "cscsr.plot.panels()\nassert 'matplotlib' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
