"""The short form of the soak: a few of its trials, always the same ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.soak.__main__ import SHORT
from tests.soak.processes import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals and quotas are POSIX's")
def test_a_short_soak_has_no_faults(tmp_path):
    pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    faults = tmp_path / "faults"
    words = ["--short", "--report", str(tmp_path / "soak.md"), "--faults", str(faults)]
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.soak", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "0 faults" in outcome.stdout
    assert not faults.exists()
    report = (tmp_path / "soak.md").read_text()
    assert "No faults." in report
    for name, numbers in SHORT:
        assert f"| {name} | {len(list(numbers))} |" in report
