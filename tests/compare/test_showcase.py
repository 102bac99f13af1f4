"""Showcase images: chosen from the truth alone, cut where the detail is."""

import io

import numpy as np
from PIL import Image

from cscsr.compare.showcase import MOST, as_png, choose, cut, detail, side_for, window
from cscsr.data.datasets import demo
from cscsr.imaging import luma_of


def test_data_sets_take_turns_and_the_most_detailed_come_first():
    details = {"Set5": [1.0, 5.0, 3.0], "Set14": [2.0, 9.0, 4.0, 8.0], "one": [0.1]}
    assert choose(details, 4) == [("Set5", 1), ("Set5", 2), ("Set14", 1), ("one", 0)]
    assert choose(details, 0) == []
    assert len(choose(details)) == MOST
    assert choose({"only": [1.0, 2.0]}) == [("only", 0), ("only", 1)]
    assert choose({}) == []


def test_detail_is_of_edges_not_of_brightness():
    even = np.full((20, 30), 200, np.uint8)
    edges = even.copy()
    edges[:, ::2] = 100
    assert detail(even) == 0
    assert detail(edges) == 100 * 19 * 29
    assert detail(np.vstack([edges, edges])) > detail(edges), "there is more to see"


def test_the_window_is_where_the_detail_is_and_inside_what_is_scored():
    luma = np.full((101, 90), 128, np.uint8)
    luma[60:80, 50:70] = np.random.default_rng(0).integers(0, 255, (20, 20))
    top, left, height, width = window(luma, 32, 3)
    assert (height, width) == (32, 32)
    assert top <= 60 < 80 <= top + height
    assert left <= 50 < 70 <= left + width
    top, left, height, width = window(luma, 500, 3)
    assert (top, left, height, width) == (3, 3, 99 - 6, 90 - 6), "a small image is kept whole"


def test_a_picture_keeps_every_pixel():
    luma = luma_of(demo().images[0].read())
    box = window(luma, 64, 2)
    png = as_png(cut(luma, box))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(png))), cut(luma, box))


def test_more_solvers_have_smaller_pictures():
    sides = [side_for(solvers) for solvers in range(1, 100)]
    assert sides == sorted(sides, reverse=True)
    for solvers, side in enumerate(sides, start=1):
        if solvers <= 90:  # a byte a pixel at the worst, a third more as base64
            assert MOST * (solvers + 1) * side**2 * 4 / 3 < 13e6
