"""The work of a comparison: what is done, what is not done again, and solvers that fail."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from cscsr import InputError, Status
from cscsr.compare import plan as planning
from cscsr.compare.records import FAILED, SCORED, UNSUPPORTED, Key, truth_key
from cscsr.compare.run import find_work
from cscsr.data.datasets import demo
from cscsr.imaging import psnr, write_image


def test_an_unchanged_result_is_not_computed_again_and_a_changed_one_is(compare, repeat, tmp_path):
    trained = tmp_path / "weights"
    trained.write_text("first")
    solver = repeat(weights=str(trained))
    assert compare(solver) == (5, 0, 0)
    assert compare(solver) == (0, 5, 0)
    assert compare(replace(solver, gain=0.9)) == (5, 0, 0)
    trained.write_text("second")
    assert compare(solver) == (5, 0, 0)
    write_image(compare.folder / "mine" / "camera.png", demo().images[1].read()[48:96, :60])
    assert compare(solver) == (1, 4, 0)
    assert compare(solver) == (0, 5, 0)
    repeat.version = "2"
    try:
        assert compare(solver) == (5, 0, 0)
    finally:
        del repeat.version


def test_a_result_that_lacks_a_metric_is_computed_for_it(compare, repeat):
    assert compare(repeat(), metrics=["psnr"]) == (5, 0, 0)
    assert compare.results.frame()["ssim"].isna().all()
    assert compare(repeat(), metrics=["psnr", "gmsd"]) == (5, 0, 0)
    rows = compare.results.frame()
    assert rows.gmsd.between(1e-4, 0.5).all()
    assert compare(repeat(), metrics=["gmsd"]) == (0, 5, 0)
    assert compare(repeat()) == (5, 0, 0), "now it was SSIM that lacked"
    both = compare.results.frame()
    assert both.ssim.notna().all()
    np.testing.assert_array_equal(both.gmsd, rows.gmsd)
    assert compare(repeat(), metrics=["psnr", "ssim", "gmsd"]) == (0, 5, 0)


def test_the_same_pixels_under_another_name_are_stored_there_and_not_computed_again(
    compare, repeat
):
    assert compare(repeat()) == (5, 0, 0)
    mine = compare.folder / "mine"
    (mine / "camera.png").rename(mine / "cameraman.png")
    assert find_work(compare.plan(repeat()), compare.results).already == 5
    assert len(compare.results.frame()) == 5, "what is found is not written by the search"
    assert compare(repeat()) == (0, 5, 0)
    rows = compare.results.frame().set_index("image")
    assert len(rows) == 6
    assert rows.psnr_db["cameraman"] == rows.psnr_db["camera"]


@pytest.mark.parametrize(
    ("wrong", "failed", "message"),
    [
        ("raises", 1, "RuntimeError: out of luck"),
        ("diverges", 5, Status.DIVERGED.message),
        ("nan", 5, "repeat returned an estimate with NaN or infinity in it."),
        ("supports raises", 5, "KeyError: 'supports'"),
    ],
)
def test_a_solver_that_fails_costs_the_others_nothing(
    compare, repeat, capsys, wrong, failed, message
):
    broken, sound = repeat(wrong=wrong), repeat(gain=0.99)
    assert compare(broken, sound) == (10, 0, failed)
    rows = compare.results.frame()
    assert compare(broken, sound)[:2] == (failed, 10 - failed)
    assert (rows.outcome == SCORED).sum() == 10 - failed
    failures = rows[rows.outcome == FAILED]
    assert failures.message.str.contains(message, regex=False).all()
    assert failures.psnr_db.isna().all()
    assert message in capsys.readouterr().err


def test_weights_that_change_during_a_run_leave_no_result_under_the_old_hash(
    compare, repeat, tmp_path
):
    trained = tmp_path / "weights"
    trained.write_text("1.0")

    @dataclass(frozen=True)
    class Trained(repeat):
        """Its gain is what the weight file holds; on the grey image the file changes first."""

        def solve(self, problem, **options):
            if problem.lr.ndim == 2 and trained.read_text() == "1.0":
                trained.write_text("0.5")
            gain = float(trained.read_text())
            return replace(self, gain=gain, wrong="").parent_solve(problem)

        def parent_solve(self, problem):
            return repeat.solve(self, problem)

    solver = Trained(weights=str(trained))
    first = solver.weights_sha256()
    assert compare(solver) == (5, 0, 4), "the image before the change is scored"
    rows = compare.results.frame().set_index("image")
    assert set(rows.weights_sha256) == {first}
    failures = rows[rows.outcome == FAILED]
    assert failures.message.str.startswith("the weights of repeat were changed while").all()
    assert compare(solver) == (5, 0, 0)
    rows = compare.results.frame()
    dark = rows[rows.weights_sha256 == solver.weights_sha256()].set_index("image").psnr_db
    bright = rows[(rows.weights_sha256 == first) & (rows.outcome == SCORED)].set_index("image")
    assert list(bright.index) == ["astronaut"]
    assert (bright.psnr_db > dark[bright.index] + 3).all()


def test_a_showcase_that_changed_has_no_truth_and_ends_no_run(compare, repeat, monkeypatch):
    monkeypatch.setattr(planning, "KEPT_BYTES", 0)
    plan = compare.plan(repeat(), shown=1)
    shown = plan.showcases[0].image
    write_image(shown.source.path, shown.read() // 2)
    assert compare.run(plan) == (5, 0, 1)
    assert compare.results.picture(truth_key(shown.sha256, 2), plan.showcases[0].box) is None


def test_harder_input_has_results_of_its_own(compare, repeat):
    solver = repeat()
    assert compare(solver) == (5, 0, 0)
    assert compare(solver, degradations=["noise:20", "blur:2"]) == (10, 5, 0)
    assert compare(solver, degradations=["noise:20"]) == (0, 10, 0)
    assert compare(solver, degradations=["noise:21"]) == (5, 5, 0)
    psnr_db = compare.results.frame().groupby("degradation").psnr_db.mean()
    assert set(psnr_db.index) == {"", "noise:20", "noise:21", "blur:2"}
    assert psnr_db["noise:21"] < psnr_db["noise:20"] < psnr_db[""] - 1
    assert psnr_db["blur:2"] < psnr_db[""]


def test_harder_input_is_the_same_image_for_all_whatever_their_line(compare, repeat):
    compare(repeat(), line="y", degradations=["jpeg:40"])
    rows = compare.results.frame()
    assert set(rows[rows.degradation == ""].line) == {"y"}
    assert set(rows[rows.degradation == "jpeg:40"].line) == {"rgb"}


def test_pictures_are_the_pixels_that_are_scored(compare, repeat):
    solver = repeat(gain=0.98)
    assert compare(solver) == (5, 0, 0)
    assert compare(solver, shown=3) == (3, 2, 0), "pictures were lacking"
    assert compare(solver, shown=3) == (0, 5, 0)
    rows = compare.results.frame()
    for shown in compare.plan(solver, shown=3).showcases:
        (row,) = (row for row in rows.itertuples() if row.image == shown.image.source.name)
        key = Key(**{field: getattr(row, field) for field in Key.__dataclass_fields__})
        assert shown.box == (2, 2, 44, 56), "a small image is stored whole"
        estimate, truth = (
            np.array(Image.open(io.BytesIO(compare.results.picture(which, shown.box))))
            for which in (key, truth_key(shown.image.sha256, 2))
        )
        assert psnr(estimate, truth) == pytest.approx(row.psnr_db, abs=1e-9)


def test_an_unsupported_problem_is_left_out_with_the_reason(compare, repeat, capsys):
    assert compare(repeat(wrong="grey")) == (4, 0, 0)
    row = compare.results.frame().set_index("image").loc["camera"]
    assert (row.outcome, row.message) == (UNSUPPORTED, "It cannot do grey images.")
    assert "Left out: repeat on mine/camera ×2: It cannot do grey" in capsys.readouterr().out


def test_where_nothing_is_supported_the_reason_is_an_error(compare, repeat):
    for path in (compare.folder / "mine").iterdir():
        if path.stem != "camera":
            path.unlink()
    with pytest.raises(InputError, match="cannot do grey"):
        compare(repeat(wrong="grey"))


def test_a_solver_is_asked_once_for_each_task_whether_it_can(compare, repeat):
    shapes = []

    @dataclass(frozen=True)
    class Asked(repeat):
        def supports(self, problem):
            shapes.append(problem.lr.shape)
            return None

    assert compare(Asked(), degradations=["noise:5"]) == (10, 0, 0)
    assert sorted(shapes) == sorted(2 * ([(24, 30)] + 4 * [(24, 30, 3)]))


def test_a_row_says_how_it_came_about(compare, repeat):
    compare(repeat())
    row = compare.results.frame().iloc[0]
    assert (row.seconds, row.status, row.device, row.precision) == (
        0.25,
        "direct",
        "cpu",
        "float32",
    )
    assert row.threads >= 1
    assert "Python" in row.machine
    assert row.code_version
    assert row.time
