"""What importing costs: nothing heavy before it is used, and no more than is stated."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "sporco", "pandas", "matplotlib", "skimage"}
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
        "import cscsr; cscsr.list_solvers('SuperResolution')",
        "import cscsr.cli\ntry: cscsr.cli.main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "list_solvers", "help"],
)
def test_loads_nothing_heavy(code):
    loaded = run(f"{code}\nimport sys\nprint('loaded', *sys.modules)").rpartition("loaded")[2]
    assert not HEAVY & set(loaded.split())


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
