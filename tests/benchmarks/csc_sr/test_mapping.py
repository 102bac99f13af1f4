"""The study of CSC-SR's mapping: its starts, its table, and what the pages say of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.csc_sr.mapping import STARTS, mapping, mapping_start, shipped
from cscsr import weights
from cscsr.csc_sr.options import CODINGS, Options
from cscsr.csc_sr.train import train_csc_sr
from cscsr.data.datasets import training_textures
from cscsr.imaging import write_image

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "reports" / "reference" / "csc-sr"
SIZES = {"atoms": 8, "hr_atoms": 12, "filter_steps": 2, "crop": 24, "phases": 1, "rounds": 0}


def page(name: str) -> str:
    """A page's text with every break between words as one space."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("start", "hr_atoms"),
    [(start, m) for start, _, _ in STARTS[2:] for m in (4, 9, 12)]
    + [("identity and pairs", 9), ("identity and pairs", 12), ("clusters", 4), ("clusters", 9)],
)
def test_every_start_is_on_the_simplex(start, hr_atoms):
    kernels = torch.from_numpy(np.random.default_rng(0).standard_normal((9, 6, 6)))
    starts = [mapping_start(start, hr_atoms, kernels, np.random.default_rng(1)) for _ in range(2)]
    rows = starts[0].mapping
    assert rows.shape == (hr_atoms, 9)
    assert (rows >= 0).all()
    torch.testing.assert_close(rows.sum(1), torch.ones(hr_atoms))
    assert torch.equal(rows, starts[1].mapping)


def test_clusters_hold_kernels_that_are_alike():
    """Three kernels, each three times with a little noise: the clusters are these."""
    rng = np.random.default_rng(0)
    kernels = np.tile(rng.standard_normal((3, 6, 6)), (3, 1, 1))
    kernels += 0.01 * rng.standard_normal(kernels.shape)
    rows = mapping_start("clusters", 3, torch.from_numpy(kernels), rng).mapping
    expected = np.tile(np.eye(3), 3) / 3
    np.testing.assert_allclose(sorted(rows.tolist()), sorted(expected.tolist()), atol=1e-6)


@pytest.mark.slow
def test_the_study_fits_each_start_and_keeps_its_rows(tmp_path):
    (tmp_path / "T91").mkdir()
    for name in ("brick", "coins", "page"):
        write_image(tmp_path / "T91" / f"{name}.png", training_textures()[name][:120, :120])
    (tmp_path / "holdout.txt").write_text("T91/brick.png\n")
    out = tmp_path / "out"
    starts = [("clusters", (4,), (0.1,)), ("random, concentration 1", (8, 12), (0.01, 0.1))]
    table, text, *_ = mapping(tmp_path, out, sizes=SIZES, starts=starts)
    rows = pd.read_csv(table)
    groups = rows.groupby(["start", "hr_filters"])
    assert {key: group.ridge.nunique() for key, group in groups} == {
        ("ridge", 8): 4,
        ("clusters", 4): 1,
        ("random, concentration 1", 8): 2,
        ("random, concentration 1", 12): 2,
    }
    fits = rows[rows.start != "ridge"]
    assert (fits.rounds >= 10).all()
    assert (fits.mean_moved > 0).all()
    for _, group in fits.groupby(["start", "hr_filters"]):
        best = group.sort_values("psnr_db").iloc[-1]
        assert best.last_gain < 1e-5 or group.rounds.max() == 400
    # What the ridge form reaches is what a training of the same sizes and filters measures.
    filters = str(out / "runs" / "mapping.safetensors")
    options = replace(Options(), **SIZES, codings={"admm": CODINGS["admm"]})
    (path,) = train_csc_sr(
        tmp_path,
        tmp_path / "t",
        coders=["admm"],
        scales=[2],
        options=options,
        filters=filters,
        progress=False,
    )
    measured = weights.load(path)[1]["scales"]["2"]["holdout_psnr_db"]
    for _, row in rows[rows.start == "ridge"].iterrows():
        assert row.psnr_db == pytest.approx(measured[f"{row.ridge:g}"], abs=2e-4)
    # Rows that are there are not made again.
    checkpoints = sorted((out / "runs" / "mapping" / "state").glob("*-1e-05.pt"))
    assert len(checkpoints) == len(rows)
    made = [path.stat().st_mtime_ns for path in checkpoints]
    before = text.read_text(encoding="utf-8")
    mapping(tmp_path, out, sizes=SIZES, starts=starts)
    assert [path.stat().st_mtime_ns for path in checkpoints] == made
    assert text.read_text(encoding="utf-8") == before


