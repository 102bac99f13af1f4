"""The race: its problems, its rows, its resumption, its table and picture, its peers."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import race as study
from benchmarks._study.peers import REQUIRED, missing
from benchmarks._study.problems import COLOUR, image_problem
from benchmarks._study.race import BEST_RHO, SPORCO
from benchmarks.drawing.race import draw, fastest, gaps_of, lead, results, write_table
from cscsr import InputError

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"
GRID = {"sizes": (32,), "dictionaries": ("G:8x8x32",), "lams": (0.2,), "gaps": (1e-2, 1e-4)}
NAMES = ("active-set", "admm", SPORCO, BEST_RHO)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("race")
    study.race(out, **GRID, solvers=NAMES, max_seconds=20)
    return out


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "race_grid.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("dictionary", "channels"), [("G:12x12x36", 1), (COLOUR, 3)])
def test_lam_is_a_share_of_the_least_with_zero_codes(dictionary, channels):
    problem = image_problem(32, 0.2, dictionary)
    signal = problem.signal.reshape(channels, 32, 32).astype(float)
    filters = problem.dictionary.reshape(len(problem.dictionary), channels, -1).astype(float)
    side = problem.dictionary.shape[-1]
    largest = 0.0
    for atom in filters.reshape(-1, channels, side, side):
        places = ((-np.arange(side)) % 32, (-np.arange(side)) % 32)
        kernel = np.zeros((channels, 32, 32))
        kernel[:, places[0][:, None], places[1]] = atom
        spectra = np.fft.fft2(signal) * np.fft.fft2(kernel)
        largest = max(largest, np.abs(np.fft.ifft2(spectra).real.sum(0)).max())
    assert problem.lam == pytest.approx(0.2 * largest, rel=1e-4)


@pytest.mark.slow
def test_the_rows_hold_each_solver_and_gap(made):
    rows = {(row["solver"], row["gap"]): row for row in rows_in(made)}
    assert set(rows) == {
        ("optimum", ""),
        *((name, gap) for name in NAMES for gap in ("0.01", "0.0001")),
    }
    optimum = rows.pop(("optimum", ""))
    assert 0 <= float(optimum["duality_gap"]) <= 1e-5 * float(optimum["objective"])
    for name in NAMES:
        near, nearer = rows[name, "0.01"], rows[name, "0.0001"]
        assert 0 < float(near["seconds"]) <= float(nearer["seconds"])
        assert int(near["iterations"]) <= int(nearer["iterations"])


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(made):
    before = rows_in(made)
    study.race(made, **GRID, solvers=NAMES, max_seconds=20)
    assert rows_in(made) == before


def test_out_of_time_is_said_and_measured_again_under_a_larger_limit(tmp_path):
    options = GRID | {"solvers": ("fista",)}
    study.race(tmp_path, **options, max_seconds=1e-6)
    late = [row for row in rows_in(tmp_path) if row["solver"] == "fista"]
    assert all(row["note"].startswith("not in 0 s: 1 iterations to a gap of ") for row in late)
    assert "| > 1e-06 |" in (tmp_path / "race_grid.md").read_text(encoding="utf-8")
    study.race(tmp_path, **options, max_seconds=20)
    there = [row for row in rows_in(tmp_path) if row["solver"] == "fista"]
    assert len(there) == 2 and all(float(row["seconds"]) > 0 for row in there)


def test_the_first_and_its_lead():
    def row(seconds: str, limit: str = "9") -> dict[str, str]:
        return {"seconds": seconds, "limit": limit}

    own = {("admm", "0.1"): row("0.5"), ("fista", "0.1"): row("2"), (SPORCO, "0.1"): row("4")}
    assert fastest(own, "0.1", ("fista", "admm")) is own["admm", "0.1"]
    assert lead(own, "0.1") == (8.0, False)
    own[BEST_RHO, "0.1"] = row("3")
    assert lead(own, "0.1") == (6.0, False)
    late = {("admm", "0.1"): row("0.5"), (SPORCO, "0.1"): row("")}
    assert lead(late, "0.1") == (18.0, True)
    assert lead({("admm", "0.1"): row("0.5")}, "0.1") is None


def test_a_peer_that_is_absent_is_left_out_with_the_reason(tmp_path):
    if missing("scico-admm") is None:
        pytest.skip("scico is installed")
    study.race(tmp_path, **GRID, solvers=("admm", "scico-admm"), max_seconds=20)
    notes = {row["note"] for row in rows_in(tmp_path) if row["solver"] == "scico-admm"}
    assert len(notes) == 1 and "scico cannot be imported" in notes.pop()
    page = (tmp_path / "race_grid.md").read_text(encoding="utf-8")
    assert "scico-admm: scico cannot be imported" in page and "pip install scico" in page
    assert "| scico-admm |" not in page


@pytest.mark.skipif(missing("scico-admm") is not None, reason="scico is not installed")
def test_scicos_iterates_are_ours_with_the_same_rho():
    from benchmarks._study.peers import ScicoADMM
    from cscsr import ADMM

    problem = image_problem(32, 0.1)
    common = {"iterations": 30, "tol": 0, "rho": 3.0, "relaxation": 1.8}
    ours = ADMM(auto_rho=False, **common).solve(problem).codes
    np.testing.assert_allclose(ScicoADMM(**common).solve(problem).codes, ours, atol=2e-5)


@pytest.mark.skipif(missing("dicodile") is not None, reason="dicodile is not installed")
@pytest.mark.parametrize("nonnegative", [False, True])
def test_dicodile_reaches_the_optimum_of_its_boundary(nonnegative):
    from benchmarks._study.peers import Dicodile
    from cscsr import ActiveSet

    problem = replace(image_problem(32, 0.1, boundary="zero"), nonnegative=nonnegative)
    optimum = ActiveSet(gap_tol=1e-7, tol=0, dtype="float64").solve(problem)
    codes = Dicodile(iterations=2000, tol=0, record_every=0).solve(problem).codes
    assert problem.objective(codes) <= (1 + 1e-4) * problem.objective(optimum.codes)
    assert "only the boundary 'zero'" in Dicodile().supports(image_problem(32, 0.1))


def test_solvers_are_placed_on_a_gpu_where_they_can_compute_there():
    labels = {
        name: study.label_of(name, study.placed(study.make(name, None, 1e-3), "cuda"))
        for name in ("auto", "admm", "fista", "active-set", SPORCO, "sporco-pgm")
    }
    moved = ("auto", "admm", "fista")
    assert labels == {name: f"{name} on cuda" if name in moved else name for name in labels}


@pytest.mark.slow
def test_a_table_of_another_clock_is_refused(made):
    table = study.Table(made / "race_grid.csv", "another time")
    with pytest.raises(InputError, match="give --out another folder"):
        table.check_clock()


def test_ours_on_a_gpu_count_as_ours():
    rows = {("admm on cuda", "0.1"): {"seconds": "1"}, (SPORCO, "0.1"): {"seconds": "3"}}
    assert lead(rows, "0.1") == (3.0, False)


def test_every_peer_has_its_installation():
    assert missing("admm") is None
    assert all(command.startswith("pip install ") for _, command in REQUIRED.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gaps": (1e-9,)}, "gaps must be between 1e-6"),
        ({"max_seconds": 0}, "above 0 s, got 0"),
        ({"device": "nonsense"}, "expected a device among cpu"),
        ({"threads": 0}, "at least 1, got 0"),
        ({"solvers": ("bicubic",)}, "bicubic is no iterative solver"),
        ({"sizes": (8,)}, "from 16 to 512 pixels a side, got 8"),
        ({"lams": (1.0,)}, "between 0 and 1, got 1"),
        ({"dictionaries": ("G:8x8x65",)}, "unknown dictionary 'G:8x8x65'"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        study.race(tmp_path, **(GRID | options))


def test_the_page_and_the_picture_of_the_reference_run_are_made_from_its_table(tmp_path):
    rows = rows_in(REFERENCE)
    write_table(rows, tmp_path / "again.md", study.INTRODUCTION)
    text = (REFERENCE / "race_grid.md").read_text(encoding="utf-8")
    assert (tmp_path / "again.md").read_text(encoding="utf-8") == text
    draw(rows, tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as again:
        assert np.asarray(again.convert("L"))[:3].min() == 255
    assert set(gaps_of(rows)) <= {"0.01", "0.001", "1e-05"}
    assert all(case.size in (256, 512) for case in results(rows))
