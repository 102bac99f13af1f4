"""Means of the rows of the latest run, and the order of the solvers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cscsr.compare.page import write_page
from cscsr.compare.records import FAILED, UNSUPPORTED
from cscsr.compare.summary import Place, notes_of, remarks, summarise
from cscsr.compare.tables import write_tables

SET5_X2 = Place("Set5", 2)
PSNR_DB = {"bicubic": 33.66, "csc-sr[ista]": 35.7, "crnet-a-small": 36.0, "crnet-b-small": 36.9}


def test_means_are_means(made_up):
    mean = made_up.fill().mean(SET5_X2, "csc-sr[ista]")
    assert mean.scores == pytest.approx({"psnr": 35.7, "ssim": 35.7 / 40})
    assert mean.psnr_db == mean.scores["psnr"]
    assert mean.seconds == pytest.approx(0.12345)
    assert (mean.images, mean.expected, mean.complete) == (5, 5, True)


def test_a_metric_that_an_image_lacks_has_no_mean(made_up):
    made_up.start()
    for number, image in enumerate(made_up.images):
        made_up.results.add(made_up.scored("bicubic", image, 30.0, 0.1 + 0.01 * number))
        gmsd = None if number == 2 else 0.1
        made_up.results.add(made_up.scored("crnet-a-small", image, 31.0, gmsd))
    summary = summarise(made_up.results)
    assert [metric.name for metric in summary.metrics] == ["psnr", "ssim", "gmsd"]
    assert summary.mean(SET5_X2, "bicubic").scores["gmsd"] == pytest.approx(0.12)
    assert set(summary.mean(SET5_X2, "crnet-a-small").scores) == {"psnr", "ssim"}


def test_metrics_are_those_that_are_stored(made_up):
    made_up.start()
    assert [metric.name for metric in summarise(made_up.results).metrics] == ["psnr", "ssim"]
    row = made_up.scored("bicubic", "baby", 30.0, 0.1)
    made_up.results.add(replace(row, scores={"gmsd": 0.1}))
    assert [metric.name for metric in summarise(made_up.results).metrics] == ["gmsd"]


def test_only_results_of_the_planned_solvers_count(made_up):
    made_up.fill()
    for image in made_up.images:
        stale = made_up.scored("bicubic", image, 99.0)
        made_up.results.add(replace(stale, key=replace(stale.key, solver_version="0")))
    assert summarise(made_up.results).mean(SET5_X2, "bicubic").psnr_db == pytest.approx(33.66)


@pytest.mark.parametrize(
    ("change", "comparable", "reason"),
    [
        ({}, True, "the whole set on the published line"),
        ({"images": ["baby", "bird", "butterfly", "head"]}, False, "an image is missing"),
        ({"lines": {"bicubic": "rgb"}}, False, "the published figure is of the other line"),
        ({"dataset": "mine"}, False, "there is no published figure"),
    ],
)
def test_a_mean_is_comparable_where_it_is_the_published_one(made_up, change, comparable, reason):
    summary = made_up.fill(**change)
    assert summary.at(summary.places[0])[0].comparable is comparable, reason


def test_partial_means_are_not_ranked_and_say_why(made_up):
    made_up.start()
    for image in made_up.images:
        made_up.results.add(made_up.scored("bicubic", image, 33.0))
        made_up.results.add(made_up.scored("crnet-a-small", image, 36.0))
        made_up.results.add(made_up.row("csc-sr[ista]", image, outcome=FAILED, message="It broke."))
    made_up.results.add(made_up.scored("crnet-b-small", "baby", 40.0))
    made_up.results.add(
        made_up.row("crnet-b-small", "bird", outcome=UNSUPPORTED, message="Too wide.")
    )
    summary = summarise(made_up.results)
    assert [m.solver for m in summary.ranking(SET5_X2)] == ["crnet-a-small", "bicubic"]
    partial = summary.mean(SET5_X2, "crnet-b-small")
    assert (partial.images, partial.expected, partial.psnr_db) == (1, 5, 40.0)
    later = "Not computed yet: the same command goes on where it stopped."
    assert partial.reasons == ("Too wide.", later)
    assert notes_of(summary) == ["It broke.", "Too wide.", later]
    assert math.isnan(summary.mean(SET5_X2, "csc-sr[ista]").psnr_db)


def test_a_difference_is_turned_for_the_other_order(made_up):
    summary = made_up.fill()
    forward = summary.difference(SET5_X2, "bicubic", "crnet-a-small")
    assert forward.mean_db == pytest.approx(-2.34)
    assert summary.difference(SET5_X2, "crnet-a-small", "bicubic") == forward.reversed()


def test_remarks_say_what_was_followed_and_measured(made_up):
    summary = made_up.fill()
    text = " ".join(remarks(summary))
    assert "Line y (the low-resolution image is made from luma" in text
    assert "bicubic, csc-sr[ista], crnet-a-small; line rgb" in text
    assert "on a machine; threads: 2; device: cpu" in text
    assert "20 scored images" in text
    assert "cut off" in text
    made_up.results.finish_run(1)
    assert "cut off" not in " ".join(remarks(summarise(made_up.results)))


def test_means_ranks_and_differences_are_over_images_that_no_solver_restores_exactly(with_blank):
    for mean in with_blank.at(SET5_X2):
        assert mean.psnr_db == pytest.approx(PSNR_DB[mean.solver] + 0.15)
        assert (mean.images, mean.complete, mean.left_out) == (5, True, 1)
        assert not mean.comparable
    assert [mean.exact for mean in with_blank.at(SET5_X2)] == [1, 1, 0, 0]
    order = sorted(PSNR_DB, key=lambda solver: -PSNR_DB[solver])
    assert [mean.solver for mean in with_blank.ranking(SET5_X2)] == order
    against_a = with_blank.difference(SET5_X2, "crnet-b-small", "crnet-a-small")
    assert (against_a.images, against_a.won) == (4, 4)
    assert against_a.mean_db == pytest.approx(0.9), "not 36.9 and 50 less 36.0 and 99"
    ssim = with_blank.mean(SET5_X2, "crnet-a-small").scores["ssim"]
    assert ssim == pytest.approx((4 * 36.15 / 40 + 1) / 5), "SSIM is finite: all images count"


def test_exact_images_are_counted_and_said(with_blank):
    (sentence,) = [text for text in remarks(with_blank) if "infinite PSNR" in text]
    assert "1 of 5 on Set5 ×2 (woman; exact: bicubic on 1, csc-sr[ista] on 1)" in sentence


@pytest.mark.parametrize("seed", range(5))
def test_the_best_solver_loses_to_none_whatever_is_exact(made_up, seed):
    draw = np.random.default_rng(seed)
    made_up.start()
    for solver in made_up.lines:
        for image in made_up.images:
            exact = draw.random() < 0.1
            psnr_db = np.inf if exact else draw.uniform(20, 90)
            row = made_up.scored(solver, image, 0.0)
            made_up.results.add(replace(row, scores={"psnr": psnr_db}))
    summary = summarise(made_up.results)
    best, *others = summary.ranking(SET5_X2)
    assert len(others) == 3
    for other in others:
        gap = summary.difference(SET5_X2, best.solver, other.solver)
        assert gap.mean_db == pytest.approx(best.psnr_db - other.psnr_db)
        assert gap.mean_db >= 0


def test_where_every_image_is_exact_no_solver_is_ranked(made_up):
    made_up.start(images=["woman"])
    for solver in made_up.lines:
        made_up.results.add(made_up.scored(solver, "woman", math.inf))
    summary = summarise(made_up.results)
    assert summary.ranking(SET5_X2) == []
    assert [mean.exact for mean in summary.unranked(SET5_X2)] == [1, 1, 1, 1]
    write_tables(summary, made_up.results.path.parent)
    page = write_page(summary, made_up.results, made_up.results.path.parent).read_text()
    assert "each image is restored without any error" in page
