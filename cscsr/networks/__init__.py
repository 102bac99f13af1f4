"""The super-resolution networks, as torch modules: one file each.

A file of this folder that defines a concrete `Network` is an architecture named after the file:
``crnet_a.py`` holds "crnet-a". There is no other list of them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from cscsr.errors import InputError, unknown_name
from cscsr.networks.base import LumaEnlarger, LumaRefiner, Network, RGBEnlarger, Visit
from cscsr.networks.cista_block import CISTABlock, FactoredS
from cscsr.networks.crnet_a import CRNetA
from cscsr.networks.crnet_b import CRNetB
from cscsr.schema import check_arguments

MAX_PARAMETERS = 2**27
"""The most parameters of a network that is built: half a GiB of float32, and in training five
times as much. The widest of the paper has 11.7 million."""

__all__ = [
    "CISTABlock",
    "CRNetA",
    "CRNetB",
    "FactoredS",
    "LumaEnlarger",
    "LumaRefiner",
    "Network",
    "RGBEnlarger",
    "Visit",
    "architecture",
    "architectures",
    "blueprint",
    "build",
]


@cache
def architectures() -> dict[str, type[Network]]:
    """Return the network classes of this folder, by the names that recipes and weight files use."""
    classes: dict[str, type[Network]] = {}
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for value in vars(module).values():
            defined_here = inspect.isclass(value) and value.__module__ == module.__name__
            if defined_here and issubclass(value, Network) and not inspect.isabstract(value):
                classes[file.name.replace("_", "-")] = value
    return classes


def architecture(name: str) -> type[Network]:
    """Return the network class of an architecture, such as "crnet-a".

    Raises
    ------
    InputError
        For an unknown name.
    """
    classes = architectures()
    if name not in classes:
        raise unknown_name("architecture", name, classes)
    return classes[name]


def blueprint(name: str, arguments: Mapping[str, Any]) -> Network:
    """Return a network without numbers: its layers know their shapes and take no memory.

    The arguments are checked against the annotations of the class's constructor.

    Parameters
    ----------
    name
        The architecture, such as "crnet-a".
    arguments
        Those of the class, `scales` among them.

    Raises
    ------
    InputError
        For an unknown architecture, for an argument that is unknown, of another type or out of its
        bounds, and for a network of more than `MAX_PARAMETERS`.
    """
    kind = architecture(name)
    checked = check_arguments(kind, arguments, name)
    try:
        with torch.device("meta"):
            network = kind(**checked)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} cannot be built with {dict(arguments)}: {reason.removesuffix('.')}."
        ) from error
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > MAX_PARAMETERS:
        raise InputError(
            f"{name} with {dict(arguments)} would have {count} parameters, more than the "
            f"{MAX_PARAMETERS} that are allowed."
        )
    return network


def build(name: str, /, **arguments: Any) -> Network:
    """Return a network with random weights.

    Parameters
    ----------
    name
        The architecture, such as "crnet-a".
    **arguments
        The arguments of its class, including `scales`.

    Raises
    ------
    InputError
        As `blueprint`.
    """
    blueprint(name, arguments)
    kind = architecture(name)
    return kind(**check_arguments(kind, arguments, name))
