"""Trained parameters that come with the package: reading, checking and writing them.

Weights are one safetensors file, whose header holds the metadata needed to use them as JSON
(architecture, scales, the coder of a map). ``manifest.json`` lists the size and the SHA-256 of each
file, and ``NAME.md`` beside it is the model card: data, command, figures, licence. Whatever a file
holds is checked before use. Needs numpy and safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from cscsr.errors import InputError, unknown_name
from cscsr.output import make_folder, write_bytes, write_text
from cscsr.published_weights import needed_weights, row_of_solver
from cscsr.schema import Range, check_table, shown
from cscsr.trained_weights import TRAINED, needed_trained

FOLDER = Path(__file__).parent
"""Where the weight files of this package are."""

_MANIFEST = "manifest.json"
_METADATA_KEY = "cscsr"

MAX_BYTES = 2**31
"""The largest weight file that is read."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),  # the upper half of a float32
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""The types of tensors that are read, by their names in a safetensors file."""


@dataclass(frozen=True)
class _Shipped:
    """A row of the manifest."""

    bytes: Annotated[int, Range(1)]
    sha256: str


def manifest() -> dict[str, dict[str, Any]]:
    """Return the shipped weights: name to {"bytes": size, "sha256": hex digest}.

    Raises
    ------
    InputError
        For a manifest that cannot be read.
    """
    path = FOLDER / _MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged_manifest(getattr(error, "strerror", None) or "it is no text") from error
    rows = _parsed(text)
    if not isinstance(rows, dict):
        raise _damaged_manifest("it is no JSON table")
    try:
        for name, row in rows.items():
            check_table(_Shipped, row, f"the row {name!r}")
    except InputError as error:
        raise _damaged_manifest(str(error).removesuffix(".")) from error
    return rows


def _damaged_manifest(reason: str) -> InputError:
    return InputError(
        f"the list of shipped weights {FOLDER / _MANIFEST} is damaged ({reason}); "
        "install the package again."
    )


def _parsed(text: str) -> Any:
    """What a JSON text says; None if it is not one, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def weights_path(name: str | os.PathLike[str]) -> Path:
    """Return the file of weights.

    Parameters
    ----------
    name
        The name of shipped weights, the name of a solver of imported ones, such as
        "vdsr[published]", or of ones that a command makes, such as "a-plus", or the path of a
        ``.safetensors`` file.

    Raises
    ------
    InputError
        If there are no such weights, or they have not been imported or made.
    """
    if str(name).endswith(".safetensors"):
        path = Path(name)
        _stat(path)
        return path
    published = row_of_solver(str(name))
    if published is not None:
        return needed_weights(published)
    if name in TRAINED:
        return needed_trained(str(name))
    if name not in manifest():
        if os.path.exists(name):
            _stat(Path(name))
            raise InputError(f"{name} is no weight file, whose name ends in .safetensors.")
        raise unknown_name("weights", str(name), manifest())
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"the weight file {path} is missing; install the package again.")
    return path


def _stat(path: Path) -> os.stat_result:
    """What the disk says of a weight file. Raises InputError where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"no weight file at {path}.") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not path.is_file():
        there = "a folder" if path.is_dir() else "something other than a file"
        raise InputError(f"no weight file at {path}, which is {there}.")
    return status


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"weight file {path} cannot be read: {_reason(error)}.")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def sha256(name: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a weight file as a hex digest; `name` as in `weights_path`."""
    path = weights_path(name)
    stat = _stat(path)
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(_content(path)).hexdigest()


