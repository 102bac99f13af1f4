"""The device that a solver computes on."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from cscsr import InputError
from cscsr.arrays import device_to_use

ARRAYS = (np.zeros(2, np.float32), torch.zeros(2))


@pytest.mark.parametrize("array", ARRAYS, ids=["numpy", "torch"])
def test_an_array_in_main_memory_is_computed_on_the_cpu(array):
    assert device_to_use(None, array) == device_to_use("cpu", array) == "cpu"


@pytest.mark.parametrize("array", ARRAYS, ids=["numpy", "torch"])
def test_a_device_that_is_named_wins_and_has_to_be_there(array):
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(InputError, match=f"expected a device among cpu.*, got '{absent}'"):
        device_to_use(absent, array)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_array_on_a_gpu_is_computed_there_unless_a_device_is_named():
    array = torch.zeros(2, device="cuda:0")
    assert device_to_use(None, array) == "cuda:0"
    assert device_to_use("cpu", array) == "cpu"


@pytest.mark.slow
@pytest.mark.parametrize(
    "expression",
    [
        "arrays.is_tensor([]) is False",
        "arrays.ordinary_torch().__enter__() is None",
        "machine.threads() == 1",
    ],
)
def test_torch_may_be_used_while_another_thread_imports_it(expression):
    """A worker reads its next task, and imports what that needs, while it still solves one."""
    code = (
        "import sys, threading\n"
        "from cscsr import arrays\n"
        "from cscsr.compare import machine\n"
        "assert 'torch' not in sys.modules\n"
        "threading.Thread(target=lambda: __import__('torch')).start()\n"
        "while 'torch' not in sys.modules: pass\n"
        f"print({expression})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
