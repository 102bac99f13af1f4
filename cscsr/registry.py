"""The table of solvers by name, which other packages extend by entry points.

A package adds a solver by naming a `Solver` class (or a function that returns one) in
its entry-point group ``cscsr.solvers``; see docs/add-a-solver.md. Nothing is imported
before a solver is made. Whatever another package's code does while a solver is made becomes one
sentence, a `SolverError`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cscsr.contract import checked_solver
from cscsr.errors import InputError, SolverError, failures_of, unknown_name
from cscsr.published_weights import PUBLISHED, is_imported, needed_weights, row_of_solver
from cscsr.solver import Solver
from cscsr.trained_weights import TRAINED, is_trained, needed_trained

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "cscsr.solvers"


@dataclass(frozen=True)
class SolverRow:
    """A solver in the table.

    Attributes
    ----------
    problem
        "SparseCoding" or "SuperResolution".
    summary
        One line for lists.
    target
        Class or function that makes it, as "module:attribute".
    preset
        The arguments that the name implies.
    family
        "interpolation", "sparse", "classical" (super-resolution by sparse coding) or "learned".
    beside
        The published method, by its name in the paper, whose figures stand beside the solver's.
    same
        Whether the solver is that method itself, so that differences are meaningful; False for a
        relative, such as a narrower network.
    """

    problem: str
    summary: str
    target: str
    preset: dict[str, Any] = field(default_factory=dict)
    family: str = "other"
    beside: str | None = None
    same: bool = False


def _sparse(summary: str, target: str) -> SolverRow:
    return SolverRow("SparseCoding", summary, f"cscsr.sparse.{target}", family="sparse")


def _lista(form: str, summary: str) -> SolverRow:
    summary = f"16 learned steps of CISTA: {summary}"
    target = "cscsr.sparse.lista:LISTA"
    return SolverRow("SparseCoding", summary, target, {"form": form}, "learned")


def _csc_sr(summary: str, same: bool = True, **preset: Any) -> SolverRow:
    target = "cscsr.csc_sr.solver:CSCSR"
    return SolverRow("SuperResolution", summary, target, preset, "classical", "CSC-SR", same)


def _network(summary: str, beside: str, model: str, **preset: Any) -> SolverRow:
    target, preset = "cscsr.network:NetworkSolver", {"model": model, **preset}
    return SolverRow("SuperResolution", summary, target, preset, "learned", beside)


_BUILTIN: dict[str, SolverRow] = {
    "ista": _sparse("proximal gradient descent, eq. 5", "ista:ISTA"),
    "fista": _sparse("accelerated proximal gradient descent", "ista:FISTA"),
    "cista": _sparse("ISTA as two convolutions with explicit W and S, eq. 8", "cista:CISTA"),
    "admm": _sparse("ADMM, each step exact by Fourier transforms", "admm:ADMM"),
    "active-set": _sparse(
        "ADMM, then Newton's method on the codes that are active", "active_set:ActiveSet"
    ),
    "auto": _sparse(
        "the faster of active-set and admm, by the problem and the accuracy asked", "auto:Auto"
    ),
    "sporco-admm": _sparse("ADMM of the sporco package", "sporco:SporcoADMM"),
    "sporco-pgm": _sparse("FISTA of the sporco package", "sporco:SporcoPGM"),
    "lista[step]": _lista("step", "step sizes and thresholds, for any dictionary"),
    "lista[tied]": _lista("tied", "one pair of filter banks, for its own dictionary"),
    "lista[untied]": _lista("untied", "a pair of filter banks a step, for its own dictionary"),
    "bicubic": SolverRow(
        "SuperResolution",
        "bicubic interpolation exact to MATLAB",
        "cscsr.bicubic:Bicubic",
        family="interpolation",
        beside="Bicubic",
        same=True,
    ),
    **{
        f"csc-sr[{coder}]": _csc_sr(
            f"convolutional sparse coding (Gu et al. 2015), codes by {coder}", coder=coder
        )
        for coder in ("admm", "sporco-admm", "ista", "fista", "cista")
    },
    "csc-sr-paper[admm]": _csc_sr(
        "the same with the paper's number of filters, for ×2", coder="admm", preset="paper"
    ),
    "csc-sr[admm]+": _csc_sr(
        "the same with codes by admm, mean over the 8 flips and rotations, back-projected twice",
        same=False,
        coder="admm",
        self_ensemble=True,
        back_projections=2,
    ),
    "csc-ridge": _csc_sr(
        "convolutional sparse coding, its map by ridge regression without constraints",
        same=False,
        coder="admm",
        form="ridge",
    ),
    "srcnn": _network("SRCNN 9-1-5 (Dong et al. 2014), trained briefly", "SRCNN", "srcnn"),
    "crnet-a-small": _network("CRNet-A (pre-upsampling), small", "CRNet-A", "crnet-a-small"),
    "crnet-b-small": _network("CRNet-B (post-upsampling), small", "CRNet-B", "crnet-b-small"),
    "crnet-a": _network(
        "CRNet-A of twice the small one's width, with VDSR as a teacher", "CRNet-A", "crnet-a"
    ),
    "crnet-b": _network(
        "CRNet-B of the paper's smaller width, with IMDN as a teacher", "CRNet-B", "crnet-b"
    ),
    "crnet-b-tied": _network(
        "CRNet-B, small, its recursions held to sparse coding", "CRNet-B", "crnet-b-tied"
    ),
    "crnet-b-small+": _network(
        "CRNet-B, small, mean over the 8 flips and rotations",
        "CRNet-B+",
        "crnet-b-small",
        self_ensemble=True,
    ),
    "crnet-b+": _network(
        "crnet-b, mean over the 8 flips and rotations",
        "CRNet-B+",
        "crnet-b",
        self_ensemble=True,
    ),
}

_PUBLISHED: dict[str, SolverRow] = {
    row.solver: SolverRow(
        "SuperResolution",
        row.summary,
        "cscsr.network:NetworkSolver",
        {"model": row.solver},
        "learned",
        row.method,
        same=True,
    )
    for row in PUBLISHED.values()
}
"""Solvers that exist once their weights are imported; see `cscsr.published_weights`."""

_TRAINED: dict[str, SolverRow] = {
    "a-plus": SolverRow(
        "SuperResolution",
        "anchored ridge regressions of patches (Timofte et al. 2014)",
        "cscsr.patches.a_plus:APlus",
        family="classical",
        beside="A+",
        same=True,
    ),
    "scsr": SolverRow(
        "SuperResolution",
        "sparse coding of patches, coupled dictionaries (Yang et al. 2010)",
        "cscsr.patches.scsr:ScSR",
        family="classical",
        beside="ScSR",
        same=True,
    ),
}
"""Solvers that exist once their weights are made; see `cscsr.trained_weights`."""

_OURS = {**_BUILTIN, **_PUBLISHED, **_TRAINED}

_ALIASES = {"csc-sr": "csc-sr[admm]"}


def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def list_solvers(problem: str | type | None = None) -> dict[str, str]:
    """Return the names of all solvers with one-line descriptions.

    A solver whose weights do not come with the package is listed once they are imported
    (`cscsr.published_weights`) or made (`cscsr.trained_weights`).

    Parameters
    ----------
    problem
        "SparseCoding" or "SuperResolution" (or the class) to list only its solvers; None: all.
        With a problem, solvers of other packages are loaded, and those that cannot be loaded are
        left out.
    """
    wanted = getattr(problem, "__name__", problem)
    rows = {
        name: row.summary
        for name, row in _OURS.items()
        if wanted in (None, row.problem) and _is_available(name)
    }
    for name, point in _installed().items():
        package = point.dist.name if point.dist else point.value
        if wanted is None or _solves(name) == wanted:
            rows.setdefault(name, f"from the package {package}")
    return rows


def make_solver(name: str, **params: Any) -> Solver:
    """Return a solver by its registered name, such as ``make_solver("fista", iterations=200)``.

    Raises
    ------
    InputError
        For an unknown name (with the nearest known ones), for a parameter that the solver does
        not have or whose value it refuses, and for weights that are neither shipped nor imported
        nor made.
    SolverError
        Where another package's solver cannot be loaded or made, or is no solver.
    """
    if not isinstance(name, str):
        raise InputError(f"the name of a solver must be a text, got {name!r}.")
    name = _ALIASES.get(name, name)
    if name in _OURS:
        row = _OURS[name]
        if "weights" not in params:
            _check_weights(name)
        module, attribute = row.target.split(":")
        factory = getattr(importlib.import_module(module), attribute)
        return _made(name, factory, row.preset, params)
    factory = _load(name)
    with failures_of(f"the solver {name} of another package cannot be made"):
        return checked_solver(_made(name, factory, {}, params), name)


def _is_available(name: str) -> bool:
    published = row_of_solver(name)
    if published is not None:
        return is_imported(published)
    return name not in TRAINED or is_trained(name)


def _check_weights(name: str) -> None:
    """Raise InputError for a solver whose weights have to be imported or made first."""
    published = row_of_solver(name)
    if published is not None:
        needed_weights(published)
    if name in TRAINED:
        needed_trained(name)


def is_builtin(name: str) -> bool:
    """Whether a solver is one of this package that needs nothing else; those whose weights are
    imported or made by a command are not."""
    return _ALIASES.get(name, name) in _BUILTIN


def _made(
    name: str, factory: Callable[..., Any], preset: dict[str, Any], params: dict[str, Any]
) -> Any:
    """What a factory makes of its preset arguments and the user's."""
    accepted = [p for p in inspect.signature(factory).parameters if p not in preset]
    wrong = sorted(set(params) - set(accepted))
    if wrong:
        raise InputError(
            f"solver {name} has no parameter {', '.join(wrong)}; it has {', '.join(accepted)}."
        )
    return factory(**preset, **params)


