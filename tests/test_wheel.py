"""The wheel is complete: unpacked outside the checkout, it enlarges with every solver."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TREES = ("cscsr", "benchmarks")
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
    for tree in TREES:
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


def test_holds_what_is_not_code(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    weights = [p for p in (ROOT / "cscsr" / "weights").iterdir() if p.suffix == ".safetensors"]
    assert weights
    expected = {"cscsr/py.typed", "cscsr/data/upstream.csv", "cscsr/data/holdout.txt"}
    expected |= {"cscsr/weights/manifest.json", "cscsr/compare/published.csv"}
    expected |= {f"cscsr/weights/{p.name}" for p in weights}
    expected |= {f"cscsr/weights/{p.stem}.md" for p in weights}
    expected |= {f"cscsr/compare/page/page.{kind}" for kind in ("html", "css", "js")}
    recipes = (ROOT / "cscsr" / "training" / "recipes").glob("*.toml")
    expected |= {f"cscsr/training/recipes/{p.name}" for p in recipes}
    assert expected <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests") for name in names)


def test_enlarges_with_every_solver_outside_the_checkout(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ENLARGE, str(installed)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "bicubic" in done.stdout
