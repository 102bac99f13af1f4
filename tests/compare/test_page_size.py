"""The report of a large comparison: 20 solvers on four data sets at three scales."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cscsr.compare.page import keep_figures, write_page
from cscsr.compare.records import SCORED, Box, Key, Row, colour_key, truth_key
from cscsr.compare.results import Results
from cscsr.compare.showcase import MOST, as_colours, as_png, side_for
from cscsr.compare.summary import summarise
from cscsr.data.datasets import demo
from cscsr.imaging import luma_of

_spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)

SETS = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100}
SCALES = (2, 3, 4)
SOLVERS = [f"csc-sr[coder-{number:02}]" for number in range(20)]
SIDE = side_for(len(SOLVERS))
BOX: Box = (4, 4, SIDE, SIDE)


def key(solver: str, dataset: str, number: int, scale: int) -> Key:
    return Key(solver, "{}", "1", "0" * 64, f"{dataset}{number:03}", scale, "y")


def rows() -> Iterator[Row]:
    """What a comparison would store: figures of solvers that are 0.02 dB apart on average."""
    draw = np.random.default_rng(0)
    for dataset, count in SETS.items():
        for scale in SCALES:
            for number in range(count):
                image_db = 34 - 2 * scale + 3 * draw.standard_normal()
                for place, solver in enumerate(SOLVERS):
                    yield Row(
                        key(solver, dataset, number, scale),
                        dataset,
                        f"image{number:03}",
                        SCORED,
                        {
                            "psnr": image_db + 0.02 * place + 0.1 * draw.standard_normal(),
                            "ssim": 0.9,
                        },
                        seconds=0.01 * 1.4**place,
                        operations=1e7 * 1.5**place,
                        machine="a machine",
                        code_version="0.1.0",
                        time="2026-01-01T00:00:00+00:00",
                        run=1,
                    )


def picture(draw: np.random.Generator, number: int) -> bytes:
    """A photograph with noise in its last bits, which no PNG makes small."""
    photographs = [luma_of(image) for _, image in demo()]
    luma = photographs[number % len(photographs)][:SIDE, :SIDE]
    assert luma.shape == (SIDE, SIDE)
    return as_png((luma + draw.normal(0, 1.5, luma.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("large")
    shown = [(list(SETS)[n % 4], n // 4) for n in range(MOST)]
    plan = {
        "datasets": {
            name: [{"image": f"image{n:03}", "input_sha256": f"{name}{n:03}"} for n in range(count)]
            for name, count in SETS.items()
        },
        "scales": list(SCALES),
        "solvers": [
            {
                "solver": solver,
                "params": "{}",
                "solver_version": "1",
                "weights_sha256": "0" * 64,
                "line": "y",
            }
            for solver in SOLVERS
        ],
        "protocol": "paper",
        "degradations": [""],
        "showcases": [
            {
                "dataset": name,
                "image": f"image{n:03}",
                "input_sha256": f"{name}{n:03}",
                "scale": 3,
                "box": BOX,
            }
            for name, n in shown
        ],
    }
    draw = np.random.default_rng(0)
    with Results(":memory:") as results:  # a disk takes minutes for as many transactions
        run = results.start_run("python -m benchmarks.compare", {}, plan)
        for row in rows():
            results.add(row)
        for place, (name, n) in enumerate(shown):
            results.add_picture(truth_key(f"{name}{n:03}", 3), BOX, picture(draw, place))
            for solver in SOLVERS:
                results.add_picture(key(solver, name, n, 3), BOX, picture(draw, place))
                colours = colour_key(key(solver, name, n, 3))
                results.add_picture(
                    colours, BOX, as_colours(demo().images[place % 5].read()[:SIDE, :SIDE])
                )
        results.finish_run(run)
        assert keep_figures(results, out) == []
        return write_page(summarise(results), results, out)


@pytest.mark.slow
def test_the_page_stays_under_15_mb(large):
    assert 5e6 < large.stat().st_size < 15e6


@pytest.mark.slow
def test_the_page_opens_in_under_two_seconds(large):
    """Until all pictures are there and the crops are drawn. Processor time of the page's thread,
    and the best of three, because other work slows a shared machine down: half of the two
    seconds, which leaves as much for the decoding of the pictures beside it."""
    if reason := driver.missing():
        pytest.skip(reason)
    drawn = "document.readyState == 'complete' && document.querySelector('#crops canvas')"
    with driver.Browser() as browser:
        browser.resize(1280)
        browser.command("Performance.enable", timeDomain="threadTicks")
        seconds = []
        for _ in range(3):
            browser.open(large)
            browser.wait(drawn)
            metrics = browser.command("Performance.getMetrics")["metrics"]
            seconds += [entry["value"] for entry in metrics if entry["name"] == "TaskDuration"]
        assert 0 < min(seconds) < 1
        assert browser.run("return document.querySelectorAll('#crops canvas').length") == 21
        assert browser.messages() == []
        outside = """
        return [...document.querySelectorAll('.answer:not([hidden]) .scatter')].flatMap((drawing) =>
          [...drawing.querySelectorAll('.point text')].filter((name) => {
            const box = name.getBBox();
            return box.x < 0 || box.x + box.width > drawing.viewBox.baseVal.width;
          }).map((name) => name.textContent))"""
        assert browser.run(outside) == []
