"""The fit of one coder's maps: sums over the training images, choices on the held-out ones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from cscsr import checkpoints
from cscsr.csc_sr.hr_filters import Fit, start_from
from cscsr.csc_sr.mapping import NormalEquations
from cscsr.csc_sr.options import Options
from cscsr.csc_sr.solver import divide, enlarged_residual
from cscsr.csc_sr.store import RunStore
from cscsr.csc_sr.training_images import training_pairs
from cscsr.csc_sr.weight_file import Weights
from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_psnr
from cscsr.schema import Range, check

RIDGES = (3e-2, 1e-1, 3e-1, 1.0)
"""Ridge weights tried, relative to the mean diagonal of the normal equations."""

SAVE_EVERY = 120.0
"""Seconds between two saves of the sums."""


class CodedImage(NamedTuple):
    """A held-out image, ready for a map.

    Attributes
    ----------
    truth
        The luma (H,W), uint8.
    smooth
        Its smooth part, enlarged, (H,W).
    codes
        The codes of its residual, continued by `MARGIN`.
    """

    truth: np.ndarray
    smooth: np.ndarray
    codes: torch.Tensor


@dataclass(frozen=True)
class HeldOut:
    """The held-out images at one scale, which maps are judged by.

    Attributes
    ----------
    images
        The images with their codes.
    filter_size, scale
        As in `cscsr.csc_sr.solver.enlarged_residual`.
    """

    images: list[CodedImage]
    filter_size: int
    scale: int

    def psnr(self, kernels: torch.Tensor) -> float:
        """Return the mean PSNR in dB (luma) of the images that `kernels` (N,k,k) make."""
        maps = kernels.float().numpy()
        return self._mean_psnr(
            image.smooth + enlarged_residual(image.codes, maps, self.filter_size, self.scale)
            for image in self.images
        )

    def bicubic_psnr(self) -> float:
        """Return the mean PSNR in dB (luma) of bicubic enlargement."""
        return self._mean_psnr(
            imresize(degrade(image.truth, self.scale, "y"), self.scale) for image in self.images
        )

    def density(self) -> float:
        """Return the share of the codes that are not zero."""
        codes = [image.codes for image in self.images]
        return sum(int(z.count_nonzero()) for z in codes) / sum(z.numel() for z in codes)

    def _mean_psnr(self, estimates: Iterable[np.ndarray]) -> float:
        """The mean PSNR in dB of lumas in [0,1], one for each image."""
        scale = self.scale
        return float(
            np.mean(
                [
                    luma_psnr(estimate, crop_to_multiple(image.truth, scale) / 255.0, scale)
                    for estimate, image in zip(estimates, self.images, strict=True)
                ]
            )
        )


@dataclass(frozen=True)
class MapTraining:
    """The fit of one coder's maps; see `cscsr.csc_sr.train.train_csc_sr`.

    Attributes
    ----------
    weights
        The coder, its filters and settings; no maps yet.
    options
        The sizes.
    images
        The training images' lumas, uint8.
    heldout
        The held-out images' lumas, uint8, cropped.
    seed
        The random seed.
    progress
        Whether to show progress bars and print figures.
    store
        Where results are saved.
    """

    weights: Weights
    options: Options
    images: Sequence[np.ndarray]
    heldout: list[np.ndarray]
    seed: int
    progress: bool
    store: RunStore

    def fit(self, scale: int) -> dict[str, Any]:
        """Fit ridge kernels, mapping and HR filters of one scale.

        Returns
        -------
        dict[str, Any]
            The tensors `kernels`, `mapping` and `hr_filters` in half precision; `ridge`, the ridge
            weight; and how each did: `psnr_db` (by ridge weight), `rounds_psnr_db` (by round, 0 is
            the ridge kernels), `objective` (by round), `bicubic_db`, `pixels` (LR pixels fitted to)
            and `density` (share of the held-out codes that are not zero).

        Raises
        ------
        InputError
            If no image is large enough, or all codes are zero.
        """
        equations, heldout = self.sums(scale), self.held_out(scale)
        kernels_of = {ridge: equations.solve(ridge) for ridge in RIDGES}
        ridges_db = {ridge: heldout.psnr(kernels) for ridge, kernels in kernels_of.items()}
        ridge = max(ridges_db, key=lambda weight: ridges_db[weight])
        kernels = kernels_of[ridge].float()
        del kernels_of
        label = f"{self.weights.coder} x{scale}"
        mapping = start_from(kernels, self.options.hr_atoms)
        rounds_db, objectives = [ridges_db[ridge]], []
        if self.options.rounds:
            fit = Fit(equations, mapping, ridge)
            objectives.append(fit.objective())
            bar = f"{label} mapping"
            with tqdm(range(self.options.rounds), bar, disable=not self.progress) as rounds:
                for _ in rounds:
                    objectives.append(fit.round())
                    rounds_db.append(heldout.psnr(fit.result.kernels()))
                    if rounds_db[-1] >= max(rounds_db[1:]):
                        mapping = fit.result
        bicubic_db = heldout.bicubic_psnr()
        if self.progress:
            row = ", ".join(f"{weight:g}: {psnr_db:.3f}" for weight, psnr_db in ridges_db.items())
            rounds = ", ".join(f"{psnr_db:.3f}" for psnr_db in rounds_db)
            print(f"{label}: held-out PSNR by ridge weight {row}; bicubic {bicubic_db:.3f};")
            print(f"{label}: by round {rounds}", flush=True)
        self.store.drop(self._sums_name(scale))
        return {
            "kernels": kernels.half(),
            "mapping": mapping.mapping.half(),
            "hr_filters": mapping.filters.half(),
            "ridge": ridge,
            "psnr_db": {f"{weight:g}": round(value, 4) for weight, value in ridges_db.items()},
            "rounds_psnr_db": [round(value, 4) for value in rounds_db],
            "objective": [float(f"{value:.6g}") for value in objectives],
            "bicubic_db": round(bicubic_db, 4),
            "pixels": equations.pixels,
            "density": heldout.density(),
        }

    def held_out(self, scale: int) -> HeldOut:
        """Code the held-out images at one scale."""
        images = []
        bar = f"{self.weights.coder} x{scale} held-out images"
        with tqdm(self.heldout, bar, disable=not self.progress) as truths:
            for truth in truths:
                smooth, residual = divide(degrade(truth, scale, "y"), scale, "float32")
                images.append(CodedImage(truth, smooth, self._codes(residual, scale)))
        return HeldOut(images, self.weights.filter_size, scale)

    def sums(self, scale: int) -> NormalEquations:
        """Sum over all training images at one scale, one image's codes in memory at a time.

        The sums are saved every `SAVE_EVERY` seconds, and continue from the saved ones.

        Raises
        ------
        InputError
            If no image is large enough.
        """
        options, name = self.options, self._sums_name(scale)
        equations = NormalEquations(
            len(self.weights.filters), scale, options.support, self.weights.filter_size
        )
        done = 0
        state = self.store.load(name)
        if state is not None:
            where = f"{self.store.folder / name}.pt"
            checkpoints.check_like(state, {"done": 0, **equations.state()}, where)
            done = check(Annotated[int, Range(1, len(self.images))], state.pop("done"), where)
            equations.restore(state)
        since = time.monotonic()
        bar = tqdm(
            total=len(self.images),
            initial=done,
            desc=f"{self.weights.coder} x{scale} codes",
            disable=not self.progress,
        )
        for index in range(done, len(self.images)):
            rng = np.random.default_rng([self.seed, scale, index])
            for residual, target in training_pairs(self.images[index], scale, options, rng):
                equations.add(self._codes(residual, scale), torch.from_numpy(target))
            bar.update()
            if time.monotonic() - since > SAVE_EVERY:
                self.store.save(name, {"done": index + 1, **equations.state()})
                since = time.monotonic()
        bar.close()
        self.store.save(name, {"done": len(self.images), **equations.state()})
        if not equations.pixels:
            raise InputError(f"no image to fit to has 8x8 low-resolution pixels at x{scale}.")
        return equations

    def _sums_name(self, scale: int) -> str:
        return f"{self.weights.coder}-x{scale}-sums"

    def _codes(self, residual: np.ndarray, scale: int) -> torch.Tensor:
        coder, coding = self.weights.coding(residual.astype(np.float32), scale, self.weights.coder)
        return torch.from_numpy(coder.solve(coding).codes)