def solver_family(name: str) -> str:
    """Return the family of a solver (see `SolverRow`); "other" where it states none.

    A solver of another package states it in a class attribute `family`.
    """
    name = _ALIASES.get(name, name)
    if name in _OURS:
        return _OURS[name].family
    return str(_attribute(name, "family") or "other")


def published_method(name: str) -> tuple[str, bool] | None:
    """Return the published method beside a solver, and whether the solver is that method itself.

    See `SolverRow`. A solver of another package states it in a class attribute `published`, such as
    ``("VDSR", True)``. None for a solver without one, and for an unknown name.
    """
    name = _ALIASES.get(name, name)
    if name in _OURS:
        row = _OURS[name]
        return None if row.beside is None else (row.beside, row.same)
    match _attribute(name, "published"):
        case [method, same]:
            return str(method), bool(same)
    return None


def _load(name: str) -> Callable[..., Any]:
    """What makes the solver called `name` of another package."""
    installed = _installed()
    if name not in installed:
        raise unknown_name("solver", name, [*_OURS, *_ALIASES, *installed])
    point = installed[name]
    try:
        with failures_of("it cannot be loaded"):
            factory = point.load()
    except InputError as error:
        raise SolverError(
            f"the solver {name} ({point.value}) of another package is unusable: "
            f"{str(error).rstrip('.')}; reinstall or remove that package."
        ) from error
    if not callable(factory):
        raise SolverError(
            f"the solver {name} ({point.value}) of another package is unusable: its entry point "
            f"names {type(factory).__name__}, not a class or function; remove that package."
        )
    return factory


def _solves(name: str) -> str | None:
    """The name of the problem that a solver of another package solves, None if that fails."""
    return getattr(_attribute(name, "problem_type"), "__name__", None)


def _attribute(name: str, attribute: str) -> Any:
    """An attribute of a solver of another package; None if it has none or cannot be made."""
    try:
        with failures_of(name):
            return getattr(make_solver(name), attribute, None)
    except InputError:  # the other solvers are still of use
        return None
