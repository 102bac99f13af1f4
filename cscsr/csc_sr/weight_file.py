"""The weight files of CSC-SR: filters, maps, and the settings of the coder they were fitted to.

λ and the stop rule come out of the file's metadata, as mapping and HR filters belong to the codes
of one coder. Needs torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import torch

from cscsr import weights
from cscsr.arrays import ordinary_torch
from cscsr.csc_sr.hr_filters import Mapping
from cscsr.csc_sr.mapping import check_support
from cscsr.errors import InputError
from cscsr.problem import SparseCoding
from cscsr.registry import make_solver
from cscsr.schema import Range, check_table, scale_of_key
from cscsr.solver import Solver

TRAINED_FOR = {
    "admm": "admm",
    "sporco-admm": "admm",
    "ista": "ista",
    "cista": "ista",
    "fista": "fista",
}
"""Coder: the coder whose map it uses. CISTA makes the iterates of ISTA, and sporco's ADMM with
ρ fixed those of ours, so they share their maps."""

FORMS = ("paper", "ridge")
"""Kernels by mapping and HR filters, as the paper has them, or by ridge regression."""

NotNegative = Annotated[float, Range(0, math.inf, open_high=True)]

Positive = Annotated[float, Range(0, math.inf, open_low=True, open_high=True)]

KIND = "csc-sr"
"""The `kind` in the metadata of a weight file of this method."""


def weights_name(coder: str, preset: str = "small") -> str:
    """Return the name of the shipped filters and maps that `coder` uses."""
    size = "" if preset == "small" else f"-{preset}"
    return f"csc-sr{size}-{TRAINED_FOR[coder]}"


@dataclass(frozen=True)
class Weights:
    """Filters and maps of one coder, as a weight file has them.

    Attributes
    ----------
    coder
        The coder whose codes the maps were fitted to.
    filters
        (N,s,s), float32, unit norm, origin top-left.
    kernels
        Scale to the ridge kernels (N,k,k), float32.
    lams
        Scale to λ, on the [0,1] scale.
    settings
        Scale to the coder's parameters, stop rule included.
    mappings
        Scale to mapping (M,N) and HR filters (M,k,k); see `cscsr.csc_sr.hr_filters`.
    """

    coder: str
    filters: np.ndarray
    kernels: dict[int, np.ndarray]
    lams: dict[int, float]
    settings: dict[int, dict[str, Any]]
    mappings: dict[int, Mapping] = field(default_factory=dict)
    _collapsed: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def collapsed(self, scale: int, form: str) -> np.ndarray:
        """Return the kernels (N,k,k) that turn the codes of a scale into the HR residual.

        Parameters
        ----------
        scale
            One of `scales`.
        form
            One of `FORMS`.
        """
        if form == "ridge":
            return self.kernels[scale]
        if scale not in self._collapsed:
            self._collapsed[scale] = self.mappings[scale].kernels().numpy()
        return self._collapsed[scale]

    @property
    def scales(self) -> list[int]:
        """The scales that have maps, ascending."""
        return sorted(self.kernels)

    @property
    def filter_size(self) -> int:
        """The side of the LR filters."""
        return self.filters.shape[-1]

    def coding(
        self, residual: np.ndarray, scale: int, coder: str, record_every: int = 0
    ) -> tuple[Solver[SparseCoding], SparseCoding]:
        """Return the coder, built as the maps need it, and its problem.

        Parameters
        ----------
        residual
            What is to be coded, (H,W), float32 or float64.
        scale
            One of `scales`.
        coder
            A key of `TRAINED_FOR`.
        record_every
            Iterations between two rows of the coder's trace; 0: no trace.
        """
        solver = make_solver(coder, **self.settings[scale], record_every=record_every)
        problem = SparseCoding(
            residual, self.filters.astype(residual.dtype), self.lams[scale], boundary="circular"
        )
        return solver, problem


def read_weights(name: str, digest: str | None = None) -> Weights:
    """Read filters and maps from shipped weights or a file; arguments as `cscsr.weights.load`.

    Raises
    ------
    InputError
        If there is no such file, it holds something else, its metadata or tensors are wrong, or
        it does not have `digest`.
    """
    tensors, metadata = weights.load(name, digest)
    if metadata.get("kind") != KIND:
        raise weights.of_another_method(name, metadata, "filters and maps of csc-sr")
    try:
        about = check_table(_Metadata, metadata, "the metadata")
        scales = {scale_of_key(text): row for text, row in about.scales.items()}
        for row in scales.values():
            check_table(_Settings, row.settings, "[settings]")
            make_solver(about.coder, **row.settings)
    except InputError as error:
        raise InputError(f"weight file {name}: {error}") from error
    _check_tensors(name, tensors, list(scales))

    def tensor(part: str, scale: int) -> torch.Tensor:
        return torch.from_numpy(tensors[f"{part}_x{scale}"].astype(np.float32))

    return Weights(
        coder=about.coder,
        filters=tensors["filters"].astype(np.float32),
        kernels={s: tensor("kernels", s).numpy() for s in scales},
        lams={s: row.lam for s, row in scales.items()},
        settings={s: dict(row.settings) for s, row in scales.items()},
        mappings={s: Mapping(tensor("mapping", s), tensor("hr_filters", s)) for s in scales},
    )


@dataclass(frozen=True)
class _Settings:
    """The parameters of a coder that a weight file may give."""

    iterations: Annotated[int, Range(1, 10_000)] = 1
    tol: NotNegative = 0.0
    rho: Positive | None = None
    rho_growth: Positive = 1.0
    auto_rho: bool = True
    relaxation: Positive = 1.0
    restart: bool = True


@dataclass(frozen=True)
class _Row:
    """What the header of a weight file says of a scale; all but the first two is for people."""

    lam: NotNegative
    settings: dict[str, Any]
    ridge: float = 0.0
    lr_pixels: int = 0
    holdout_psnr_db: dict[str, float] | None = None
    holdout_rounds_psnr_db: list[float] | None = None
    rounds_objective: list[float] | None = None
    holdout_bicubic_psnr_db: float | None = None
    holdout_density: float | None = None


@dataclass(frozen=True)
class _Metadata:
    """What the header of a weight file says; all but the first three is for people."""

    kind: str
    coder: Literal["admm", "ista", "fista"]
    scales: dict[str, _Row]
    seed: int = 0
    training_sets: list[str] | None = None
    training_images: int = 0
    holdout_crop: int = 0
    crop: int = 0
    phases: dict[str, int] | None = None


def _check_tensors(name: str, tensors: dict[str, np.ndarray], scales: list[int]) -> None:
    """Check that filters and maps fit each other. Raises InputError if they do not."""
    if not scales:
        raise InputError(f"weight file {name}: scales should not be empty.")

    def side(tensor: str, axis: int) -> int | None:
        shape = tensors[tensor].shape if tensor in tensors else ()
        return shape[axis] if len(shape) > axis else None

    atoms, size = side("filters", 0), side("filters", 1)
    shapes: dict[str, tuple[int | None, ...]] = {"filters": (atoms, size, size)}
    for scale in scales:
        kernel, hr_atoms = side(f"kernels_x{scale}", 1), side(f"mapping_x{scale}", 0)
        shapes[f"kernels_x{scale}"] = (atoms, kernel, kernel)
        shapes[f"mapping_x{scale}"] = (hr_atoms, atoms)
        shapes[f"hr_filters_x{scale}"] = (hr_atoms, kernel, kernel)
    weights.check_shapes(name, tensors, shapes)
    for scale in scales:
        kernel = tensors[f"kernels_x{scale}"].shape[1]
        if kernel % scale:
            raise InputError(
                f"tensor kernels_x{scale} of {name} should have a multiple of {scale} as its "
                f"side, got {kernel}."
            )
        try:
            check_support(kernel // scale, tensors["filters"].shape[1])
        except InputError as error:
            raise InputError(f"tensor kernels_x{scale} of {name}: {error}") from error


@lru_cache(maxsize=8)
@ordinary_torch()
def cached_weights(name: str, sha256: str) -> Weights:
    """`read_weights`, once for each content of the file."""
    return read_weights(name, sha256)
