"""The registry, and the contract that every solver of this package keeps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cscsr
from cscsr import InputError, SparseCoding, SuperResolution
from cscsr.registry import is_builtin, published_method, solver_family
from cscsr.testing import CHECKS, check_solver
from cscsr.testing_problems import image, problem_for

torch.set_num_threads(1)

ALL = sorted(cscsr.list_solvers("SparseCoding")) + sorted(cscsr.list_solvers("SuperResolution"))
OURS = [name for name in ALL if is_builtin(name)]

DEAR = (
    "cista",
    "crnet-b-small+",
    "csc-ridge",
    "csc-sr-paper[admm]",
    "csc-sr[admm]+",
    "csc-sr[cista]",
    "csc-sr[fista]",
    "csc-sr[ista]",
    "csc-sr[sporco-admm]",
    "sporco-admm",
    "sporco-pgm",
)
"""Solvers whose whole contract takes many seconds: the fast tests have some of its rules alone."""

QUICK = ("construction", "description", "refusals", "truth", "max_seconds", "batch")

CASES = [
    pytest.param(name, rule, marks=[pytest.mark.slow] * (name in DEAR and rule not in QUICK))
    for name in ALL
    for rule in CHECKS
]


@pytest.mark.parametrize(("name", "rule"), CASES)
def test_every_solver_keeps_the_contract(name, rule):
    CHECKS[rule](cscsr.make_solver(name))


@pytest.mark.parametrize("name", ALL)
def test_name_is_the_registered_one(name):
    assert cscsr.make_solver(name).name == name


@pytest.mark.parametrize("name", OURS)
def test_the_device_is_the_problems_unless_one_is_named(name):
    assert cscsr.make_solver(name).params().get("device") is None


@pytest.mark.parametrize("name", OURS)
def test_no_solver_of_ours_refuses_an_ordinary_problem(name):
    """The contract lets a solver refuse: ours do not, but for scales without weights."""
    solver = cscsr.make_solver(name)
    for channels in (None, 3):
        assert solver.supports(problem_for(solver, channels=channels)) is None
    for scale in (2, 3, 4):
        if solver.problem_type is SuperResolution:
            reason = solver.supports(SuperResolution(image(24, 20), scale))
            only_x2 = name == "csc-sr-paper[admm]" and scale != 2
            assert "maps for ×2, not for" in reason if only_x2 else reason is None


def test_unknown_name_comes_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown solver 'fsta': did you mean fista"):
        cscsr.make_solver("fsta")
    for wrong in (None, ["fista"]):
        with pytest.raises(InputError, match="the name of a solver must be a text, got"):
            cscsr.make_solver(wrong)


def test_unknown_parameter_comes_with_the_known():
    with pytest.raises(InputError, match=r"no parameter iteration; it has iterations"):
        cscsr.make_solver("fista", iteration=3)


def test_short_name_of_csc_sr():
    assert cscsr.make_solver("csc-sr").name == "csc-sr[admm]"


def test_every_solver_of_ours_belongs_to_a_family():
    for name in OURS:
        solves_sparse = cscsr.make_solver(name).problem_type is SparseCoding
        expected = {"sparse", "learned"} if solves_sparse else {"learned"}
        if name == "bicubic":
            expected = {"interpolation"}
        elif name.startswith("csc-"):
            expected = {"classical"}
        assert solver_family(name) in expected, name
    assert solver_family("no-such-solver") == "other"


def test_figures_beside_a_solver_are_of_its_method_or_of_a_relative():
    assert published_method("bicubic") == ("Bicubic", True)
    assert published_method("csc-sr") == published_method("csc-sr[admm]") == ("CSC-SR", True)
    assert published_method("csc-ridge") == ("CSC-SR", False)
    assert published_method("csc-sr[admm]+") == ("CSC-SR", False)
    assert published_method("crnet-b-small+") == ("CRNet-B+", False)
    assert published_method("ista") is None
    assert published_method("no-such-solver") is None


def test_a_solver_of_another_package_names_its_family_and_method(tmp_path, monkeypatch):
    """Installed as a wheel is: a module, and a folder of metadata beside it."""
    (tmp_path / "labelled_sr.py").write_text(
        "from dataclasses import dataclass\n"
        "from cscsr.bicubic import Bicubic\n"
        "@dataclass(frozen=True)\n"
        "class Labelled(Bicubic):\n"
        "    name, family, published = 'labelled', 'learned', ('VDSR', True)\n"
    )
    metadata = tmp_path / "labelled_sr-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: labelled-sr\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[cscsr.solvers]\nlabelled = labelled_sr:Labelled\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "labelled" in cscsr.list_solvers("SuperResolution")
    assert solver_family("labelled") == "learned"
    assert published_method("labelled") == ("VDSR", True)
    check_solver(cscsr.make_solver("labelled"))


@pytest.mark.slow
def test_a_solver_that_is_installed_here_is_listed_and_not_tested(tmp_path):
    """The example of docs/add-a-solver.md beside a solver of codes that keeps no contract."""
    root = Path(__file__).resolve().parents[1]
    page = (root / "docs" / "add-a-solver.md").read_text(encoding="utf-8")
    (tmp_path / "nearest_sr.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    (tmp_path / "no_coder.py").write_text(
        "from cscsr import ISTA\nclass NoCoder(ISTA):\n    def solve(self, *a, **b): return None\n"
    )
    metadata = tmp_path / "nearest_sr-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: nearest-sr\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(
        "[cscsr.solvers]\nnearest = nearest_sr:Nearest\nno-coder = no_coder:NoCoder\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"}

    def output(*words):
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=True
        ).stdout

    listed = output("-m", "cscsr", "solvers")
    assert "nearest" in listed and "no-coder" in listed
    collected = output(
        "-m", "pytest", "--collect-only", "-q", "tests/test_registry.py", "tests/sparse"
    )
    assert "fista" in collected
    assert "no-coder" not in collected and "[nearest" not in collected
