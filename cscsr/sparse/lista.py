"""LISTA: K learned iterations of CISTA for `SparseCoding` (Gregor and LeCun 2010). Needs torch.

Step k, from z₀ = 0, with L that of the problem's own dictionary F:

    z ← h_{θₖλ/L}(z + (γₖ/L) Wₖᵀ(y − Bₖz)).

It is CISTA's z ← h(W⊗y + S⊗z) with S = n − (γ/L) WᵀB kept as its two factors: 2·M·C·s²
multiply-adds a pixel for both where a free S of (2s−1)×(2s−1) would take M²(2s−1)².
At γ = θ = 1 and W = B = F it is ISTA. Three forms:

- "step": γₖ and θₖ are learned, W = B = F. It works with any dictionary.
- "tied": one W and one B for all steps, γₖ, and a θₖ for each atom.
- "untied": a W, a B, a γ and thresholds for each step.

The last two are bound to the dictionary they were trained for, by its SHA-256.
`cscsr.training.lista` trains them on the objective itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from cscsr import weights
from cscsr.arrays import to_tensor
from cscsr.errors import InputError, unknown_name
from cscsr.operators import ConvDictionary
from cscsr.problem import SparseCoding
from cscsr.sparse.ista import ista_step
from cscsr.sparse.loop import Iterate, ProximalSolver

FORMS = ("step", "tied", "untied")

KIND = "lista"
"""What the metadata of a weight file of this method calls itself."""

STEPS = 16
"""Learned steps of the shipped weights, K."""


def dictionary_sha256(dictionary: Any) -> str:
    """SHA-256, as a hex digest, of a dictionary (M,C,s,s) or (M,s,s), numpy or torch: of its
    elements rounded to float32, in order, little-endian."""
    if isinstance(dictionary, torch.Tensor):
        dictionary = dictionary.detach().cpu().numpy()
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(dictionary, dtype="<f4")
    return hashlib.sha256(rounded.tobytes()).hexdigest()


@dataclass(frozen=True)
class LearnedSteps:
    """What K learned steps consist of, as tensors.

    gains: γ (K,). thresholds: θ (K,1), or (K,M), one for each atom.
    analysis, synthesis: W and B, (1,M,C,s,s) if all steps share them, (K,M,C,s,s) if not,
    None for the problem's own dictionary.
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
    """The map (z, k) ↦ the learned step k = 0 … K−1 of a problem in torch; differentiable in
    z and in all that is learned."""
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
        return _shrink_each(descended, problem.lam * length * thresholds[k], problem.nonnegative)

    return step


def _shrink_each(
    codes: torch.Tensor, thresholds: torch.Tensor, nonnegative: bool = False
) -> torch.Tensor:
    """Shrinkage (eq. 6) of ([B,]M,H,W) with a threshold for each atom, (M,), or one, (1,)."""
    bound = thresholds[:, None, None]
    if nonnegative:
        return F.relu(codes - bound)
    return codes - codes.clamp(-bound, bound)


@dataclass(frozen=True)
class LISTA(ProximalSolver):
    """K learned iterations of CISTA, and after them ISTA's.

    form: "step", "tied" or "untied", as the module's first lines say.
    weights: a ``.safetensors`` file of `cscsr.training.lista`, or None for the shipped one.
    iterations: fewer than K are the first of the learned steps, each of which was trained to
    be the last; more are those of ISTA, which goes on from z_K.

    A learned step of the form "step" that would raise the objective is replaced by ISTA's,
    so that on any dictionary the objective never rises; that costs nothing, as Fz is needed
    for the next step. The other two forms give no such warrant.

    Raises InputError for an unknown form, and when used, for weights of another kind or form
    or for a dictionary that they do not belong to.
    """

    iterations: int = STEPS
    tol: float = 0.0
    form: str = "step"
    weights: str | None = None

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
        learned, dictionary, form = _kept(name, weights.sha256(name))
        if form != self.form:
            raise InputError(f"{name} holds the form {form!r} of LISTA, not {self.form!r}.")
        return learned, dictionary

    def dictionary(self) -> np.ndarray:
        """The dictionary (M,C,s,s), float32, that the steps were trained with."""
        return self._learned()[1].copy()

    def supports(self, problem: SparseCoding) -> str | None:
        """None, or the reason: not a `SparseCoding`, or another dictionary than the one that
        the forms "tied" and "untied" were trained for."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
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
        """Reads the weights, transforms the filters and computes L."""
        self._learned()
        super().prepare(problem)

    def step(self, problem: SparseCoding, codes: torch.Tensor, k: int = 0) -> torch.Tensor:
        """The learned step k = 0 … K−1, differentiable in `codes`; see `lista_step`."""
        return lista_step(self._learned()[0], problem.on(self.device, self.dtype))(codes, k)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """z₁ … z_K by the learned steps, then ISTA's."""
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
    """The K learned steps with W = B = F, each that would raise the objective of a signal
    replaced by ISTA's. F is applied once a step, as the residual serves both."""
    operator, observed = problem.operator(), problem.observed()
    length = operator.step
    gains, thresholds = learned.gains.to(observed), learned.thresholds.to(observed)

    def measured(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        residual = observed - operator.synthesis(codes)
        misfit = residual.square().sum((-3, -2, -1), keepdim=True)
        return residual, 0.5 * misfit + problem.lam * codes.abs().sum((-3, -2, -1), keepdim=True)

    residual, value = measured(codes)
    for k in range(len(learned)):
        descent = operator.adjoint(length * residual)
        trial = _shrink_each(
            codes + gains[k] * descent, problem.lam * length * thresholds[k], problem.nonnegative
        )
        after = measured(trial)
        rises = ~(after[1] <= value)
        if rises.any():
            one = torch.ones_like(thresholds[k])
            plain = _shrink_each(codes + descent, problem.lam * length * one, problem.nonnegative)
            trial = torch.where(rises, plain, trial)
            after = measured(trial)
        codes, (residual, value) = trial, after
        yield codes


@lru_cache(maxsize=8)
def _kept(name: str, sha256: str) -> tuple[LearnedSteps, np.ndarray, str]:
    """What a weight file holds: the steps, their dictionary and their form."""
    tensors, metadata = weights.load(name)
    if metadata.get("kind") != KIND:
        raise InputError(
            f"expected learned steps of lista in {name}, got weights of "
            f"{metadata.get('kind') or metadata.get('architecture') or 'another method'}."
        )
    banks = {key: to_tensor(tensors[key]) for key in ("analysis", "synthesis") if key in tensors}
    learned = LearnedSteps(to_tensor(tensors["gains"]), to_tensor(tensors["thresholds"]), **banks)
    return learned, tensors["dictionary"], metadata["form"]


def _size(array: Any) -> int:
    return int(np.prod(array.shape))


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} atoms of {shape[-1]}x{shape[-1]}"
