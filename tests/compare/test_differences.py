"""Differences between solvers: their spread, their interval, and when they are a tie."""

import math

import numpy as np
import pytest

from cscsr.compare.differences import BETTER, FEW, LEAST_IMAGES, TIE, WORSE, intervals, pairwise


def figures(images, gains, spread=0.3, seed=1):
    """PSNR of solvers that gain so much over a common base, with a spread of their own."""
    draw = np.random.default_rng(seed)
    base = 28 + 3 * draw.standard_normal(images)
    return {
        name: base + gain + spread * draw.standard_normal(images) for name, gain in gains.items()
    }


def test_mean_spread_and_images_won_are_those_of_the_differences():
    first, second = [30.0, 31.0, 33.0, 29.0], [29.5, 31.5, 32.0, 29.0]
    (difference,) = pairwise({"a": first, "b": second}).values()
    assert difference.images == 4
    assert difference.mean_db == pytest.approx(0.25)
    assert difference.spread_db == pytest.approx(np.std([0.5, -0.5, 1.0, 0.0], ddof=1))
    assert (difference.won, difference.lost) == (2, 1)
    back = difference.reversed()
    assert (back.mean_db, back.won, back.lost) == (-difference.mean_db, 1, 2)


def test_an_interval_is_given_from_ten_images_up():
    for images, has_one in ((LEAST_IMAGES - 1, False), (LEAST_IMAGES, True)):
        (difference,) = pairwise(figures(images, {"a": 1.0, "b": 0.0})).values()
        assert (difference.low_db is not None) is has_one
        assert (difference.verdict == FEW) is not has_one


def test_a_clear_difference_is_none_by_chance_and_a_small_one_is_a_tie():
    differences = pairwise(figures(100, {"a": 1.0, "b": 0.0, "c": 0.001}))
    assert differences["a", "b"].verdict == BETTER
    assert differences["a", "b"].reversed().verdict == WORSE
    close = differences["b", "c"]
    assert close.verdict == TIE
    assert close.low_db < 0 < close.high_db


def test_equal_solvers_tie():
    same = figures(20, {"a": 0.0})["a"]
    (difference,) = pairwise({"a": same, "b": same}).values()
    assert (difference.verdict, difference.won, difference.lost) == (TIE, 0, 0)


def test_the_interval_is_that_of_the_mean():
    """For many images the bootstrap's interval is mean ± 1.96 s/√n."""
    draw = np.random.default_rng(5)
    differences = 0.2 + 0.5 * draw.standard_normal((100, 3))
    low, high = intervals(differences)
    middle = differences.mean(axis=0)
    half = 1.96 * differences.std(axis=0, ddof=1) / math.sqrt(100)
    np.testing.assert_allclose(low, middle - half, atol=0.1 * half.max())
    np.testing.assert_allclose(high, middle + half, atol=0.1 * half.max())


@pytest.mark.parametrize("images", [10, 14, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_it_covers_the_true_mean_as_often_as_it_says(shape, images):
    """In 2000 samples within about three standard errors of 95 %, of differences without skewness
    and with much of it."""
    draw = np.random.default_rng(7)
    differences = getattr(draw, f"standard_{shape}")(size=(images, 2000))
    true_mean = {"normal": 0.0, "exponential": 1.0}[shape]
    low, high = np.hstack([intervals(part) for part in np.split(differences, 40, axis=1)])
    inside = ((low <= true_mean) & (high >= true_mean)).mean()
    assert 0.935 <= inside <= 0.965


def test_the_interval_is_studentised():
    """The same from the definition, with resamples of its own."""
    differences = np.random.default_rng(3).exponential(size=14)
    mean, spread = differences.mean(), differences.std(ddof=1)
    drawn = np.random.default_rng(11).choice(differences, (40_000, 14))
    t = (drawn.mean(axis=1) - mean) / drawn.std(axis=1, ddof=1)
    low, high = intervals(differences[:, None])[:, 0]
    assert low == pytest.approx(mean - np.quantile(t, 0.975) * spread, abs=0.03 * spread)
    assert high == pytest.approx(mean - np.quantile(t, 0.025) * spread, abs=0.1 * spread)
    assert high - mean > 1.5 * (mean - low), "longer on the side of the long tail"


def test_differences_that_are_all_equal_have_that_value_as_interval():
    bounds = intervals(np.array([[0.0, 0.5, -0.1]] * 12))
    np.testing.assert_allclose(bounds, [[0.0, 0.5, -0.1]] * 2, rtol=1e-12)


@pytest.mark.parametrize("others", [np.zeros(9), 1e-9 * np.arange(9)], ids=["equal", "nearly so"])
def test_one_image_that_differs_gives_a_finite_interval(others):
    """A third of the resamples lack that image and have no spread, or next to none."""
    differences = np.append(others, 1.0)
    low, high = intervals(np.column_stack([differences, -differences]))
    assert np.isfinite([low, high]).all()
    assert -1.0 < low[0] < 0.0 < differences.mean() < high[0] < 2.0, "a tie"
    np.testing.assert_allclose(low[1], -high[0])


def test_an_interval_moves_and_scales_with_the_differences():
    differences = np.random.default_rng(4).exponential(size=(10, 1))
    low, high = intervals(differences)
    np.testing.assert_allclose(intervals(5 - 3 * differences), [5 - 3 * high, 5 - 3 * low])


def test_images_that_one_of_them_lacks_do_not_count():
    a, b = figures(12, {"a": 0.5, "b": 0.0}).values()
    holes = b.copy()
    holes[[1, 5]] = math.nan
    endless = a.copy()
    endless[7] = math.inf
    with_holes = pairwise({"a": endless, "b": holes})["a", "b"]
    (alone,) = pairwise({"a": np.delete(a, [1, 5, 7]), "b": np.delete(b, [1, 5, 7])}).values()
    assert with_holes == alone
    assert alone.images == 9
    nothing = pairwise({"a": a, "b": np.full(12, math.nan)})["a", "b"]
    assert nothing.images == 0
    assert math.isnan(nothing.mean_db)
    assert nothing.verdict == FEW


def test_the_same_figures_give_the_same_intervals():
    once, again = (pairwise(figures(30, {"a": 0.1, "b": 0.0})) for _ in range(2))
    assert once == again
