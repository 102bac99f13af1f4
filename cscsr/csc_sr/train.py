"""Training of CSC-SR: filters by dictionary learning, then mapping and HR filters.

    python -m cscsr.csc_sr.train --data DIR --out runs/csc-sr

1. LR filters by online dictionary learning on residuals of T91.
2. For a coder and a scale: the sums of `NormalEquations` over the codes of all images, one
   image's codes in memory at a time; the ridge kernels they give (`csc-ridge`).
3. Mapping and HR filters by turns from there (`cscsr.csc_sr.hr_filters`). The mapping hardly
   leaves its start: docs/csc-sr.md, "What the mapping is worth".

Ridge weight and number of rounds are chosen on the held-out images. What is done is kept in the
output folder, and the same command goes on from it after an interruption. Needs sporco for
the filters and for its coder.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from tqdm import tqdm

from cscsr import weights
from cscsr.csc_sr.decompose import MARGIN, continued, reflected, split
from cscsr.csc_sr.dictionary import learn_filters
from cscsr.csc_sr.hr_filters import Fit, check_hr_atoms, start_from
from cscsr.csc_sr.mapping import NormalEquations, check_support
from cscsr.csc_sr.solver import (
    KIND,
    TRAINED_FOR,
    Weights,
    divide,
    enlarged_residual,
    weights_name,
)
from cscsr.data.datasets import (
    FOLDER_VARIABLE,
    data_folder,
    holdout_images,
    licence_of_weights,
    training_images,
)
from cscsr.errors import InputError, unknown_name
from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_of, luma_psnr, read_image
from cscsr.problem import check_scale
from cscsr.registry import make_solver

HOLDOUT_CROP = 128
"""Side in pixels of the central crops of the held-out images that choices are made on."""

FILTER_SET = "T91"
"""The data set that filters are learned on, as in the paper."""

TILE = 48
"""Side in pixels of the residual tiles that filters are learned on."""

RIDGES = (3e-2, 1e-1, 3e-1, 1.0)
"""Ridge weights tried, relative to the mean diagonal of the normal equations."""

KEEP_EVERY = 120.0
"""Seconds between two savings of the sums."""


@dataclass(frozen=True)
class Coding:
    """How one coder makes the codes that its maps are fitted to.

    lam: λ on the [0,1] scale. settings: the coder's parameters, stop rule included.
    """

    lam: float
    settings: dict[str, Any]


CODINGS = {
    "admm": Coding(
        0.1 / 255,
        {
            "iterations": 15,
            "tol": 0.0,
            "rho": 0.1,
            "rho_growth": 1.5,
            "auto_rho": False,
            "relaxation": 1.0,
        },
    ),
    "ista": Coding(2 / 255, {"iterations": 30, "tol": 0.0}),
    "fista": Coding(1 / 255, {"iterations": 20, "tol": 0.0}),
}
"""Chosen on the held-out images; docs/csc-sr.md has what was tried. sporco's ADMM makes the
iterates of ours, CISTA those of ISTA, and they share their maps."""


@dataclass(frozen=True)
class Options:
    """Sizes of a training run; see docs/csc-sr.md for what they were chosen from.

    atoms, filter_size: N LR filters of this side. hr_atoms: M HR filters.
    filter_lam, filter_steps, filter_step_size: of the dictionary learning, see `learn_filters`.
    support: the side of the HR filters in LR pixels, so k = support·scale.
    crop: side in LR pixels of the central part of each training image that is used.
    phases: of the s² LR images of an image that differ in where their grid begins, how many;
    None: s²/4, so that all scales have as many LR pixels.
    rounds: at most so many turns of mapping and HR filters.
    sets: the data sets learned from.
    """

    atoms: int = 384
    hr_atoms: int = 576
    filter_size: int = 5
    filter_lam: float = 0.5 / 255
    filter_steps: int = 60
    filter_step_size: float = 0.5
    support: int = 5
    crop: int = 112
    phases: int | None = None
    rounds: int = 6
    sets: tuple[str, ...] = ("T91",)
    codings: dict[str, Coding] = field(default_factory=lambda: dict(CODINGS))


PRESETS = {
    "small": Options(),
    "paper": Options(atoms=800, hr_atoms=1200),
}
"""`small` takes seconds an image on two cores; `paper` has the number of filters of Gu et al."""


def train_csc_sr(
    data: str | Path,
    out: str | Path,
    *,
    coders: Sequence[str] = tuple(CODINGS),
    scales: Sequence[int] = (2, 3, 4),
    options: Options | None = None,
    filters: str | None = None,
    ship: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Learn filters, fit the maps of each coder, and write one weight file a coder.

    data: a folder with the data sets and holdout.txt. out: the folder for
    ``csc-sr-CODER.safetensors`` and its model card; what a stopped run had done is taken up
    from there. filters: take the filters from this weight file instead of learning them.
    ship: put the files among the shipped weights as well: "csc-sr" gives csc-sr-CODER.
    Everything random comes from `seed`. Returns the weight files.

    Raises InputError for a coder that has no map of its own, an option out of range, data that
    is missing, or a folder that holds a run with other options.
    """
    options = options or Options()
    if ship is not None and Path(ship).name != ship:
        raise InputError(f"shipped weights need a name without folders, got {ship!r}.")
    runs = _runs(data, out, coders, scales, options, filters, seed, progress)
    written = []
    for run in runs:
        coder, kept = run.start.coder, run.kept
        fitted = {s: kept.made(f"{coder}-x{s}", partial(run.fit, s)) for s in scales}
        counts = {"images": len(run.images), "heldout": len(run.heldout), "seed": seed}
        written.append(_write(Path(out), ship, run.start, fitted, run.options, counts))
    return written


