"""The code in README and docs runs, and their tables are those of the reference run."""

import doctest
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cscsr

ROOT = Path(__file__).parent.parent


def block(page: str, language: str) -> str:
    """The one code block in `language` of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return code


def python(*arguments, folder: Path, path: Path = ROOT) -> str:
    """What Python prints, run in `folder` with `path` searched before the checkout."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (path, ROOT))),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_photo(folder: Path) -> None:
    pixels = np.arange(20 * 16 * 3).reshape(20, 16, 3) % 251
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "photo.png")


@pytest.mark.slow
def test_python_of_readme_runs_in_six_lines(tmp_path):
    code = block("README.md", "python")
    assert len(code.splitlines()) <= 6
    write_photo(tmp_path)
    python("-c", code, folder=tmp_path)
    assert Image.open(tmp_path / "large.png").size == (48, 60)


@pytest.mark.slow
def test_python_of_the_quick_start_runs(tmp_path):
    text = (ROOT / "docs" / "quick-start.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert first == block("README.md", "python")
    assert "(8, 64, 64)" in python("-c", second, folder=tmp_path)


@pytest.mark.slow
def test_python_of_dictionary_learning_and_of_the_race_runs(tmp_path):
    write_photo(tmp_path)
    code = block("docs/dictionary-learning.md", "python")
    assert "16 filters of 6x6" in python("-c", code, folder=tmp_path)
    text = (ROOT / "docs" / "solvers.md").read_text(encoding="utf-8")
    picked, race = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert python("-c", picked, folder=tmp_path).strip() in {"active-set", "admm"}
    table = python("-c", race, folder=tmp_path)
    cells = {cell.strip() for cell in table.split("|")}
    assert {"active-set", "admm", "fista"} <= cells
    assert (tmp_path / "race" / "race.png").is_file()


def test_example_in_the_help_of_the_package():
    assert doctest.testmod(cscsr) == (0, 5)


def test_index_links_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    assert set(linked) == pages
    assert len(linked) == len(set(linked))


def test_modules_that_the_pages_run_are_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"python -m ((?:cscsr|benchmarks)[\w.]*)", page.read_text("utf-8"))
    }
    assert len(named) > 8
    assert not [name for name in named if importlib.util.find_spec(name.rstrip(".")) is None]


def promised(page: str) -> set[str]:
    """Names of the files that a page's tables say a command makes; a suffix alone (`.csv`) belongs
    to the name before it."""
    names: set[str] = set()
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        stem = ""
        for part in re.findall(r"`([\w./*-]*\.(?:csv|md|png|tex))`", line):
            if not part.startswith("."):
                stem = part.rpartition(".")[0]
                names.add(part)
            elif stem:
                names.add(stem + part)
    return names


def test_commands_make_what_the_page_of_commands_promises():
    """Every file that it names is in the reference run, save those of harder input, which it has
    not, and every file of the reference run is named."""
    folder = ROOT / "reports" / "reference"
    there = {
        path.name
        for path in folder.rglob("*.*")
        if path.suffix in (".csv", ".md", ".png") and path.parent.name not in ("training", "coders")
    }
    names = promised("reproduce.md")
    assert {name for name in names if not name.startswith("degraded")} <= there
    described = {"upscaled.png", *(f"table{n}{s}" for n in (1, 2, 3) for s in (".csv", ".md"))}
    described |= {"differences.csv", "differences.md"}
    assert there - described <= names


def test_files_of_the_reference_run_that_pages_cite_are_there():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(((?:\.\./)?[\w./-]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def nearest(tmp_path_factory) -> Path:
    """The folder in which the package of docs/add-a-solver.md is installed."""
    sources = tmp_path_factory.mktemp("nearest-sr")
    (sources / "nearest_sr.py").write_text(block("docs/add-a-solver.md", "python"))
    (sources / "pyproject.toml").write_text(block("docs/add-a-solver.md", "toml"))
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", target]
    python("-m", "pip", "install", *options, sources, folder=sources)
    return target


def test_added_solver_takes_thirty_lines():
    lines = block("docs/add-a-solver.md", "python") + block("docs/add-a-solver.md", "toml")
    assert len(lines.splitlines()) <= 30


def test_added_solver_is_listed_and_enlarges(nearest, tmp_path):
    assert "  nearest " in python("-m", "cscsr", "solvers", folder=tmp_path, path=nearest)
    write_photo(tmp_path)
    command = "-m cscsr upscale photo.png --scale 2 --solver nearest -o large.png"
    python(*command.split(), folder=tmp_path, path=nearest)
    large = np.asarray(Image.open(tmp_path / "large.png"))
    small = np.asarray(Image.open(tmp_path / "photo.png"))
    np.testing.assert_array_equal(large, np.kron(small, np.ones((2, 2, 1), np.uint8)))


@pytest.mark.slow
def test_added_solver_keeps_the_contract(nearest, tmp_path, monkeypatch):
    monkeypatch.setenv("CSCSR_TEST_SOLVERS", "nearest")
    options = ["-q", "-p", "no:cacheprovider", "-k", "nearest and not unknown"]
    contract = ROOT / "tests" / "test_registry.py"
    printed = python("-m", "pytest", *options, contract, folder=tmp_path, path=nearest)
    assert int(re.search(r"(\d+) passed", printed).group(1)) >= 12
