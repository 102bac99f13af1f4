"""What a comparison is to do, all of it checked before any of it is done."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cscsr import SuperResolution, list_solvers, make_solver
from cscsr.compare import showcase
from cscsr.compare.results import (
    Box,
    Key,
    canonical,
)
from cscsr.compare.summary import DEGRADED_LINE
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    PAPER_SETS,
    Dataset,
    ImageSource,
    find_datasets,
    load_dataset,
)
from cscsr.errors import InputError
from cscsr.imaging import line_of, luma_of
from cscsr.imaging.degradation import Degradation
from cscsr.imaging.metrics import SSIM_WINDOW
from cscsr.problem import check_scale
from cscsr.solver import Solver

SCORING_VERSION = "1"
"""Raised whenever `degrade` or `score` would give other figures: it is part of an input's
hash, so that what is stored is then made again."""


@dataclass(frozen=True)
class Image:
    """An image of the comparison: where it is read from, and what it was when checked."""

    dataset: str
    source: ImageSource
    sha256: str
    shape: tuple[int, ...]
    detail: float = 0.0

    def __str__(self) -> str:
        return f"{self.dataset}/{self.source.name}"


@dataclass(frozen=True)
class Contender:
    """A solver of the comparison and the line of the paper's tables it is scored on."""

    solver: Solver
    line: str

    @property
    def name(self) -> str:
        return self.solver.name

    @property
    def device(self) -> str:
        return str(self.solver.params().get("device") or "cpu")

    def identity(self) -> dict[str, str]:
        """What of a result's key belongs to the solver."""
        return {
            "solver": self.name,
            "params": canonical(self.solver.params()),
            "solver_version": self.solver.version,
            "weights_sha256": self.solver.weights_sha256() or "",
            "protocol": self.line,
        }


@dataclass(frozen=True)
class Showcase:
    """An image of which a part of every estimate at one scale is kept, to be looked at."""

    image: Image
    scale: int
    box: Box


@dataclass(frozen=True)
class Plan:
    """What is to be compared, all of it checked.

    degradations: None for input as it is, and those that harder input is made by.
    """

    images: dict[str, list[Image]]
    scales: list[int]
    contenders: list[Contender]
    protocol: str
    degradations: Sequence[Degradation | None] = (None,)
    showcases: Sequence[Showcase] = ()

    def as_dict(self) -> dict[str, Any]:
        """The plan as it is stored with the run."""
        return {
            "datasets": {
                name: [{"image": i.source.name, "input_sha256": i.sha256} for i in images]
                for name, images in self.images.items()
            },
            "scales": self.scales,
            "solvers": [contender.identity() for contender in self.contenders],
            "protocol": self.protocol,
            "degradations": [degradation_text(degradation) for degradation in self.degradations],
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
        }

    def cells(self) -> Iterator[Cell]:
        """The cells of the tables in the order in which they are computed."""
        for degradation in self.degradations:
            for dataset in self.images:
                for scale in self.scales:
                    for contender in self.contenders:
                        yield Cell(dataset, scale, contender, degradation)

    def box(self, image: Image, scale: int, degradation: Degradation | None) -> Box | None:
        """The part of an estimate that is kept as a picture, or None if none is."""
        if degradation is not None:
            return None
        where = (
            shown.box for shown in self.showcases if (shown.image, shown.scale) == (image, scale)
        )
        return next(where, None)


def degradation_text(degradation: Degradation | None) -> str:
    return "" if degradation is None else str(degradation)


@dataclass(frozen=True, eq=False)
class Cell:
    """All images of a data set, by one solver at one scale."""

    dataset: str
    scale: int
    contender: Contender
    degradation: Degradation | None

    @property
    def line(self) -> str:
        return self.contender.line if self.degradation is None else DEGRADED_LINE

    def __str__(self) -> str:
        parts = (
            self.dataset,
            f"×{self.scale}",
            degradation_text(self.degradation),
            self.contender.name,
        )
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Task:
    """One image of a cell, to be enlarged. box: what of the estimate to keep as a picture."""

    cell: Cell
    image: Image
    key: Key
    box: Box | None = None

    @property
    def contender(self) -> Contender:
        return self.cell.contender

    @property
    def scale(self) -> int:
        return self.cell.scale

    @property
    def kind(self) -> tuple[str, int]:
        return self.contender.name, self.scale

    def __str__(self) -> str:
        return f"{self.image} ×{self.scale} {degradation_text(self.cell.degradation)}".rstrip()

    @property
    def megapixels(self) -> float:
        return self.image.shape[0] * self.image.shape[1] / 1e6


