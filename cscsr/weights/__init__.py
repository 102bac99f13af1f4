"""Trained parameters that come with the package: reading, checking and writing them.

Weights are one safetensors file, whose header holds the metadata needed to use them as JSON
(architecture, scales, the coder of a map). ``manifest.json`` lists the size and the SHA-256 of each
file, and ``NAME.md`` beside it is the model card: data, command, figures, licence. Needs numpy and
safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cscsr.errors import InputError, unknown_name
from cscsr.output import make_folder, write_bytes, write_text

FOLDER = Path(__file__).parent
_MANIFEST = "manifest.json"
_METADATA_KEY = "cscsr"


def manifest() -> dict[str, dict[str, Any]]:
    """Return the shipped weights: name to {"bytes": size, "sha256": hex digest}."""
    path = FOLDER / _MANIFEST
    return json.loads(path.read_text()) if path.exists() else {}


def weights_path(name: str | os.PathLike[str]) -> Path:
    """Return the file of weights.

    Parameters
    ----------
    name
        The name of shipped weights, or the path of a ``.safetensors`` file.

    Raises
    ------
    InputError
        If there are no such weights.
    """
    if str(name).endswith(".safetensors"):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"no weight file at {path}.")
        return path
    if name not in manifest():
        raise unknown_name("weights", str(name), manifest())
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"the weight file {path} is missing; install the package again.")
    return path


def sha256(name: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a weight file as a hex digest; `name` as in `weights_path`."""
    path = weights_path(name)
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(_content(path)).hexdigest()


def load(
    name: str | os.PathLike[str], digest: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a weight file; a shipped one is checked against the manifest.

    The file is read once: what is hashed and what is decoded are the same bytes.

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
        For a file that is missing, truncated, altered or of another kind, and for one that does
        not have `digest`, because it changed since it was hashed.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as decode

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
        tensors = decode(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except SafetensorError as error:
        raise InputError(
            f"{path} should be a safetensors weight file but cannot be read ({error}): "
            "it is cut short or of another kind."
        ) from error
    metadata = header.get("__metadata__", {}).get(_METADATA_KEY)
    if metadata is None:
        raise InputError(f"{path} is a safetensors file, but not one written by this toolkit.")
    return tensors, json.loads(metadata)


def _content(path: Path) -> bytes:
    """The bytes of a weight file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"weight file {path} cannot be read: {error.strerror}.") from error


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
