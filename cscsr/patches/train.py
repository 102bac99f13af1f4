"""Training of patch-based methods, of which ``cscsr train a-plus`` and ``cscsr train scsr`` are the
commands.

A scale takes about a minute of one core. Nothing is saved before the end, so a run that was stopped
begins again.
"""

from __future__ import annotations

import datetime
import os
import sys
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from cscsr import weights
from cscsr.csc_sr.card import command_line
from cscsr.csc_sr.training_images import Lumas, central_crop
from cscsr.data.datasets import holdout_images, licence_of_weights, training_images
from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_psnr
from cscsr.output import make_folder, write_text
from cscsr.patches import a_plus, scsr
from cscsr.patches.a_plus import AnchoredScale
from cscsr.patches.coupled import learn_coupled
from cscsr.patches.lasso import LEAST_LAM
from cscsr.patches.regression import ANCHOR_SAMPLES, anchored_regressors, learn_anchors
from cscsr.patches.samples import Samples, draw_samples
from cscsr.patches.scsr import CoupledScale, ScSR
from cscsr.patches.weight_file import ScaleWeights, tensors_of
from cscsr.schema import LARGEST_SCALE, Distinct, Range, Seed, check_fields

HOLDOUT_CROP = 128
"""Side in pixels of the central crops of the held-out images that are scored."""


@dataclass(frozen=True)
class Options:
    """What a training is made with; docs/patch-methods.md says what the sizes were chosen from.

    Attributes
    ----------
    samples
        About how many patches are drawn from the training images.
    scales
        The factors.
    sets
        The data sets.
    seed
        Of all draws.

    Raises
    ------
    InputError
        For a value out of its range.
    """

    kind: ClassVar[str]

    samples: Annotated[int, Range(1, 10**8)] = 1_000_000
    scales: Annotated[Sequence[Annotated[int, Range(2, LARGEST_SCALE)]], Distinct()] = (2, 3, 4)
    sets: Annotated[Sequence[str], Distinct()] = ("T91",)
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def fit(self, samples: Samples, rng: np.random.Generator, progress: bool) -> ScaleWeights:
        """Return what the method learns from patches of a scale."""

    @abstractmethod
    def enlarged(self, luma: np.ndarray, scale: int, trained: Any) -> np.ndarray:
        """Enlarge a luma (H,W), float64, by the method."""

    @abstractmethod
    def description(self) -> str:
        """Return the sizes as words for the model card."""


@dataclass(frozen=True)
class APlusOptions(Options):
    """What A+ is trained with.

    Attributes
    ----------
    anchors
        K.
    neighbours
        The number of samples that a regression is fitted to.
    ridge
        λ.
    rounds
        Rounds of the learning of anchors; with 0, anchors are features drawn at random.
    """

    kind: ClassVar[str] = AnchoredScale.KIND

    samples: Annotated[int, Range(1, 10**8)] = 5_000_000
    anchors: Annotated[int, Range(1, 2**16)] = 1024
    neighbours: Annotated[int, Range(1, 2**20)] = 2048
    ridge: Annotated[float, Range(0, 1e6, open_low=True)] = 0.1
    rounds: Annotated[int, Range(0, 1000)] = 12

    def fit(self, samples: Samples, rng: np.random.Generator, progress: bool) -> AnchoredScale:
        few = rng.permutation(len(samples))[:ANCHOR_SAMPLES]
        anchors = learn_anchors(samples.features[few], self.anchors, self.rounds, rng, progress)
        regressors = anchored_regressors(samples, anchors, self.neighbours, self.ridge, progress)
        return AnchoredScale(samples.projection, anchors, regressors)

    def enlarged(self, luma: np.ndarray, scale: int, trained: AnchoredScale) -> np.ndarray:
        return a_plus.enlarged_luma(luma, scale, trained)

    def description(self) -> str:
        return (
            f"Features, {self.anchors} anchors and their regressors of A+; {self.neighbours} "
            f"neighbours per anchor, ridge weight {self.ridge:g}"
        )


@dataclass(frozen=True)
class ScSROptions(Options):
    """What ScSR is trained with.

    Attributes
    ----------
    atoms
        K.
    lam
        λ of the joint codes; at least 0.01, from where on they are exact.
    steps
        Steps of the dictionary learning.
    """

    kind: ClassVar[str] = CoupledScale.KIND

    samples: Annotated[int, Range(1, 10**8)] = 500_000
    atoms: Annotated[int, Range(1, 2**14)] = 512
    lam: Annotated[float, Range(LEAST_LAM, 1)] = 0.15
    steps: Annotated[int, Range(1, 10**6)] = 100

    def fit(self, samples: Samples, rng: np.random.Generator, progress: bool) -> CoupledScale:
        low, high = learn_coupled(samples, self.atoms, self.lam, self.steps, rng, progress)
        return CoupledScale(samples.projection, low, high)

    def enlarged(self, luma: np.ndarray, scale: int, trained: CoupledScale) -> np.ndarray:
        usual = ScSR(weights="")
        return scsr.enlarged_luma(luma, scale, trained, usual.lam, usual.back_projections)

    def description(self) -> str:
        return f"Features and coupled dictionaries of ScSR; {self.atoms} atoms, lambda {self.lam:g}"


