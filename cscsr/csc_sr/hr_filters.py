"""Mapping and high-resolution filters of CSC-SR with the paper's constraints, and their fit.

The N codes at a place are mapped to M high-resolution codes, zʰⱼ = Σᵢ wⱼᵢ zᵢ with wⱼ ≥ 0 and
Σᵢ wⱼᵢ = 1, and each adds its HR filter hⱼ (Gu et al. 2015). Both steps are linear, so
that together they are the kernels Gᵢ = Σⱼ wⱼᵢ hⱼ of `enlarge_codes`, and all that a fit needs to
know of codes and images are the sums of `NormalEquations`. Needs torch.

With M ≥ N, and W of rank N, every G is in reach: W only weighs the penalty, ρ tr Gᵀ(WᵀW)⁻¹G. A fit
hardly moves the mapping of `start_from`, so that the shipped maps are ridge regressions written in
this form (docs/csc-sr.md, "What the mapping is worth").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from cscsr.csc_sr.mapping import NormalEquations
from cscsr.errors import InputError

FILTER_STEPS = 25
"""Conjugate-gradient steps of a round, on the HR filters."""

MAPPING_STEPS = 25
"""Accelerated projected-gradient steps of a round, on the mapping."""


@dataclass(frozen=True)
class Mapping:
    """A mapping and its HR filters.

    Attributes
    ----------
    mapping
        wⱼᵢ, (M,N), rows on the simplex.
    filters
        hⱼ, (M,k,k).
    """

    mapping: torch.Tensor
    filters: torch.Tensor

    def kernels(self) -> torch.Tensor:
        """Return both steps in one, Gᵢ = Σⱼ wⱼᵢ hⱼ: (N,k,k)."""
        return torch.einsum("ji,jkl->ikl", self.mapping, self.filters)


def project_to_simplex(rows: torch.Tensor) -> torch.Tensor:
    """Return the nearest point of {w ≥ 0, Σw = 1} to each row.

    Parameters
    ----------
    rows
        (…,N).

    References
    ----------
    Duchi et al., "Efficient projections onto the ℓ1-ball for learning in high dimensions",
    ICML 2008, figure 1.
    """
    descending = rows.sort(dim=-1, descending=True).values
    count = torch.arange(1, rows.shape[-1] + 1, dtype=rows.dtype, device=rows.device)
    shift = (descending.cumsum(-1) - 1) / count
    last = (descending > shift).sum(-1, keepdim=True) - 1
    return (rows - shift.gather(-1, last)).clamp_(min=0)


def check_hr_atoms(atoms: int, hr_atoms: int) -> None:
    """Check that N ≤ M ≤ N + N(N−1)/2: one HR filter per kernel and at most one per pair.

    Parameters
    ----------
    atoms
        N.
    hr_atoms
        M.

    Raises
    ------
    InputError
        For another M.
    """
    most = atoms + atoms * (atoms - 1) // 2
    if not atoms <= hr_atoms <= most:
        raise InputError(
            f"{atoms} filters go with {atoms} to {most} HR filters, one for each and one for each "
            f"pair at most, got {hr_atoms}."
        )


def start_from(kernels: torch.Tensor, hr_atoms: int) -> Mapping:
    """Return the mapping that gives back the ridge kernels: wⱼ = eⱼ and hⱼ = Gⱼ for j ≤ N.

    The M − N others start at hⱼ = 0, each mixing in equal parts two codes whose kernels
    are alike, the most alike first.

    Parameters
    ----------
    kernels
        G, (N,k,k).
    hr_atoms
        M.

    Raises
    ------
    InputError
        For an M that `check_hr_atoms` refuses.
    """
    atoms = len(kernels)
    check_hr_atoms(atoms, hr_atoms)
    flat = torch.nn.functional.normalize(kernels.flatten(1), dim=1)
    first, second = torch.triu_indices(atoms, atoms, offset=1)
    alike = (flat @ flat.T)[first, second]
    pairs = alike.argsort(descending=True)[: hr_atoms - atoms]
    mixed = torch.zeros(len(pairs), atoms, dtype=kernels.dtype)
    row = torch.arange(len(pairs))
    mixed[row, first[pairs]] = 0.5
    mixed[row, second[pairs]] = 0.5
    nothing = kernels.new_zeros(hr_atoms - atoms, *kernels.shape[1:])
    return Mapping(
        torch.cat([torch.eye(atoms, dtype=kernels.dtype), mixed]), torch.cat([kernels, nothing])
    )


class Fit:
    """The minimisation over w and h, by turns, with the constraints on w, of

        Σ ‖x − Σⱼ hⱼ⊗((Σᵢ wⱼᵢ zᵢ)↑s)‖² + ρ Σⱼ‖hⱼ‖²,

    from sums over codes z and HR residuals x. Each `round` takes conjugate-gradient steps on h,
    whose problem is quadratic, and accelerated projected-gradient steps (FISTA) on w. Neither
    raises the objective.

    Parameters
    ----------
    equations
        The sums.
    start
        Where to begin; see `start_from`.
    ridge
        ρ over the mean diagonal of the sums.
    """

    def __init__(self, equations: NormalEquations, start: Mapping, ridge: float) -> None:
        matrix, right = equations.system()
        scale = float(matrix.diagonal().mean())
        self._equations = equations
        self._matrix = matrix.float().div_(scale)
        offsets = equations.support**2
        self._right = right.float().div_(scale).unflatten(0, (offsets, equations.atoms))
        self._ridge = ridge
        self._mapping = start.mapping.float()
        self._filters = equations.unknowns(start.filters.float()).unflatten(0, (offsets, -1))

    @property
    def result(self) -> Mapping:
        """The current mapping and HR filters."""
        return Mapping(self._mapping, self._equations.kernels(self._filters.flatten(0, 1)))

    def objective(self) -> float:
        """Return the objective less the constant Σ‖x‖², over the sums' mean diagonal."""
        kernels = self._collapsed(self._mapping, self._filters)
        data = (kernels * (self._applied(kernels) - 2 * self._right)).sum()
        return float(data + self._ridge * self._filters.square().sum())

    def round(self) -> float:
        """Improve the HR filters, then the mapping; return the objective."""
        self.improve_filters()
        self._improve_mapping()
        return self.objective()

    @staticmethod
    def _collapsed(mapping: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
        """G (m²,N,s²) = Wᵀ H for each of the m² offsets."""
        return mapping.T @ filters

    def _applied(self, kernels: torch.Tensor) -> torch.Tensor:
        """A G, for G (m²,N,s²)."""
        return (self._matrix @ kernels.flatten(0, 1)).view_as(kernels)

    def improve_filters(self, steps: int = FILTER_STEPS) -> None:
        """Take conjugate-gradient steps on (W A Wᵀ + ρI) h = W b, for the current mapping."""
        mapping, filters = self._mapping, self._filters

        def applied(h: torch.Tensor) -> torch.Tensor:
            return mapping @ self._applied(self._collapsed(mapping, h)) + self._ridge * h

        right = mapping @ self._right
        rest = right - applied(filters)
        direction, size = rest, rest.square().sum()
        rounding = torch.finfo(right.dtype).eps ** 2 * right.square().sum()
        for _ in range(steps):
            if size <= rounding:
                break
            image = applied(direction)
            step = size / (direction * image).sum()
            filters = filters + step * direction
            rest = rest - step * image
            size, before = rest.square().sum(), size
            direction = rest + size / before * direction
        self._filters = filters

    def _improve_mapping(self) -> None:
        """FISTA with restart on w, in steps of 1/L, L being the curvature in w."""
        filters = self._filters

        def curved(w: torch.Tensor) -> torch.Tensor:
            return (filters @ self._applied(self._collapsed(w, filters)).mT).sum(0)

        lipschitz = _largest_eigenvalue(curved, self._mapping)
        if lipschitz == 0:
            return
        linear = (filters @ self._right.mT).sum(0)
        mapping = ahead = self._mapping
        momentum = 1.0
        for _ in range(MAPPING_STEPS):
            previous = mapping
            mapping = project_to_simplex(ahead - (curved(ahead) - linear) / lipschitz)
            if ((ahead - mapping) * (mapping - previous)).sum() > 0:
                momentum = 1.0
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = mapping + (momentum - 1) / following * (mapping - previous)
            momentum = following
        self._mapping = mapping


def _largest_eigenvalue(
    operator: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor, rounds: int = 12
) -> float:
    """An upper estimate by the power method, 10 % added for what it has not reached."""
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    size = 0.0
    for _ in range(rounds):
        vector = operator(vector / vector.norm().clamp(min=1e-30))
        size = float(vector.norm())
    return 1.1 * size
