"""The paper's figures, and which solvers they stand beside."""

import csv
from collections import defaultdict

from cscsr import list_solvers
from cscsr.compare.published import (
    PUBLISHED_FILE,
    PUBLISHED_LINES,
    family,
    published_beside,
    read_published,
    same_method,
)
from cscsr.registry import is_builtin


def test_published_figures_agree_between_the_papers_tables():
    figures = defaultdict(set)
    with PUBLISHED_FILE.open(newline="") as file:
        for line in csv.DictReader(file):
            place = line["dataset"], line["scale"], line["method"]
            figures[place].add((line["psnr_db"], line["ssim"]))
    assert all(len(pair) == 1 for pair in figures.values())
    assert len(read_published()) == len(figures)


def test_figures_stand_beside_the_solvers_of_their_method():
    assert published_beside("csc-sr[ista]") == ("CSC-SR", True)
    assert published_beside("crnet-a-small") == ("CRNet-A", False)
    assert published_beside("sharpened") is None
    assert [same_method(name) for name in ("bicubic", "crnet-b-small")] == ["Bicubic", None]


def test_every_method_beside_a_solver_of_ours_has_figures_and_a_line():
    published = set(read_published().method)
    methods = {
        published_beside(name) for name in filter(is_builtin, list_solvers("SuperResolution"))
    } - {None}
    assert {"Bicubic", "CSC-SR", "CRNet-A"} <= {name for name, _ in methods}
    for name, _ in methods:
        assert name in PUBLISHED_LINES or name not in published, name


def test_plots_tell_two_families_from_the_others():
    names = ["csc-sr[admm]", "csc-ridge", "crnet-b-small+", "bicubic", "sharpened"]
    assert [family(name) for name in names] == [
        "classical",
        "classical",
        "learned",
        "other",
        "other",
    ]