def test_tables_of_the_study_are_those_on_the_page():
    text = (ROOT / "docs" / "csc-sr.md").read_text(encoding="utf-8")
    for name in ("choices.md", "mapping.md", "shipped.md"):
        assert (REFERENCE / name).read_text(encoding="utf-8") in text, name


def test_the_page_says_what_the_study_measured():
    rows = pd.read_csv(REFERENCE / "mapping.csv")
    ridge = rows[rows.start == "ridge"]
    atoms, best = ridge.hr_filters.iloc[0], ridge.psnr_db.max()
    text = page("docs/csc-sr.md")
    many = rows[(rows.start != "ridge") & (rows.hr_filters >= atoms)]
    assert 0 < many.psnr_db.max() - best < 0.005
    assert "no start beats ridge regression by more than 0.005 dB" in text
    # Objectives can be compared at the same ridge weight.
    square = many[(many.hr_filters == atoms) & many.start.str.startswith("random")]
    for weight, objective in zip(ridge.ridge, ridge.objective, strict=True):
        assert (square.objective[square.ridge == weight] > objective).all()
    few = {}
    for share in (2, 4):
        group = rows[rows.hr_filters == atoms // share]
        # The row on the page: the ridge weight best for its start, with all its rounds.
        final = [starts.iloc[-1] for _, starts in group.groupby("start")]
        row = max(final, key=lambda row: row.psnr_db)
        few[share] = f"{best - row.psnr_db:.2f}", f"{row.psnr_db - row.start_psnr_db:.2f}"
    (half_less, half_more), (quarter_less, quarter_more) = few[2], few[4]
    assert (
        f"M = N/2 reaches {half_less} dB less than ridge regression, {half_more} dB more than with "
        f"the mapping it started from, M = N/4 {quarter_less} dB less and {quarter_more} dB more"
    ) in text


def distances() -> dict[str, list[float]]:
    """Of each shipped map, straight from its tensors."""
    measured = {"identity": [], "pairs": [], "kernels": [], "psnr": []}
    for name in (name for name in weights.manifest() if name.startswith("csc-sr")):
        tensors, metadata = weights.load(name)
        for scale, about in metadata["scales"].items():
            rows = torch.from_numpy(tensors[f"mapping_x{scale}"]).double()
            ridge = torch.from_numpy(tensors[f"kernels_x{scale}"]).double().flatten(1)
            hr = torch.from_numpy(tensors[f"hr_filters_x{scale}"]).double().flatten(1)
            atoms = len(ridge)
            measured["identity"].append(float((rows[:atoms] - torch.eye(atoms)).abs().max()))
            largest = rows[atoms:].topk(3).values
            from_start = torch.cat([(largest[:, :2] - 0.5).abs(), largest[:, 2:]], 1)
            measured["pairs"].append(float(from_start.max()))
            measured["kernels"].append(float((rows.T @ hr - ridge).norm() / ridge.norm()))
            ridge_db, *rounds_db = about["holdout_rounds_psnr_db"]
            measured["psnr"].append(max(rounds_db) - ridge_db)
    return measured


def test_the_page_says_how_far_the_shipped_mappings_went():
    measured = distances()

    def at_most(values: list[float], digits: int) -> str:
        return f"{math.ceil(max(map(abs, values)) * 10**digits) / 10**digits:g}"

    low, high = (100 * bound(measured["kernels"]) for bound in (min, max))
    expected = (
        f"is within {at_most(measured['identity'], 3)} of eⱼ for j ≤ N, and the other rows are "
        f"within {at_most(measured['pairs'], 1)} of the halves they start at. The combined kernels "
        f"differ from the ridge kernels by {low:.0f} to {high:.0f} % of their norm, and the "
        f"PSNR on the held-out images differs by at most {at_most(measured['psnr'], 3)} dB"
    )
    assert expected in page("docs/csc-sr.md")


def test_the_table_of_the_shipped_mappings_is_that_of_the_tensors(tmp_path):
    table, text = shipped(tmp_path)
    rows, measured = pd.read_csv(table), distances()
    np.testing.assert_allclose(rows.identity_moved, measured["identity"], atol=5e-5)
    np.testing.assert_allclose(rows.pairs_moved, measured["pairs"], atol=5e-5)
    np.testing.assert_allclose(rows.kernels_differ, measured["kernels"], atol=5e-4)
    np.testing.assert_allclose(rows.psnr_db - rows.ridge_psnr_db, measured["psnr"], atol=1e-9)
    for path in (table, text):
        assert path.read_text(encoding="utf-8") == (REFERENCE / path.name).read_text("utf-8")