def fit_parts(
    data: str | Path,
    out: str | Path,
    coder: str,
    scale: int,
    options: Options,
    *,
    seed: int = 0,
    progress: bool = True,
) -> tuple[NormalEquations, HeldOut, Kept]:
    """What a fit of the maps of one coder and scale is made from, to fit them otherwise than
    `train_csc_sr` does: the sums over the training images, the held-out images that a map
    is judged on, and where the run's results are kept in `out`. Arguments and errors as for
    `train_csc_sr`."""
    (run,) = _runs(data, out, [coder], [scale], options, None, seed, progress)
    return run.sums(scale), run.held_out(scale), run.kept


def _runs(
    data: str | Path,
    out: str | Path,
    coders: Sequence[str],
    scales: Sequence[int],
    options: Options,
    filters: str | None,
    seed: int,
    progress: bool,
) -> list[_Run]:
    """A run for each coder, on the same filters; the filters are learned if need be."""
    for coder in coders:
        if coder not in options.codings:
            raise unknown_name("coder with a map of its own", coder, options.codings)
    asked = asdict(options)
    given = None if filters is None else read_filters(filters)
    if given is not None:
        options = replace(options, atoms=len(given), filter_size=given.shape[-1])
    _check(options, coders, seed)
    paths = training_images(data, options.sets)
    images = Lumas(paths)
    heldout = [_central(_luma(path), HOLDOUT_CROP) for path in holdout_images(data)]
    kept = Kept(Path(out) / "state", [asked, filters, seed, [p.name for p in paths]])
    if given is None:
        learned = kept.made("filters", lambda: {"filters": _filters(data, options, seed, progress)})
        bank = learned["filters"].numpy()
    else:
        bank = given
    starts = [
        Weights(
            coder,
            bank,
            kernels={},
            lams=dict.fromkeys(scales, options.codings[coder].lam),
            settings=dict.fromkeys(scales, options.codings[coder].settings),
        )
        for coder in coders
    ]
    return [_Run(start, options, images, heldout, seed, progress, kept) for start in starts]


def read_filters(name: str) -> np.ndarray:
    """The filters (N,s,s), float32, of weights of CSC-SR, shipped or a file. Raises InputError if
    they are weights of something else."""
    tensors, metadata = weights.load(name)
    if metadata.get("kind") != KIND:
        raise InputError(f"expected the filters of csc-sr in {name}, but it holds other weights.")
    return tensors["filters"].astype(np.float32)


def _check(options: Options, coders: Sequence[str], seed: int) -> None:
    """Raises InputError for what would end the run later on."""
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}.")
    if options.atoms < 2:
        raise InputError(f"at least 2 filters can be learned, got {options.atoms}.")
    check_hr_atoms(options.atoms, options.hr_atoms)
    check_support(options.support, options.filter_size)
    for coder in coders:
        coding = options.codings[coder]
        make_solver(coder, **coding.settings)
        if not 0 <= coding.lam < math.inf:
            raise InputError(f"lambda must be a finite number of at least 0, got {coding.lam!r}.")


