"""Files of tensors that a stopped run goes on from: written whole, read without running any code.

Needs torch.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cscsr.errors import InputError
from cscsr.output import write_bytes
from cscsr.schema import shown


def write(path: str | os.PathLike[str], state: Mapping[str, Any]) -> Path:
    """Write tensors, numbers, texts and tables of these; returns the path.

    The file appears whole, and its data are on the disk before its name is: a power cut leaves
    the earlier file or this one.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    content = io.BytesIO()  # in whose errors torch does not hide those of the disk
    torch.save(dict(state), content)
    return write_bytes(Path(path), content.getbuffer())


def read(path: str | os.PathLike[str], device: str = "cpu") -> dict[str, Any]:
    """Read what `write` wrote.

    Parameters
    ----------
    path
    device
        Where the tensors are to be.

    Raises
    ------
    InputError
        For a file that cannot be read, is cut short, or holds something else.
    """
    try:
        content = io.BytesIO(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        with warnings.catch_warnings(action="ignore"):  # about what is refused below
            state = torch.load(content, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises errors of many kinds
        raise _damaged(path) from error
    if not isinstance(state, dict):
        raise _damaged(path)
    return _State(path, state)


class _State(dict[str, Any]):
    """The content of a file; a key that it lacks is the file's fault."""

    def __init__(self, path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self._path} should be a checkpoint, but lacks the key {key}.")


def _damaged(path: str | os.PathLike[str]) -> InputError:
    return InputError(
        f"{path} should be a checkpoint but cannot be read: it is cut short or of another kind; "
        "remove it, or give another --out."
    )


def check_like(value: Any, like: Any, where: str) -> None:
    """Check that a part of a file has the form of `like`, and that its numbers are finite.

    Tables have the same keys, lists the same length, tensors the same shape, and of floating point
    or not, and everything else the same type.

    Raises
    ------
    InputError
        For the first place where they differ.
    """
    if isinstance(like, Mapping):
        if not isinstance(value, Mapping) or value.keys() != like.keys():
            raise InputError(f"{where} should hold {shown(list(like))}.")
        for key, item in value.items():
            check_like(item, like[key], f"{where}.{key}")
    elif isinstance(like, torch.Tensor):
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{where} should be a tensor, got {shown(value)}.")
        shape, floating = tuple(like.shape), like.is_floating_point()
        if tuple(value.shape) != shape or value.is_floating_point() != floating:
            raise InputError(
                f"{where} should have the shape {shape}, got {tuple(value.shape)} of {value.dtype}."
            )
        check_finite(value, where)
    elif isinstance(like, (list, tuple)):
        if type(value) is not type(like) or len(value) != len(like):
            raise InputError(f"{where} should be a list of {len(like)}, got {shown(value)}.")
        for number, (item, other) in enumerate(zip(value, like, strict=True)):
            check_like(item, other, f"{where}.{number}")
    elif type(value) is not type(like):
        raise InputError(f"{where} should be like {shown(like)}, got {shown(value)}.")
    else:
        check_finite(value, where)


def check_finite(value: Any, where: str) -> None:
    """Check that all numbers in a value, a table or a list are finite.

    Raises
    ------
    InputError
        For one that is not, with its place.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_finite(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_finite(item, where)
    elif isinstance(value, torch.Tensor):
        if not bool(value.isfinite().all()):
            raise InputError(f"{where} holds a number that is not finite.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} holds a number that is not finite.")
