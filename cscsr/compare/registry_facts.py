"""What the registry of solvers will say of a solver; to be replaced by `cscsr.registry`."""

from __future__ import annotations

_PUBLISHED = {
    "bicubic": ("Bicubic", True),
    "csc-ridge": ("CSC-SR", False),
    "crnet-a": ("CRNet-A", True),
    "crnet-b": ("CRNet-B", True),
    "crnet-b+": ("CRNet-B+", True),
    "crnet-a-small": ("CRNet-A", False),
    "crnet-b-small": ("CRNet-B", False),
    "crnet-b-small+": ("CRNet-B+", False),
}


def published_method(name: str) -> tuple[str, bool] | None:
    """The published method beside a solver, and whether the solver is that method itself."""
    if name.startswith(("csc-sr[", "csc-sr-paper[")):
        return "CSC-SR", True
    return _PUBLISHED.get(name)


def solver_family(name: str) -> str:
    """The kind of method that a solver is: "classical", "learned" or "other"."""
    if name.startswith("csc-"):
        return "classical"
    return "learned" if name.startswith(("crnet", "lista")) else "other"
