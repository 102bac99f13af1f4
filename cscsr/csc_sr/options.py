"""Options of a training of CSC-SR: its sizes, and how each coder makes the codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cscsr.csc_sr.hr_filters import check_hr_atoms
from cscsr.csc_sr.mapping import check_support
from cscsr.errors import InputError, unknown_name
from cscsr.registry import make_solver
from cscsr.schema import Seed, check


@dataclass(frozen=True)
class Coding:
    """How one coder makes the codes that its maps are fitted to.

    Attributes
    ----------
    lam
        λ on the [0,1] scale.
    settings
        The coder's parameters, stop rule included.
    """

    lam: float
    settings: dict[str, Any]


CODINGS = {
    "admm": Coding(
        0.1 / 255,
        {
            "iterations": 15,
            "tol": 0.0,
            "rho": 0.1,
            "rho_growth": 1.5,
            "auto_rho": False,
            "relaxation": 1.0,
        },
    ),
    "ista": Coding(2 / 255, {"iterations": 30, "tol": 0.0}),
    "fista": Coding(1 / 255, {"iterations": 20, "tol": 0.0}),
}
"""Chosen on the held-out images; docs/csc-sr.md has what was tried. sporco's ADMM makes the
iterates of ours, CISTA those of ISTA, and they share their maps."""


@dataclass(frozen=True)
class Options:
    """Sizes of a training run; docs/csc-sr.md says what they were chosen from.

    Attributes
    ----------
    atoms
        N, the number of LR filters.
    hr_atoms
        M, the number of HR filters.
    filter_size
        The side of the LR filters.
    filter_lam, filter_steps
        λ and steps of the dictionary learning; see `cscsr.learn_dictionary`.
    support
        The side of the HR filters in LR pixels; k = support·scale.
    crop
        The side in LR pixels of the central part of each training image that is used.
    phases
        How many of an image's s² LR images, which differ in where their grid begins, are
        used; None: s²/4, so that all scales have as many LR pixels.
    rounds
        The greatest number of turns of mapping and HR filters.
    sets
        The data sets learned from.
    codings
        Coder to how it makes the codes.
    """

    atoms: int = 384
    hr_atoms: int = 576
    filter_size: int = 5
    filter_lam: float = 0.5 / 255
    filter_steps: int = 60
    support: int = 5
    crop: int = 112
    phases: int | None = None
    rounds: int = 6
    sets: tuple[str, ...] = ("T91",)
    codings: dict[str, Coding] = field(default_factory=lambda: dict(CODINGS))

    def phases_at(self, scale: int) -> int:
        """Return how many grid phases of each image are used at `scale`."""
        return self.phases or max(1, scale**2 // 4)


PRESETS = {
    "small": Options(),
    "paper": Options(atoms=800, hr_atoms=1200),
}
"""`small` takes seconds per image on two cores; `paper` has the number of filters of Gu et al."""


def check_coders(options: Options, coders: Sequence[str]) -> None:
    """Check that maps can be fitted to the codes of each of `coders`.

    Raises
    ------
    InputError
        For a coder that has no map of its own.
    """
    for coder in coders:
        if coder not in options.codings:
            raise unknown_name("coder with a map of its own", coder, options.codings)


def check_options(options: Options, coders: Sequence[str], seed: int) -> None:
    """Check at the start what would end a run later on.

    Raises
    ------
    InputError
        For an option, a coder's parameter or a seed out of range.
    """
    check(Seed, seed, "seed")
    if options.atoms < 2:
        raise InputError(f"at least 2 filters can be learned, got {options.atoms}.")
    check_hr_atoms(options.atoms, options.hr_atoms)
    check_support(options.support, options.filter_size)
    for coder in coders:
        coding = options.codings[coder]
        make_solver(coder, **coding.settings)
        if not 0 <= coding.lam < math.inf:
            raise InputError(f"lambda must be a finite number of at least 0, got {coding.lam!r}.")
