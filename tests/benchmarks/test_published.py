"""The study of published weights, and the table of all systems."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest

from benchmarks._study.curves import read_curves
from benchmarks.published import TOLERANCE_DB, difference, main, means_of, table_of
from benchmarks.systems import PAGE, counted, page_of, rows_of
from benchmarks.systems import main as systems_main
from benchmarks.systems import table_of as systems_table
from cscsr.compare.published import PUBLISHED_IMAGES, read_published
from cscsr.network import NetworkSolver
from cscsr.networks import architectures, blueprint
from cscsr.published_weights import PUBLISHED

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"


def read(name: str) -> list[dict[str, str]]:
    return read_curves(REFERENCE / name)


def test_the_reference_has_every_network_and_every_image_of_set5_and_set14():
    images = {
        (row["dataset"], row["network"], int(row["scale"]), row["image"])
        for row in read("published_images.csv.gz")
    }
    for name, row in PUBLISHED.items():
        for scale in row.scales:
            for dataset, count in (("Set5", 5), ("Set14", 14)):
                own = [each for each in images if each[:3] == (dataset, name, scale)]
                assert len(own) == count, (dataset, name, scale)


def test_the_committed_means_and_table_are_those_of_the_images():
    means = means_of(read("published_images.csv.gz"))
    text = [{key: str(value) for key, value in row.items()} for row in means]
    assert text == read("published.csv")
    assert table_of(means) == (REFERENCE / "published.md").read_text(encoding="utf-8")


def test_what_is_published_is_reproduced_on_set5():
    """CARN-M's file is not reproduced, which the table says."""
    gaps = {
        (row["network"], int(row["scale"])): difference(row)
        for row in read("published.csv")
        if row["dataset"] == "Set5"
    }
    assert len(gaps) == sum(len(row.scales) for row in PUBLISHED.values())
    for (network, scale), gap in gaps.items():
        if network != "carn-m":
            assert abs(gap) <= TOLERANCE_DB, (network, scale)
    assert "CARN-M: unexplained" in (REFERENCE / "published.md").read_text(encoding="utf-8")


def test_means_are_of_whole_data_sets():
    rows = read("published_images.csv.gz")
    for row in means_of(rows):
        assert row["images"] == PUBLISHED_IMAGES[row["dataset"]]
    one = next(row for row in rows if row["dataset"] == "Set5")
    fewer = [row for row in rows if row["dataset"] == "Set5" and row is not one]
    places = {(row["network"], row["scale"]) for row in means_of(fewer)}
    assert (one["network"], int(one["scale"])) not in places
    assert len(places) == sum(len(row.scales) for row in PUBLISHED.values()) - 1


def test_the_study_says_what_it_needs(tmp_path, capsys, shared_data):
    words = ["--data", str(shared_data), "--out", str(tmp_path / "out"), "--weights"]
    assert main([*words, str(tmp_path)]) == 2
    assert "holds none of the files that 'cscsr weights list' names" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none")]) == 2
    assert "expected a folder of published weights" in capsys.readouterr().err


def test_networks_without_files_are_a_sentence(tmp_path, capsys, monkeypatch, shared_data):
    """A folder with the file of another network alone."""
    other = NetworkSolver("srcnn")
    monkeypatch.setattr("benchmarks.published.solvers_of", lambda *_: [(PUBLISHED["scn"], other)])
    words = ["--data", str(shared_data), "--out", str(tmp_path / "out"), "--weights", str(tmp_path)]
    assert main([*words, "--networks", "vdsr", "imdn"]) == 2
    assert f"{tmp_path} holds the files of none of vdsr, imdn." in capsys.readouterr().err


def test_the_page_has_the_tables_of_the_reference(tmp_path):
    rows = rows_of(REFERENCE)
    assert rows == read("systems.csv")
    text = PAGE.read_text(encoding="utf-8")
    assert page_of(text, REFERENCE, systems_table(rows)) == text


def test_systems_are_those_with_published_figures():
    """And ACSC, whose paper is not on super-resolution."""
    methods = [row["method"] for row in read("systems.csv")]
    assert len(set(methods)) == len(methods)
    published = read_published()
    assert set(methods) == {*published[published.dataset == "Set5"].method, "ACSC"}
    years = [int(row["year"]) for row in read("systems.csv")]
    assert years == sorted(years)


