"""Conversions and device checks for numpy arrays and torch tensors, shared by all modules.

Needs numpy; imports torch only where a tensor or a GPU is involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cscsr.errors import InputError

if TYPE_CHECKING:
    import torch


def to_numpy(array: Any) -> np.ndarray:
    """Return a numpy array, or a torch tensor on any device, as a numpy array of its dtype."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def to_tensor(array: Any, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return an array or a tensor as a tensor, without a copy where none is needed."""
    import torch

    if not isinstance(array, torch.Tensor):
        array = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return array.to(device=device, dtype=dtype)


def to_type_of(array: Any, like: Any) -> Any:
    """Return `array` in the array type and dtype and on the device of `like`."""
    if isinstance(like, np.ndarray):
        return to_numpy(array).astype(like.dtype, copy=False)
    if isinstance(array, np.ndarray):
        return like.new_tensor(array)
    return array.to(device=like.device, dtype=like.dtype)


def device_of(array: Any) -> str:
    """Return the device of a tensor, such as "cuda:0"; "cpu" for a numpy array."""
    return "cpu" if isinstance(array, np.ndarray) else str(array.device)


def check_device(device: str) -> str:
    """Return `device` if torch can compute there.

    Raises
    ------
    InputError
        For a name that is no device and for a GPU that this machine lacks.
    """
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if str(device) not in known:
        raise InputError(f"expected a device among {', '.join(known)}, got {str(device)!r}.")
    return device


def device_to_use(device: str | None, array: Any) -> str:
    """Return the device that a solver computes on: the one its parameter names, else the array's.

    Parameters
    ----------
    device
        "cpu", "cuda", "cuda:1", or None for the device of `array`.
    array
        A numpy array or a tensor of the problem.

    Raises
    ------
    InputError
        For a name that is no device and for a GPU that this machine lacks.
    """
    return device_of(array) if device is None else check_device(device)
