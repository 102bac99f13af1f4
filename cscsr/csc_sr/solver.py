"""CSC-SR: super-resolution by convolutional sparse coding (Gu et al., ICCV 2015).

Luma is split into a smooth part, enlarged by bicubic, and a residual, whose sparse codes are
mapped to high-resolution codes; these, with HR filters, are the residual of the HR image.
Mapping and HR filters belong to the coder that they were fitted to: λ and stop rule come out of
the weights' metadata, and another coder is refused. docs/csc-sr.md has the equations and the
choices. Needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch

from cscsr import weights
from cscsr.arrays import check_device, to_numpy, to_type_of
from cscsr.csc_sr.decompose import MARGIN, continued, split
from cscsr.csc_sr.hr_filters import Mapping
from cscsr.csc_sr.mapping import enlarge_codes
from cscsr.errors import InputError, unknown_name
from cscsr.imaging import imresize, luma_of, luma_psnr, with_luma
from cscsr.operators import transform_operations
from cscsr.problem import SparseCoding, SuperResolution
from cscsr.registry import make_solver
from cscsr.solver import Callback, Solution, Solver, Stopwatch, Trace

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

KIND = "csc-sr"
"""What the metadata of a weight file of this method calls itself."""


def weights_name(coder: str, preset: str = "small") -> str:
    """The name of the shipped filters and maps that a coder uses."""
    size = "" if preset == "small" else f"-{preset}"
    return f"csc-sr{size}-{TRAINED_FOR[coder]}"


@dataclass(frozen=True)
class Weights:
    """Filters and maps of one coder, as a weight file has them.

    coder: the coder whose codes the maps were fitted to.
    filters: (N,s,s), float32, unit norm, origin top-left.
    kernels: scale to the ridge kernels (N,k,k), float32.
    lams: scale to λ. settings: scale to the coder's parameters, stop rule included.
    mappings: scale to mapping (M,N) and HR filters (M,k,k); see `cscsr.csc_sr.hr_filters`.
    """

    coder: str
    filters: np.ndarray
    kernels: dict[int, np.ndarray]
    lams: dict[int, float]
    settings: dict[int, dict[str, Any]]
    mappings: dict[int, Mapping] = field(default_factory=dict)

    def collapsed(self, scale: int, form: str) -> np.ndarray:
        """The kernels (N,k,k) of a scale that turn codes into the HR residual."""
        if form == "ridge":
            return self.kernels[scale]
        if scale not in self._collapsed:
            self._collapsed[scale] = self.mappings[scale].kernels().numpy()
        return self._collapsed[scale]

    _collapsed: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def scales(self) -> list[int]:
        return sorted(self.kernels)

    @property
    def filter_size(self) -> int:
        return self.filters.shape[-1]

    def coding(
        self, residual: np.ndarray, scale: int, coder: str, record_every: int = 0
    ) -> tuple[Solver[SparseCoding], SparseCoding]:
        """The coder, built as the maps need it, and its problem for a `residual` (H,W)."""
        solver = make_solver(coder, **self.settings[scale], record_every=record_every)
        problem = SparseCoding(
            residual, self.filters.astype(residual.dtype), self.lams[scale], boundary="circular"
        )
        return solver, problem


def read_weights(name: str) -> Weights:
    """Filters and maps from shipped weights or a file; see `cscsr.weights.load`.

    Raises InputError if it holds something else.
    """
    tensors, metadata = weights.load(name)
    if metadata.get("kind") != KIND:
        raise InputError(
            f"expected filters and maps of csc-sr in {name}, got weights of "
            f"{metadata.get('kind') or metadata.get('architecture') or 'another method'}."
        )
    scales = {int(scale): row for scale, row in metadata["scales"].items()}

    def tensor(what: str, scale: int) -> torch.Tensor:
        return torch.from_numpy(tensors[f"{what}_x{scale}"].astype(np.float32))

    return Weights(
        coder=metadata["coder"],
        filters=tensors["filters"].astype(np.float32),
        kernels={s: tensor("kernels", s).numpy() for s in scales},
        lams={s: float(row["lam"]) for s, row in scales.items()},
        settings={s: dict(row["settings"]) for s, row in scales.items()},
        mappings={s: Mapping(tensor("mapping", s), tensor("hr_filters", s)) for s in scales},
    )


@contextmanager
def quick_plans(coder: str) -> Iterator[None]:
    """Inside the `with` block sporco's FFTs of a new size are planned by rule.

    By default they are planned by measuring, which for one size takes ten times as long as
    the ten iterations that are wanted of it, and makes none of them faster.
    """
    if coder != "sporco-admm":
        yield
        return
    import sporco.fft

    usual = sporco.fft.pyfftw_planner_effort
    sporco.fft.pyfftw_planner_effort = "FFTW_ESTIMATE"
    try:
        yield
    finally:
        sporco.fft.pyfftw_planner_effort = usual


@lru_cache(maxsize=8)
def _kept(name: str, sha256: str) -> Weights:
    return read_weights(name)


@dataclass(frozen=True)
class CSCSR(Solver[SuperResolution]):
    """Convolutional sparse coding, with mapping and HR filters for each coder and scale.

    coder: "admm", "sporco-admm", "ista", "fista" or "cista", the solver of the sparse-coding
    problem.
    form: "paper" (mapping with wⱼ ≥ 0 and Σᵢ wⱼᵢ = 1, then HR filters) or "ridge" (one kernel a
    code by ridge regression, the baseline without constraints).
    preset: "small" or the name of other shipped weights.
    weights: a ``.safetensors`` file from ``cscsr train csc-sr``, or None for the shipped one.
    device: where the coder computes; sporco's ADMM and the map run on the CPU.
    dtype: "float32" or "float64", of the whole computation.
    trace: record every iteration of the coder, and its PSNR (luma, rounded, `scale` pixels
    cut off each side) where the problem knows the truth: each iterate decoded by the map,
    which was fitted to the last one only.

    Colour: luma by CSC-SR, Cb and Cr by bicubic. The estimate is not clipped to [0,1].
    Codes of the solution are those of the luma, continued by `MARGIN` pixels a side.
    Raises InputError for an unknown coder or dtype, and, when used, for weights whose maps
    were fitted to another coder.
    """

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "y"

    coder: str = "admm"
    form: str = "paper"
    preset: str = "small"
    weights: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    trace: bool = False

    def __post_init__(self) -> None:
        if self.coder not in TRAINED_FOR:
            raise unknown_name("coder", str(self.coder), TRAINED_FOR)
        if self.form not in FORMS:
            raise unknown_name("form", str(self.form), FORMS)
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"dtype must be float32 or float64, got {self.dtype!r}.")
        if self.coder == "sporco-admm" and self.device != "cpu":
            raise InputError(f"{self.name} computes on the CPU only, not on {self.device}.")

    @property
    def name(self) -> str:
        if self.form == "ridge":
            return "csc-ridge" if self.coder == "admm" else f"csc-ridge[{self.coder}]"
        size = "" if self.preset == "small" else f"-{self.preset}"
        return f"csc-sr{size}[{self.coder}]"

    @property
    def version(self) -> str:
        """This method's own and its coder's, whose codes the answer is made of."""
        return f"2, {self.coder} {make_solver(self.coder).version}"

    def weights_sha256(self) -> str:
        return weights.sha256(self._weights_name())

    def _weights_name(self) -> str:
        if self.weights is not None:
            return str(self.weights)
        return weights_name(self.coder, self.preset)

    def _weights(self) -> Weights:
        name = self._weights_name()
        kept = _kept(name, weights.sha256(name))
        if kept.coder != TRAINED_FOR[self.coder]:
            raise InputError(
                f"the maps in {name} were fitted to codes of {kept.coder}, so {self.name} cannot "
                f"use them; take csc-sr[{kept.coder}], or train maps for {self.coder}."
            )
        return kept

    def supports(self, problem: SuperResolution) -> str | None:
        """None, or the reason: another problem, a scale without a map, an image smaller than
        the filters, or one that the coder would take too long for (explicit CISTA)."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        check_device(self.device)
        kept = self._weights()
        height, width = problem.lr.shape[:2]
        if problem.scale not in kept.scales:
            return (
                f"{self.name} has maps for {', '.join(f'×{scale}' for scale in kept.scales)}, "
                f"not for ×{problem.scale}."
            )
        size = kept.filter_size
        if min(height, width) < size:
            return (
                f"{self.name} needs an image of at least {size}x{size}, the size of its filters, "
                f"not {height}x{width}."
            )
        blank = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), self.dtype)
        solver, coding = kept.coding(blank, problem.scale, self.coder)
        return solver.supports(coding)

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float | None:
        """The coder's; N·k² for each place of the codes (the map); the split's three transforms
        and the bicubic enlargement of the smooth part."""
        kept, scale = self._weights(), problem.scale
        height, width = (n + 2 * MARGIN for n in problem.lr.shape[:2])
        coder, coding = kept.coding(np.zeros((height, width), self.dtype), scale, self.coder)
        coded = coder.operations(coding, iterations)
        if coded is None:
            return None
        pixels = height * width
        mapped = float(kept.collapsed(scale, self.form).size) * pixels
        enlarged = 4.0 * scale * (1 + scale) * pixels
        return coded + mapped + 3 * transform_operations(pixels) + enlarged

    def halo(self, scale: int) -> int:
        """32 pixels. Split and codes depend on the whole image, but what they owe to pixels
        further away is less than a hundredth of an 8-bit step (a test measures it)."""
        return 32

    def prepare(self, problem: SuperResolution) -> None:
        """Reads the weights, and has the coder import and transform what it needs."""
        _, residual = divide(luma_of(to_numpy(problem.lr)), problem.scale, self.dtype)
        coder, coding = self._coding(problem.scale, residual)
        with quick_plans(self.coder):
            coder.prepare(coding)

    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """The enlarged image.

        init: codes that the coder starts from; the maps were fitted to codes from zero.
        callback: called with each of the coder's iterations and the image it decodes to.
        Raises InputError when `supports(problem)` gives a reason.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        clock = Stopwatch(self.device)
        kept, scale = self._weights(), problem.scale
        smooth, residual = divide(luma_of(to_numpy(problem.lr)), scale, self.dtype)
        kernels = kept.collapsed(scale, self.form)

        def luma(codes: Any) -> np.ndarray:
            return smooth + enlarged_residual(codes, kernels, kept.filter_size, scale)

        quality: dict[int, float] = {}
        wants_psnr = self.trace and problem.truth is not None
        truth = to_numpy(problem.truth) if wants_psnr else None

        def watch(iteration: int, codes: Any) -> bool:
            y = luma(codes)
            if truth is not None:
                quality[iteration] = luma_psnr(y, truth, scale)
            return callback is not None and bool(callback(iteration, _as_asked(y, problem)))

        coder, coding = self._coding(scale, residual)
        before = clock.seconds
        watched = watch if wants_psnr or callback is not None else None
        with clock.paused(), quick_plans(self.coder):
            coded = coder.solve(coding, init=init, callback=watched)
        estimate = _as_asked(luma(coded.codes), problem)
        return Solution(
            estimate=estimate,
            status=coded.status,
            trace=_with_quality(coded.trace, before, quality),
            seconds=clock.seconds + coded.seconds,
            codes=to_type_of(to_numpy(coded.codes), problem.lr),
        )

    def _coding(
        self, scale: int, residual: np.ndarray
    ) -> tuple[Solver[SparseCoding], SparseCoding]:
        every = 1 if self.trace else 0
        coder, coding = self._weights().coding(residual, scale, self.coder, every)
        return coder, coding if self.device == "cpu" else coding.on(self.device)


def divide(luma: np.ndarray, scale: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """What CSC-SR makes of a luma (H,W): its smooth part enlarged (sH,sW), and the residual
    that is to be coded, continued, (H+2·MARGIN, W+2·MARGIN). The split is made in float64."""
    parts = split(continued(luma.astype(np.float64)))
    smooth = _inside(imresize(parts.smooth, scale), scale)
    return smooth.astype(dtype), parts.residual.astype(dtype)


def enlarged_residual(codes: Any, kernels: np.ndarray, filter_size: int, scale: int) -> np.ndarray:
    """The HR residual (sH,sW) that `kernels` (N,k,k) make of the codes of a continued one."""
    codes = torch.as_tensor(codes).cpu()
    weights_of_codes = torch.from_numpy(kernels).to(codes.dtype)
    return _inside(enlarge_codes(codes, weights_of_codes, filter_size, scale).numpy(), scale)


def _inside(continued_image: np.ndarray, scale: int) -> np.ndarray:
    """An enlarged continued image without its margin."""
    margin = MARGIN * scale
    return continued_image[margin:-margin, margin:-margin]


def _as_asked(luma: np.ndarray, problem: SuperResolution) -> Any:
    """An enlarged luma (sH,sW) as the image asked for: its colour, kind, dtype and device."""
    return to_type_of(with_luma(luma, to_numpy(problem.lr), problem.scale), problem.lr)


def _with_quality(trace: Trace, before: float, quality: dict[int, float]) -> Trace:
    """A coder's trace with the seconds spent before it, and the PSNR of its iterations."""
    merged = Trace()
    columns = {name: trace[name] for name in Trace.COLUMNS}
    for row in range(len(trace)):
        values = {name: float(column[row]) for name, column in columns.items()}
        iteration = int(values.pop("iteration"))
        values["psnr_db"] = quality.get(iteration, math.nan)
        merged.append(iteration, values.pop("seconds") + before, **values)
    return merged