class Lumas(Sequence[np.ndarray]):
    """A sequence of the lumas (H,W), uint8, of image files, each read when it is accessed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return _luma(self._paths[index])


class Kept:
    """What a run has made so far, in a folder of its own; `identity` says which run it is."""

    def __init__(self, folder: Path, identity: Any) -> None:
        self.folder = folder
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        mark = folder / "options.sha256"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            begun = any(folder.glob("*.pt"))
            if begun and mark.exists() and mark.read_text() != digest:
                raise InputError(
                    f"{folder} holds a run with other options: give another --out or remove it."
                )
            mark.write_text(digest)
        except OSError as error:
            raise InputError(f"cannot write into {folder}: {error.strerror}.") from error

    def load(self, name: str) -> dict[str, Any] | None:
        """What was saved under this name, or None."""
        path = self.folder / f"{name}.pt"
        return torch.load(path, weights_only=True) if path.exists() else None

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Saves under a temporary name and renames, so that a kill leaves a whole file."""
        part = self.folder / f"{name}.part"
        torch.save(content, part)
        part.replace(self.folder / f"{name}.pt")

    def drop(self, name: str) -> None:
        (self.folder / f"{name}.pt").unlink(missing_ok=True)

    def made(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was saved under this name, else made and saved now."""
        if self.load(name) is None:
            self.save(name, make())
        return torch.load(self.folder / f"{name}.pt", weights_only=True)


@dataclass(frozen=True)
class HeldOut:
    """The held-out images as a map meets them.

    coded: of each image its luma (H,W) uint8, the smooth part enlarged (H,W), and the codes of
    the residual (N,H/s,W/s). filter_size, scale: see `enlarged_residual`.
    """

    coded: list[tuple[np.ndarray, np.ndarray, torch.Tensor]]
    filter_size: int
    scale: int

    def psnr(self, kernels: torch.Tensor) -> float:
        """Mean PSNR in dB, protocol y, of what the map `kernels` (N,k,k) makes."""
        filters = kernels.float().numpy()
        return float(
            np.mean(
                [
                    _psnr(
                        smooth + enlarged_residual(codes, filters, self.filter_size, self.scale),
                        truth,
                        self.scale,
                    )
                    for truth, smooth, codes in self.coded
                ]
            )
        )

    def bicubic_psnr(self) -> float:
        """Mean PSNR in dB of bicubic enlargement."""
        return float(
            np.mean(
                [
                    _psnr(imresize(degrade(truth, self.scale, "y"), self.scale), truth, self.scale)
                    for truth, _, _ in self.coded
                ]
            )
        )

    def density(self) -> float:
        """Share of the codes that are not zero."""
        codes = [codes for _, _, codes in self.coded]
        return sum(int(z.count_nonzero()) for z in codes) / sum(z.numel() for z in codes)


@dataclass(frozen=True)
class _Run:
    """The fit of one coder's maps: see `train_csc_sr`."""

    start: Weights
    options: Options
    images: Sequence[np.ndarray]
    heldout: list[np.ndarray]
    seed: int
    progress: bool
    kept: Kept

    def fit(self, scale: int) -> dict[str, Any]:
        """Ridge kernels, mapping and HR filters of one scale, and how each did: `ridge` and
        `psnr_db` (by ridge weight), `rounds_psnr_db` (by round, 0 is the ridge kernels),
        `objective` (by round), `bicubic_db`, `pixels`, `density` (share of the held-out codes
        that are not zero)."""
        equations, heldout = self.sums(scale), self.held_out(scale)
        ridges = {}
        for ridge in RIDGES:
            kernels = equations.solve(ridge)
            ridges[ridge] = (heldout.psnr(kernels), kernels)
        best = max(ridges, key=lambda ridge: ridges[ridge][0])
        kernels = ridges[best][1].float()
        label = f"{self.start.coder} x{scale}"
        mapping = start_from(kernels, self.options.hr_atoms)
        rounds, objectives = [ridges[best][0]], []
        if self.options.rounds:
            fit = Fit(equations, mapping, best)
            objectives.append(fit.objective())
        for _ in tqdm(range(self.options.rounds), f"{label} mapping", disable=not self.progress):
            objectives.append(fit.round())
            rounds.append(heldout.psnr(fit.result.kernels()))
            if rounds[-1] >= max(rounds[1:]):
                mapping = fit.result
        bicubic = heldout.bicubic_psnr()
        if self.progress:
            row = ", ".join(f"{ridge:g}: {figure:.3f}" for ridge, (figure, _) in ridges.items())
            print(f"{label}: held-out PSNR by ridge weight {row}; bicubic {bicubic:.3f};")
            print(
                f"{label}: by round {', '.join(f'{figure:.3f}' for figure in rounds)}", flush=True
            )
        self.kept.drop(f"{self.start.coder}-x{scale}-sums")
        return {
            "kernels": kernels.half(),
            "mapping": mapping.mapping.half(),
            "hr_filters": mapping.filters.half(),
            "ridge": best,
            "psnr_db": {f"{ridge:g}": round(figure, 4) for ridge, (figure, _) in ridges.items()},
            "rounds_psnr_db": [round(figure, 4) for figure in rounds],
            "objective": [float(f"{value:.6g}") for value in objectives],
            "bicubic_db": round(bicubic, 4),
            "pixels": equations.pixels,
            "density": heldout.density(),
        }

    def held_out(self, scale: int) -> HeldOut:
        """The held-out images and their codes."""
        coded = []
        bar = f"{self.start.coder} x{scale} held-out images"
        for truth in tqdm(self.heldout, bar, disable=not self.progress):
            smooth, residual = divide(degrade(truth, scale, "y"), scale, "float32")
            coded.append((truth, smooth, self._codes(residual, scale)))
        return HeldOut(coded, self.start.filter_size, scale)

    def sums(self, scale: int) -> NormalEquations:
        """The sums over all images; saved now and then, and taken up where they were. Raises
        InputError if no image is large enough."""
        start, options = self.start, self.options
        name = f"{start.coder}-x{scale}-sums"
        equations = NormalEquations(len(start.filters), scale, options.support, start.filter_size)
        done = 0
        state = self.kept.load(name)
        if state is not None:
            done = state.pop("done")
            equations.restore(state)
        since = time.monotonic()
        bar = tqdm(
            total=len(self.images),
            initial=done,
            desc=f"{start.coder} x{scale} codes",
            disable=not self.progress,
        )
        for index in range(done, len(self.images)):
            rng = np.random.default_rng([self.seed, scale, index])
            for residual, target in training_pairs(self.images[index], scale, options, rng):
                equations.add(self._codes(residual, scale), torch.from_numpy(target))
            bar.update()
            if time.monotonic() - since > KEEP_EVERY:
                self.kept.save(name, {"done": index + 1, **equations.state()})
                since = time.monotonic()
        bar.close()
        self.kept.save(name, {"done": len(self.images), **equations.state()})
        if not equations.pixels:
            raise InputError(f"no image to fit to has 8x8 low-resolution pixels at x{scale}.")
        return equations

    def _codes(self, residual: np.ndarray, scale: int) -> torch.Tensor:
        coder, coding = self.start.coding(residual.astype(np.float32), scale, self.start.coder)
        return torch.from_numpy(coder.solve(coding).codes)


def training_pairs(
    image: np.ndarray, scale: int, options: Options, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`training_pair` of the middle of a luma for each of `options.phases` beginnings of the LR
    grid, drawn without return, transposed or not by lot; none under 8×8 LR pixels."""
    phases = options.phases or max(1, scale**2 // 4)
    for phase in rng.permutation(scale**2)[:phases]:
        part = _central(image[phase // scale :, phase % scale :], options.crop * scale)
        if min(part.shape) < 8 * scale:
            continue
        part = part.T if rng.random() < 0.5 else part
        residual, target = training_pair(np.ascontiguousarray(part), scale)
        yield residual.astype(np.float32), target.astype(np.float32)


def training_pair(truth: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """LR residual (2h,2w) and HR residual (2sh,2sw) of a luma (sh,sw) uint8, on a torus.

    The image is continued by its reflections, so that bicubic (with reflecting boundary),
    split, codes and map all commute with shifts and no pixel is a border; the three
    flips come with it.
    """
    truth = crop_to_multiple(truth, scale) / 255.0
    small = imresize(truth, 1 / scale, boundary="mirror")
    height, width = small.shape
    parts = split(reflected(small))
    smooth = imresize(parts.smooth[:height, :width], scale, boundary="mirror")
    return parts.residual, reflected(truth - smooth)


def _psnr(estimate: np.ndarray, truth: np.ndarray, scale: int) -> float:
    """Of a luma in [0,1] against a uint8 one, as protocol y has it."""
    return luma_psnr(estimate, crop_to_multiple(truth, scale) / 255.0, scale)


def _filters(data: str | Path, options: Options, seed: int, progress: bool) -> torch.Tensor:
    """Filters learned on T91's residuals at the scales 2, 3 and 4."""
    images = Lumas(training_images(data, [FILTER_SET]))
    rng = np.random.default_rng(seed)
    tiles = list(_tiles(images, (2, 3, 4), rng))
    if not tiles:
        raise InputError(
            f"learning filters needs an image of at least {TILE}x{TILE} low-resolution pixels, "
            "got none."
        )
    filters = learn_filters(
        np.stack(tiles),
        options.atoms,
        options.filter_size,
        options.filter_lam,
        options.filter_steps,
        options.filter_step_size,
        rng,
        progress,
    )
    return torch.from_numpy(filters)


def _tiles(
    images: Iterable[np.ndarray], scales: Sequence[int], rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """One tile of the LR residual of each image and scale that is large enough for one."""
    for image in images:
        for scale in scales:
            residual = split(continued(degrade(image, scale, "y"))).residual
            residual = residual[MARGIN:-MARGIN, MARGIN:-MARGIN]
            if min(residual.shape) >= TILE:
                top, left = (rng.integers(n - TILE + 1) for n in residual.shape)
                yield residual[top : top + TILE, left : left + TILE]


def _luma(path: Path) -> np.ndarray:
    return luma_of(read_image(path))


def _central(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most `side` pixels high and wide."""
    top, left = (max(0, (n - side) // 2) for n in image.shape)
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _write(
    out: Path,
    ship: str | None,
    start: Weights,
    fitted: dict[int, dict[str, Any]],
    options: Options,
    counts: dict[str, int],
) -> Path:
    tensors = {"filters": start.filters}
    for scale, row in fitted.items():
        for what in ("kernels", "mapping", "hr_filters"):
            tensors[f"{what}_x{scale}"] = row[what].numpy()
    metadata = {
        "kind": KIND,
        "coder": start.coder,
        "seed": counts["seed"],
        "training_sets": list(options.sets),
        "training_images": counts["images"],
        "holdout_crop": HOLDOUT_CROP,
        "crop": options.crop,
        "phases": {str(s): options.phases or max(1, s**2 // 4) for s in fitted},
        "scales": {
            str(scale): {
                "lam": start.lams[scale],
                "settings": start.settings[scale],
                "ridge": row["ridge"],
                "lr_pixels": row["pixels"],
                "holdout_psnr_db": row["psnr_db"],
                "holdout_rounds_psnr_db": row["rounds_psnr_db"],
                "rounds_objective": row["objective"],
                "holdout_bicubic_psnr_db": row["bicubic_db"],
                "holdout_density": round(row["density"], 5),
            }
            for scale, row in fitted.items()
        },
    }
    name = weights_name(start.coder) if ship is None else f"{ship}-{start.coder}"
    card = _card(name, start, fitted, options, counts)
    if ship is not None:
        weights.save(name, tensors, metadata, card)
    path = out / f"{name}.safetensors"
    weights.write(path, tensors, metadata)
    path.with_suffix(".md").write_text(card)
    return path


def _card(
    name: str,
    start: Weights,
    fitted: dict[int, dict[str, Any]],
    options: Options,
    counts: dict[str, int],
) -> str:
    """The model card: what it is, what it was learned from, how, and how good it is."""
    coding = options.codings[start.coder]
    stop = ", ".join(f"{key} {value}" for key, value in coding.settings.items())
    shapes = {scale: tuple(row["hr_filters"].shape) for scale, row in fitted.items()}
    filters = ", ".join(f"{m} of {k}x{k} (x{s})" for s, (m, k, _) in shapes.items())
    constrained = {s: max(row["rounds_psnr_db"][1:], default=math.nan) for s, row in fitted.items()}
    rows = "\n".join(
        f"| x{scale} | {row['bicubic_db']:.2f} | {max(row['psnr_db'].values()):.2f} "
        f"| {constrained[scale]:.2f} | {row['ridge']:g} | {row['pixels']:,} |"
        for scale, row in fitted.items()
    )
    return f"""# {name}

Filters, mapping and high-resolution filters of CSC-SR (docs/csc-sr.md) for codes by \
{start.coder}; the ridge kernels of csc-ridge, too.

- {len(start.filters)} low-resolution filters of {start.filter_size}x{start.filter_size}, learned \
with sporco's online dictionary learning on {FILTER_SET}; high-resolution filters: {filters}.
- Codes: lambda {coding.lam * 255:g}/255, {stop}. Codes made otherwise need a map of their own.
- Mapping and high-resolution filters from the {counts["images"]} images of \
{", ".join(options.sets)} that are neither held out nor copies of test images (their middle, up \
to {options.crop} low-resolution pixels a side, with their flips; {options.phases or "s*s/4"} of \
the s*s grid phases, some transposed). Ridge weight and rounds were chosen on the \
{counts["heldout"]} held-out images. No test image was used.
- Command: `{_command()}`, on {datetime.date.today().isoformat()}.
{licence_of_weights(dict.fromkeys([FILTER_SET, *options.sets]))}

PSNR in dB on the central {HOLDOUT_CROP}x{HOLDOUT_CROP} of the held-out images, protocol y:

| scale | bicubic | csc-ridge | csc-sr | ridge weight | LR pixels fitted to |
|---|---|---|---|---|---|
{rows}
"""


def _command() -> str:
    """The command line of this process, without the folders of the machine it ran on."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    if "train" in words:
        return shlex.join(["cscsr", *words])
    return shlex.join(["python", "-m", "cscsr.csc_sr.train", *words])


class _Parser(argparse.ArgumentParser):
    """Complains in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"cscsr: {message}; see {self.prog} --help.\n")


@torch.no_grad()
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """The command line of this module; ``--help`` has the options."""
    parser = _Parser(
        prog=prog or "python -m cscsr.csc_sr.train",
        description="Learn the filters of CSC-SR, and fit its mapping and HR filters. A run "
        "that was stopped goes on when the same command is given again.",
        epilog="example: cscsr train csc-sr --data images --scale 2 --coder ista --out runs/csc-sr",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder (CSCSR_DATA)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("runs", "csc-sr"))
    parser.add_argument("--ship", metavar="NAME", help="also among the shipped weights, NAME-CODER")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--coder", nargs="+", default=list(CODINGS), choices=sorted(TRAINED_FOR))
    parser.add_argument("--scale", nargs="+", type=int, default=[2, 3, 4], metavar="S")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="data sets to fit to")
    parser.add_argument("--filters", metavar="FILE", help="take the filters of these weights")
    parser.add_argument("--atoms", type=int, help="LR filters, N")
    parser.add_argument("--hr-atoms", type=int, help="HR filters, M (1.5 N where not given)")
    parser.add_argument("--support", type=int, help="side of the HR filters in LR pixels")
    parser.add_argument("--crop", type=int, help="crop of the images in LR pixels")
    parser.add_argument("--phases", type=int, help="grid phases of each image")
    parser.add_argument("--rounds", type=int, help="turns of mapping and HR filters")
    parser.add_argument("--filter-steps", type=int, help="steps of the dictionary learning")
    parser.add_argument("--lam", type=float, metavar="L", help="lambda on 0-255")
    parser.add_argument("--iterations", type=int, help="of the coder")
    parser.add_argument("--rho", type=float, help="penalty of ADMM")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        data = data_folder(given.data)
        if data is None:
            raise InputError(
                f"training needs images: name their folder with --data or {FOLDER_VARIABLE}."
            )
        paths = train_csc_sr(
            data,
            given.out,
            coders=list(dict.fromkeys(TRAINED_FOR[coder] for coder in given.coder)),
            scales=[check_scale(scale) for scale in given.scale],
            options=_options(given),
            filters=given.filters,
            ship=given.ship,
            seed=given.seed,
        )
    except InputError as error:
        parser.exit(2, f"cscsr: {error}\n")
    for path in paths:
        print(f"{path}: use it with cscsr upscale --solver 'csc-sr[...]' --weights {path}")


def _options(given: argparse.Namespace) -> Options:
    """The preset with what the command line changes."""
    preset = PRESETS[given.preset]
    names = ("atoms", "hr_atoms", "support", "crop", "phases", "rounds", "filter_steps")
    changes = {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    for name, value in changes.items():
        if value < (name != "rounds"):
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
    if given.atoms is not None and given.hr_atoms is None:
        changes["hr_atoms"] = given.atoms * 3 // 2
    if given.sets is not None:
        changes["sets"] = tuple(given.sets)
    codings = {coder: _changed(coding, coder, given) for coder, coding in CODINGS.items()}
    return replace(preset, codings=codings, **changes)


def _changed(coding: Coding, coder: str, given: argparse.Namespace) -> Coding:
    settings = dict(coding.settings)
    if given.iterations is not None:
        settings["iterations"] = given.iterations
    if given.rho is not None and coder == "admm":
        settings["rho"] = given.rho
    return Coding(coding.lam if given.lam is None else given.lam / 255, settings)


if __name__ == "__main__":
    main()
