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
    found = pairwise(figures(100, {"a": 1.0, "b": 0.0, "c": 0.001}))
    assert found["a", "b"].verdict == BETTER
    assert found["a", "b"].reversed().verdict == WORSE
    assert found["b", "c"].verdict == TIE
    assert found["b", "c"].low_db < 0 < found["b", "c"].high_db


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


def test_it_covers_the_true_mean_about_as_often_as_it_says():
    draw = np.random.default_rng(7)
    differences = 0.1 + draw.standard_normal((40, 400))
    low, high = intervals(differences)
    inside = ((low <= 0.1) & (high >= 0.1)).mean()
    assert 0.90 <= inside <= 0.98


def test_images_that_one_of_them_lacks_do_not_count():
    a, b = figures(12, {"a": 0.5, "b": 0.0}).values()
    holes = b.copy()
    holes[[1, 5]] = math.nan
    endless = a.copy()
    endless[7] = math.inf
    found = pairwise({"a": endless, "b": holes})
    (alone,) = pairwise({"a": np.delete(a, [1, 5, 7]), "b": np.delete(b, [1, 5, 7])}).values()
    assert found["a", "b"] == alone
    assert alone.images == 9
    nothing = pairwise({"a": a, "b": np.full(12, math.nan)})["a", "b"]
    assert nothing.images == 0
    assert math.isnan(nothing.mean_db)
    assert nothing.verdict == FEW


def test_the_same_figures_give_the_same_intervals():
    once, again = (pairwise(figures(30, {"a": 0.1, "b": 0.0})) for _ in range(2))
    assert once == again
