"""The allocator of a training: pages are not fetched again for what has been freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from cscsr.training.allocator import keep_freed_memory

def pages_fetched() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(48, 1024, 1024, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages_fetched()
usual = pages_fetched()
kept = keep_freed_memory()
for _ in range(20):  # until no small block is left at the end of the heap
    pages_fetched()
print(usual * resource.getpagesize(), pages_fetched() * resource.getpagesize(), kept)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")
def test_a_freed_block_is_used_again_without_fetching_its_pages():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    usual, after, kept = run.stdout.split()
    assert kept == "True"
    assert int(usual) > 40 * 2**20, "the program's check: glibc gives such a block back"
    assert int(after) < 2**20
