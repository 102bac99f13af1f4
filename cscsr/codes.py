"""Sparse codes in files: safetensors, which hold the nonzero codes and where they are.

A file has the tensors ``positions`` (N,), int64, rising indices into the flattened codes, and
``values`` (N,); the header's metadata state the shape. Reading runs no code. Needs numpy and
safetensors only.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from cscsr.arrays import dtype_name, plain, to_numpy
from cscsr.errors import InputError
from cscsr.output import write_bytes
from cscsr.schema import shown

KEY = "cscsr-codes"
"""The key of the header's metadata under which the shape stands, as JSON."""

_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}


def save_codes(path: str | os.PathLike[str], codes: Any) -> Path:
    """Write codes to a file, which appears whole or not at all; returns its path.

    Parameters
    ----------
    path
        The file; its folder must exist.
    codes
        (M,H,W) or (B,M,H,W), float32 or float64, numpy or torch, such as `Solution.codes`. A
        nonzero code takes 12 or 16 bytes, a zero none.

    Raises
    ------
    InputError
        For codes of another shape or dtype or that are not finite, and if the file cannot be
        written.
    """
    from safetensors.numpy import save as serialise

    codes = plain("codes", codes)
    shape = tuple(codes.shape)
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(f"codes must have shape (M, H, W) or (B, M, H, W), got {shape}.")
    if dtype_name(codes) not in ("float32", "float64"):
        raise InputError(f"codes must be float32 or float64, got {codes.dtype}.")
    flat = to_numpy(codes).reshape(-1)
    positions = flat.nonzero()[0].astype("<i8")
    values = flat[positions].astype(flat.dtype.newbyteorder("<"))
    if not np.isfinite(values).all():
        raise InputError("codes must be finite, but they hold NaN or infinity.")
    header = {KEY: json.dumps(list(shape))}
    content = serialise({"positions": positions, "values": values}, metadata=header)
    return write_bytes(Path(path), content)


def load_codes(path: str | os.PathLike[str]) -> np.ndarray:
    """Read codes that `save_codes` wrote.

    Returns
    -------
    np.ndarray
        The codes, of the shape and dtype that were saved.

    Raises
    ------
    InputError
        For a file that is missing, cut short, altered or of another kind.
    """
    from safetensors import SafetensorError, deserialize

    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}.") from error
    try:
        tensors = dict(deserialize(content))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} should be a file of codes but cannot be read: it is cut short or of another "
            "kind."
        ) from error
    text = header.get("__metadata__", {}).get(KEY)
    if text is None:
        raise InputError(f"{path} is a safetensors file, but not one of codes.")
    shape = _shape(path, text)
    positions = _tensor(path, tensors, "positions", ("I64",))
    values = _tensor(path, tensors, "values", ("F32", "F64"))
    size = math.prod(shape)
    if positions.shape != values.shape:
        raise _damaged(path, f"it has {positions.size} positions of {values.size} values")
    if positions.size and not (
        positions[0] >= 0 and positions[-1] < size and (np.diff(positions) > 0).all()
    ):
        raise _damaged(path, f"its positions are not rising ones below {size}")
    if not np.isfinite(values).all():
        raise _damaged(path, "a code is not finite")
    try:
        codes = np.zeros(shape, values.dtype.newbyteorder("="))
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"the codes in {path} have the shape {shape} and do not fit into memory."
        ) from error
    codes.reshape(-1)[positions] = values
    return codes


def _shape(path: str | os.PathLike[str], text: str) -> tuple[int, ...]:
    """The shape of the codes from the header's text."""
    try:
        shape = json.loads(text)
    except (ValueError, RecursionError):
        shape = None
    if (
        not isinstance(shape, list)
        or len(shape) not in (3, 4)
        or not all(type(n) is int and n > 0 for n in shape)
    ):
        raise _damaged(path, f"its shape is {shown(text)}")
    return tuple(shape)


def _tensor(
    path: str | os.PathLike[str], tensors: dict[str, Any], name: str, types: tuple[str, ...]
) -> np.ndarray:
    """One of the two tensors, (N,)."""
    entry = tensors.get(name)
    if entry is None or entry["dtype"] not in types or len(entry["shape"]) != 1:
        raise _damaged(path, f"it should have a list {name} of the type {' or '.join(types)}")
    return np.frombuffer(entry["data"] or b"", _TYPES[entry["dtype"]])


def _damaged(path: str | os.PathLike[str], reason: str) -> InputError:
    return InputError(f"{path} is no file of codes of this toolkit: {reason}.")
