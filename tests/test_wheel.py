"""The wheel is complete: outside the checkout it enlarges with every solver, and compares."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cscsr

ROOT = Path(__file__).parent.parent
FILES = ("pyproject.toml", "README.md", "LICENSE")

ENLARGE = """
import sys
import numpy as np
import cscsr

assert cscsr.__file__.startswith(sys.argv[1]), cscsr.__file__
image = np.linspace(0, 1, 24 * 20 * 3, dtype=np.float32).reshape(24, 20, 3)
for name in cscsr.list_solvers("SuperResolution"):
    for scale in (2, 3, 4) if name != "csc-sr-paper[admm]" else (2,):
        solution = cscsr.make_solver(name).solve(cscsr.SuperResolution(image, scale))
        assert solution.estimate.shape == (24 * scale, 20 * scale, 3), name
        assert np.isfinite(solution.estimate).all(), name
    print(name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the sources, without the network."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("building a wheel needs setuptools (pip install -e '.[test]')")
    if importlib.util.find_spec("pip") is None:
        pytest.skip("building a wheel needs pip")
    sources = tmp_path_factory.mktemp("sources")
    for tree in ("cscsr", "benchmarks", "tests"):
        shutil.copytree(
            ROOT / tree, sources / tree, ignore=shutil.ignore_patterns("__pycache__", "*.part")
        )
    for file in FILES:
        shutil.copy(ROOT / file, sources)
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", target, sources)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_holds_what_is_not_code(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    weights = [p for p in (ROOT / "cscsr" / "weights").iterdir() if p.suffix == ".safetensors"]
    assert weights
    expected = {"cscsr/py.typed", "cscsr/data/upstream.csv", "cscsr/training/small.toml"}
    expected |= {"cscsr/data/holdout.txt", "cscsr/data/leaks.txt"}
    expected |= {"cscsr/weights/manifest.json", "cscsr/compare/published.csv"}
    expected |= {f"cscsr/weights/{p.name}" for p in weights}
    expected |= {f"cscsr/weights/{p.stem}.md" for p in weights}
    expected |= {f"cscsr/compare/page/page.{kind}" for kind in ("html", "css", "js")}
    recipes = (ROOT / "cscsr" / "training" / "recipes").glob("*.toml")
    expected |= {f"cscsr/training/recipes/{p.name}" for p in recipes}
    assert expected <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {
        "cscsr",
        f"cscsr-{cscsr.__version__}.dist-info",
    }


def run_installed(installed: Path, folder: Path, *words: str) -> str:
    """The output of Python with these arguments, run in `folder` with the installed wheel."""
    settings = {
        "PYTHONPATH": str(installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": str(installed.parent),  # matplotlib caches its fonts there
    }
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_enlarges_with_every_solver_outside_the_checkout(installed, tmp_path):
    assert "bicubic" in run_installed(installed, tmp_path, "-c", ENLARGE, str(installed))


@pytest.mark.slow
def test_compares_outside_the_checkout_and_writes_into_its_folder_only(installed, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in installed.rglob("*")}
    words = ["compare", "--datasets", "demo", "--scales", "2", "--solvers", "bicubic"]
    printed = run_installed(installed, tmp_path, "-m", "cscsr", *words, "--out", "out")
    assert "The report: out/index.html" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path: path.stat().st_mtime_ns for path in installed.rglob("*")} == before
    assert {"index.html", "table1.md", "table1.csv", "table1.tex", "results.sqlite"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "bicubic" in (tmp_path / "out" / "table1.md").read_text()
