"""The code in README and docs runs, and their tables are those of the reference run."""

import csv
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
from benchmarks import command, readme
from cscsr import InputError
from cscsr.cli.upscale import BEST_SOLVER, DEFAULT_SOLVER

ROOT = Path(__file__).parent.parent
HEADER = (
    "dataset,scale,method,psnr_db,ssim,seconds,images,protocol,published_psnr_db,published_ssim"
)


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


def test_python_of_readme_runs_in_six_lines(tmp_path):
    code = block("README.md", "python")
    assert len(code.splitlines()) <= 6
    write_photo(tmp_path)
    python("-c", code, folder=tmp_path)
    assert Image.open(tmp_path / "large.png").size == (48, 60)


def test_python_of_the_quick_start_runs(tmp_path):
    text = (ROOT / "docs" / "quick-start.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert first == block("README.md", "python")
    assert "(8, 64, 64)" in python("-c", second, folder=tmp_path)


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


def test_tables_of_the_quick_start_are_of_the_measurements():
    text = command.PAGE.read_text(encoding="utf-8")
    assert text == command.page(text), "run python -m benchmarks.command"


def test_default_and_best_solver_are_those_that_measured_best():
    with command.SOLVERS_CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert command.choice(rows) == (DEFAULT_SOLVER, BEST_SOLVER)
    shipped = [name for name in cscsr.list_solvers("SuperResolution") if name.startswith("crnet")]
    assert {row["solver"] for row in rows} >= set(shipped), "measure the new ones too"


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


def test_added_solver_keeps_the_contract(nearest, tmp_path):
    options = ["-q", "-p", "no:cacheprovider", "-k", "nearest and not unknown"]
    contract = ROOT / "tests" / "test_registry.py"
    printed = python("-m", "pytest", *options, contract, folder=tmp_path, path=nearest)
    assert int(re.search(r"(\d+) passed", printed).group(1)) >= 12


def test_readme_shows_the_table_of_the_reference_run():
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.with_table(text, readme.table()), "run python -m benchmarks.readme"


def test_csc_sr_page_shows_the_figures_of_the_reference_run():
    text = readme.CSC_SR.read_text(encoding="utf-8")
    assert text == readme.with_table(text, readme.csc_sr_table()), "run python -m benchmarks.readme"


def test_csc_sr_table_has_ours_theirs_and_the_difference(tmp_path):
    path = tmp_path / "table1.csv"
    path.write_text(
        f"{HEADER}\n"
        "Set5,2,bicubic,33.6634,0.92991,0.0021,5,y,33.66,0.9299\n"
        "Set5,2,csc-sr[admm],36.5077,0.9531,0.75,5,y,36.62,0.9549\n"
        "Set5,2,csc-sr[cista],35.1,0.94,0.75,4,y,,\n"
        "Set5,2,csc-ridge,36.6677,0.9561,0.75,5,y,,\n",
        encoding="utf-8",
    )
    assert readme.csc_sr_table(path).splitlines()[2:] == [
        "| Set5 ×2 | csc-sr[admm] | 36.51 / 0.9531 | 36.62 / 0.9549 | −0.11 / −0.0018 |",
        "| Set5 ×2 | csc-ridge | 36.67 / 0.9561 | 36.62 / 0.9549 | +0.05 / +0.0012 |",
    ]


def test_table_of_readme_has_methods_down_and_scales_across(tmp_path):
    path = tmp_path / "table1.csv"
    path.write_text(
        f"{HEADER}\n"
        "Set5,2,bicubic,33.6634,0.92991,0.0021,5,y,33.66,0.9299\n"
        "Set5,2,Bicubic (published),,,,,y,33.66,0.9299\n"
        "Set5,3,bicubic,30.3901,0.86821,0.0025,5,y,30.39,0.8682\n"
        "Set5,2,csc-sr-paper[admm],36.51,0.9526,1.31,5,y,36.62,0.9549\n"
        "Set14,2,bicubic,30.2301,0.8687,0.01,14,y,,\n",
        encoding="utf-8",
    )
    assert readme.table(path).splitlines() == [
        "| Set5 | ×2 | ×3 | seconds |",
        "|---|---|---|---|",
        "| bicubic | 33.66 / 0.9299 | 30.39 / 0.8682 | 0.0023 |",
        "| Bicubic (published) | 33.66 / 0.9299 |  |  |",
        "| csc-sr-paper[admm] | 36.51 / 0.9526 |  | 1.3 (×2 alone) |",
    ]


def test_table_of_readme_needs_its_file_and_its_rows(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        readme.table(tmp_path / "table1.csv")
    (tmp_path / "table1.csv").write_text(HEADER + "\n")
    with pytest.raises(InputError, match="rows of Set5"):
        readme.table(tmp_path / "table1.csv")
    with pytest.raises(InputError, match="markers"):
        readme.with_table("no markers", "")
