"""The costs and the simulation behind docs/scale.md."""

import math

import pytest

from benchmarks import scale


@pytest.mark.parametrize(("workers", "tasks"), [(1, 7), (3, 9), (3, 10), (50, 20)])
def test_without_overhead_workers_are_never_idle(workers, tasks):
    took = scale.simulate([2.0], tasks, workers, own=0.0, dask=0.0)
    assert took == pytest.approx(2 * math.ceil(tasks / workers))


def test_with_short_tasks_the_one_process_is_the_limit():
    took = scale.simulate([1e-6], 1000, 10, own=0.02, dask=0.01)
    assert took == pytest.approx(1000 * 0.03, rel=0.01)


def test_no_schedule_beats_the_bounds_of_work_and_of_the_one_process():
    seconds = [0.1, 3.0, 0.5, 7.0]
    for workers in (1, 2, 8, 100):
        took = scale.simulate(seconds, 400, workers, own=0.01, dask=0.005)
        work = 100 * sum(seconds)
        assert took >= max(work / workers, 400 * 0.015)
        # Graham's bound for a list of tasks, and the one process's time on top of it.
        assert took <= work / workers + max(seconds) + 400 * 0.015


def test_database_costs_are_of_as_many_rows_as_were_asked_for(tmp_path):
    steps = scale.database_costs(tmp_path, filled=500, writes=5)
    assert [step["step"] for step in steps] == ["claim", "look-up", "write"]
    assert all(float(step["ms"]) > 0 for step in steps)
    with scale.Results(tmp_path / "results.sqlite", create=False) as results:
        rows = results.frame()
    assert len(rows) == 500 + 5
    assert rows.input_sha256.is_unique
    assert rows.psnr_db.notna().all()


def test_page_shows_the_tables_of_the_files():
    folder = scale.ROOT / "reports" / "reference"
    tables = [
        scale.read_curves(folder / f"scale_{name}.csv")
        for name in ("solvers", "steps", "simulated")
    ]
    page = (scale.ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in scale.markdown(*tables).split("\n\n"):
        assert table in page
