"""The conditions of a measured time: processor time, load, and whether others slowed it down."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from cscsr.compare import machine
from cscsr.compare.summary import Place, remarks, summarise
from cscsr.compare.tables import make_tables, markdown


def _spin(seconds):
    """Use so many seconds of processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a process tied to a core")
@pytest.mark.slow
def test_a_process_that_shares_its_core_is_busy_and_one_that_has_it_is_not():
    """In a process of its own, tied to one core: alone, then beside a loop on the same core."""
    script = """
import os, subprocess, sys, time
from cscsr.compare import machine
machine.load = lambda: 0.0
core = sorted(os.sched_getaffinity(0))[0]
os.sched_setaffinity(0, {core})
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
time.sleep(0.5)
try:
    with machine.conditions() as shared: spin(0.3)
finally:
    for loop in loops: loop.kill()
print(shared.busy, round(shared.processor_seconds, 1))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "0.3"], done.stderr


def test_waiting_counts_on_a_cpu_and_not_on_a_gpu(monkeypatch):
    monkeypatch.setattr(machine, "load", lambda: 0.0)
    with machine.conditions() as waiting:
        time.sleep(0.1)
    with machine.conditions("cuda:0") as queued:
        time.sleep(0.1)
    assert (waiting.busy, queued.busy) == (True, False)
    assert waiting.processor_seconds < 0.05


@pytest.mark.parametrize(
    ("average", "busy"), [(0.5, False), (1.1, False), (1.3, True), (8.0, True)]
)
def test_the_load_of_each_core_counts(monkeypatch, average, busy):
    monkeypatch.setattr(machine, "load", lambda: average * (os.cpu_count() or 1))
    with machine.conditions("cuda:0") as measured:
        pass
    assert measured.busy is busy
    assert measured.load == pytest.approx(average)


def test_without_a_load_average_nothing_is_said_of_it(monkeypatch):
    monkeypatch.setattr(machine, "load", lambda: "")
    with machine.conditions() as measured:
        _spin(0.02)
    assert measured.load is None


def test_seconds_of_a_busy_machine_are_marked_wherever_they_stand(made_up):
    made_up.fill()
    busy = made_up.scored("crnet-a-small", "baby", 36.0)
    made_up.results.add(replace(busy, busy=True, processor_seconds=0.1, load=1.9))
    summary = summarise(made_up.results)
    assert summary.mean(Place("Set5", 2), "crnet-a-small").busy == 1
    table = make_tables(summary)[0]
    seconds = next(
        line
        for line in markdown(table).partition("## Seconds")[2].splitlines()
        if line.startswith("| Set5")
    )
    assert seconds.count("0.12†") == 1 and seconds.count("0.12") == 4
    assert any("busy with other work during 1 of 20 solves" in text for text in remarks(summary))
    made_up.results.add(replace(busy, busy=False))
    summary = summarise(made_up.results)
    assert "†" not in markdown(make_tables(summary)[0])


CPUINFO = {
    "AMD EPYC (family 26 model 2; AVX2, AVX-512, AVX512-BF16)": """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse4_2 avx f16c avx2 bmi2 avx512f avx512dq avx_vnni avx512_bf16 avx512_vnni

processor\t: 1
model name\t: another
""",
    "Intel(R) Xeon(R) Processor (family 6 model 143; AVX2, AVX-512, AVX512-BF16, AMX)": """\
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: avx2 avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8
""",
    "Intel(R) Xeon(R) Processor @ 2.30GHz (family 6 model 85; AVX2, AVX-512)": """\
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Processor @ 2.30GHz
flags\t\t: avx2 avx512f avx512_vnni
""",
    "AMD EPYC 9R14 (AVX2, AVX-512, AVX512-BF16)": """\
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9R14
flags\t\t: avx2 avx512f avx512_bf16
""",
    "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz (AVX2)": """\
cpu family\t: 6
model\t\t: 142
model name\t: Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz
flags\t\t: sse4_2 avx avx2
""",
    "Old CPU (family 6 model 15)": """\
cpu family\t: 6
model\t\t: 15
model name\t: Old CPU
flags\t\t: sse2
""",
    "": "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16\n",  # an Arm server
}


@pytest.mark.parametrize(("name", "cpuinfo"), CPUINFO.items(), ids=lambda text: text[:20])
def test_a_processor_is_named_with_what_matters_for_speed(name, cpuinfo):
    assert machine.named_processor(cpuinfo) == name


def test_limits_of_the_instruction_sets_are_part_of_the_machine(monkeypatch):
    for name in machine.LIMITING:
        monkeypatch.delenv(name, raising=False)
    assert machine.limits() == []
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert machine.limits() == ["ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2"]
    parts = f"{machine.processor()}, ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2, "
    assert machine.describe().startswith(parts)
