"""LISTA: K learned iterations of CISTA for `SparseCoding` (Gregor and LeCun 2010). Needs torch.

Step k, from z₀ = 0, with L that of the problem's own dictionary F:

    z ← h_{θₖλ/L}(z + (γₖ/L) Wₖᵀ(y − Bₖz)).

It is CISTA's z ← h(W⊗y + S⊗z) with S = n − (γ/L) WᵀB kept as its two factors, which take
2·M·C·s² multiply-adds per pixel where a free S of (2s−1)×(2s−1) would take M²(2s−1)².
At γ = θ = 1 and W = B = F it is ISTA. Three forms:

- "step": learned γₖ and θₖ, W = B = F. It works with any dictionary.
- "tied": one W and one B for all steps, γₖ, and one θₖ per atom.
- "untied": W, B, γ and thresholds of each step's own.

The last two work only with the dictionary they were trained for, identified by its SHA-256.
`cscsr.training.lista` trains them on the objective itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from cscsr import weights
from cscsr.arrays import ordinary_torch, to_tensor
from cscsr.errors import InputError, unknown_name
from cscsr.operators import ConvDictionary
from cscsr.problem import SparseCoding
from cscsr.schema import check_table
from cscsr.sparse.ista import ista_step
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink

FORMS = ("step", "tied", "untied")

KIND = "lista"
"""The `kind` in the metadata of a weight file of this method."""

STEPS = 16
"""Learned steps of the shipped weights, K."""


def dictionary_sha256(dictionary: Any) -> str:
    """Return the SHA-256, as a hex digest, of a dictionary (M,C,s,s) or (M,s,s), numpy or torch.

    It is that of the elements in order, rounded to float32, little-endian.
    """
    if isinstance(dictionary, torch.Tensor):
        dictionary = dictionary.detach().cpu().numpy()
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(dictionary, dtype="<f4")
    return hashlib.sha256(rounded.tobytes()).hexdigest()


@dataclass(frozen=True)
class LearnedSteps:
    """The parameters of K learned steps, as tensors.

    Attributes
    ----------
    gains
        γ, (K,).
    thresholds
        θ, (K,1), or (K,M) with one per atom.
    analysis, synthesis
        W and B, (1,M,C,s,s) if all steps share them, else (K,M,C,s,s); None: the
        problem's own dictionary.
    """

    gains: torch.Tensor
    thresholds: torch.Tensor
    analysis: torch.Tensor | None = None
    synthesis: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.gains)


def lista_step(
    learned: LearnedSteps, problem: SparseCoding
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """Return the map (z, k) ↦ the learned step k = 0 … K−1 of a problem in torch, differentiable in
    z and in all learned parameters."""
    operator, observed = problem.operator(), problem.observed()
    length = operator.step

    def banks(filters: torch.Tensor | None) -> list[ConvDictionary]:
        if filters is None:
            return [operator]
        return [
            ConvDictionary(bank.to(observed), operator.shape, operator.boundary) for bank in filters
        ]

    analysis, synthesis = banks(learned.analysis), banks(learned.synthesis)
    gains, thresholds = learned.gains.to(observed), learned.thresholds.to(observed)

    def step(codes: torch.Tensor, k: int) -> torch.Tensor:
        residual = observed - synthesis[k % len(synthesis)].synthesis(codes)
        descended = codes + analysis[k % len(analysis)].adjoint(gains[k] * length * residual)
        bound = problem.weights() * length * thresholds[k][:, None, None]
        return shrink(descended, bound, problem.nonnegative)

    return step


@dataclass(frozen=True)
class LISTA(ProximalSolver):
    """K learned iterations of CISTA, followed by ISTA's.

    In the form "step", ISTA's step replaces a learned step that would raise the objective, so that
    on any dictionary the objective never rises. The test costs nothing, since the next step needs
    Fz anyway. The other two forms do not guarantee descent.

    Parameters are those of `ProximalSolver`, and:

    Parameters
    ----------
    iterations
        Fewer than K stop at a learned step, each of which was trained to be the last; more
        continue from z_K with ISTA.
    form
        "step", "tied" or "untied"; see the module.
    weights
        A ``.safetensors`` file of `cscsr.training.lista`; None: the shipped one.

    Raises
    ------
    InputError
        For an unknown form, and at first use for weights of another kind or form.
    """

    supports_lam_array: ClassVar[bool] = True
    supports_mask: ClassVar[bool] = True

    iterations: int = STEPS
    tol: float = 0.0
    form: str = "step"
    weights: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in FORMS:
            raise unknown_name("form", str(self.form), FORMS)

    @property
    def name(self) -> str:
        return f"lista[{self.form}]"

    def weights_sha256(self) -> str:
        return weights.sha256(self._weights_name())

    def _weights_name(self) -> str:
        return f"lista-{self.form}" if self.weights is None else str(self.weights)

    def _learned(self) -> tuple[LearnedSteps, np.ndarray]:
        name = self._weights_name()
        learned, dictionary, form = _load(name, weights.sha256(name))
        if form != self.form:
            raise InputError(f"{name} holds the form {form!r} of LISTA, not {self.form!r}.")
        return learned, dictionary

    def dictionary(self) -> np.ndarray:
        """Return the dictionary (M,C,s,s), float32, that the steps were trained with."""
        return self._learned()[1].copy()

    def supports(self, problem: SparseCoding) -> str | None:
        """Return None, or the reason against: besides those of every solver, what the forms "tied"
        and "untied" were not trained for, another dictionary, an array λ or a mask."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if self.form != "step" and (problem.has_lam_array or problem.mask is not None):
            return (
                f"{self.name} was trained for one number lam and signals without a mask; "
                "lista[step] takes any."
            )
        own = self._learned()[1]
        ours, theirs = dictionary_sha256(own), dictionary_sha256(problem.dictionary)
        if self.form == "step" or (ours == theirs and own.size == _size(problem.dictionary)):
            return None
        return (
            f"{self.name} was trained for the dictionary of {_shape(own.shape)} with SHA-256 "
            f"{ours[:8]}… (its method dictionary() returns it) and cannot use the one of "
            f"{_shape(problem.dictionary.shape)} with {theirs[:8]}…; lista[step] takes any."
        )

    def prepare(self, problem: SparseCoding) -> None:
        """Read the weights, transform the filters and compute L."""
        self._learned()
        super().prepare(problem)

    def step(self, problem: SparseCoding, codes: torch.Tensor, k: int = 0) -> torch.Tensor:
        """Make the learned step k = 0 … K−1, differentiable in `codes`; see `lista_step`."""
        return lista_step(self._learned()[0], problem.on(self.device, self.dtype))(codes, k)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield z₁ … z_K of the learned steps, then ISTA's iterates."""
        learned, _ = self._learned()
        steps = _descending if self.form == "step" else _plain
        for new in steps(learned, problem, codes):
            codes = new
            yield Iterate(codes)
        while True:
            codes = ista_step(problem, codes)
            yield Iterate(codes)


