"""Training of CSC-SR: filters by dictionary learning, then one ridge map for a coder and scale.

    python -m cscsr.training.csc_sr --data DIR --out runs/csc-sr

Filters and maps are learned on T91, without the images that the data folder's holdout.txt
and leaks.txt list; the ridge weight is chosen on the held-out images. Needs sporco for the
filters and for its coder.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cscsr import weights
from cscsr.classical.csc_sr import (
    KIND,
    Weights,
    divide,
    enlarged_residual,
    quick_plans,
    weights_name,
)
from cscsr.classical.decompose import MARGIN, continued, reflected, split
from cscsr.classical.dictionary import learn_filters
from cscsr.classical.mapping import NormalEquations
from cscsr.data.datasets import holdout_images, training_images
from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_of, read_image, score

TRAINING_SET = "T91"

HOLDOUT_CROP = 128
"""Side in pixels of the central crops of the held-out images that choices are made on."""

TILE = 48
"""Side in pixels of the residual tiles that filters are learned on."""

RIDGES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Ridge weights tried, relative to the mean diagonal of the normal equations."""


@dataclass(frozen=True)
class Coding:
    """How one coder makes the codes that its maps are fitted to.

    lam: λ on the [0,1] scale. settings: the coder's parameters, stop rule included.
    """

    lam: float
    settings: dict[str, Any]


CODINGS = {
    "sporco-admm": Coding(
        0.5 / 255, {"iterations": 10, "tol": 0.0, "rho": 10.0, "auto_rho": False, "relaxation": 1.8}
    ),
    "ista": Coding(2 / 255, {"iterations": 30, "tol": 0.0}),
}
"""Chosen on the held-out images; docs/csc-sr.md has what was tried."""


@dataclass(frozen=True)
class Options:
    """Sizes of a training run; see docs/csc-sr.md for what they were chosen from.

    atoms, filter_size: N filters of this side. filter_lam, filter_steps, filter_step_size:
    of the dictionary learning, see `learn_filters`.
    support: the side of a map's kernels in LR pixels, so k = support·scale.
    crop: side in LR pixels of the central part of each training image that is used.
    """

    atoms: int = 96
    filter_size: int = 5
    filter_lam: float = 0.5 / 255
    filter_steps: int = 60
    filter_step_size: float = 0.5
    support: int = 5
    crop: int = 56
    codings: dict[str, Coding] = field(default_factory=lambda: dict(CODINGS))


