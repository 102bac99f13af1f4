"""What to compare: images, solvers, scales and degradations, all of them checked.

Every image is read and hashed here, once, so that an unreadable or unscorable image ends the run
before it begins, or is left out on request. Its pixels stay in memory to be scored later, so that a
result always belongs to the pixels whose hash it is stored under. Images beyond `KEPT_BYTES` are
read again for each solve, and refused if their hash has changed. The first images stay in memory
rather than the most recently used, because a run goes through all of them again and again.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from cscsr import SuperResolution, list_solvers, make_solver
from cscsr.compare import showcase
from cscsr.compare.history import ALONE
from cscsr.compare.records import Box, Key, canonical
from cscsr.data.datasets import Dataset, ImageSource
from cscsr.errors import InputError, SolverError, failures_of
from cscsr.imaging import line_of, luma_of
from cscsr.imaging.degradation import Degradation
from cscsr.imaging.metrics import DEFAULT_METRICS, SSIM_WINDOW, check_metrics
from cscsr.registry import is_builtin
from cscsr.solver import Callback, Solution, Solver

SCORING_VERSION = "1"
"""To be raised whenever `degrade` or `score` would give other figures. It is part of an input's
hash, so that stored results are then computed again."""

KEPT_BYTES = 512 * 2**20
"""The most bytes of pixels that stay in memory."""


@dataclass(frozen=True, eq=False)
class Image:
    """An image of the comparison.

    Attributes
    ----------
    dataset, source
        The data set's name, and the source to read the image from.
    sha256, shape
        Those of its pixels.
    detail
        How much detail it has (`cscsr.compare.showcase.detail`).
    pixels
        uint8 (H,W) or (H,W,3); None if they are read again for each use.
    """

    dataset: str
    source: ImageSource
    sha256: str
    shape: tuple[int, ...]
    detail: float
    pixels: np.ndarray | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.dataset}/{self.source.name}"

    def read(self) -> np.ndarray:
        """Return the pixels whose hash is `sha256`.

        Raises
        ------
        InputError
            If the file has been changed since the comparison was planned, or cannot be read.
        """
        if self.pixels is not None:
            return self.pixels
        pixels = read_source(self.source)
        if fingerprint(pixels) != self.sha256:
            raise InputError(
                f"{self} changed during the comparison; run the same command again to use the "
                "new file."
            )
        return pixels


def read_source(source: ImageSource) -> np.ndarray:
    """The pixels of an image.

    Raises
    ------
    InputError
        Whatever its decoder raises, as a sentence that names the file.
    """
    try:
        return source.read()
    except InputError as error:
        if str(source.path) in str(error):
            raise
        raise InputError(f"{source.path} cannot be read: {error}") from error
    except Exception as error:  # decoders raise whatever they like where a file is broken
        reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": .")
        raise InputError(f"{source.path} cannot be read ({reason}).") from error


def fingerprint(pixels: np.ndarray) -> str:
    """Return the SHA-256 of an image's pixels, its shape, and the version of the scoring."""
    digest = hashlib.sha256(f"{SCORING_VERSION} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Contender:
    """A solver of the comparison, and the line on which it is scored."""

    solver: Solver
    line: str

    @property
    def name(self) -> str:
        """The solver's name."""
        return self.solver.name

    @property
    def device(self) -> str:
        """The device that the solver computes on."""
        return str(self.solver.params().get("device") or "cpu")

    @cached_property
    def identity(self) -> dict[str, str]:
        """The solver's part of a result's key (see `Key.of`)."""
        return {
            "solver": self.name,
            "params": canonical(self.solver.params()),
            "solver_version": str(self.solver.version),
            "weights_sha256": str(self.solver.weights_sha256() or ""),
            "line": self.line,
        }


@dataclass(frozen=True, eq=False)
class Cell:
    """All images of a data set, to be enlarged by one solver at one scale with one degradation."""

    dataset: str
    scale: int
    contender: Contender
    degradation: Degradation | None

    def __str__(self) -> str:
        parts = (self.dataset, f"×{self.scale}", text_of(self.degradation), self.contender.name)
        return " ".join(part for part in parts if part)

    def key(self, image: Image) -> Key:
        """Return the key of the result for an image."""
        degradation = text_of(self.degradation)
        return Key.of(self.contender.identity, image.sha256, self.scale, degradation)


def text_of(degradation: Degradation | None) -> str:
    """Return a degradation as text for the database: "" for none."""
    return "" if degradation is None else str(degradation)


@dataclass(frozen=True)
class LeftOut:
    """An image that cannot be compared, and the sentence that says why."""

    dataset: str
    image: str
    reason: str


@dataclass(frozen=True)
class Showcase:
    """An image shown in the report: a part of every estimate at one scale is stored."""

    image: Image
    scale: int
    box: Box


@dataclass(frozen=True)
class Plan:
    """What to compare, all of it checked.

    Attributes
    ----------
    images
        The images of each data set, by its name.
    scales, contenders, protocol
        As requested.
    metrics
        Names of `cscsr.imaging.METRICS`.
    degradations
        None for undegraded input, then the degradations for harder input.
    showcases
        The images whose estimates are stored as pictures.
    left_out
        Images of the data sets that cannot be compared.
    alone
        Whether the tables leave out what earlier runs compared.
    """

    images: Mapping[str, Sequence[Image]]
    scales: Sequence[int]
    contenders: Sequence[Contender]
    protocol: str
    metrics: Sequence[str] = DEFAULT_METRICS
    degradations: Sequence[Degradation | None] = (None,)
    showcases: Sequence[Showcase] = ()
    left_out: Sequence[LeftOut] = ()
    alone: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values, to be stored with the run."""
        return {
            "datasets": {
                name: [{"image": i.source.name, "input_sha256": i.sha256} for i in images]
                for name, images in self.images.items()
            },
            "scales": list(self.scales),
            "solvers": [contender.identity for contender in self.contenders],
            "protocol": self.protocol,
            "metrics": list(self.metrics),
            "degradations": [text_of(degradation) for degradation in self.degradations],
            "showcases": [
                {
                    "dataset": shown.image.dataset,
                    "image": shown.image.source.name,
                    "input_sha256": shown.image.sha256,
                    "scale": shown.scale,
                    "box": shown.box,
                }
                for shown in self.showcases
            ],
            "left_out": [asdict(image) for image in self.left_out],
        } | ({ALONE: True} if self.alone else {})

    def cells(self) -> Iterator[Cell]:
        """Yield the cells of the tables in the order in which they are computed."""
        for degradation in self.degradations:
            for dataset in self.images:
                for scale in self.scales:
                    for contender in self.contenders:
                        yield Cell(dataset, scale, contender, degradation)

    def box(self, cell: Cell, image: Image) -> Box | None:
        """Return the part of an estimate to store as a picture, or None."""
        if cell.degradation is not None:
            return None
        boxes = (s.box for s in self.showcases if s.image is image and s.scale == cell.scale)
        return next(boxes, None)


def make_plan(
    datasets: Sequence[Dataset],
    solvers: Sequence[str],
    scales: Sequence[int],
    protocol: str = "paper",
    device: str = "cpu",
    metrics: Sequence[str] = DEFAULT_METRICS,
    degradations: Sequence[str] = (),
    shown: int = 0,
    skip_broken: bool = False,
) -> Plan:
    """Check everything that a comparison needs, and read its images.

    Parameters
    ----------
    datasets, solvers, scales, protocol
        What to compare.
    device
        The device for solvers that can compute there.
    metrics
        Names of `cscsr.imaging.METRICS`; PSNR, which ranks the solvers, is always added.
    degradations
        Texts for `Degradation.parse`.
    shown
        The number of showcase images.
    skip_broken
        Leave out images that cannot be read or scored.

    Raises
    ------
    InputError
        For an unknown name, missing weights, and images that are unreadable or too small to
        score; with `skip_broken` only for a data set of which no image is left.
    """
    metrics = check_metrics(["psnr", *metrics])
    harder = dict.fromkeys(Degradation.parse(text) for text in degradations)
    contenders = {c.name: c for c in (_contender(name, device, protocol) for name in solvers)}
    images, left_out = _read_images(datasets, scales)
    if left_out:
        _check_left_out(images, left_out, skip_broken)
    showcases = _choose_showcases(images, scales, len(contenders), shown)
    return Plan(
        images,
        list(scales),
        list(contenders.values()),
        protocol,
        metrics,
        [None, *harder],
        showcases,
        left_out,
    )


@dataclass(frozen=True)
class Unusable(Solver[SuperResolution]):
    """Stands for another package's solver that cannot be made: it fails on every image.

    Parameters
    ----------
    label
        The solver's name.
    reason
        Why it cannot be made, as a sentence.
    """

    label: str
    reason: str

    problem_type: ClassVar[type] = SuperResolution
    line: ClassVar[str] = "rgb"

    @property
    def name(self) -> str:
        return self.label

    def solve(
        self, problem: SuperResolution, *, init: Any = None, callback: Callback | None = None
    ) -> Solution:
        """Raise SolverError with the reason."""
        raise SolverError(self.reason)


def _contender(name: str, device: str, protocol: str) -> Contender:
    """The solver called `name`, on `device` if it can compute there, or an `Unusable` one."""
    if is_builtin(name):
        return _usable(name, device, protocol)
    try:
        return _usable(name, device, protocol)
    except SolverError as error:
        unusable = Unusable(name, str(error))
        return Contender(unusable, line_of(protocol, unusable.line))


def _usable(name: str, device: str, protocol: str) -> Contender:
    """The solver called `name` with an identity. Raises SolverError if it fails to say it."""
    solver = make_solver(name)
    if solver.problem_type is not SuperResolution:
        known = ", ".join(list_solvers("SuperResolution"))
        raise InputError(
            f"expected solvers of SuperResolution ({known}), but {name} solves a "
            f"{solver.problem_type.__name__}."
        )
    if device != "cpu" and "device" in solver.params():
        with contextlib.suppress(InputError):  # a CPU-only solver stays on the CPU
            solver = make_solver(name, device=device)
    with failures_of(f"{name} failed to describe itself"):
        contender = Contender(solver, line_of(protocol, solver.line))
        _ = contender.identity  # fails here if a weight file is missing
    return contender


def _read_images(
    datasets: Sequence[Dataset], scales: Sequence[int]
) -> tuple[dict[str, list[Image]], list[LeftOut]]:
    """Read and check every image; the pixels of the first ones stay in memory.

    Returns the images of each data set, and those that cannot be compared.
    """
    images: dict[str, list[Image]] = {}
    left_out: list[LeftOut] = []
    room = KEPT_BYTES
    for dataset in datasets:
        images[dataset.name] = []
        for source in dataset.images:
            try:
                pixels = read_source(source)
                _check_size(pixels, scales, f"{dataset.name}/{source.name}")
            except InputError as error:
                left_out.append(LeftOut(dataset.name, source.name, str(error)))
                continue
            room -= pixels.nbytes
            image = Image(
                dataset.name,
                source,
                fingerprint(pixels),
                pixels.shape,
                showcase.detail(luma_of(pixels)),
                pixels if room >= 0 else None,
            )
            images[dataset.name].append(image)
    return images, left_out


_MOST_NAMED = 5
"""Broken images that an error names."""


def _check_left_out(
    images: Mapping[str, Sequence[Image]], left_out: Sequence[LeftOut], skip_broken: bool
) -> None:
    """Refuse broken images unless they are to be skipped, and a data set of which none is left."""
    first = left_out[0].reason
    if not skip_broken:
        if len(left_out) == 1:
            raise InputError(f"{first.rstrip('.')}; --skip-broken leaves it out.")
        names = [f"{image.dataset}/{image.image}" for image in left_out[:_MOST_NAMED]]
        more = len(left_out) - len(names)
        listed = ", ".join(names) + (f" and {more} more" if more else "")
        raise InputError(
            f"{len(left_out)} images cannot be compared ({listed}), the first because "
            f"{first.rstrip('.')}; --skip-broken leaves them out."
        )
    for name in dict.fromkeys(image.dataset for image in left_out):
        if not images[name]:
            reason = next(image.reason for image in left_out if image.dataset == name)
            raise InputError(
                f"no image of the data set {name} can be compared, the first because {reason}"
            )


def _check_size(pixels: np.ndarray, scales: Sequence[int], name: str) -> None:
    """Refuse an image that is too small to be scored."""
    for scale in scales:
        least = scale * math.ceil((SSIM_WINDOW + 2 * scale) / scale)
        if min(pixels.shape[:2]) < least:
            raise InputError(
                f"expected images of at least {least}x{least} pixels to score at scale {scale}, "
                f"but {name} has {pixels.shape[0]}x{pixels.shape[1]}."
            )


def _choose_showcases(
    images: Mapping[str, Sequence[Image]], scales: Sequence[int], solvers: int, most: int
) -> list[Showcase]:
    """The images that the report shows, at the middle scale."""
    if not scales:
        return []
    scale, side = sorted(scales)[len(scales) // 2], showcase.side_for(solvers)
    details = {name: [image.detail for image in members] for name, members in images.items()}
    chosen = [images[name][place] for name, place in showcase.choose(details, most)]
    return [
        Showcase(image, scale, showcase.window(luma_of(image.read()), side, scale))
        for image in chosen
    ]