def load(
    name: str | os.PathLike[str], digest: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a weight file; a shipped one is checked against the manifest.

    The file is read once: what is hashed and what is decoded are the same bytes. Tensors of
    bfloat16, which numpy lacks, become float32, which holds all their values.

    Parameters
    ----------
    name
        As in `weights_path`.
    digest
        The SHA-256 that the file must have; None: any that the manifest allows.

    Returns
    -------
    tensors, metadata
        Arrays by name, and the metadata passed to `write`.

    Raises
    ------
    InputError
        For a file that is missing, truncated, altered or of another kind, for one that does not
        have `digest`, because it was changed since it was hashed, and for a tensor of a type that
        is not read, or with a number that is not finite as float32.
    """
    from safetensors import SafetensorError, deserialize

    path = weights_path(name)
    content = _content(path)
    known = manifest().get(str(name))
    actual = hashlib.sha256(content).hexdigest() if known is not None or digest else ""
    if known is not None:
        if len(content) != known["bytes"]:
            raise InputError(
                f"weight file {path} should have {known['bytes']} bytes but has {len(content)}: "
                "it is cut short or altered; install the package again."
            )
        if actual != known["sha256"]:
            raise InputError(
                f"weight file {path} does not match its SHA-256 in the manifest; "
                "install the package again."
            )
    if digest is not None and actual != digest:
        raise InputError(f"weight file {path} was changed while it was in use.")
    try:
        entries = deserialize(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} should be a safetensors weight file but cannot be read ({error}): "
            "it is cut short or of another kind."
        ) from error
    text = (header.get("__metadata__") or {}).get(_METADATA_KEY)
    if text is None:
        raise InputError(f"{path} is a safetensors file, but not one written by this toolkit.")
    metadata = _parsed(text)
    if not isinstance(metadata, dict):
        raise InputError(f"the metadata of {path} should be a JSON table, got {shown(text)}.")
    return {key: _array(path, key, entry) for key, entry in entries}, metadata


def _content(path: Path) -> bytes:
    """The bytes of a weight file."""
    size = _stat(path).st_size
    if size > MAX_BYTES:
        raise InputError(
            f"weight file {path} has {size} bytes, more than the {MAX_BYTES} that are read."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """A tensor of a safetensors file. Raises InputError as `load` does."""
    if entry["dtype"] not in _DTYPES:
        raise InputError(
            f"tensor {name} of {path} is of the type {entry['dtype']}, which cannot be read; "
            "save it as F32."
        )
    dtype: np.dtype[Any] = _DTYPES[entry["dtype"]]
    array: np.ndarray = np.frombuffer(entry["data"] or b"", dtype).reshape(entry["shape"])
    if entry["dtype"] == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    if array.dtype.kind == "f" and not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise InputError(f"tensor {name} of {path} holds a number that is not finite in float32.")
    return array


def of_another_method(
    name: str | os.PathLike[str], metadata: Mapping[str, Any], expected: str
) -> InputError:
    """Return the sentence on a weight file that holds something else than what is `expected`."""
    method = metadata.get("kind") or metadata.get("architecture") or "another method"
    return InputError(f"expected {expected} in {name}, got weights of {method}.")


def check_shapes(
    name: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int | None, ...]],
) -> None:
    """Check that a weight file has the tensors that its metadata ask for, and no others.

    Parameters
    ----------
    name
        Of the file, for the sentence.
    tensors
        Arrays by name.
    expected
        Shape by name; None for a length that is free.

    Raises
    ------
    InputError
        For a tensor that is missing, unknown or of another shape.
    """
    missing = sorted(set(expected) - set(tensors))
    if missing:
        raise InputError(f"{name} lacks the tensor {missing[0]} that its metadata ask for.")
    for key, array in sorted(tensors.items()):
        if key not in expected:
            raise InputError(f"{name} holds a tensor {key} that its metadata do not ask for.")
        wanted = expected[key]
        fits = len(wanted) == array.ndim and all(
            length in (None, actual) for length, actual in zip(wanted, array.shape, strict=True)
        )
        if not fits or 0 in array.shape:
            sides = ", ".join("any" if length is None else str(length) for length in wanted)
            raise InputError(
                f"tensor {key} of {name} should have the shape ({sides}), as its metadata say, "
                f"got {array.shape}."
            )


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> bytes:
    """Write a weight file under a temporary name, which is renamed when it is complete.

    Parameters
    ----------
    path
        The file, ``.safetensors``; its folder is created if it is missing.
    tensors
        Arrays by name.
    metadata
        The metadata for `load` to return; its values must be JSON.

    Returns
    -------
    bytes
        The content of the file.

    Raises
    ------
    InputError
        If the folder or the file cannot be written.
    """
    from safetensors.numpy import save as serialise

    path = Path(path)
    make_folder(path.parent)
    arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    header = {_METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)}
    content = serialise(arrays, metadata=header)
    write_bytes(path, content)
    return content


def save(
    name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any], card: str
) -> Path:
    """Ship weights: write ``name.safetensors``, its model card and its row in the manifest.

    Parameters
    ----------
    name
        The name for `load`.
    tensors, metadata
        As in `write`.
    card
        The text of the model card, ``name.md``.

    Returns
    -------
    Path
        The weight file.
    """
    path = FOLDER / f"{name}.safetensors"
    content = write(path, tensors, metadata)
    write_text(FOLDER / f"{name}.md", card)
    rows = manifest()
    rows[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_text(FOLDER / _MANIFEST, json.dumps(dict(sorted(rows.items())), indent=2) + "\n")
    return path
