"""Dual points where some codes are exempt from the penalty (λⱼ = 0). Needs torch.

A dual point u of min ½‖b − Az‖² + Σⱼ λⱼ|zⱼ| satisfies |Aⱼᵀu| ≤ λⱼ for all codes. Scaling a residual
meets this where λⱼ > 0. For an exempt code it demands Aⱼᵀu = 0, which no scaling but that by zero
achieves. So the residual is first projected onto the signals that are orthogonal to all exempt
columns of A, by conjugate gradients. At the optimum the residual is such a signal, so that the
projection changes less and less, and the gap goes to zero.
"""

from __future__ import annotations

import torch

from cscsr.operators import ConvDictionary
from cscsr.problem import SparseCoding

ROUNDING = 1e-12
"""The projection is accepted if |Aⱼᵀu| ≤ ROUNDING·‖fⱼ‖·‖b‖ for all exempt codes, in float64."""

MOST_STEPS = 300
"""The most conjugate-gradient steps of a projection."""

MOST_ROUNDS = 10
"""The most projections for nonnegative codes, whose constraint Aⱼᵀu ≤ 0 is an equation only for
codes that are active or would violate it."""


def without_exempt(
    problem: SparseCoding, residual: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Return the part of a residual that meets the constraints of exempt codes.

    Where conjugate gradients do not get there, as when exempt atoms are nearly dependent, it is
    zero for that signal. Zero is a dual point too, and bounds the optimum by 0 from below.

    Parameters
    ----------
    problem
        The problem in torch, with exempt codes.
    residual
        b − Az, ([B,]C,*grid).
    codes
        z, ([B,]M,H,W).

    Returns
    -------
    torch.Tensor
        ([B,]C,*grid), float64.
    """
    weights = problem.weights()
    exempt = (weights if weights.ndim == 4 else weights[None]) == 0
    exempt = exempt.expand(-1, problem.codes_shape[-3], -1, -1)
    atoms = exempt.any((0, 2, 3))
    exempt = exempt[:, atoms]
    whole = problem.operator()
    operator = ConvDictionary(
        whole.filters[atoms].double(),
        whole.shape,
        whole.boundary,
        None if whole.mask is None else whole.mask.double(),
    )
    batch = (residual if residual.ndim == 4 else residual[None]).double()
    observed = problem.observed().double().reshape(batch.shape)
    length = operator.filters.square().sum((1, 2, 3)).max().sqrt()
    limit = ROUNDING * length * observed.square().sum((1, 2, 3), keepdim=True).sqrt()

    equations = exempt
    if problem.nonnegative:
        active = (codes if codes.ndim == 4 else codes[None])[:, atoms] > 0
        equations = exempt & active
    for _ in range(MOST_ROUNDS):
        dual = _projected(operator, batch, equations.double(), limit)
        correlation = operator.adjoint(dual)
        violation = correlation if problem.nonnegative else correlation.abs()
        violated = exempt & ((violation > limit) | (equations & (correlation.abs() > limit)))
        missing = violated & ~equations
        if not missing.any():
            break
        equations = equations | missing
    dual = dual * ~violated.any(3).any(2).any(1)[:, None, None, None]
    return dual.reshape(residual.shape)


def _projected(
    operator: ConvDictionary, residual: torch.Tensor, equations: torch.Tensor, limit: torch.Tensor
) -> torch.Tensor:
    """The residual r (B,C,*grid) less its projection onto the columns of A that `equations` (1, or
    0 for others) selects: r − Aw with w = argmin ‖r − Aw‖, by conjugate gradients (CGLS)."""

    def squares(array: torch.Tensor) -> torch.Tensor:
        return array.square().sum((1, 2, 3), keepdim=True)

    dual = residual.clone()
    gradient = operator.adjoint(dual) * equations
    search, square = gradient, squares(gradient)
    for _ in range(MOST_STEPS):
        if not (gradient.abs().amax((1, 2, 3), keepdim=True) > 0.1 * limit).any():
            break
        image = operator.synthesis(search)
        length = square / squares(image).clamp(min=1e-300)
        dual -= length * image
        gradient = operator.adjoint(dual) * equations
        square, before = squares(gradient), square
        search = gradient + square / before.clamp(min=1e-300) * search
    return dual
