"""From the files that authors published to a weight file of this toolkit.

A file is read only if its SHA-256 is that of the table (`cscsr.published_weights`), and the readers
run no code that a file may hold: MATLAB's files by scipy, PyTorch's by its reader of tensors alone
(``weights_only``). Needs torch, scipy and safetensors.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cscsr import weights
from cscsr.errors import InputError
from cscsr.networks import Network, blueprint
from cscsr.networks.base import MEAN_RGB
from cscsr.networks.scn import BORDER, FIELD, fixed_taps
from cscsr.published_weights import (
    PublishedFile,
    PublishedWeights,
    importable_scales,
    imported_path,
)

Arrays = dict[str, np.ndarray]
"""Tensors by name."""

Contents = Mapping[str, bytes]
"""Published files: path in the repository to bytes."""


def import_weights(
    row: PublishedWeights, paths: Sequence[str | os.PathLike[str]]
) -> tuple[Path, tuple[int, ...]]:
    """Convert published files and write them into the user's cache, over an earlier import.

    Parameters
    ----------
    row, paths
        As in `convert`.

    Returns
    -------
    path, scales
        The weight file, and the factors that it enlarges by.

    Raises
    ------
    InputError
        As `convert`, and where the cache cannot be written.
    """
    tensors, metadata = convert(row, paths)
    target = imported_path(row)
    weights.write(target, tensors, metadata)
    return target, tuple(metadata["scales"])


def convert(
    row: PublishedWeights, paths: Sequence[str | os.PathLike[str]]
) -> tuple[Arrays, dict[str, Any]]:
    """Return the tensors and the metadata of a weight file, of published files.

    Parameters
    ----------
    row
        Whose files they are.
    paths
        The files, under any names and in any order.

    Raises
    ------
    InputError
        For a file that cannot be read or is not one of the row, and where no scale has all its
        files.
    """
    contents: dict[PublishedFile, bytes] = {}
    for path in paths:
        content = _content(Path(path), row)
        contents[recognised(row, content, path)] = content
    scales = importable_scales(row, list(contents))
    needed = {
        file.path: contents[file]
        for file in row.files
        if file in contents and set(file.scales) & set(scales)
    }
    network = blueprint(row.architecture, {**row.network, "scales": scales})
    tensors = _CONVERTERS[row.name](needed, network)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    weights.check_shapes(row.solver, tensors, shapes)
    return tensors, {
        "architecture": row.architecture,
        "network": row.network,
        "scales": list(scales),
        "line": network.line,
    }


def _content(path: Path, row: PublishedWeights) -> bytes:
    """The bytes of a file that is no larger than those of the row."""
    try:
        size = path.stat().st_size
        if path.is_file() and size <= max(file.bytes for file in row.files):
            return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}.") from error
    raise InputError(f"{path} is {_none_of(row)}.")


def recognised(
    row: PublishedWeights, content: bytes, path: str | os.PathLike[str]
) -> PublishedFile:
    """Return the file of a row that has these bytes.

    Raises
    ------
    InputError
        If none has, about `path`.
    """
    digest = hashlib.sha256(content).hexdigest()
    for file in row.files:
        if file.sha256 == digest:
            return file
    raise InputError(f"{path}, of SHA-256 {digest[:12]}…, is {_none_of(row)}.")


def _none_of(row: PublishedWeights) -> str:
    names = ", ".join(f"{file.path} ({file.sha256[:12]}…)" for file in row.files)
    return (
        f"damaged or none of the files of {row.name}, which are {names} of {row.repository}; "
        "download it again from where 'cscsr weights list' says"
    )


def read_matlab(content: bytes) -> dict[str, Any]:
    """Return the variables of a MATLAB file; a struct is a numpy record.

    Raises
    ------
    InputError
        For anything else.
    """
    from scipy.io import loadmat

    try:
        return loadmat(io.BytesIO(content), struct_as_record=True, squeeze_me=False)
    except MemoryError:
        raise
    except Exception as error:  # scipy raises errors of many kinds
        raise InputError("a file of weights should be MATLAB's but cannot be read.") from error


def read_torch(content: bytes) -> Arrays:
    """Return the tensors of a PyTorch file, in their order, without running code that it holds.

    Raises
    ------
    InputError
        For anything else than tensors by name.
    """
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # about what is refused below
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises errors of many kinds
        raise InputError(
            "a file of weights should hold PyTorch's tensors but cannot be read: it is damaged or "
            "asks for code to be run."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise InputError("a file of weights should hold PyTorch's tensors by name.")
    return {key: value.float().numpy() for key, value in state.items()}


def in_order(network: Network, arrays: Iterable[np.ndarray]) -> Arrays:
    """Return `arrays` under the names of a network's tensors, whose order they have.

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    names, arrays = list(network.state_dict()), list(arrays)
    if len(names) != len(arrays):
        raise InputError(f"expected {len(names)} tensors, got {len(arrays)}.")
    return dict(zip(names, arrays, strict=True))


