"""Trained parameters that come with the package: reading, checking and writing them.

Each set is one safetensors file whose header holds, as JSON, the metadata needed to use it
(architecture, scales, the coder that a map belongs to). ``manifest.json`` lists the size and the
SHA-256 of each file, and ``NAME.md`` beside it is its model card: data, command, figures,
licence. Needs numpy and safetensors only.
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
    """The shipped weights: name to {"bytes": size, "sha256": hex digest}."""
    path = FOLDER / _MANIFEST
    return json.loads(path.read_text()) if path.exists() else {}


def weights_path(name: str | os.PathLike[str]) -> Path:
    """The file of weights.

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
    """The SHA-256 of a weight file as a hex digest; `name` as in `weights_path`."""
    path = weights_path(name)
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(name: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a weight file; a shipped one is checked against the manifest.

    Parameters
    ----------
    name
        As in `weights_path`.

    Returns
    -------
    tensors, metadata
        Arrays by name, and the metadata that `write` was called with.

    Raises
    ------
    InputError
        For a file that is missing, cut short, altered or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    path = weights_path(name)
    known = manifest().get(str(name))
    if known is not None:
        size = path.stat().st_size
        if size != known["bytes"]:
            raise InputError(
                f"weight file {path} should have {known['bytes']} bytes but has {size}: "
                "it is cut short or altered; install the package again."
            )
        if sha256(name) != known["sha256"]:
            raise InputError(
                f"weight file {path} does not match its SHA-256 in the manifest; "
                "install the package again."
            )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = (file.metadata() or {}).get(_METADATA_KEY)
            names = list(file.keys())
            tensors = {key: file.get_tensor(key) for key in names}
    except SafetensorError as error:
        raise InputError(
            f"{path} should be a safetensors weight file but cannot be read ({error}): "
            "it is cut short or of another kind."
        ) from error
    if metadata is None:
        raise InputError(f"{path} is a safetensors file, but not one written by this toolkit.")
    return tensors, json.loads(metadata)


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write a weight file: under a temporary name first, which is renamed when it is complete.

    Parameters
    ----------
    path
        The file, ``.safetensors``; its folder is made where it is missing.
    tensors
        Arrays by name.
    metadata
        What `load` is to return beside them; it has to be JSON.

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
    write_bytes(path, serialise(arrays, metadata=header))


def save(
    name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any], card: str
) -> Path:
    """Ship weights: write ``name.safetensors``, its model card and its row in the manifest.

    Parameters
    ----------
    name
        The name that the weights are to be loaded by.
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
    write(path, tensors, metadata)
    write_text(FOLDER / f"{name}.md", card)
    rows = manifest()
    rows[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_text(FOLDER / _MANIFEST, json.dumps(dict(sorted(rows.items())), indent=2) + "\n")
    return path
