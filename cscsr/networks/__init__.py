"""The super-resolution networks, as torch modules: one file each.

A file of this folder that defines a concrete `Network` is an architecture named after the file:
``crnet_a.py`` holds "crnet-a". There is no other list of them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from cscsr.errors import InputError, unknown_name
from cscsr.networks.base import LumaRefiner, Network, RGBEnlarger, Visit
from cscsr.networks.cista_block import CISTABlock, FactoredS
from cscsr.networks.crnet_a import CRNetA
from cscsr.networks.crnet_b import CRNetB

__all__ = [
    "CISTABlock",
    "CRNetA",
    "CRNetB",
    "FactoredS",
    "LumaRefiner",
    "Network",
    "RGBEnlarger",
    "Visit",
    "architecture",
    "architectures",
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
        For an unknown architecture or argument.
    """
    network = architecture(name)
    known = inspect.signature(network).parameters
    wrong = sorted(set(arguments) - set(known))
    if wrong:
        raise InputError(f"{name} has no argument {', '.join(wrong)}; it has {', '.join(known)}.")
    return network(**arguments)
