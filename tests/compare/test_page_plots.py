"""The drawings of the report: what nothing beats, ticks on the axis, names that stay readable."""

import re

import numpy as np
import pytest

from cscsr.compare.page.plots import (
    NARROW_WIDTH,
    WIDTH,
    Point,
    even_ticks,
    frontier,
    interval,
    power_ticks,
    scatter,
)


def test_the_frontier_is_what_nothing_beats():
    def point(cost, psnr_db):
        return Point(f"{cost}", cost, psnr_db, "other", "")

    points = [point(1, 30), point(2, 29), point(2, 31), point(3, 31), point(9, 33)]
    assert [(p.cost, p.psnr_db) for p in frontier(points)] == [(1, 30), (2, 31), (9, 33)]


@pytest.mark.parametrize(("low", "high"), [(1e-4, 30), (0.6, 2.2), (0.011, 0.013), (1e6, 1e15)])
def test_ticks_lie_on_the_axis(low, high):
    ticks = power_ticks(low, high)
    assert all(low <= tick <= high for tick in ticks)
    assert len(ticks) <= 9
    low, high = (30 + np.log10(value) for value in (low, high))
    ticks = even_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert low <= min(ticks) and max(ticks) <= high


def test_names_in_a_crowd_do_not_lie_on_each_other():
    points = [
        Point(f"solver-number-{n}", 1 + 0.3 * n, 30 + 0.1 * (n % 5), "learned", "")
        for n in range(14)
    ]
    drawn = scatter(points, "seconds", str, "crowd")
    boxes = []
    for x, y, anchor, name in re.findall(
        r'<text x="([\d.-]+)" y="([\d.]+)" text-anchor="(start|end|middle)">(solver[^<]*)', drawn
    ):
        wide = 6.7 * len(name)
        left = float(x) - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        boxes.append((left, float(y) - 8, left + wide, float(y)))
    assert len(boxes) == len(points)
    overlaps = [
        (a, b)
        for n, a in enumerate(boxes)
        for b in boxes[:n]
        if min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
    ]
    assert len(overlaps) <= 2


@pytest.mark.parametrize(("narrow", "width"), [(False, WIDTH), (True, NARROW_WIDTH)])
def test_every_point_has_its_name_within_the_drawing(narrow, width):
    names = [f"csc-sr[sharpened-{n}]" for n in range(20)]
    points = [
        Point(name, 0.01 + 0.05 * n, 30 + n**0.5, "other", "") for n, name in enumerate(names)
    ]
    drawn = scatter(points, "seconds", str, "steep", narrow)
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', drawn)[1])
    boxes = []
    for x, y, anchor, name in re.findall(
        r'<text x="([\d.-]+)" y="([\d.]+)" text-anchor="(start|end|middle)">(csc[^<]*)', drawn
    ):
        wide = 7.7 * len(name)
        left = float(x) - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert left >= 0 and left + wide <= width, name
        assert 0 < float(y) < height, name
        boxes.append((left, float(y) - 11, left + wide, float(y)))
    assert len(boxes) == len(points)
    overlaps = sum(
        min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
        for n, a in enumerate(boxes)
        for b in boxes[:n]
    )
    assert overlaps <= 3


def test_an_interval_is_drawn_where_it_lies():
    def places(drawn):
        low, high = re.search(r'whisker" d="M([\d.]+) 9H([\d.]+)', drawn).groups()
        return float(low), float(re.search(r'cx="([\d.]+)', drawn)[1]), float(high)

    low, middle, high = places(interval(-1.0, -1.5, -0.5, -2.0))
    assert low < middle < high
    assert middle - low == pytest.approx(high - middle, abs=0.11)
    assert "whisker" not in interval(-1.0, None, None, -2.0)
