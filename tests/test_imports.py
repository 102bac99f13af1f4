"""What importing costs: nothing heavy before it is used, and no more than is stated."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cscsr
from cscsr.imaging import read_image, write_image
from cscsr.registry import is_builtin
from cscsr.trained_weights import TRAINED

HEAVY = {"torch", "sporco", "pandas", "matplotlib", "skimage", "asyncio", "multiprocessing"}
NOT_NEEDED_TO_UPSCALE = {"sporco", "skimage", "matplotlib", "pandas"}
ABSENT_ON_A_GPU_MACHINE = {"sporco", "pandas", "matplotlib"}
TRAINING_MODULES = (
    "cscsr.networks",
    "cscsr.network",
    "cscsr.training.recipe",
    "cscsr.training.run",
    "cscsr.data.datasets",
    "cscsr.imaging",
    "cscsr.weights",
)


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "code",
    [
        "import cscsr",
        "import cscsr; dir(cscsr)",
        "import cscsr; cscsr.list_solvers('SuperResolution')",
        "import cscsr.cli\ntry: cscsr.cli.main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "dir", "list_solvers", "help"],
)
def test_loads_nothing_heavy(code):
    loaded = run(f"{code}\nimport sys\nprint('loaded', *sys.modules)").rpartition("loaded")[2]
    assert not HEAVY & set(loaded.split())


def test_solver_classes_are_exported_with_their_types():
    """Each lazy name is in `__all__`, and type checkers are told the class that it becomes."""
    tree = ast.parse(Path(cscsr.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        name.asname or name.name: f"{node.module}:{name.name}"
        for node in checked.body
        for name in node.names
    }
    assert typed == cscsr._LAZY
    assert typed.keys() <= set(cscsr.__all__) <= set(dir(cscsr))
    for name, target in typed.items():
        assert getattr(cscsr, name).__name__ == target.partition(":")[2]
    classes = {type(cscsr.make_solver(name)) for name in filter(is_builtin, cscsr.list_solvers())}
    classes |= {type(cscsr.make_solver(name, weights="")) for name in TRAINED}
    lazy = [getattr(cscsr, name) for name in typed]
    assert classes == {
        each for each in lazy if isinstance(each, type) and issubclass(each, cscsr.Solver)
    } - {cscsr.Solver}
    assert (
        cscsr.FISTA(iterations=200).params() == cscsr.make_solver("fista", iterations=200).params()
    )
    with pytest.raises(AttributeError, match="no attribute 'fista'"):
        _ = cscsr.fista


@pytest.mark.slow
def test_help_of_a_solver_class_is_its_docstring():
    assert cscsr.ISTA.__doc__.splitlines()[0] in run("import cscsr; help(cscsr.ISTA)")


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["bicubic", "crnet-b-small", "csc-sr"])
def test_upscale_runs_without_the_packages_of_the_comparison(solver, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    write_image(tmp_path / "photo.png", pixels)
    words = ["upscale", str(tmp_path / "photo.png"), "--scale", "2", "--solver", solver]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED_TO_UPSCALE!r}))"
    run(f"{blocked}\nfrom cscsr.cli import main\nsys.exit(main({words!r}))")
    assert read_image(tmp_path / "photo-x2.png").shape == (48, 40, 3)


@pytest.mark.slow
@pytest.mark.parametrize("module", TRAINING_MODULES)
def test_training_imports_without_the_packages_of_the_comparison(module):
    blocked = f"import sys; sys.modules.update(dict.fromkeys({ABSENT_ON_A_GPU_MACHINE!r}))"
    run(f"{blocked}\nimport {module}")


def test_help_answers_at_once():
    resource = pytest.importorskip("resource", reason="processor time is read as Unix counts it")
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "cscsr", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    # Processor time, and the least of five, because other work slows a shared machine down.
    assert min(seconds) < 0.3
