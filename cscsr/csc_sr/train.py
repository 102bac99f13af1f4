"""Training of CSC-SR: filters by dictionary learning, then mapping and HR filters.

``cscsr train csc-sr`` is its command.

1. LR filters by online dictionary learning (`cscsr.learn_dictionary`) on residuals of T91.
2. For a coder and a scale: the sums of `NormalEquations` over the codes of all images, one
   image's codes in memory at a time; the ridge kernels they give (`csc-ridge`).
3. Mapping and HR filters by turns from there (`cscsr.csc_sr.hr_filters`). The mapping hardly
   leaves its start: docs/csc-sr.md, "What the mapping is worth".

Ridge weight and number of rounds are chosen on the held-out images. Results are saved in the
output folder, and the same command resumes from them after an interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cscsr import checkpoints, weights
from cscsr.csc_sr.card import RunFacts, write_weights
from cscsr.csc_sr.map_training import HeldOut, MapTraining
from cscsr.csc_sr.mapping import NormalEquations
from cscsr.csc_sr.options import (
    CODINGS,
    Options,
    check_coders,
    check_options,
)
from cscsr.csc_sr.store import RunStore
from cscsr.csc_sr.training_images import TILE, Lumas, central_crop, residual_tiles
from cscsr.csc_sr.weight_file import KIND, Weights
from cscsr.data.datasets import holdout_images, training_images
from cscsr.errors import InputError
from cscsr.learn import learn_dictionary
from cscsr.locks import folder_lock

HOLDOUT_CROP = 128
"""Side in pixels of the central crops of the held-out images that choices are made on."""

FILTER_SET = "T91"
"""The data set that filters are learned on, as in the paper."""

LEAST_CONTRAST = 0.5 / 255
"""Residuals that stay below it everywhere are those of flat images: half a grey level."""

FILTER_SCALES = (2, 3, 4)
"""The scales whose LR residuals filters are learned on."""


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
    """Learn filters, fit the maps of each coder, and write one weight file per coder.

    Parameters
    ----------
    data
        A folder with the data sets and holdout.txt.
    out
        The folder for ``csc-sr-CODER.safetensors`` and its model card; a stopped run resumes from
        its results there.
    coders
        The coders, each with a map of its own.
    scales
        The scales to fit maps for.
    options
        The sizes; None: the preset "small".
    filters
        A weight file to take the filters from; None: learn them.
    ship
        Put the files among the shipped weights too: "csc-sr" gives csc-sr-CODER.
    seed
        The random seed.
    progress
        Whether to show progress bars and print figures.

    Returns
    -------
    list[Path]
        The weight files.

    Raises
    ------
    InputError
        For a coder that has no map of its own, an option out of range, missing data, or
        a folder that holds a run with other options.
    """
    options = options or Options()
    if ship is not None and Path(ship).name != ship:
        raise InputError(f"shipped weights need a name without folders, got {ship!r}.")
    with folder_lock(out, "trains"):
        return _train(data, out, coders, scales, options, filters, ship, seed, progress)


def _train(
    data: str | Path,
    out: str | Path,
    coders: Sequence[str],
    scales: Sequence[int],
    options: Options,
    filters: str | None,
    ship: str | None,
    seed: int,
    progress: bool,
) -> list[Path]:
    """`train_csc_sr`, in a folder that belongs to this process."""
    files = []
    for run in _runs(data, out, coders, scales, options, filters, seed, progress):
        coder = run.weights.coder
        fitted = {s: run.store.made(f"{coder}-x{s}", partial(run.fit, s)) for s in scales}
        facts = RunFacts(
            run.options, filters, FILTER_SET, HOLDOUT_CROP, len(run.images), len(run.heldout), seed
        )
        files.append(write_weights(Path(out), ship, run.weights, fitted, facts))
    return files


def fit_parts(
    data: str | Path,
    out: str | Path,
    coder: str,
    scale: int,
    options: Options,
    *,
    filters: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> tuple[NormalEquations, HeldOut, RunStore]:
    """Return what maps are fitted from, to fit them otherwise than `train_csc_sr` does.

    Parameters and errors are those of `train_csc_sr`, for one coder and scale.

    Returns
    -------
    tuple[NormalEquations, HeldOut, RunStore]
        The sums over the training images, the held-out images that a map is judged on, and the
        store of the run's results in `out`.
    """
    (run,) = _runs(data, out, [coder], [scale], options, filters, seed, progress)
    return run.sums(scale), run.held_out(scale), run.store


def read_filters(name: str) -> np.ndarray:
    """Return the filters (N,s,s), float32, of weights of CSC-SR, shipped or a file.

    Raises
    ------
    InputError
        For weights of something else.
    """
    tensors, metadata = weights.load(name)
    if metadata.get("kind") != KIND:
        raise InputError(f"expected the filters of csc-sr in {name}, but it holds other weights.")
    return tensors["filters"].astype(np.float32)


def _runs(
    data: str | Path,
    out: str | Path,
    coders: Sequence[str],
    scales: Sequence[int],
    options: Options,
    filters: str | None,
    seed: int,
    progress: bool,
) -> list[MapTraining]:
    """One run per coder, all with the same filters, which are learned if need be."""
    check_coders(options, coders)
    requested = asdict(options)
    bank = None if filters is None else read_filters(filters)
    if bank is not None:
        options = replace(options, atoms=len(bank), filter_size=bank.shape[-1])
    check_options(options, coders, seed)
    paths = training_images(data, options.sets)
    images = Lumas(paths)
    heldout = [central_crop(luma, HOLDOUT_CROP) for luma in Lumas(holdout_images(data))]
    store = RunStore(Path(out) / "state", [requested, filters, seed, [p.name for p in paths]])
    if bank is None:
        learn = partial(learned_filters, data, options, seed, progress)
        filters_of = store.made("filters", lambda: {"filters": torch.from_numpy(learn())})
        shape = (options.atoms, options.filter_size, options.filter_size)
        checkpoints.check_like(
            filters_of, {"filters": torch.zeros(shape)}, str(store.folder / "filters.pt")
        )
        bank = filters_of["filters"].numpy()
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
    return [MapTraining(start, options, images, heldout, seed, progress, store) for start in starts]


def filter_tiles(data: str | Path, rng: np.random.Generator) -> np.ndarray:
    """Return the tiles (K,h,w), float32, of the residuals of `FILTER_SET` that filters are learned
    on, at places drawn from `rng`.

    Raises
    ------
    InputError
        If no image is large enough, or all are flat.
    """
    images = Lumas(training_images(data, [FILTER_SET]))
    tiles = list(residual_tiles(images, FILTER_SCALES, rng))
    if not tiles:
        raise InputError(
            f"learning filters needs an image of at least {TILE}x{TILE} low-resolution pixels, "
            "got none."
        )
    if max(np.abs(tile).max() for tile in tiles) < LEAST_CONTRAST:
        raise InputError("learning filters needs images with contrast, got flat ones.")
    return np.stack(tiles).astype(np.float32)


def learned_filters(
    data: str | Path, options: Options, seed: int = 0, progress: bool = False
) -> np.ndarray:
    """Return filters (N,s,s), float32, learned on the residuals of `FILTER_SET`.

    Raises
    ------
    InputError
        For missing data, and images that are too small or flat.
    """
    return learn_dictionary(
        list(filter_tiles(data, np.random.default_rng(seed))),
        options.atoms,
        options.filter_size,
        options.filter_lam,
        steps=options.filter_steps,
        seed=seed,
        progress=progress,
    ).filters
