"""Conversions and checks of numpy arrays and torch tensors, shared by all modules.

Needs numpy; imports torch only where a tensor or a GPU is involved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from cscsr.errors import InputError

if TYPE_CHECKING:
    import torch


UNIT_RANGE = (-1.0, 2.0)
"""What values of an image on the [0,1] scale may reach. Interpolation overshoots and noise is
unbounded, so that 1 is allowed on either side: Keys' kernel overshoots by at most 0.28, and noise
of a standard deviation of 50/255 by 1 in one pixel of three millions. An image on the 0-255 scale
lies beyond, unless all of it is black."""


def loaded_torch() -> Any:
    """Return torch if the process has imported it, else None.

    While another thread imports torch, `sys.modules` holds half of it; the statement here waits.
    """
    if "torch" not in sys.modules:
        return None
    import torch

    return torch


def is_tensor(array: Any) -> TypeGuard[torch.Tensor]:
    """Whether `array` is a torch tensor; torch is not imported for it."""
    torch = loaded_torch()
    return torch is not None and isinstance(array, torch.Tensor)


def dtype_name(array: Any) -> str:
    """Return the name of the dtype of an array or a tensor, such as "float32", in whatever byte
    order."""
    if isinstance(array, np.ndarray):
        return array.dtype.name
    return str(getattr(array, "dtype", None)).removeprefix("torch.")


def check_float_dtype(dtype: Any) -> None:
    """Raise InputError unless `dtype` is "float32", "float64", torch's of these, or None."""
    if dtype is not None and str(dtype).removeprefix("torch.") not in ("float32", "float64"):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}.")


def plain(name: str, array: Any) -> Any:
    """Return a numpy array without a subclass (memory map, matrix, masked array), not copied, and
    a tensor unchanged.

    Parameters
    ----------
    name
        What the array is, for the message.
    array
        The array.

    Raises
    ------
    InputError
        For a masked array in which anything is masked, and for what is neither a numpy array nor
        a torch tensor.
    """
    if is_tensor(array):
        return array
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{name} must be a numpy array or a torch tensor, got {type(array).__name__}."
        )
    if isinstance(array, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(array))
        if masked:
            raise InputError(
                f"{name} is a masked array with {masked} of {array.size} elements masked, which "
                "would be ignored; fill them first, for instance by array.filled(0)."
            )
        return array.data.view(np.ndarray)
    return array.view(np.ndarray) if type(array) is not np.ndarray else array


def copied(array: Any) -> Any:
    """Return a copy of a numpy array, or of a tensor on its device and in its graph."""
    return array.clone() if is_tensor(array) else array.copy()


def value_range(array: Any) -> tuple[float, float]:
    """Return the least and the largest value; NaN for both where any is NaN."""
    if isinstance(array, np.ndarray):
        return float(array.min()), float(array.max())
    least, largest = array.detach().aminmax()
    return float(least), float(largest)


def described(array: Any, ranged: bool = False) -> str:
    """Return an array in few words for a repr, such as "(64, 64) float32"; if `ranged`, with its
    least and largest value."""
    text = f"{tuple(array.shape)} {dtype_name(array)}"
    if is_tensor(array) and array.device.type != "cpu":
        text += f" on {array.device}"
    if ranged:
        least, largest = value_range(array)
        text += f" from {least:.4g} to {largest:.4g}"
    return text


def check_unit_range(name: str, array: Any) -> None:
    """Check that an image is finite and on the [0,1] scale; see `UNIT_RANGE`.

    Raises
    ------
    InputError
        For NaN, infinity, and values beyond `UNIT_RANGE`.
    """
    least, largest = value_range(array)
    if not (np.isfinite(least) and np.isfinite(largest)):
        raise InputError(f"{name} must be finite, but it holds NaN or infinity.")
    if least < UNIT_RANGE[0] or largest > UNIT_RANGE[1]:
        remedy = "divide 8-bit values by 255" if largest > 2.5 else "bring it to this scale"
        raise InputError(
            f"{name} must lie in [0, 1], where overshoots to {UNIT_RANGE[0]:g} and "
            f"{UNIT_RANGE[1]:g} are allowed, got values from {least:.4g} to {largest:.4g}; "
            f"{remedy}."
        )


@contextmanager
def ordinary_torch() -> Iterator[None]:
    """Have torch compute inside the block as it does by default, whatever the caller has set.

    It turns off autocast, which would round factors to 8 bits, and a default device other than
    the CPU, on which intermediate arrays would appear. The default dtype belongs to the process,
    not to the thread, so that it cannot be set here: code must name its dtypes instead. Usable as
    a decorator. A callback that a solver calls runs inside the block.
    """
    torch = loaded_torch()
    if torch is None:
        yield
        return
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def to_numpy(array: Any) -> np.ndarray:
    """Return a numpy array, or a torch tensor on any device, as a numpy array of its dtype."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def to_tensor(array: Any, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return an array or a tensor as a tensor, without a copy where none is needed."""
    import torch

    if not isinstance(array, torch.Tensor):
        array = np.asarray(array)
        native = array.dtype.newbyteorder("=")  # torch knows no other
        array = torch.from_numpy(np.require(array, native, requirements=["C", "W"]))
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