def parse_scales(texts: Sequence[str]) -> list[int]:
    scales = []
    for text in texts:
        try:
            number: Any = int(text)
        except ValueError:
            number = text
        if check_scale(number) < 2:
            raise InputError(f"expected scales of at least 2, got {text}.")
        scales.append(number)
    return list(dict.fromkeys(scales))


def choose_datasets(names: Sequence[str] | None, folder: Path | None) -> list[Dataset]:
    """The data sets that were asked for, or those to take where none was; says which."""
    if names:
        return [load_dataset(name, folder) for name in dict.fromkeys(names)]
    if folder is None:
        print(
            f"Comparing on the embedded set demo; --data or {FOLDER_VARIABLE} names a folder "
            f"with {', '.join(PAPER_SETS)}."
        )
        return [load_dataset("demo")]
    found = [name for name in PAPER_SETS if name in find_datasets(folder)]
    if not found:
        print(
            f"Comparing on the embedded set demo: none of {', '.join(PAPER_SETS)} is in {folder}; "
            "--datasets names others."
        )
        return [load_dataset("demo")]
    print(f"Comparing on {', '.join(found)} from {folder}.")
    return [load_dataset(name, folder) for name in found]


def _check_images(dataset: Dataset, scales: Sequence[int]) -> list[Image]:
    """Read every image once: what cannot be read or scored ends the run before it begins."""
    images = []
    for source in dataset.images:
        truth = source.read()
        for scale in scales:
            least = scale * math.ceil((SSIM_WINDOW + 2 * scale) / scale)
            if min(truth.shape[:2]) < least:
                raise InputError(
                    f"expected images of at least {least}x{least} pixels to score at scale "
                    f"{scale}, but {dataset.name}/{source.name} has "
                    f"{truth.shape[0]}x{truth.shape[1]}."
                )
        digest = hashlib.sha256(f"{SCORING_VERSION} {truth.shape}".encode())
        digest.update(np.ascontiguousarray(truth).data)
        detail = showcase.detail(luma_of(truth))
        images.append(Image(dataset.name, source, digest.hexdigest(), truth.shape, detail))
    return images


def _choose_showcases(
    images: Mapping[str, Sequence[Image]], scales: Sequence[int], solvers: int, most: int
) -> list[Showcase]:
    """The images to be looked at, at the middle one of the scales."""
    if not scales:
        return []
    scale, side = sorted(scales)[len(scales) // 2], showcase.side_for(solvers)
    details = {name: [image.detail for image in members] for name, members in images.items()}
    chosen = [images[name][place] for name, place in showcase.choose(details, most)]
    return [
        Showcase(image, scale, showcase.window(luma_of(image.source.read()), side, scale))
        for image in chosen
    ]


def make_contender(name: str, device: str, protocol: str) -> Contender:
    solver = make_solver(name)
    if solver.problem_type is not SuperResolution:
        known = ", ".join(list_solvers("SuperResolution"))
        raise InputError(
            f"expected solvers of SuperResolution ({known}), but {name} solves a "
            f"{solver.problem_type.__name__}."
        )
    if device != "cpu" and "device" in solver.params():
        with contextlib.suppress(InputError):  # one that computes on the CPU only stays there
            solver = make_solver(name, device=device)
    return Contender(solver, line_of(protocol, solver.line))


def make_plan(
    datasets: Sequence[Dataset],
    solvers: Sequence[str],
    scales: Sequence[int],
    protocol: str = "paper",
    device: str = "cpu",
    degradations: Sequence[str] = (),
    shown: int = 0,
) -> Plan:
    """Check everything that a comparison needs. Raises InputError before any of it is done.

    degradations: as `Degradation.parse` reads them. shown: how many showcase images to keep.
    """
    harder = dict.fromkeys(Degradation.parse(text) for text in degradations)
    contenders = {c.name: c for c in (make_contender(name, device, protocol) for name in solvers)}
    for contender in contenders.values():
        contender.identity()  # a weight file that is missing is found out here
    images = {dataset.name: _check_images(dataset, scales) for dataset in datasets}
    return Plan(
        images,
        list(scales),
        list(contenders.values()),
        protocol,
        [None, *harder],
        _choose_showcases(images, scales, len(contenders), shown),
    )
