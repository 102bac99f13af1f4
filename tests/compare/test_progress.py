"""The time left follows from what was measured."""

import pytest

from cscsr.compare.progress import Progress


def test_the_time_left_follows_from_what_was_measured():
    now = [100.0]
    progress = Progress({"slow": 10.0, "quick": 1.0}, clock=lambda: now[0])
    progress.add(("slow", 2), 2.0)
    progress.add(("slow", 3), 1.0)
    progress.add(("quick", 2), 1.0)
    assert progress.seconds_left() == pytest.approx(31.0)
    progress.begin("slow", ("slow", 2), 1.0)
    now[0] += 4.0
    assert progress.seconds_left() == pytest.approx(27.0)
    progress.done()
    assert progress.seconds_left() == pytest.approx(4.0 + 4.0 + 1.0)
    progress.close()
