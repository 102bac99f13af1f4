"""The race of dictionary learners: its looks, its file, its figures."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from benchmarks import learn_dictionary as study
from benchmarks._study.curves import read_curves
from benchmarks.drawing.learn_dictionary import duels, seconds_to
from cscsr.data.datasets import demo
from cscsr.imaging import write_image


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A data folder with a BSD200 of five images, two of them held out."""
    monkeypatch.setattr(study, "IMAGES", 3)
    folder = tmp_path / "data" / "BSD200"
    folder.mkdir(parents=True)
    for image in demo().images:
        write_image(folder / f"{image.name}.png", image.read()[64:192, 64:192])
    (folder.parent / "holdout.txt").write_text("BSD200/camera.png\nBSD200/coffee.png\n")
    return folder.parent


def test_what_is_learned_from_is_not_held_out(images):
    signals, held_out = study.training_signals(images), study.held_out_signals(images)
    assert [signal.shape for signal in signals] == [(128, 128)] * 3
    assert held_out.shape == (2, 1, 96, 96)
    for signal in signals:
        for other in held_out[:, 0]:
            assert np.abs(signal[16:112, 16:112] - other).max() > 0.05


@pytest.mark.slow
def test_the_watch_does_not_count_what_it_computes(images, monkeypatch):
    """A look that takes half a second moves no later look."""

    def slow(filters, held_out):
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
        return 1.0

    monkeypatch.setattr(study, "objective_of", slow)
    seconds = []
    watch = study.Watch(np.zeros(0), [0.05, 0.1, 0.2], lambda step, s, value: seconds.append(s))
    with pytest.raises(study.Finished):
        for step in range(10**9):
            watch(step, lambda: np.zeros(0))
    np.testing.assert_allclose(seconds, [0.05, 0.1, 0.2], atol=0.04)


def test_time_to_an_objective_is_between_two_looks():
    curve = np.array([1.0, 2.0, 8.0]), np.array([5.0, 4.0, 2.0])
    assert seconds_to(curve, 4.5) == pytest.approx(2**0.5)
    assert seconds_to(curve, 3.0) == pytest.approx(4.0)
    assert seconds_to(curve, 6.0) == 1.0
    assert seconds_to(curve, 1.0) == float("inf")


@pytest.mark.slow
def test_a_short_race_is_measured_drawn_and_continued(images, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(study, "ATOMS", 8)
    monkeypatch.setattr(study, "HELD_OUT_SIDE", 48)
    tried = {
        study.ONLINE: study.SEARCHED[study.ONLINE][:2],
        study.BATCH: [{"crops": 2, "update": update, "step": 20.0} for update in ("pgm", "cns")],
    }
    monkeypatch.setattr(study, "SEARCHED", tried)
    paths = study.study(tmp_path / "out", images, seconds=0.5, rounds=1)
    rows = read_curves(paths[0])
    race = [row for row in rows if row["measurement"] == "race"]
    assert len({(r["learner"], r["settings"]) for r in rows if r["measurement"] == "search"}) == 4
    for name in (study.OURS, study.ONLINE, study.BATCH):
        own = [row for row in race if row["learner"] == name]
        assert float(own[-1]["seconds"]) >= 0.5
        held_out = study.held_out_signals(images)
        of_zero_codes = 0.5 * float(np.square(held_out).sum()) / len(held_out)
        assert 0 < float(own[-1]["objective"]) < 0.9 * of_zero_codes
    assert all(path.stat().st_size > 500 for path in paths)
    before = paths[0].read_bytes()
    study.study(tmp_path / "out", images, seconds=0.5, rounds=1)
    assert paths[0].read_bytes() == before
    for name in (study.ONLINE, study.BATCH):
        (duel,) = duels(rows, name)
        end = float([row for row in race if row["learner"] == name][-1]["objective"])
        assert duel.objective == pytest.approx(1.001 * end, rel=1e-12)
        assert 0 < duel.seconds <= float(race[-1]["seconds"]) + 1
        assert duel.speedup == duel.seconds / duel.ours


def test_out_of_range_is_a_sentence(tmp_path, images):
    from cscsr import InputError

    with pytest.raises(InputError, match=r"at least 0\.5 seconds and 1 round, got 0\.1 and 1"):
        study.study(tmp_path, images, seconds=0.1, rounds=1)
