"""ADMM for `SparseCoding` (Wohlberg 2016), its x-step solved exactly at each frequency.

Also what our ADMM and sporco's have in common: their parameters and their warm start. Needs torch.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import ClassVar, Self

import torch

from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.sparse.loop import TINY, IterativeCoder, as_batch
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink_into
from cscsr.sparse.units import Units
from cscsr.weighting import part_of

BALANCE = 1.5
"""Where ρ is adapted, how many times the dual residual the primal one is to be; see `ADMM`."""


@dataclass(frozen=True)
class Splitting(IterativeCoder):
    """An ADMM on the splitting x = z; parameters as `IterativeCoder`, and:

    Parameters
    ----------
    rho
        The penalty ρ at the start; None: the method's default.
    auto_rho
        Adapt ρ to the primal and dual residuals.
    relaxation
        The over-relaxation α, in [1, 2).
    rho_growth
        Above 1, multiply ρ by it after each iteration from the second on, instead of
        `auto_rho` (Gu et al. 2015). The codes are then meant to be stopped at a fixed k, not to
        converge.

    Raises
    ------
    InputError
        For a parameter out of range.
    """

    circular_only: ClassVar[bool] = True

    rho: float | None = None
    auto_rho: bool = True
    relaxation: float = 1.8
    rho_growth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho is not None and not 0 < self.rho < math.inf:
            raise InputError(f"rho must be a finite number above 0, got {self.rho!r}.")
        if not 1 <= self.relaxation < 2:
            raise InputError(f"relaxation must be in [1, 2), got {self.relaxation!r}.")
        if not 1 <= self.rho_growth < math.inf:
            raise InputError(
                f"rho_growth must be a finite number of at least 1, got {self.rho_growth!r}."
            )

    def in_units(self, units: Units) -> Self:
        """Return this solver with ρ in `units`: it is added to FFᵀ."""
        if self.rho is None or units.dictionary == 1:
            return self
        return replace(self, rho=self.rho / units.dictionary / units.dictionary)


def dual_of(problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
    """Return Aᵀ(b − Az), clamped to its bound λ: at the optimum the multiplier of x = z."""
    operator, bound = problem.operator(), problem.weights()
    dual = operator.adjoint(problem.observed() - operator.synthesis(codes))
    return dual.clamp_(None if problem.nonnegative else -bound, bound)


class FrequencySolver:
    """The map (s, ρ) ↦ (FFᵀ + ρI)⁻¹ s of signals ([B,]C,H,W) in the range of F.

    FFᵀ is a C×C matrix at each frequency, which is diagonalised once and inverted for each new ρ.
    By the Woodbury identity, x = w + Fᵀg with g = (FFᵀ + ρI)⁻¹(y − Fw) solves
    (FᵀF + ρI) x = Fᵀy + ρw (for C = 1 this is the Sherman–Morrison formula), and then Fx = y − ρg.

    What F cannot represent, such as the mean of a signal with zero-mean filters, is no part of any
    Fw and vanishes in Fᵀg, but g would hold it, divided by ρ: the rounding of so large a number
    would spoil the rest. `in_range` removes it from y, and it is left out of g.

    Parameters
    ----------
    problem
        A circular one in torch; its mask is ignored.
    """

    def __init__(self, problem: SparseCoding) -> None:
        operator = problem.operator(masked=False)
        dtype = problem.observed().dtype
        gram, basis = torch.linalg.eigh(operator.gram)
        # A filter's elements are rounded by half of eps: what is smaller is not known to be there.
        null = gram <= (4 * torch.finfo(dtype).eps) ** 2 * gram.max()
        self._grid = operator.grid
        self._gram = gram.movedim(-1, 0).clamp(min=0).to(dtype)
        self._null = null.movedim(-1, 0)
        basis = basis.to(torch.promote_types(dtype, torch.complex64))
        self._basis = basis.movedim((-2, -1), (0, 1))
        self._matrices = lru_cache(maxsize=1)(self._inverse)

    def __call__(self, signal: torch.Tensor, rho: float) -> torch.Tensor:
        """Return (FFᵀ + ρI)⁻¹ times the part of the signal in the range of F."""
        return self._filtered(signal, self._matrices(rho))

    def in_range(self, signal: torch.Tensor) -> torch.Tensor:
        """Return the part of the signal that F can represent: all of it where FFᵀ is regular."""
        return signal - self._filtered(signal, self._function(self._null.to(signal.dtype)))

    def _inverse(self, rho: float) -> torch.Tensor:
        return self._function((1.0 / (self._gram + rho)).masked_fill(self._null, 0.0))

    def _function(self, values: torch.Tensor) -> torch.Tensor:
        """The matrices (C,C,·,·) with FFᵀ's eigenvectors and other eigenvalues."""
        if len(values) == 1:
            return values[None]
        scaled = self._basis * values
        return torch.einsum("cehw,dehw->cdhw", scaled, self._basis.conj()).contiguous()

    def _filtered(self, signal: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft2(signal)
        columns = (
            matrices[:, c] * spectrum[..., c : c + 1, :, :] for c in range(matrices.shape[1])
        )
        return torch.fft.irfft2(reduce(torch.add, columns), self._grid)


class _MaskedMisfit:
    """Decouples a mask from F: s, in the place of Fx, minimises the misfit to the observed signal,

        p = αFx + (1 − α)s_before + q,   s ← argmin ½‖m∘(y − s)‖² + ½‖p − s‖²,   q ← p − s,

    so that x still has the signal s − q everywhere and `FrequencySolver` finds it (Heide, Heidrich
    and Wetzstein 2015). The penalty of Fx = s is 1, the curvature of the misfit where the signal is
    observed. `target` is s − q.
    """

    def __init__(self, problem: SparseCoding, image: torch.Tensor) -> None:
        mask = problem.operator().mask
        assert mask is not None
        self._weight = mask.square()
        self._observed = self._weight * as_batch(problem.observed(masked=False))
        self._s = image
        self._q = self._weight * image - self._observed

    @property
    def target(self) -> torch.Tensor:
        return self._s - self._q

    def update(self, image_x: torch.Tensor, relaxation: float) -> None:
        """Take Fx of the new x."""
        point = image_x.lerp(self._s, 1.0 - relaxation).add_(self._q)
        self._s = (self._observed + point) / (1.0 + self._weight)
        self._q = point - self._s


@dataclass(frozen=True)
class ADMM(Splitting, ProximalSolver):
    """min ½‖y − Fx‖² + λ‖z‖₁ subject to x = z, by ADMM with over-relaxation α and scaled dual u:

        x ← (FᵀF + ρI)⁻¹(Fᵀy + ρ(z − u)),   v ← αx + (1 − α)z + u,
        z ← h_{λ/ρ}(v),   u ← v − z.

    The codes are z, the sparse one of the two variables. An iteration takes one F and one Fᵀ, as
    ISTA's. It solves the boundary "circular" only.

    An iteration is one sweep: it reads v, z and Fᵀg block by block and applies F to the new z
    while the block is in the cache. F(z − u) needs no second F, since Fx = y − ρg and
    u ← αx + (1 − α)z_before + u − z is a sum of terms whose F is known. It keeps three arrays as
    large as the codes, v and two of z (the monitor keeps the last good z); sporco's ADMM keeps nine
    (x, z, z_before, u, z − u, the relaxed x, the spectra of x, F and Fᵀy) and temporary ones.

    With a mask, ADMM estimates the signal of the x-step as well (mask decoupling), which takes two
    more arrays of the signal's size. `rho` is then relative to a penalty of 1 for that signal.

    Parameters are those of `Splitting` and `ProximalSolver`, with these particulars:

    Parameters
    ----------
    rho
        None: ⅓‖f‖²·√(λ/λ_max), ‖f‖² being the sum of the squares of all filters' elements, so
        that neither y's scale nor f's changes the iterates. For an array λ, λ/λ_max is the least
        λⱼ/|Aⱼᵀb| of the codes that are not exempt.
    auto_rho
        Balance the residuals p = ‖x − z‖/max(‖x‖, ‖z‖) and d = ‖z − z_before‖/‖u‖: after the
        iterations 16, 32, 64, … multiply ρ by √q, q = p/(1.5·d), clamped to [1/10, 10], unless q is
        between 1 and 10. The changes become ever rarer, so that ADMM settles between them.
    relaxation
        1.95 unless set.
    tol
        Besides the change of the codes, ‖x − z_before‖ must be at most tol·‖z‖.

    References
    ----------
    Wohlberg, "Efficient algorithms for convolutional sparse representations", IEEE Trans. Image
    Process. 25 (2016).
    Heide, Heidrich and Wetzstein, "Fast and flexible convolutional sparse coding", CVPR (2015).
    Veshki and Vorobyov, "Efficient ADMM-based algorithms for convolutional sparse coding" (2021),
    arXiv:2109.02969: the x-step.
    """

    supports_lam_array: ClassVar[bool] = True
    supports_mask: ClassVar[bool] = True
    growth: ClassVar[float] = 1e6
    """z is not x: with a ρ far too small its objective may rise a long way before it falls."""

    relaxation: float = 1.95

    @property
    def name(self) -> str:
        return "admm"

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield zₖ and ‖x − zₖ₋₁‖/‖zₖ‖, the size of the step, which bounds what remains."""
        rho = default_rho(problem) if self.rho is None else self.rho
        operator, solve, lam = (
            problem.operator(masked=False),
            FrequencySolver(problem),
            problem.weights(),
        )
        target_image = solve.in_range(as_batch(problem.observed()))
        start = as_batch(codes)
        # From zero codes u starts at zero as well: Fᵀy is no estimate of the multiplier there.
        v = dual_of(problem, codes).div_(rho) if codes.any() else torch.zeros_like(codes)
        v = as_batch(v)
        image_u, image = operator.synthesis(v), operator.synthesis(start)
        v += start
        misfit = None if problem.mask is None else _MaskedMisfit(problem, image)
        new, old, spare = start, torch.empty_like(start), torch.empty_like(start)
        for iteration in itertools.count(1):
            adapts = self.auto_rho and self.rho_growth == 1 and adapts_after(iteration)
            norms = _Norms() if adapts or self.tol > 0 else None
            if misfit is not None:
                target_image = solve.in_range(misfit.target)
            g = solve(target_image - image + image_u, rho)
            threshold = lam / rho
            target = old
            sweep = operator.sweep(g)
            for block, correlation in sweep:
                before, point = new[block], v[block]
                if norms is not None:
                    step = before - point + correlation  # x − z_before
                point.lerp_(before, self.relaxation).add_(correlation, alpha=self.relaxation)
                bound = part_of(threshold, block)
                after = shrink_into(target[block], point, bound, problem.nonnegative)
                sweep.put(block, after)
                if norms is not None:
                    if adapts:
                        x = step + before
                        norms.add(x=x, off=x - after, move=after - before, u=point - after)
                    norms.add(step=step, z=after)
            image_before, image = image, sweep.image
            image_x = target_image - rho * g
            if misfit is not None:
                misfit.update(image_x, self.relaxation)
            image_u = image_u + self.relaxation * image_x
            image_u += (1.0 - self.relaxation) * image_before - image
            new, old = target, spare if new is start else new
            factor = _balance(norms) if norms is not None and adapts else 1.0
            if iteration > 1:
                factor *= self.rho_growth
            if factor != 1:
                v.sub_(new).div_(factor).add_(new)  # ρu stays as it is
                image_u /= factor
                rho *= factor
            residual = 0.0 if norms is None else norms["step"] / max(norms["z"], TINY)
            yield Iterate(new if codes.ndim == 4 else new[0], residual)


def adapts_after(iteration: int) -> bool:
    """Whether ρ is adapted after this iteration: 16, 32, 64, …."""
    return iteration >= 16 and iteration & (iteration - 1) == 0


def default_rho(problem: SparseCoding) -> float:
    """Return ⅓‖f‖²·√(λ/λ_max), at least 1e-3 of ‖f‖² and at most ⅓ of it.

    It is within about a factor of two of the best fixed ρ for learned atoms on high-passed images
    and λ/λ_max from 0.004 to 0.4.
    """
    energy = float(problem.operator().filters.double().square().sum())
    share = min(max(math.sqrt(lam_share(problem)) / 3.0, 1e-3), 1.0 / 3.0)
    return min(share * energy or 1.0, sys.float_info.max)


def lam_share(problem: SparseCoding) -> float:
    """Return λ/λ_max, of an array λ the least λⱼ/|Aⱼᵀb| of the codes that are not exempt."""
    if problem.has_lam_array:
        relative = float(problem.correlation(problem.observed(), relative=True).max())
        return 1.0 / relative if relative > 0 else 1.0
    largest = problem.lambda_max()
    return problem.lam / largest if largest > 0 else 0.0


class _Norms:
    """Norms of arrays that arrive block by block."""

    def __init__(self) -> None:
        self._squares: dict[str, float] = defaultdict(float)

    def add(self, **blocks: torch.Tensor) -> None:
        for name, block in blocks.items():
            self._squares[name] += float(block.norm()) ** 2

    def __getitem__(self, name: str) -> float:
        return math.sqrt(self._squares[name])


def _balance(norms: _Norms) -> float:
    """The factor for ρ, √q clamped to [1/10, 10]; 1 where q is between 1 and 10. See `ADMM`.

    A ρ a little too small costs less than one too large, so that ρ rises only when it is far off.
    """
    primal = norms["off"] / max(norms["x"], norms["z"], TINY)
    dual = norms["move"] / max(norms["u"], TINY)
    if BALANCE * dual <= primal <= 10 * BALANCE * dual:
        return 1.0
    return min(max(math.sqrt(primal / max(BALANCE * dual, TINY)), 0.1), 10.0)
