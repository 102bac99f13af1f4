"""What all tests share: the research images, a command that must fail, and settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from cscsr import registry
from cscsr.cli import main
from cscsr.published_weights import CACHE_VARIABLE

# The arrays of the tests are small: a second thread costs more than it brings. To be set
# before numpy and torch start their threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Times on a shared machine say nothing about the code.
settings.register_profile("cscsr", deadline=None, max_examples=40)
settings.load_profile("cscsr")

# Tests neither see nor change what the user of this machine has imported. Their parameters name
# solvers, and are collected before any fixture.
_CACHE = TemporaryDirectory(prefix="cscsr-cache-")
os.environ[CACHE_VARIABLE] = _CACHE.name

REPOSITORY = Path(__file__).resolve().parents[1]

# The tests are of this package's solvers. What other packages have installed here is left out, so
# that it cannot fail them, unless CSCSR_TEST_SOLVERS names it; a test may still install a solver of
# its own.
_every_installed = registry._installed
_ELSEWHERE = frozenset(_every_installed()) - set(os.environ.get("CSCSR_TEST_SOLVERS", "").split())
registry._installed = lambda: {
    name: point for name, point in _every_installed().items() if name not in _ELSEWHERE
}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with Set5, Set14, B100 …: CSCSR_DATA, else ../shared/data beside the
    repository. Tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CSCSR_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "Set5").is_dir():
        pytest.skip(f"no research images: {folder} holds no Set5 (set CSCSR_DATA to its folder)")
    return folder


@pytest.fixture(scope="session")
def published_files() -> Path:
    """The folder with the weights that authors published (`cscsr weights list`): what
    CSCSR_PUBLISHED_FILES names, else ../shared/reference/weights beside the repository. Tests that
    need them are skipped where it is absent."""
    default = REPOSITORY.parent / "shared" / "reference" / "weights"
    folder = Path(os.environ.get("CSCSR_PUBLISHED_FILES") or default)
    if not folder.is_dir():
        pytest.skip(
            f"no published weights: no {folder} (set CSCSR_PUBLISHED_FILES to their folder)"
        )
    return folder


def pytest_configure() -> None:
    """Interrupts work in the processes that tests start, also where a shell that runs the tests
    in its background has them ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail: returns its one sentence, without the 'cscsr: '."""

    def run(*arguments) -> str:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # how argparse ends
            code = stopped.code
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert captured.err.startswith("cscsr: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        return captured.err.removeprefix("cscsr: ").strip()

    return run


def _read(process: subprocess.Popen) -> None:
    """Read a process's standard error to its end, so that it never waits for a reader."""
    threading.Thread(target=process.stderr.read, daemon=True).start()


@contextmanager
def _started(*words: str) -> Iterator[subprocess.Popen]:
    """A process of Dask's, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,  # so that workers can import the studies
    )
    _read(process)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple]:
    """A scheduler on loopback with two workers: its address, its process and theirs."""
    distributed = pytest.importorskip("distributed", reason="the extra cscsr[cluster]")
    file = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            _started(
                *("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
                *("--no-dashboard", "--scheduler-file", str(file)),
            )
        )
        workers = [
            stack.enter_context(
                _started(
                    *("distributed.cli.dask_worker", "--scheduler-file", str(file)),
                    *("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"),
                    *("--memory-limit", "0", "--local-directory", str(tmp_path / str(number))),
                )
            )
            for number in range(2)
        ]
        for _ in range(600):
            if file.is_file() and file.stat().st_size:
                break
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=120)
            address = client.scheduler.address
        yield address, scheduler, workers
