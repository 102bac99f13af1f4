"""The dictionary update: filters of at most unit norm that minimise the quadratic function of
`cscsr.learn.statistics`. Needs torch.
"""

from __future__ import annotations

import math

import torch

from cscsr.learn.statistics import Quadratic

POWER_STEPS = 15
"""Steps of the power iteration that estimates the largest eigenvalue."""

SAFETY = 1.05
"""Factor on that estimate, which is one from below."""

LEAST_USAGE = 1e-3
"""The step of an atom is at most that of an atom with this fraction of the largest usage."""


def project(filters: torch.Tensor) -> torch.Tensor:
    """Return the nearest filters (M,C,s,s) with ‖fᵢ‖ ≤ 1."""
    norms = filters.flatten(1).norm(dim=1).clamp_min(1.0)
    return filters / norms[:, None, None, None]


def update_filters(
    quadratic: Quadratic, filters: torch.Tensor, iterations: int, tol: float = 1e-4
) -> torch.Tensor:
    """Return filters with a smaller value, by accelerated projected gradient steps.

    The step of an atom is 1/(L·dᵢ), where dᵢ is the energy of its codes and L the largest
    eigenvalue of D^(−1/2) A D^(−1/2): atoms of rare codes move as fast as those of frequent ones.
    As dᵢ is one number for all elements of an atom, the projection in this metric is the plain one.
    Momentum is dropped where it points uphill (O'Donoghue and Candès 2015).

    Parameters
    ----------
    quadratic
        ½⟨f, A f⟩ − ⟨B, f⟩.
    filters
        (M,C,s,s), float32, where the iteration starts.
    iterations
        The most steps.
    tol
        Stop when a step changes the filters by at most this fraction of their norm.

    Returns
    -------
    torch.Tensor
        (M,C,s,s), each of norm at most 1.
    """
    usage = quadratic.usage.to(filters)
    most = float(usage.max())
    if most == 0:
        return project(filters)
    weights = usage.clamp_min(LEAST_USAGE * most)[:, None, None, None]
    step = 1.0 / (SAFETY * _largest_eigenvalue(quadratic, weights.sqrt(), filters) * weights)
    point = filters = project(filters)
    momentum = 1.0
    for _ in range(iterations):
        new = project(point - step * quadratic.gradient(point))
        if float(((point - new) * (new - filters) * weights).sum()) > 0:
            momentum = 1.0
            new = project(filters - step * quadratic.gradient(filters))
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        change = new - filters
        point = new + (momentum - 1) / following * change
        filters, momentum = new, following
        if float(change.norm()) <= tol * float(filters.norm()):
            break
    return filters


def _largest_eigenvalue(quadratic: Quadratic, root: torch.Tensor, like: torch.Tensor) -> float:
    """That of D^(−1/2) A D^(−1/2), `root` being D^(1/2), by power iteration."""
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    largest = 1.0
    for _ in range(POWER_STEPS):
        vector = quadratic.product(vector / root) / root
        largest = float(vector.norm())
        vector /= largest
    return largest