def _plain(
    learned: LearnedSteps, problem: SparseCoding, codes: torch.Tensor
) -> Iterator[torch.Tensor]:
    """The K learned steps."""
    step = lista_step(learned, problem)
    for k in range(len(learned)):
        codes = step(codes, k)
        yield codes


def _descending(
    learned: LearnedSteps, problem: SparseCoding, codes: torch.Tensor
) -> Iterator[torch.Tensor]:
    """The K learned steps with W = B = F; ISTA's step replaces one that would raise the objective
    of a signal. F is applied once per step, since both share the residual."""
    operator, observed = problem.operator(), problem.observed()
    length, weights = operator.step, problem.weights()
    gains, thresholds = learned.gains.to(observed), learned.thresholds.to(observed)

    def measured(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        residual = observed - operator.synthesis(codes)
        misfit = residual.square().sum((-3, -2, -1), keepdim=True)
        if problem.has_lam_array:
            return residual, 0.5 * misfit + (weights * codes.abs()).sum((-3, -2, -1), keepdim=True)
        return residual, 0.5 * misfit + weights * codes.abs().sum((-3, -2, -1), keepdim=True)

    residual, value = measured(codes)
    for k in range(len(learned)):
        descent = operator.adjoint(length * residual)
        bound = weights * length * thresholds[k][:, None, None]
        trial = shrink(codes + gains[k] * descent, bound, problem.nonnegative)
        after = measured(trial)
        rises = ~(after[1] <= value)
        if rises.any():
            plain = shrink(codes + descent, weights * length, problem.nonnegative)
            trial = torch.where(rises, plain, trial)
            after = measured(trial)
        codes, (residual, value) = trial, after
        yield codes


@lru_cache(maxsize=8)
@ordinary_torch()
def _load(name: str, sha256: str) -> tuple[LearnedSteps, np.ndarray, str]:
    """Read the steps, their dictionary and their form from a weight file with that SHA-256."""
    tensors, metadata = weights.load(name, sha256)
    if metadata.get("kind") != KIND:
        raise weights.of_another_method(name, metadata, "learned steps of lista")
    try:
        about = check_table(_Metadata, metadata, "the metadata")
    except InputError as error:
        raise InputError(f"weight file {name}: {error}") from error
    weights.check_shapes(name, tensors, _shapes(about.form, tensors))
    banks = {key: to_tensor(tensors[key]) for key in ("analysis", "synthesis") if key in tensors}
    learned = LearnedSteps(to_tensor(tensors["gains"]), to_tensor(tensors["thresholds"]), **banks)
    return learned, tensors["dictionary"], about.form


@dataclass(frozen=True)
class _Metadata:
    """What the header of a weight file says; `form` is needed, the rest is for people."""

    kind: str
    form: Literal["step", "tied", "untied"]
    dictionary_sha256: str = ""
    training_set: str = ""
    options: dict[str, Any] | None = None
    seed: int = 0
    minutes: float = 0.0


def _shapes(form: str, tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[int | None, ...]]:
    """The shapes of the tensors of a form; K is that of the gains, M that of the dictionary."""
    steps, atoms, channels, side = (
        tensors[name].shape[axis] if name in tensors and tensors[name].ndim > axis else None
        for name, axis in (("gains", 0), ("dictionary", 0), ("dictionary", 1), ("dictionary", 2))
    )
    bank = (atoms, channels, side, side)
    shapes = {"gains": (steps,), "thresholds": (steps, 1 if form == "step" else atoms)}
    shapes["dictionary"] = bank
    if form != "step":
        shapes["analysis"] = shapes["synthesis"] = (1 if form == "tied" else steps, *bank)
    return shapes


def _size(array: Any) -> int:
    return int(np.prod(array.shape))


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} atoms of {shape[-1]}x{shape[-1]}"
