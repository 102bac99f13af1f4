"""The machine of a measurement: the computer, its threads and memory, the code's version."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cscsr
from cscsr.arrays import loaded_torch

_RECORDED = ("torch", "numpy", "sporco")

INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX",
}
"""Instruction sets that matter for speed, by their flags in /proc/cpuinfo."""

LIMITING = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
)
"""Environment variables by which libraries use fewer instruction sets than the processor has."""


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads that torch uses; before torch is loaded, OMP_NUM_THREADS or the
    number of cores."""
    torch = loaded_torch()
    if torch is not None:
        return torch.get_num_threads()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() else cores()


def load() -> float | str:
    """Return the load average of the last minute.

    Times measured while it exceeds the number of cores are too long.

    Returns
    -------
    float or str
        The load average, or "" where the system does not report it.
    """
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else ""


@dataclass
class Conditions:
    """The conditions of a measured time, from `conditions`.

    Attributes
    ----------
    processor_seconds
        Processor time of the process, all threads together.
    load
        The load average of the last minute, per core, before it; None where the system does not
        report it.
    busy
        Whether the time is too long because the machine was busy: the load exceeds `MOST_LOAD`, or,
        on a CPU, the wall time exceeds `MOST_WAITING` times the processor time by more than
        `CLOCK_SECONDS`, so that the process waited.
    """

    processor_seconds: float = 0.0
    load: float | None = None
    busy: bool = False


MOST_LOAD = 1.2
"""The load average per core above which a machine counts as busy."""

MOST_WAITING = 1.25
"""The ratio of wall time to processor time above which a process was waiting."""

CLOCK_SECONDS = 0.02
"""Processor time is counted in steps of up to so many seconds (Windows)."""


@contextmanager
def conditions(device: str = "cpu") -> Iterator[Conditions]:
    """Measure the conditions under which the `with` block runs.

    Parameters
    ----------
    device
        Where it computes; on a GPU, waiting of the process is no sign of a busy machine.
    """
    average = load()
    measured = Conditions(load=None if average == "" else float(average) / (os.cpu_count() or 1))
    wall, processor = time.perf_counter(), time.process_time()
    yield measured
    wall = time.perf_counter() - wall
    measured.processor_seconds = time.process_time() - processor
    expected = MOST_WAITING * measured.processor_seconds + CLOCK_SECONDS
    waited = device == "cpu" and wall > expected
    measured.busy = waited or (measured.load is not None and measured.load > MOST_LOAD)


def describe(device: str = "cpu") -> str:
    """Return one line on the computer and the packages that do the arithmetic.

    Parameters
    ----------
    device
        "cpu", or a GPU such as "cuda:0", whose name the line then includes.
    """
    count = cores()
    parts = [processor(), *limits(), f"{count} core{'s' * (count != 1)}"]
    if sys.platform != "win32" and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        parts.append(f"{memory / 2**30:.0f} GiB")
    if device.startswith("cuda"):
        import torch

        parts.append(torch.cuda.get_device_name(device))
    parts += [platform.system(), f"Python {platform.python_version()}"]
    return ", ".join([*parts, *_packages()])


def processor() -> str:
    """Return the processor's name and, on Linux, what matters for speed; see `named_processor`."""
    listing = Path("/proc/cpuinfo")
    name = named_processor(listing.read_text(errors="replace")) if listing.is_file() else ""
    return name or platform.processor() or platform.machine()


def named_processor(cpuinfo: str) -> str:
    """Return the name of the first processor in the text of /proc/cpuinfo, "" where it has none.

    The instruction sets of `INSTRUCTION_SETS` follow in parentheses. A virtual machine may hide the
    number of the model ("AMD EPYC"); then its family and model number come before them.
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name", "")
    if not name:
        return ""
    flags = set(fields.get("flags", "").split())
    known = [", ".join(label for flag, label in INSTRUCTION_SETS.items() if flag in flags)]
    if not re.search(r"\d\d", name.partition("@")[0]) and {"cpu family", "model"} <= fields.keys():
        known.insert(0, f"family {fields['cpu family']} model {fields['model']}")
    about = "; ".join(filter(None, known))
    return f"{name} ({about})" if about else name


def limits() -> list[str]:
    """Return the variables of `LIMITING` that are set, as NAME=VALUE."""
    return [f"{name}={os.environ[name]}" for name in LIMITING if os.environ.get(name)]


def _packages() -> Iterator[str]:
    """The packages that do the arithmetic, with their versions."""
    for name in _RECORDED:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def code_version() -> str:
    """Return the toolkit's version, with the commit where it runs from a checkout."""
    root = Path(cscsr.__file__).parents[1]
    if not (root / ".git").exists():
        return cscsr.__version__
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "cscsr", "benchmarks"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return cscsr.__version__
    return f"{cscsr.__version__}+{commit}{'.changed' if changed else ''}"


class PeakMemory:
    """The peak memory inside `peak_memory`, in MB; None where it is unknown."""

    megabytes: float | None = None


@contextmanager
def peak_memory(device: str = "cpu") -> Iterator[PeakMemory]:
    """Measure the peak memory of the `with` block.

    Parameters
    ----------
    device
        "cpu" for the resident memory of the process, known on Linux only; "cuda…" for the memory
        allocated on a GPU.
    """
    peak = PeakMemory()
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.megabytes = torch.cuda.max_memory_allocated(device) / 1e6
        return
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")  # sets the high-water mark to what is in use now
    except OSError:
        yield peak
        return
    yield peak
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            peak.megabytes = int(line.split()[1]) * 1024 / 1e6