def systems() -> dict[str, dict[str, str]]:
    rows = read_curves(Path(__file__).parents[2] / "benchmarks" / "systems.csv")
    return {row["method"]: row for row in rows}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("CRNet-A", 1_330_305),
        ("CRNet-B", 11_730_307),
        ("EDSR", 69 * 9 * 256**2 + 2 * 27 * 256 + 70 * 256 + 3),
    ],
)
def test_counts_are_those_of_the_paper(method, parameters):
    """EDSR's is that of ×2, where its paper states one of 43M; tests/networks has that of ×4."""
    assert counted(systems()[method])[0] == parameters


def test_published_multiply_adds_are_the_counted_ones():
    """To the digits of the papers, where there are both."""
    both = {
        method: row
        for method, row in systems().items()
        if row["architecture"] and row["giga_multiply_adds"]
    }
    assert set(both) == {"VDSR", "DRCN", "DRRN", "MemNet", "CARN-M", "IMDN"}
    for row in both.values():
        assert counted(row)[1] == pytest.approx(float(row["giga_multiply_adds"]), abs=0.06)


def test_the_table_names_what_is_missing(tmp_path, capsys):
    assert systems_main(["--out", str(tmp_path), "--reference", str(tmp_path)]) == 2
    assert "python -m benchmarks.compare makes it" in capsys.readouterr().err
    shutil.copy(REFERENCE / "table1.csv", tmp_path)
    assert systems_main(["--out", str(tmp_path), "--reference", str(tmp_path)]) == 2
    assert "python -m benchmarks.csc_sr ensemble makes it" in capsys.readouterr().err
    (tmp_path / "csc-sr").mkdir()
    shutil.copy(REFERENCE / "csc-sr" / "ensemble_means.csv", tmp_path / "csc-sr")
    assert systems_main(["--out", str(tmp_path), "--reference", str(tmp_path)]) == 2
    assert "python -m benchmarks.patch_methods makes it" in capsys.readouterr().err
    shutil.copy(REFERENCE / "patch_methods.csv", tmp_path)
    assert systems_main(["--out", str(tmp_path), "--reference", str(tmp_path)]) == 2
    assert "python -m benchmarks.published makes it" in capsys.readouterr().err


def test_halos_of_the_page_are_those_of_the_networks():
    stated = re.findall(r"^\| ([\w-]+) \| `(?:y|rgb)` \| .* \| (.*) \|$", PAGE.read_text(), re.M)
    own = {"srcnn", "crnet-a", "crnet-b", "crnet-b-tied"}  # docs/maths.md describes these
    assert {name.lower() for name, _ in stated} == set(architectures()) - own
    for name, halo in stated:
        radius = blueprint(name.lower(), {"scales": (2,)}).radius(2)
        assert halo == ("the whole image" if radius is None else str(radius)), name


def srdensenet(first: int, inside: bool, side: int, width: int, linked: bool) -> int:
    """Parameters of a reading of SRDenseNet with biases, for luma at ×4: channels of the first
    layer; whether all layers of a block see its input, or the first only; side and channels of the
    transposed filters; whether a block sees all earlier blocks, or the last only."""
    layers, channels, growth = [(1, first, 3)], first, 16
    for block in range(8):
        entering = channels if linked or block == 0 else 8 * growth
        for layer in range(8):
            before = layer * growth
            sees = before + entering if inside or layer == 0 else before
            layers.append((sees, growth, 3))
        channels += 8 * growth
    layers += [(channels, width, 1), (width, width, side), (width, width, side), (width, 1, 3)]
    return sum(inputs * outputs * side**2 + outputs for inputs, outputs, side in layers)


def test_what_the_page_says_of_the_counts_of_srdensenet():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    readings = itertools.product((8, 16, 128), (False, True), (3, 4), (128, 256), (False, True))
    counts = sorted(srdensenet(*reading) for reading in readings)
    assert f"have between {counts[0]:,} and {counts[-1]:,} parameters" in text
    nearest = min(counts, key=lambda count: abs(count - 2_015_000))
    assert abs(nearest - 2_015_000) > 10_000
    no_reading = "2,015 thousand, from the comparison of CARN, is that of no reading"
    assert f"{no_reading}. The nearest has {nearest:,}." in text
    assert f"({srdensenet(16, True, 4, 128, True):,})" in text
