"""ISTA (eq. 5) and FISTA (Beck and Teboulle 2009) for `SparseCoding`. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from cscsr.problem import SparseCoding
from cscsr.sparse.loop import as_batch
from cscsr.sparse.proximal import Iterate, ProximalSolver, shrink, shrink_into
from cscsr.weighting import part_of


def ista_step(problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
    """Return h_{λ/L}(z + (1/L) Fᵀ(y − F z)), eq. 5, for a problem in torch; differentiable in z."""
    operator = problem.operator()
    step = operator.step
    residual = problem.observed() - operator.synthesis(codes)
    descended = operator.adjoint(step * residual).add_(codes)
    return shrink(descended, problem.weights() * step, problem.nonnegative)


def proximal_gradient(
    problem: SparseCoding, start: torch.Tensor, accelerated: bool, restart: bool = False
) -> Iterator[torch.Tensor]:
    """Yield z₁, z₂, … of ISTA, or of FISTA if `accelerated`, for a problem in torch:

        zₖ₊₁ = h_{λ/L}(vₖ + (1/L) Fᵀ(y − F vₖ)),   vₖ = zₖ + βₖ(zₖ − zₖ₋₁),
        βₖ = (tₖ₋₁ − 1)/tₖ,   tₖ = (1 + √(1 + 4tₖ₋₁²))/2,   t₀ = 1;   ISTA: βₖ = 0.

    Fvₖ is a sum of Fzₖ and Fzₖ₋₁, and vₖ is computed where it is needed, so that an iteration is
    one sweep over the codes. FISTA takes turns with three arrays, ISTA with two.

    Parameters
    ----------
    problem
        The problem in torch.
    start
        z₀.
    accelerated
        FISTA instead of ISTA.
    restart
        Drop FISTA's momentum when it points uphill; see `FISTA`.
    """
    operator, observed = problem.operator(), as_batch(problem.observed())
    step = operator.step
    threshold = problem.weights() * step
    codes = previous = as_batch(start)
    image = image_before = operator.synthesis(codes)
    spare = [torch.empty_like(codes) for _ in range(3 if accelerated else 2)]
    # Numbers on a CPU. Elsewhere a restart keeps them with the codes: to read one would make every
    # iteration wait for the device.
    t: Any = 1.0 if not restart or start.device.type == "cpu" else start.new_ones(())
    momentum: Any = 0.0
    while True:
        needed = (codes, previous) if accelerated else (codes,)
        target = next(array for array in spare if all(array is not other for other in needed))
        uphill = observed.new_zeros(())

        sweep = operator.sweep(observed - image.lerp(image_before, -momentum))
        for block, correlation in sweep:
            now = codes[block]
            still = isinstance(momentum, float) and momentum == 0
            point = now if still else previous[block].lerp(now, 1.0 + momentum)
            descended = correlation.mul_(step).add_(point)
            bound = part_of(threshold, block)
            new = shrink_into(target[block], descended, bound, problem.nonnegative)
            if restart:
                uphill += ((point - new) * (new - now)).sum()
            sweep.put(block, new)
        image_before, image = image, sweep.image
        previous, codes = codes, target
        if accelerated:
            t, momentum = _next_momentum(t, uphill if restart else None)
        yield codes if start.ndim == 4 else codes[0]


def _next_momentum(t: Any, uphill: torch.Tensor | None) -> tuple[Any, Any]:
    """tₖ and βₖ from tₖ₋₁; from t = 1 where ⟨v − z, z − z_before⟩, `uphill`, is positive."""
    on_device = isinstance(t, torch.Tensor)
    if uphill is not None and on_device:
        t = torch.where(uphill > 0, 1.0, t)
    elif uphill is not None and float(uphill) > 0:
        t = 1.0
    root = torch.sqrt(1.0 + 4.0 * t * t) if on_device else math.sqrt(1.0 + 4.0 * t * t)
    following = (1.0 + root) / 2.0
    return following, (t - 1.0) / following


@dataclass(frozen=True)
class ISTA(ProximalSolver):
    """Proximal gradient descent with the step 1/L (eq. 5).

    The objective never rises, and P(zₖ) − P* ≤ L‖z₀ − z*‖²/(2k). An iteration takes one F and one
    Fᵀ. Parameters are those of `ProximalSolver`.
    """

    supports_lam_array: ClassVar[bool] = True
    supports_mask: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "ista"

    def step(self, problem: SparseCoding, codes: torch.Tensor) -> torch.Tensor:
        """Make one iteration, differentiable in `codes`; see `ista_step`."""
        return ista_step(problem.on(self.device, self.dtype), codes)

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield zₖ₊₁ = h_{λ/L}(zₖ + (1/L) Fᵀ(y − F zₖ))."""
        return map(Iterate, proximal_gradient(problem, codes, accelerated=False))


@dataclass(frozen=True)
class FISTA(ProximalSolver):
    """ISTA at an extrapolated point: P(zₖ) − P* ≤ 2L‖z₀ − z*‖²/(k + 1)², at the same cost.

    The objective may rise for a while. Parameters are those of `ProximalSolver`, and:

    Parameters
    ----------
    restart
        Drop the momentum when it points uphill, for a batch when it does so for the batch as
        a whole (O'Donoghue and Candès 2015, gradient scheme).

    References
    ----------
    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse
    problems", SIAM J. Imaging Sci. 2 (2009), eqs. 4.1 to 4.3.
    """

    supports_lam_array: ClassVar[bool] = True
    supports_mask: ClassVar[bool] = True

    restart: bool = True

    @property
    def name(self) -> str:
        return "fista"

    def iterates(self, problem: SparseCoding, codes: torch.Tensor) -> Iterator[Iterate]:
        """Yield the iterates of `proximal_gradient`, accelerated."""
        return map(Iterate, proximal_gradient(problem, codes, True, self.restart))
