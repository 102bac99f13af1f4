"""The time left follows from what was measured."""

import pytest

from cscsr.compare.progress import Progress
from cscsr.compare.text import duration


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


def test_without_a_terminal_lines_say_how_far_it_is(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    progress = Progress({"slow": 100.0}, clock=lambda: now[0])
    progress.add(("slow", 2), 3.0)
    progress.announce(3, ["figure 5"])
    assert "3 images to enlarge and figure 5: 5 min, roughly" in capsys.readouterr().out
    for image in range(3):
        progress.begin(f"slow on image {image}", ("slow", 2), 1.0)
        now[0] += 60.0
        progress.done()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "33 %, 60 s gone, 2 min left: slow on image 0"
    assert lines[-1].startswith("100 %, 3 min gone, 1 s left")
    progress.close()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (100, "2 min"),
        (3600, "60 min"),
        (5500, "1 h 30 min"),
        (7200, "2 h"),
    ],
)
def test_a_duration_is_read_at_a_glance(seconds, words):
    assert duration(seconds) == words
