"""Weights that a command makes on the user's machine, because they would be large to ship.

``cscsr train NAME`` writes them into the user's cache, and from then on NAME is a solver. Needs the
standard library only.
"""

from __future__ import annotations

from pathlib import Path

from cscsr.errors import InputError
from cscsr.published_weights import cache_folder

TRAINED = ("a-plus", "scsr")
"""The solvers that need such weights."""


def trained_path(name: str) -> Path:
    """Return where the weights of a solver of `TRAINED` lie, or would lie."""
    return cache_folder() / "trained" / f"{name}.safetensors"


def is_trained(name: str) -> bool:
    """Whether the weights of a solver of `TRAINED` have been made."""
    return trained_path(name).is_file()


def needed_trained(name: str) -> Path:
    """Return the weight file of a solver of `TRAINED`.

    Raises
    ------
    InputError
        If it has not been made, with the command that does.
    """
    path = trained_path(name)
    if not path.is_file():
        raise InputError(
            f"{name} needs weights that are not shipped: 'cscsr train {name} --data DIR' "
            "makes them in a few minutes."
        )
    return path
