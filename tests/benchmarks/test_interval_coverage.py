"""The simulation of how often intervals cover the true mean, and where its figures stand."""

import pytest

from benchmarks import interval_coverage
from benchmarks._study.curves import read_curves


@pytest.mark.slow
def test_coverage_of_every_kind_of_interval_is_simulated(tmp_path):
    table, page = interval_coverage.simulate(tmp_path, trials=200, resamples=200)
    rows = read_curves(table)
    covered = {(r["shape"], r["images"], r["method"]): float(r["coverage"]) for r in rows}
    assert len(covered) == len(rows) == 3 * 4 * 4
    for shape in interval_coverage.SHAPES:
        assert covered[shape, "10", "percentile"] < covered[shape, "10", "studentised"] - 0.02
        assert covered[shape, "100", "BCa"] == pytest.approx(0.94, abs=0.05)
    assert abs(covered["normal", "10", "Student's t"] - 0.95) < 0.04
    assert len(page.read_text().splitlines()) == 2 + 3 * 4


def test_the_decision_shows_the_coverage_that_was_simulated():
    table = interval_coverage.markdown(read_curves(interval_coverage.REFERENCE))
    assert table in interval_coverage.PAGE.read_text(encoding="utf-8")
