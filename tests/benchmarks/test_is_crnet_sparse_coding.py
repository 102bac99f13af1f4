"""The study of CRNet as sparse coding: its recursions are the network's, its page has them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from benchmarks._study.images import problem_of
from benchmarks.is_crnet_sparse_coding import is_crnet_sparse_coding, recursions
from cscsr import make_solver
from cscsr.data.datasets import demo
from cscsr.imaging import write_image


def test_recursions_are_those_of_the_network():
    image = dict(demo())["chelsea"][100:140, 100:144]
    rows = recursions("crnet-b-small", 2, [image], 2)
    trained = rows[0]["trained_recursions"]
    assert [row["recursion"] for row in rows] == list(range(2 * trained))
    assert rows[trained]["norm"] == 1.0
    assert rows[trained]["energy"] == 0.0
    assert abs(rows[0]["energy"]) == pytest.approx(1.0)
    solution = make_solver("crnet-b-small").solve(problem_of(image, 2, "rgb"))
    assert rows[trained]["nnz_share"] == pytest.approx(np.mean(solution.codes != 0), rel=1e-4)


@pytest.mark.slow
def test_the_page_has_a_column_for_each_network(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks._study.recurrence.FIT_STEPS", 3)
    (tmp_path / "data" / "one").mkdir(parents=True)
    crop = dict(demo())["chelsea"][100:140, 100:144]
    write_image(tmp_path / "data" / "one" / "cat.png", (crop / 255).astype(np.float32))
    walks, facts, picture, page = is_crnet_sparse_coding(
        tmp_path / "out", data=tmp_path / "data", dataset="one", solvers=["crnet-a-small"]
    )
    with facts.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    text = page.read_text(encoding="utf-8")
    assert "| | crnet-a-small |" in text
    assert f"| {float(row['norm']):.2f} |" in text
    assert "–" not in text.split("Recursions:")[0].split("|---|")[1]
    assert picture.stat().st_size > 10_000
    assert walks.is_file()
