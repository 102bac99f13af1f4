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


def test_arrays_are_told_apart_while_another_thread_imports_torch():
    code = (
        "import sys, threading, numpy as np\n"
        "from cscsr.arrays import is_tensor, ordinary_torch\n"
        "assert 'torch' not in sys.modules\n"
        "threading.Thread(target=lambda: __import__('torch')).start()\n"
        "while 'torch' not in sys.modules: pass\n"
        "assert not is_tensor(np.zeros(3))\n"
        "with ordinary_torch(): print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr
