"""CSC-SR: super-resolution by convolutional sparse coding (Gu et al., ICCV 2015).

Luma is split into a smooth part, enlarged by bicubic, and a residual, whose sparse codes are
mapped to high-resolution codes; these, with HR filters, are the residual of the HR image.
Mapping and HR filters belong to the coder that they were fitted to: λ and stop rule come out of
the weights' metadata, and another coder is refused. docs/csc-sr.md has the equations and the
choices. Needs torch.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from cscsr import weights
from cscsr.arrays import device_to_use, ordinary_torch, to_numpy, to_type_of
from cscsr.convolution import transform_operations
from cscsr.csc_sr.decompose import MARGIN, continued, split
from cscsr.csc_sr.mapping import enlarge_codes
from cscsr.csc_sr.weight_file import FORMS, TRAINED_FOR, Weights, cached_weights, weights_name
from cscsr.errors import InputError, unknown_name
from cscsr.imaging import imresize, luma_of, luma_psnr, with_luma
from cscsr.imaging.back_projection import PROJECTION_REACH, back_projected
from cscsr.problem import SparseCoding
from cscsr.registry import make_solver
from cscsr.schema import Range, check_fields
from cscsr.self_ensemble import mean_over_orientations
from cscsr.solver import Callback, Solution, Solver, Status, Stopwatch, Trace
from cscsr.sparse.sporco import quick_plans
from cscsr.super_resolution import SuperResolution


@dataclass(frozen=True)
class CSCSR(Solver[SuperResolution]):
    """Convolutional sparse coding, with mapping and HR filters for each coder and scale.

    Colour: luma by CSC-SR, Cb and Cr by bicubic. The estimate is not clipped to [0,1].
    Codes of the solution are those of the luma, continued by `MARGIN` pixels a side.

    Parameters
    ----------
    coder
        "admm", "sporco-admm", "ista", "fista" or "cista", the solver of the sparse-coding
        problem.
    form
        "paper" (mapping with wⱼ ≥ 0 and Σᵢ wⱼᵢ = 1, then HR filters) or "ridge" (one kernel per
        code by ridge regression, the baseline without constraints).
    preset
        "small" or the name of other shipped weights.
    weights
        A ``.safetensors`` file from ``cscsr train csc-sr``; None: the shipped one.
    device
        Where the coder computes; None: the image's device. sporco's ADMM and the map run on
        the CPU.
    dtype
        "float32" or "float64", of the whole computation.
    trace
        Record every iteration of the coder, and its PSNR (luma, rounded, `scale` pixels
        cut off each side) where the problem knows the truth: each iterate decoded by the map,
        which was fitted to the last one only.
    self_ensemble
        Return the mean over the eight flips and rotations of the image, each turned back: eight
        times the cost. As a whole that is no iteration, so the solution has neither codes nor a
        trace, its status is DIRECT, and nothing is called back.
    back_projections
        Steps of back-projection (`cscsr.imaging.back_projection`), which bring the estimate,
        shrunk, nearer to the input.

    Raises
    ------
    InputError
        For an unknown coder, form or dtype, a number of steps below 0 or above 100, and, when
        used, for weights whose maps were fitted to another coder.

    References
    ----------
    Gu et al., "Convolutional sparse coding for image super-resolution", ICCV 2015.
    """

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "y"

    coder: str = "admm"
    form: str = "paper"
    preset: str = "small"
    weights: str | None = None
    device: str | None = None
    dtype: str = "float32"
    trace: bool = False
    self_ensemble: bool = False
    back_projections: Annotated[int, Range(0, 100)] = 0

    def __post_init__(self) -> None:
        if self.coder not in TRAINED_FOR:
            raise unknown_name("coder", str(self.coder), TRAINED_FOR)
        if self.form not in FORMS:
            raise unknown_name("form", str(self.form), FORMS)
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"dtype must be float32 or float64, got {self.dtype!r}.")
        if self.coder == "sporco-admm" and self.device not in (None, "cpu"):
            raise InputError(f"{self.name} computes on the CPU only, not on {self.device}.")
        check_fields(self)

    @property
    def name(self) -> str:
        plus = "+" if self.self_ensemble else ""
        if self.form == "ridge":
            return f"csc-ridge{'' if self.coder == 'admm' else f'[{self.coder}]'}{plus}"
        size = "" if self.preset == "small" else f"-{self.preset}"
        return f"csc-sr{size}[{self.coder}]{plus}"

    @property
    def version(self) -> str:
        """This method's own version and the coder's."""
        return f"2, {self.coder} {make_solver(self.coder).version}"

    def weights_sha256(self) -> str:
        return weights.sha256(self._weights_name())

    def _weights_name(self) -> str:
        if self.weights is not None:
            return str(self.weights)
        return weights_name(self.coder, self.preset)

    def _weights(self) -> Weights:
        name = self._weights_name()
        trained = cached_weights(name, weights.sha256(name))
        if trained.coder != TRAINED_FOR[self.coder]:
            raise InputError(
                f"the maps in {name} were fitted to codes of {trained.coder}, so {self.name} "
                f"cannot use them; take csc-sr[{trained.coder}], or train maps for {self.coder}."
            )
        return trained

    def _device(self, problem: SuperResolution) -> str:
        """Where the coder computes. Raises InputError for a device that this machine lacks."""
        on_cpu = self.coder == "sporco-admm"
        return "cpu" if on_cpu else device_to_use(self.device, problem.lr)

    @ordinary_torch()
    def supports(self, problem: SuperResolution) -> str | None:
        """Return None, or the reason against: another type of problem, a scale without a map, an
        image smaller than the filters, or one too large for the coder (explicit CISTA)."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        self._device(problem)  # fails here if it is not there
        trained = self._weights()
        height, width = problem.lr.shape[:2]
        if problem.scale not in trained.scales:
            return (
                f"{self.name} has maps for {', '.join(f'×{scale}' for scale in trained.scales)}, "
                f"not for ×{problem.scale}."
            )
        size = trained.filter_size
        if min(height, width) < size:
            return (
                f"{self.name} needs an image of at least {size}x{size}, the size of its filters, "
                f"not {height}x{width}."
            )
        blank = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), self.dtype)
        solver, coding = trained.coding(blank, problem.scale, self.coder)
        return solver.supports(coding)

    def operations(self, problem: SuperResolution, iterations: int | None = None) -> float | None:
        """Return the coder's multiply-adds, N·k² for each place of the codes (the map), those of
        the split's three transforms, of the bicubic enlargement of the smooth part and of
        back-projection; eight times those of one image for a self-ensemble."""
        trained, scale = self._weights(), problem.scale
        height, width = (n + 2 * MARGIN for n in problem.lr.shape[:2])
        coder, coding = trained.coding(np.zeros((height, width), self.dtype), scale, self.coder)
        coded = coder.operations(coding, iterations)
        if coded is None:
            return None
        pixels = height * width
        mapped = float(trained.collapsed(scale, self.form).size) * pixels
        resized = 4.0 * scale * (1 + scale)
        one = coded + mapped + 3 * transform_operations(pixels) + resized * pixels
        lr_pixels = math.prod(problem.lr.shape[:2])
        projected = 2 * self.back_projections * resized * lr_pixels
        return (8 * one if self.self_ensemble else one) + projected

    def halo(self, scale: int) -> int:
        """32 pixels, and 4 more for each step of back-projection. Split and codes depend on the
        whole image, but pixels further away change them by less than a hundredth of an 8-bit step
        (a test measures it)."""
        return 32 + PROJECTION_REACH * self.back_projections

    @ordinary_torch()
    def prepare(self, problem: SuperResolution) -> None:
        """Read the weights, and prepare the coder (for a self-ensemble, of the upright image)."""
        _, residual = divide(luma_of(to_numpy(problem.lr)), problem.scale, self.dtype)
        coder, coding = self._coding(problem, residual)
        with self._quick_plans():
            coder.prepare(coding)

    @ordinary_torch()
    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Enlarge the image.

        Parameters
        ----------
        problem
        init
            Codes that the coder starts from; the maps were fitted to codes from zero.
        callback
            Called after each iteration of the coder with its number and the image that the
            iterate decodes to.

        Raises
        ------
        InputError
            If `supports(problem)` returns a reason.
        """
        reason = self.supports(problem)
        if reason is not None:
            raise InputError(reason)
        if self.self_ensemble:
            return self._solve_turned(problem)
        clock = Stopwatch(self._device(problem))
        trained, scale = self._weights(), problem.scale
        lr = luma_of(to_numpy(problem.lr))
        smooth, residual = divide(lr, scale, self.dtype)
        kernels = trained.collapsed(scale, self.form)

        def luma(codes: Any) -> np.ndarray:
            enlarged = smooth + enlarged_residual(codes, kernels, trained.filter_size, scale)
            return back_projected(enlarged, lr, scale, self.back_projections).astype(self.dtype)

        quality: dict[int, float] = {}
        wants_psnr = self.trace and problem.truth is not None
        truth = to_numpy(problem.truth) if wants_psnr else None

        def watch(iteration: int, codes: Any) -> bool:
            y = luma(codes)
            if truth is not None:
                quality[iteration] = luma_psnr(y, truth, scale)
            return callback is not None and bool(callback(iteration, _like_input(y, problem)))

        coder, coding = self._coding(problem, residual)
        before = clock.seconds
        watched = watch if wants_psnr or callback is not None else None
        with clock.paused(), self._quick_plans():
            coded = coder.solve(coding, init=init, callback=watched)
        estimate = _like_input(luma(coded.codes), problem)
        return Solution(
            estimate=estimate,
            status=coded.status,
            trace=_with_quality(coded.trace, before, quality),
            seconds=clock.seconds + coded.seconds,
            codes=to_type_of(to_numpy(coded.codes), problem.lr),
        )

    def _solve_turned(self, problem: SuperResolution) -> Solution:
        """The mean over the eight orientations of the image, and its back-projection."""
        single = replace(
            self, self_ensemble=False, back_projections=0, trace=False, device=self._device(problem)
        )
        clock = Stopwatch()
        lr, statuses = np.array(luma_of(to_numpy(problem.lr)), float), []

        def enlarged(turned: torch.Tensor) -> torch.Tensor:
            solution = single.solve(SuperResolution(turned[0, 0], problem.scale))
            statuses.append(solution.status)
            return solution.estimate[None, None]

        mean = mean_over_orientations(enlarged, torch.from_numpy(lr)[None, None])
        luma = back_projected(mean[0, 0].numpy(), lr, problem.scale, self.back_projections)
        return Solution(
            estimate=_like_input(luma.astype(self.dtype), problem),
            status=Status.DIVERGED if Status.DIVERGED in statuses else Status.DIRECT,
            trace=Trace(),
            seconds=clock.seconds,
        )

    def _quick_plans(self) -> AbstractContextManager[None]:
        return quick_plans() if self.coder == "sporco-admm" else nullcontext()

    def _coding(
        self, problem: SuperResolution, residual: np.ndarray
    ) -> tuple[Solver[SparseCoding], SparseCoding]:
        """The coder and its problem, on the device to compute on."""
        every = 1 if self.trace else 0
        coder, coding = self._weights().coding(residual, problem.scale, self.coder, every)
        device = self._device(problem)
        return coder, coding if device == "cpu" else coding.on(device)


def divide(luma: np.ndarray, scale: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Divide a luma into its smooth part and the residual that is to be coded.

    The split is made in float64.

    Parameters
    ----------
    luma
        (H,W), on the [0,1] scale.
    scale
        s.
    dtype
        "float32" or "float64", of the results.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        The smooth part, enlarged, (sH,sW), and the residual, continued, (H+2·MARGIN, W+2·MARGIN).
    """
    parts = split(continued(luma.astype(np.float64)))
    smooth = _inside(imresize(parts.smooth, scale), scale)
    return smooth.astype(dtype), parts.residual.astype(dtype)


def enlarged_residual(codes: Any, kernels: np.ndarray, filter_size: int, scale: int) -> np.ndarray:
    """Return the HR residual that kernels make of the codes of a continued LR residual.

    Parameters
    ----------
    codes
        (N, H+2·MARGIN, W+2·MARGIN), numpy or torch.
    kernels
        (N,k,k).
    filter_size
        The side of the LR filters.
    scale
        s.

    Returns
    -------
    np.ndarray
        (sH,sW), in the codes' dtype.
    """
    codes = torch.as_tensor(codes).cpu()
    weights_of_codes = torch.from_numpy(kernels).to(codes.dtype)
    return _inside(enlarge_codes(codes, weights_of_codes, filter_size, scale).numpy(), scale)


def _inside(continued_image: np.ndarray, scale: int) -> np.ndarray:
    """An enlarged continued image without its margin."""
    margin = MARGIN * scale
    return continued_image[margin:-margin, margin:-margin]


def _like_input(luma: np.ndarray, problem: SuperResolution) -> Any:
    """An enlarged luma (sH,sW) with the colour, array type, dtype and device of the input."""
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