def _matlab_filters(filters: np.ndarray) -> np.ndarray:
    """(h, w[, in[, out]]), in MATLAB's order of a convolution, as (out, in, h, w)."""
    filters = filters.reshape(*filters.shape, *[1] * (4 - filters.ndim))
    return np.ascontiguousarray(filters.transpose(3, 2, 0, 1), np.float32)


def _vdsr(files: Contents, network: Network) -> Arrays:
    (content,) = files.values()
    model = read_matlab(content)["model"][0, 0]
    arrays: list[np.ndarray] = []
    for filters, bias in zip(model["weight"].flat, model["bias"].flat, strict=True):
        arrays += [_matlab_filters(filters), bias.ravel().astype(np.float32)]
    return in_order(network, arrays)


def _scn(files: Contents, network: Network) -> Arrays:
    """The files' filters that are not learned must be those of the network (`fixed_taps`), which
    lists the pixels of a patch in the other order; only their norm counts."""
    arrays: list[np.ndarray] = []
    patch, mean, _ = fixed_taps()
    patch = patch.swapaxes(2, 3)
    for content in files.values():
        model = read_matlab(content)["model"][0, 0]
        for name, taps in (("diffms", patch), ("mean2", mean)):
            if not np.allclose(_columns_as_filters(model[name]), taps, atol=1e-7):
                raise InputError(f"the filters {name} of SCN are not those that were expected.")
        layers = [_columns_as_filters(model[name]) for name in ("conv", "wd", "usd1", "ud")]
        arrays += [model["addp"].ravel().astype(np.float32), *layers]
    return in_order(network, arrays)


def _columns_as_filters(matrix: np.ndarray) -> np.ndarray:
    """(out, 1, k, k), each a column of k² taps, row by row; (out, in, 1, 1) for 1×1."""
    side = math.isqrt(len(matrix))
    one_by_one = side not in (FIELD, 2 * BORDER + 1) or side**2 != len(matrix)
    shape = (1, 1, *matrix.shape) if one_by_one else (side, side, 1, matrix.shape[1])
    return _matlab_filters(matrix.reshape(shape))


def _lapsrn(files: Contents, network: Network) -> Arrays:
    """A transposed convolution's filters are (h, w, out, in) in MatConvNet, (in, out, h, w) in
    torch."""
    (content,) = files.values()
    values = {
        str(row["name"][0]): row["value"] for row in read_matlab(content)["net"][0, 0]["params"][0]
    }
    return in_order(
        network,
        [
            values[name].ravel() if name.endswith("_b") else _matlab_filters(values[name])
            for name in values
        ],
    )


def _carn_m(files: Contents, network: Network) -> Arrays:
    """The file's layers that shift by the mean must be those of the network."""
    (content,) = files.values()
    state = read_torch(content)
    shift = -state.pop("sub_mean.shifter.bias"), state.pop("add_mean.shifter.bias")
    identity = state.pop("sub_mean.shifter.weight"), state.pop("add_mean.shifter.weight")
    if not (
        np.allclose(shift, MEAN_RGB, atol=1e-6)
        and np.allclose(identity, np.eye(3)[..., None, None], atol=1e-6)
    ):
        raise InputError(f"expected CARN-M to subtract the mean {MEAN_RGB}.")
    return in_order(network, state.values())


def _imdn(files: Contents, network: Network) -> Arrays:
    states = [read_torch(content) for content in files.values()]
    return in_order(network, [array for state in states for array in state.values()])


_CONVERTERS: dict[str, Callable[[Contents, Network], Arrays]] = {
    "vdsr": _vdsr,
    "scn": _scn,
    "lapsrn": _lapsrn,
    "carn-m": _carn_m,
    "imdn": _imdn,
}
"""By the name of published weights: from files to the tensors of a network."""
