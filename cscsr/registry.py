"""Names to solvers: one table, which other packages extend by entry points.

A package adds a solver by naming a `Solver` class (or a function that returns one) in
its entry-point group ``cscsr.solvers``; see docs/add-a-solver.md. Nothing is imported
before a solver is made.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cscsr.errors import InputError, unknown_name
from cscsr.solver import Solver

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "cscsr.solvers"


@dataclass(frozen=True)
class _Entry:
    problem: str
    summary: str
    target: str
    preset: dict[str, Any] = field(default_factory=dict)


_SPARSE = "SparseCoding"
_SUPER = "SuperResolution"

_BUILTIN: dict[str, _Entry] = {
    "ista": _Entry(_SPARSE, "proximal gradient descent, eq. 5", "cscsr.sparse.ista:ISTA"),
    "fista": _Entry(_SPARSE, "accelerated proximal gradient descent", "cscsr.sparse.ista:FISTA"),
    "cista": _Entry(
        _SPARSE, "ISTA as two convolutions with explicit W and S, eq. 8", "cscsr.sparse.cista:CISTA"
    ),
    "admm": _Entry(
        _SPARSE, "ADMM, each step exact by Fourier transforms", "cscsr.sparse.admm:ADMM"
    ),
    "active-set": _Entry(
        _SPARSE,
        "ADMM, then Newton's method on the codes that are active",
        "cscsr.sparse.active_set:ActiveSet",
    ),
    "sporco-admm": _Entry(_SPARSE, "ADMM of the sporco package", "cscsr.sparse.sporco:SporcoADMM"),
    "sporco-pgm": _Entry(_SPARSE, "FISTA of the sporco package", "cscsr.sparse.sporco:SporcoPGM"),
    **{
        f"lista[{form}]": _Entry(
            _SPARSE,
            f"16 learned steps of CISTA: {what}",
            "cscsr.sparse.lista:LISTA",
            {"form": form},
        )
        for form, what in (
            ("step", "step sizes and thresholds, for any dictionary"),
            ("tied", "one pair of filter banks, for its own dictionary"),
            ("untied", "a pair of filter banks a step, for its own dictionary"),
        )
    },
    "bicubic": _Entry(
        _SUPER,
        "bicubic interpolation exact to MATLAB",
        "cscsr.bicubic:Bicubic",
    ),
    **{
        f"csc-sr[{coder}]": _Entry(
            _SUPER,
            f"convolutional sparse coding (Gu et al. 2015), codes by {coder}",
            "cscsr.csc_sr.solver:CSCSR",
            {"coder": coder},
        )
        for coder in ("admm", "sporco-admm", "ista", "fista", "cista")
    },
    "csc-sr-paper[admm]": _Entry(
        _SUPER,
        "the same with the paper's number of filters, for ×2",
        "cscsr.csc_sr.solver:CSCSR",
        {"coder": "admm", "preset": "paper"},
    ),
    "csc-ridge": _Entry(
        _SUPER,
        "convolutional sparse coding, its map by ridge regression without constraints",
        "cscsr.csc_sr.solver:CSCSR",
        {"coder": "admm", "form": "ridge"},
    ),
    "crnet-a-small": _Entry(
        _SUPER,
        "CRNet-A (pre-upsampling), small",
        "cscsr.network:CRNet",
        {"model": "a-small"},
    ),
    "crnet-b-small": _Entry(
        _SUPER,
        "CRNet-B (post-upsampling), small",
        "cscsr.network:CRNet",
        {"model": "b-small"},
    ),
    "crnet-b-small+": _Entry(
        _SUPER,
        "CRNet-B, small, mean over the 8 flips and rotations",
        "cscsr.network:CRNet",
        {"model": "b-small", "self_ensemble": True},
    ),
}

_ALIASES = {"csc-sr": "csc-sr[admm]"}


def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def list_solvers(problem: str | type | None = None) -> dict[str, str]:
    """Names of all solvers with a one-line description each.

    problem: "SparseCoding" or "SuperResolution" (or the class) to list only its solvers;
    solvers of other packages are then loaded to see what they solve, and those that
    cannot be loaded are left out.
    """
    wanted = getattr(problem, "__name__", problem)
    rows = {n: e.summary for n, e in _BUILTIN.items() if wanted in (None, e.problem)}
    for name, point in _installed().items():
        package = point.dist.name if point.dist else point.value
        if wanted is None or _solves(name) == wanted:
            rows.setdefault(name, f"from the package {package}")
    return rows


def _solves(name: str) -> str | None:
    """The name of the problem that a solver of another package solves, None if that fails."""
    try:
        return make_solver(name).problem_type.__name__
    except Exception:  # of whatever kind: the other solvers are still to be listed
        return None


def make_solver(name: str, **params: Any) -> Solver:
    """A solver by its registered name, for instance ``make_solver("fista", iterations=200)``.

    Raises InputError for an unknown name (with the nearest known ones), for a parameter the
    solver does not have, and where another package's solver cannot be loaded.
    """
    name = _ALIASES.get(name, name)
    preset: dict[str, Any] = {}
    if name in _BUILTIN:
        entry = _BUILTIN[name]
        module, attribute = entry.target.split(":")
        factory = getattr(importlib.import_module(module), attribute)
        preset = entry.preset
    else:
        installed = _installed()
        if name not in installed:
            raise unknown_name("solver", name, [*_BUILTIN, *_ALIASES, *installed])
        try:
            factory = installed[name].load()
        except Exception as error:  # of whatever kind: it is another package's code
            raise InputError(
                f"the solver {name} ({installed[name].value}) of another package cannot be "
                f"loaded ({type(error).__name__}: {error}); install that package again, or remove "
                "it."
            ) from error
    accepted = [p for p in inspect.signature(factory).parameters if p not in preset]
    wrong = sorted(set(params) - set(accepted))
    if wrong:
        raise InputError(
            f"solver {name} has no parameter {', '.join(wrong)}; it has {', '.join(accepted)}."
        )
    return factory(**preset, **params)
