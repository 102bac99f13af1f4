"""Speed by processor: a block for each processor and limit, and its table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks._study.curves import read_curves
from benchmarks.speed import processors as speed
from benchmarks.speed.__main__ import main
from cscsr import list_solvers

REFERENCE = Path(__file__).parents[3] / "reports" / "reference" / "speed"


def seconds(sporco: list[float], other: list[float]) -> dict[tuple[str, str], list[float]]:
    return {("sporco-admm", "fp32"): sporco, ("crnet-b-small", "bf16"): other}


def test_a_ratio_is_of_the_same_round():
    """A round in which the machine ran at half speed changes seconds, not ratios."""
    _, row = speed.block(seconds([2.0, 8.0, 4.0], [1.0, 4.0, 3.0]))
    assert (float(row["seconds"]), float(row["of_sporco_admm"])) == (3.0, 0.5)
    assert (row["system"], row["precision"], row["rounds"]) == ("crnet-b-small", "bf16", 3)


def test_a_block_replaces_only_that_of_its_processor_and_limits(monkeypatch):
    rows: list = []
    for processor, limit, factor in (("A", "", 1), ("B", "", 2), ("A", "avx2", 3), ("A", "", 4)):
        monkeypatch.setattr(speed.machine, "processor", lambda name=processor: name)
        for name in speed.machine.LIMITING:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", limit)
        rows = speed.merged(rows, speed.block(seconds([1.0], [factor / 8])))
    blocks = [(row["processor"], row["limits"]) for row in rows[::2]]
    assert blocks == [("B", ""), ("A", "ATEN_CPU_CAPABILITY=avx2"), ("A", "")]
    table = speed.table(rows)
    assert "| crnet-b-small | bf16 | 250 ms (0.25) | 375 ms (0.375) | 500 ms (0.5) |" in table
    assert (
        "2. A, limited by the environment variables `ATEN_CPU_CAPABILITY=avx2`; 1 rounds" in table
    )


@pytest.mark.slow
def test_every_system_is_measured_in_each_round(monkeypatch):
    measured = speed.measure(2, size=32)
    names = [(name, "fp32") for name in speed.CODERS]
    assert list(measured) == [*names, *speed.ENLARGERS]
    assert all(len(own) == 2 and min(own) >= 0 for own in measured.values())


@pytest.mark.parametrize(
    ("threads", "rounds", "sentence"), [(2, "3", "OMP_NUM_THREADS=1"), (1, "0", "at least 1")]
)
def test_what_cannot_be_compared_is_refused(tmp_path, capsys, threads, rounds, sentence):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert main(["processors", "--rounds", rounds, "--out", str(tmp_path)]) == 2
    finally:
        torch.set_num_threads(before)
    assert sentence in capsys.readouterr().err


def test_the_reference_page_is_of_its_rows():
    rows = read_curves(REFERENCE / "processors.csv")
    assert (REFERENCE / "processors.md").read_text("utf-8") == speed.page(rows)
    solvers = {*list_solvers("SparseCoding"), *list_solvers("SuperResolution")}
    assert {row["system"] for row in rows} <= solvers
    assert {tuple(row) for row in rows} == {speed.COLUMNS}
