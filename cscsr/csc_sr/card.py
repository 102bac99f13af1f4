"""Writing the weight file and the model card at the end of a training of CSC-SR."""

from __future__ import annotations

import datetime
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cscsr import weights
from cscsr.csc_sr.options import Options
from cscsr.csc_sr.weight_file import KIND, Weights, weights_name
from cscsr.data.datasets import licence_of_weights
from cscsr.output import write_text


@dataclass(frozen=True)
class RunFacts:
    """The facts of a training for metadata and card.

    Attributes
    ----------
    options
        Its sizes.
    filters
        The weights that the filters were taken from; None: they were learned.
    filter_set
        The data set that the filters were learned on.
    holdout_crop
        The side in pixels of the held-out images' crops.
    images, heldout
        The numbers of images fitted to and held out.
    seed
        The random seed.
    """

    options: Options
    filters: str | None
    filter_set: str
    holdout_crop: int
    images: int
    heldout: int
    seed: int


def write_weights(
    out: Path, ship: str | None, start: Weights, fitted: dict[int, dict[str, Any]], facts: RunFacts
) -> Path:
    """Write the filters and maps of one coder, and their model card beside them.

    Parameters
    ----------
    out
        The folder of ``csc-sr-CODER.safetensors`` and ``.md``.
    ship
        The name to ship them under as well, as SHIP-CODER; None: do not ship them.
    start
        The coder, its filters, λ and settings.
    fitted
        Scale to what `MapTraining.fit` returned.
    facts
        What the training was made from.

    Returns
    -------
    Path
        The weight file.
    """
    options = facts.options
    tensors = {"filters": start.filters}
    for scale, row in fitted.items():
        for name in ("kernels", "mapping", "hr_filters"):
            tensors[f"{name}_x{scale}"] = row[name].numpy()
    metadata = {
        "kind": KIND,
        "coder": start.coder,
        "seed": facts.seed,
        "training_sets": list(options.sets),
        "training_images": facts.images,
        "holdout_crop": facts.holdout_crop,
        "crop": options.crop,
        "phases": {str(s): options.phases_at(s) for s in fitted},
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
    card = model_card(name, start, fitted, facts)
    if ship is not None:
        weights.save(name, tensors, metadata, card)
    path = out / f"{name}.safetensors"
    weights.write(path, tensors, metadata)
    write_text(path.with_suffix(".md"), card)
    return path


def model_card(
    name: str, start: Weights, fitted: dict[int, dict[str, Any]], facts: RunFacts
) -> str:
    """Return the model card: the weights, their training data and method, and their quality.

    Parameters are those of `write_weights`; `name` is the card's title.
    """
    options, filter_set, crop = facts.options, facts.filter_set, facts.holdout_crop
    coding = options.codings[start.coder]
    stop = ", ".join(f"{key} {value}" for key, value in coding.settings.items())
    origin = (
        f"learned by `cscsr.learn_dictionary` on {filter_set}"
        if facts.filters is None
        else f"taken from {Path(facts.filters).name}"
    )
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

- {len(start.filters)} low-resolution filters of {start.filter_size}x{start.filter_size}, \
{origin}; high-resolution filters: {filters}.
- Codes: lambda {coding.lam * 255:g}/255, {stop}. Codes made otherwise need a map of their own.
- Mapping and high-resolution filters from the {facts.images} images of \
{", ".join(options.sets)} that are neither held out nor copies of test images (their middle, up \
to {options.crop} low-resolution pixels a side, with their flips; {options.phases or "s*s/4"} of \
the s*s grid phases, some transposed). Ridge weight and rounds were chosen on the \
{facts.heldout} held-out images. No test image was used.
- Command: `{command_line(sys.argv[1:])}`, on {datetime.date.today().isoformat()}.
{licence_of_weights(dict.fromkeys([filter_set, *options.sets]))}

PSNR in dB on the central {crop}x{crop} of the held-out images, line y:

| scale | bicubic | csc-ridge | csc-sr | ridge weight | LR pixels fitted to |
|---|---|---|---|---|---|
{rows}
"""


def command_line(words: Sequence[str], function: str = "cscsr.csc_sr.train.train_csc_sr") -> str:
    """Return the command of this process, without the folders of the machine it ran on.

    Parameters
    ----------
    words
        The process's arguments; unless they are those of ``cscsr train``, the training was
        called from Python.
    function
        The function that was called then.
    """
    if "train" not in words:
        return f"{function}(...)"
    return shlex.join(["cscsr", *(Path(word).name if "/" in word else word for word in words)])
