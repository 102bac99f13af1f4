"""What the study makes of benchopt's samples, from the committed file."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks._study.pages import REFERENCE
from benchmarks.benchopt_csc import __main__ as study

TABLE = REFERENCE / "benchopt.csv.gz"


def test_the_committed_page_is_made_from_the_file(tmp_path):
    study.write_page(TABLE, tmp_path / "benchopt.md")
    assert (tmp_path / "benchopt.md").read_text("utf-8") == (REFERENCE / "benchopt.md").read_text(
        "utf-8"
    )


def test_times_are_the_first_samples_within_a_gap():
    rows = pd.read_csv(TABLE)
    times = study.times(TABLE)
    assert len(times) == len(rows[["dataset", "reg", "solver"]].drop_duplicates())
    for row in times:
        of_solver = rows[
            (rows.dataset == row["dataset"])
            & (rows.reg == row["reg"])
            & (rows.solver == row["solver"])
            & (rows.harness == "benchopt")
        ]
        for gap in (1e-2, 1e-3, 1e-4):
            at = row["benchopt", gap]
            if at is None:
                assert of_solver.relative_gap.min() > gap
            else:
                assert at.relative_gap <= gap
                earlier = of_solver[of_solver.seconds < at.seconds]
                assert (earlier.relative_gap > gap).all()


def test_both_harnesses_count_the_same_iterations():
    for row in study.times(TABLE):
        for gap in (1e-2, 1e-3, 1e-4):
            sampled, exact = row["benchopt", gap], row["race", gap]
            if sampled is not None and exact is not None:
                # benchopt looks at every tenth iteration or so
                assert -1 <= sampled.iteration - exact.iteration <= 0.12 * exact.iteration + 1


def test_leads_are_quotients_of_the_fastest():
    leads = study.leads(TABLE, 1e-3)
    rows = pd.read_csv(TABLE)
    near = rows[(rows.harness == "benchopt") & (rows.relative_gap <= 1e-3)]
    first = near.assign(sporco=near.solver.str.startswith("sporco")).pivot_table(
        index=["dataset", "reg"], columns="sporco", values="seconds", aggfunc="min"
    )
    assert sorted(leads) == pytest.approx(sorted(first[True] / first[False]))


def test_without_benchopt_it_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "find_spec", lambda name: None)
    assert study.main(["--out", str(tmp_path)]) == 2
    assert "pip install -r benchmarks/benchopt_csc/requirements.txt" in capsys.readouterr().err
    assert (study.FOLDER / "requirements.txt").is_file()
