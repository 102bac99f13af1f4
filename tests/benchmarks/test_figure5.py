"""Figure 5: four networks are trained in the run, and the picture comes from the table."""

import numpy as np
import pandas as pd
import pytest

from benchmarks._study import images
from benchmarks.figure5 import cut_off, figure5
from cscsr import InputError
from cscsr.compare.plan import make_plan
from cscsr.data.datasets import load_dataset
from cscsr.imaging import read_image, write_image

SMALL = {"width": 4, "steps": 4, "seconds": 60.0}


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    monkeypatch.delenv("CSCSR_DATA", raising=False)


@pytest.mark.slow
def test_four_curves_are_trained_drawn_and_kept(tmp_path):
    table, picture = figure5(tmp_path, **SMALL)
    rows = pd.read_csv(table)
    assert rows.psnr_db.notna().all()
    bicubic = rows[rows.network == "bicubic"].psnr_db.item()
    curves = rows[rows.network != "bicubic"]
    ends = curves[curves.step == SMALL["steps"]].set_index(["network", "recursions"]).psnr_db
    assert set(ends.index) == {(n, k) for n in ("residual", "non-residual") for k in (1, 5)}
    for recursions in (1, 5):
        assert ends["residual", recursions] == pytest.approx(bicubic, abs=1.0)
        assert ends["non-residual", recursions] < ends["residual", recursions]
    learnt = curves[(curves.network == "non-residual")].groupby("recursions").psnr_db
    assert (learnt.last() > learnt.first() + 0.3).all(), "training changes the networks"
    pixels = read_image(picture)
    assert min(pixels.shape[:2]) > 500
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50

    before = table.read_bytes()
    picture.unlink()
    figure5(tmp_path, **SMALL)
    assert table.read_bytes() == before, "the same settings are not trained again"
    assert picture.is_file()
    figure5(tmp_path, **{**SMALL, "steps": 1})
    assert pd.read_csv(table).steps.unique().tolist() == [1]


@pytest.mark.slow
def test_other_pixels_under_the_same_name_are_measured_anew(tmp_path):
    def one_image(gain):
        place = tmp_path / "data" / "Set5"
        place.mkdir(parents=True, exist_ok=True)
        texture = np.add.outer(np.arange(40) * 3, np.arange(40) % 7 * gain).astype(np.uint8)
        write_image(place / "only.png", texture)
        return tmp_path / "data"

    small = {**SMALL, "steps": 1}
    table, _ = figure5(tmp_path / "out", one_image(9), **small)
    before = pd.read_csv(table)
    figure5(tmp_path / "out", one_image(19), **small)
    after = pd.read_csv(table)
    assert set(before.dataset) == set(after.dataset) == {"Set5"}
    assert before.images_sha256[0] != after.images_sha256[0]
    assert before.psnr_db[0] != after.psnr_db[0]


def test_bad_budgets_are_refused(tmp_path):
    for name in SMALL:
        with pytest.raises(InputError, match="positive"):
            figure5(tmp_path, **{**SMALL, name: 0})
    assert not list(tmp_path.iterdir())


def test_images_that_a_comparison_has_read_are_not_read_again(tmp_path):
    path = tmp_path / "Set5" / "only.png"
    path.parent.mkdir()
    first, second = np.random.default_rng(0).integers(0, 256, (2, 24, 24), np.uint8)
    write_image(path, first)
    plan = make_plan([load_dataset("Set5", tmp_path)], [], [3])
    write_image(path, second)
    name, read = images.tested_images(tmp_path, plan.images)
    assert (name, list(read)) == ("Set5", ["only"])
    np.testing.assert_array_equal(read["only"], first)
    np.testing.assert_array_equal(images.tested_images(tmp_path)[1]["only"], second)


def test_a_run_that_the_time_limit_ends_says_so(tmp_path):
    table = tmp_path / "fig5.csv"
    head = "network,recursions,step,steps,budget_seconds,psnr_db\n"
    table.write_text(head + "bicubic,,0,360,30.0,30\nresidual,1,56,360,30.0,30\n")
    assert "ends at step 56 of 360" in cut_off(table)
    assert "needed more than 30 s" in cut_off(table)
    table.write_text(head + "residual,1,360,360,30.0,30\n")
    assert cut_off(table) == ""