def train(
    data: str | Path, path: str | Path, options: Options, progress: bool = True
) -> dict[int, float]:
    """Train a method, and write the weight file and its model card.

    Parameters
    ----------
    data
        A folder with the data sets and holdout.txt.
    path
        The weight file, ``.safetensors``; the card is ``.md`` beside it.
    options
        `APlusOptions` or `ScSROptions`.
    progress
        Whether to show progress bars, and a line per scale.

    Returns
    -------
    dict[int, float]
        Scale to the mean PSNR in dB on the central crops of the held-out images.

    Raises
    ------
    InputError
        For missing data, images without enough patches, and a file that cannot be written.
    """
    path = Path(path)
    _check_writable(path)
    images = list(Lumas(training_images(data, options.sets)))
    heldout = [central_crop(luma, HOLDOUT_CROP) for luma in Lumas(holdout_images(data))]
    tensors: dict[str, np.ndarray] = {}
    rows: dict[int, dict[str, Any]] = {}
    for scale in options.scales:
        rng = np.random.default_rng([options.seed, scale])
        samples = draw_samples(images, scale, options.samples, rng, progress)
        trained = options.fit(samples, rng, progress)
        tensors |= tensors_of(trained, scale)
        figures = held_out_psnr(heldout, scale, options, trained)
        rows[scale] = {"patches": len(samples), **figures}
        del samples
        if progress:
            print(
                f"x{scale}: {figures['holdout_psnr_db']:.2f} dB on the held-out images, "
                f"bicubic {figures['holdout_bicubic_psnr_db']:.2f} dB",
                file=sys.stderr,
            )
    metadata = {
        "kind": options.kind,
        "scales": {str(scale): row for scale, row in rows.items()},
        "seed": options.seed,
        "training_sets": list(options.sets),
        "training_images": len(images),
        "options": {n: v for n, v in asdict(options).items() if isinstance(v, (int, float))},
        "holdout_crop": HOLDOUT_CROP,
    }
    weights.write(path, tensors, metadata)
    write_text(path.with_suffix(".md"), model_card(path.stem, options, rows, len(images)))
    return {scale: row["holdout_psnr_db"] for scale, row in rows.items()}


def _check_writable(path: Path) -> None:
    """Raise InputError, before any work is done, if a weight file cannot be written in the end."""
    if path.suffix != ".safetensors":
        raise InputError(f"weights need the name of a .safetensors file, got {path}.")
    if path.is_dir():
        raise InputError(f"{path} should name a file, but it is a folder.")
    if not os.access(make_folder(path.parent), os.W_OK):
        raise InputError(f"{path} cannot be written: the folder {path.parent} is read-only.")


def held_out_psnr(
    heldout: Sequence[np.ndarray], scale: int, options: Options, trained: ScaleWeights
) -> dict[str, float]:
    """Return the mean PSNR in dB over held-out lumas (H,W), uint8, of a method and of bicubic."""
    ours, bicubic = [], []
    for image in heldout:
        truth = crop_to_multiple(image, scale) / 255.0
        lr = degrade(image, scale, "y").astype(np.float64)
        ours.append(luma_psnr(options.enlarged(lr, scale, trained), truth, scale))
        bicubic.append(luma_psnr(imresize(lr, scale), truth, scale))
    return {
        "holdout_psnr_db": round(float(np.mean(ours)), 4),
        "holdout_bicubic_psnr_db": round(float(np.mean(bicubic)), 4),
    }


def model_card(name: str, options: Options, rows: dict[int, dict[str, Any]], images: int) -> str:
    """Return the model card: the weights, their training data and method, and their quality."""
    table = "\n".join(
        f"| x{scale} | {row['holdout_bicubic_psnr_db']:.2f} | {row['holdout_psnr_db']:.2f} "
        f"| {row['patches']:,} |"
        for scale, row in rows.items()
    )
    return f"""# {name}

{options.description()} (docs/patch-methods.md).

- From the {images} images of {", ".join(options.sets)} that are neither held out nor copies of \
test images. No test image was used.
- Command: `{command_line(sys.argv[1:], "cscsr.patches.train.train")}`, on \
{datetime.date.today().isoformat()}.
{licence_of_weights(options.sets)}

PSNR in dB on the central {HOLDOUT_CROP}x{HOLDOUT_CROP} of the held-out images, line y:

| scale | bicubic | {options.kind} | patches |
|---|---|---|---|
{table}
"""
