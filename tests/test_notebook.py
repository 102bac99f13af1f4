"""What notebooks show: well-formed HTML in which every text from outside is escaped."""

import base64
import io
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import cscsr
from cscsr import Solution, SparseCoding, Status, SuperResolution

EMPTY = {"img"}


class Checked(HTMLParser):
    """Collects the text, and fails on elements that do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(shown) -> tuple[str, list[str]]:
    parser = Checked()
    parser.feed(shown._repr_html_())
    assert parser.open == []
    return " ".join(parser.text), parser.tags


@pytest.fixture(scope="module")
def problem():
    numbers = np.random.default_rng(0)
    return SparseCoding(numbers.random((12, 12)), numbers.standard_normal((4, 3, 3)), lam=0.3)


def test_a_solution_of_sparse_coding_shows_how_it_ended(problem):
    solution = cscsr.FISTA(iterations=30, gap=True).solve(problem)
    text, tags = read(solution)
    assert solution.status.message in text
    assert f"{solution.trace['duality_gap'][-1]:.6g}" in text
    assert "img" not in tags, "codes are no image"
    text, _ = read(solution.trace)
    assert f"{len(solution.trace)} rows" in text and "…" in text
    assert "psnr_db" not in text, "an empty column"
    assert f"{solution.trace['objective'][0]:.6g}" in text
    assert f"{solution.trace['objective'][-1]:.6g}" in text
    assert f"{solution.trace['objective'][10]:.6g} " not in text


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_an_enlarged_image_is_shown(convert):
    image = np.random.default_rng(1).random((10, 14, 3), dtype=np.float32)
    solution = cscsr.Bicubic().solve(SuperResolution(convert(image), 2))
    html = solution._repr_html_()
    png = base64.b64decode(re.search(r'base64,([^"]+)"', html)[1])
    shown = np.asarray(Image.open(io.BytesIO(png))) / 255
    assert np.abs(shown - np.asarray(solution.estimate).clip(0, 1)).max() <= 0.5 / 255 + 1e-6
    assert "direct" in read(solution)[0]
    assert "img" in read(SuperResolution(convert(image), 2))[1]


def test_a_large_image_is_thinned_and_a_spoilt_one_left_out():
    large = Solution(np.zeros((1000, 300)), Status.DIRECT)
    png = base64.b64decode(re.search(r'base64,([^"]+)"', large._repr_html_())[1])
    assert Image.open(io.BytesIO(png)).size == (75, 250)
    assert "img" not in read(Solution(np.full((4, 4), np.nan), Status.DIVERGED))[1]


def test_problems_and_solvers_show_their_parameters(problem):
    text, _ = read(problem)
    assert "(4, 12, 12)" in text and "circular" in text and "0.3" in text
    for name in ("ista", "crnet-b-small", "bicubic", "csc-sr[admm]"):
        solver = cscsr.make_solver(name)
        text, _ = read(solver)
        assert name in text
        for parameter in solver.params():
            assert parameter in text


def test_texts_from_outside_are_escaped():
    @dataclass(frozen=True)
    class Odd(cscsr.Bicubic):
        label: str = "<script>alert(1)</script> & 'x' \"y\""
        name = "<b>odd</b>"

    text, tags = read(Odd())
    assert "<script>alert(1)</script>" in text and "<b>odd</b>" in text
    assert "script" not in tags and tags.count("b") == 1


def test_an_empty_trace_is_shown():
    assert "0 rows" in read(cscsr.Trace())[0]