def train_csc_sr(
    data: str | Path,
    out: str | Path | None,
    *,
    coders: Sequence[str] = tuple(CODINGS),
    scales: Sequence[int] = (2, 3, 4),
    options: Options | None = None,
    filters: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Learn filters on T91, fit the maps of each coder, and write one weight file a coder.

    data: a folder with T91 and holdout.txt. out: the folder for ``csc-sr-CODER.safetensors``
    and its model card; None puts them among the shipped weights.
    filters: take the filters from this weight file instead of learning them.
    Everything random comes from `seed`. Returns the weight files.

    Raises InputError for a coder that has no map of its own, or data that is missing.
    """
    options = options or Options()
    unknown = [coder for coder in coders if coder not in options.codings]
    if unknown:
        raise InputError(
            f"maps are fitted for the coders {', '.join(options.codings)}, got {unknown[0]!r}."
        )
    images = [_luma(path) for path in training_images(data, [TRAINING_SET])]
    heldout = [_central(_luma(path), HOLDOUT_CROP) for path in holdout_images(data)]
    if filters is not None:
        bank = weights.load(filters)[0]["filters"].astype(np.float32)
    else:
        bank = _filters(images, scales, options, np.random.default_rng(seed), progress)
    paths = []
    for coder in coders:
        coding = options.codings[coder]
        start = Weights(
            coder,
            bank,
            kernels={},
            lams=dict.fromkeys(scales, coding.lam),
            settings=dict.fromkeys(scales, coding.settings),
        )
        fitted = {s: _fit_map(start, s, images, heldout, options, progress) for s in scales}
        paths.append(_write(out, start, fitted, options, len(images), len(heldout), seed))
    return paths


@dataclass(frozen=True)
class _Fitted:
    """A map and how it did: kernels (N,k,k), ridge weight, mean PSNR on the held-out images
    for each ridge weight tried and for bicubic, LR pixels fitted to."""

    kernels: np.ndarray
    ridge: float
    psnr_db: dict[float, float]
    bicubic_db: float
    pixels: int


def _fit_map(
    start: Weights,
    scale: int,
    images: list[np.ndarray],
    heldout: list[np.ndarray],
    options: Options,
    progress: bool,
) -> _Fitted:
    """One pass over the training images, then the best ridge weight on the held-out ones."""
    equations = NormalEquations(len(start.filters), scale, options.support, start.filter_size)
    what = f"{start.coder} x{scale}"
    for image in tqdm(images, f"{what} codes", disable=not progress):
        residual, target = training_pair(_central(image, options.crop * scale), scale)
        codes = _codes(start, residual, scale)
        equations.add(codes, torch.from_numpy(target.astype(np.float32)))
    coded = []
    for truth in tqdm(heldout, f"{what} held-out images", disable=not progress):
        smooth, residual = divide(degrade(truth, scale, "y"), scale, "float32")
        coded.append((truth, smooth, _codes(start, residual, scale)))
    best: tuple[float, float, np.ndarray] | None = None
    psnr_db = {}
    for ridge in RIDGES:
        kernels = equations.solve(ridge).float().numpy()
        figures = [
            score(s + enlarged_residual(z, kernels, start.filter_size, scale), t, scale, "y")
            for t, s, z in coded
        ]
        psnr_db[ridge] = float(np.mean([figure.psnr_db for figure in figures]))
        if best is None or psnr_db[ridge] > best[0]:
            best = (psnr_db[ridge], ridge, kernels)
    bicubic = [score(imresize(degrade(t, scale, "y"), scale), t, scale, "y") for t in heldout]
    bicubic_db = float(np.mean([figure.psnr_db for figure in bicubic]))
    if progress:
        row = ", ".join(f"{ridge:g}: {figure:.3f}" for ridge, figure in psnr_db.items())
        print(f"{what}: held-out PSNR by ridge weight {row}; bicubic {bicubic_db:.3f}")
    return _Fitted(best[2], best[1], psnr_db, bicubic_db, equations.pixels)


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


def _codes(start: Weights, residual: np.ndarray, scale: int) -> torch.Tensor:
    coder, coding = start.coding(residual.astype(np.float32), scale, start.coder)
    with quick_plans(start.coder):
        return torch.from_numpy(coder.solve(coding).codes)


def _filters(
    images: Iterable[np.ndarray],
    scales: Sequence[int],
    options: Options,
    rng: np.random.Generator,
    progress: bool,
) -> np.ndarray:
    """Filters learned on residuals of the images at all `scales`."""
    tiles = list(_tiles(images, scales, rng))
    if not tiles:
        raise InputError(
            f"learning filters needs an image of at least {TILE}x{TILE} low-resolution pixels, "
            "got none."
        )
    return learn_filters(
        np.stack(tiles),
        options.atoms,
        options.filter_size,
        options.filter_lam,
        options.filter_steps,
        options.filter_step_size,
        rng,
        progress,
    )


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
    out: str | Path | None,
    start: Weights,
    fitted: dict[int, _Fitted],
    options: Options,
    images: int,
    heldout: int,
    seed: int,
) -> Path:
    tensors = {"filters": start.filters}
    tensors |= {f"kernels_x{scale}": map_.kernels for scale, map_ in fitted.items()}
    metadata = {
        "kind": KIND,
        "coder": start.coder,
        "seed": seed,
        "training_set": TRAINING_SET,
        "training_images": images,
        "holdout_crop": HOLDOUT_CROP,
        "scales": {
            str(scale): {
                "lam": start.lams[scale],
                "settings": start.settings[scale],
                "ridge": map_.ridge,
                "lr_pixels": map_.pixels,
                "holdout_psnr_db": {f"{r:g}": round(p, 4) for r, p in map_.psnr_db.items()},
                "holdout_bicubic_psnr_db": round(map_.bicubic_db, 4),
            }
            for scale, map_ in fitted.items()
        },
    }
    name = weights_name(start.coder)
    card = _card(name, start, fitted, options, images, heldout)
    if out is None:
        return weights.save(name, tensors, metadata, card)
    path = Path(out) / f"{name}.safetensors"
    weights.write(path, tensors, metadata)
    path.with_suffix(".md").write_text(card)
    return path


def _card(
    name: str,
    start: Weights,
    fitted: dict[int, _Fitted],
    options: Options,
    images: int,
    heldout: int,
) -> str:
    """The model card: what it is, what it was learned from, how, and how good it is."""
    coding = options.codings[start.coder]
    stop = ", ".join(f"{key} {value}" for key, value in coding.settings.items())
    kernels = ", ".join(
        f"{m.kernels.shape[-1]}x{m.kernels.shape[-1]} (x{s})" for s, m in fitted.items()
    )
    rows = "\n".join(
        f"| x{scale} | {map_.bicubic_db:.2f} | {max(map_.psnr_db.values()):.2f} "
        f"| {map_.ridge:g} | {map_.pixels:,} |"
        for scale, map_ in fitted.items()
    )
    return f"""# {name}

Filters and maps of CSC-SR in its ridge form (docs/csc-sr.md) for codes by {start.coder}.

- {len(start.filters)} low-resolution filters of {start.filter_size}x{start.filter_size}, learned \
with sporco's online dictionary learning; high-resolution kernels {kernels}.
- Codes: lambda {coding.lam * 255:g}/255, {stop}. Codes made otherwise need a map of their own.
- Learned from the {images} images of {TRAINING_SET} (Yang et al., as distributed with \
github.com/tegg89/SRCNN-Tensorflow) that are neither held out nor copies of test images; the \
ridge weights were chosen on the {heldout} held-out images. No test image was used.
- Command: `{_command()}`, on {datetime.date.today().isoformat()}.
- Licence: MIT, as the code. The training images are research data of their authors and are \
not part of this package.

PSNR in dB on the central {HOLDOUT_CROP}x{HOLDOUT_CROP} of the held-out images, protocol y:

| scale | bicubic | CSC-SR | ridge weight | LR pixels fitted to |
|---|---|---|---|---|
{rows}
"""


def _command() -> str:
    """The command line of this process, without the folders of the machine it ran on."""
    words = []
    for word in sys.argv[1:]:
        words.append(Path(word).name if "/" in word else word)
    return shlex.join(["python", "-m", "cscsr.training.csc_sr", *words])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of this module; ``--help`` has the options."""
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m cscsr.training.csc_sr",
        description="Learn the filters of CSC-SR and fit its maps on T91.",
        epilog="example: python -m cscsr.training.csc_sr --data images --scale 2 --out runs/csc-sr",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the weight files go")
    parser.add_argument("--ship", action="store_true", help="put them among the shipped weights")
    parser.add_argument("--coder", nargs="+", default=list(CODINGS), choices=sorted(CODINGS))
    parser.add_argument("--scale", nargs="+", type=int, default=[2, 3, 4], metavar="S")
    parser.add_argument("--filters", metavar="FILE", help="take the filters of these weights")
    parser.add_argument("--atoms", type=int, default=usual.atoms, help="filters, N")
    parser.add_argument("--support", type=int, default=usual.support, help="kernel in LR pixels")
    parser.add_argument("--crop", type=int, default=usual.crop, help="crop in LR pixels")
    parser.add_argument("--filter-steps", type=int, default=usual.filter_steps)
    parser.add_argument("--lam", type=float, metavar="L", help="lambda on 0-255")
    parser.add_argument("--iterations", type=int, help="of the coder")
    parser.add_argument("--rho", type=float, help="penalty of sporco's ADMM")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if (given.out is None) != given.ship:
        parser.error("give either --out DIR or --ship")
    torch.set_grad_enabled(False)
    try:
        paths = train_csc_sr(
            given.data,
            given.out,
            coders=given.coder,
            scales=given.scale,
            options=replace(
                usual,
                atoms=given.atoms,
                support=given.support,
                crop=given.crop,
                filter_steps=given.filter_steps,
                codings={c: _changed(CODINGS[c], c, given) for c in given.coder},
            ),
            filters=given.filters,
            seed=given.seed,
        )
    except InputError as error:
        parser.error(str(error))
    for path in paths:
        print(path)


def _changed(coding: Coding, coder: str, given: argparse.Namespace) -> Coding:
    settings = dict(coding.settings)
    if given.iterations is not None:
        settings["iterations"] = given.iterations
    if given.rho is not None and coder == "sporco-admm":
        settings["rho"] = given.rho
    return Coding(coding.lam if given.lam is None else given.lam / 255, settings)


if __name__ == "__main__":
    main()
