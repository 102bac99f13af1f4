"""Training of LISTA's steps on the objective itself: no codes of another solver are needed.

    python -m cscsr.training.lista --data DIR --out runs/lista

The loss is the mean of log P(zₖ), P being eq. 3, over the steps k = 1 … K and the crops of a batch.
Its gradient is that of the objective relative to its value, so that a crop with little contrast
counts as much as any other. Every step is trained to be the last one. For each batch λ is drawn
log-uniformly. The crops are low-resolution residuals of T91 as CSC-SR codes them, without held-out
images, and wrap around.

Each form starts from the result of the previous one: "step" from ISTA, "tied" from "step", "untied"
from "tied". A stopped run continues from its checkpoint along the same curve. Needs torch, numpy
and tqdm.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cscsr import checkpoints, interrupts, weights
from cscsr.csc_sr.decompose import MARGIN, continued, split
from cscsr.data.datasets import data_folder, holdout_images, training_images
from cscsr.errors import InputError
from cscsr.imaging import degrade, read_image
from cscsr.locks import folder_lock
from cscsr.output import printable, write_text
from cscsr.problem import SparseCoding
from cscsr.schema import Distinct, Range, Seed, check, check_fields, shown
from cscsr.sparse.lista import (
    FORMS,
    KIND,
    LISTA,
    STEPS,
    LearnedSteps,
    dictionary_sha256,
)
from cscsr.training.lista_card import HELD_OUT_CROP, TRAINING_SET, card, held_out_gaps
from cscsr.training.lista_learner import Learner, mean_log_objective

FILTERS = "csc-sr-ista"
"""Shipped weights whose filters are the default dictionary."""

CHECKPOINT_EVERY = 10

Positive = Annotated[float, Range(0, math.inf, open_low=True, open_high=True)]
"""A number above zero, and finite."""


@dataclass(frozen=True)
class Options:
    """Settings of a training run.

    Attributes
    ----------
    steps
        K.
    updates
        Updates of the parameters.
    batch
        Crops per update.
    crop
        Side of a crop in pixels.
    lams
        The lowest and the highest λ.
    rate, filter_rate
        Adam's learning rates: for log γ and log θ, and for the elements of W and B (unit-norm
        atoms). Both follow a cosine schedule to zero.
    scales
        The factors of the residuals in the training set.

    Raises
    ------
    InputError
        For a number out of range, and `lams` other than a low and a high one.
    """

    steps: Annotated[int, Range(1, 1000)] = STEPS
    updates: Annotated[int, Range(1, 10**9)] = 600
    batch: Annotated[int, Range(1, 2**16)] = 6
    crop: Annotated[int, Range(1, 2**12)] = 32
    lams: Sequence[Positive] = (0.005, 0.1)
    rate: Positive = 0.03
    filter_rate: Positive = 1e-3
    scales: Annotated[Sequence[Annotated[int, Range(2, 16)]], Distinct()] = (2, 3, 4)

    def __post_init__(self) -> None:
        check_fields(self)
        if len(self.lams) != 2 or self.lams[0] > self.lams[1]:
            raise InputError(f"lams should be a low and a high one, got {shown(self.lams)}.")


def residuals(paths: Sequence[Path], scales: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield, for each image and scale, the LR residual (h,w) that CSC-SR codes, float32."""
    with tqdm(paths, "reading images", leave=False) as remaining:
        for path in remaining:
            image = read_image(path)
            for scale in scales:
                residual = split(continued(degrade(image, scale, "y").astype(np.float64))).residual
                yield residual[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)


def draw(
    images: Sequence[np.ndarray], options: Options, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Return a batch of crops (B,1,c,c) and a λ."""

    def whole(end: int) -> int:
        return int(torch.randint(end, (1,), generator=generator))

    side, crops = options.crop, []
    for _ in range(options.batch):
        image = images[whole(len(images))]
        top, left = (whole(n - side + 1) for n in image.shape)
        crops.append(torch.from_numpy(image[top : top + side, left : left + side].copy()))
    low, high = (math.log(lam) for lam in options.lams)
    lam = math.exp(low + (high - low) * float(torch.rand(1, generator=generator)))
    return torch.stack(crops)[:, None], lam


def train(
    form: str,
    images: Sequence[np.ndarray],
    dictionary: np.ndarray,
    options: Options,
    *,
    start: LearnedSteps | None = None,
    checkpoint: Path | None = None,
    seed: int = 0,
) -> tuple[LearnedSteps, float]:
    """Train K steps of a form for one dictionary.

    Parameters
    ----------
    form
        "step", "tied" or "untied".
    images
        Residuals (h, w) like those to be coded.
    dictionary
        (M, 1, s, s), float32.
    options
        The settings of the run.
    start
        The initial steps; None: ISTA's.
    checkpoint
        A file to write every `CHECKPOINT_EVERY` updates, and to resume from if it exists.
    seed
        The seed of the crops and of λ.

    Returns
    -------
    learned : LearnedSteps
        The trained steps.
    seconds : float
        The time of all updates.

    Raises
    ------
    InputError
        For a seed out of range, if no image is as large as a crop, if the checkpoint has other
        options, another seed, dictionary, start or other images, and if the loss is not finite.
    """
    check(Seed, seed, "seed")
    images = [image for image in images if min(image.shape) >= options.crop]
    if not images:
        raise InputError(
            f"training needs residuals of at least {options.crop}x{options.crop} pixels."
        )
    filters = torch.from_numpy(dictionary)
    learner = Learner(form, filters, options.steps)
    if start is not None:
        learner.start_at(start)
    banks = [bank for bank in (learner.analysis, learner.synthesis) if bank is not None]
    logs = [learner.log_gains, learner.log_thresholds]
    groups: list[dict[str, Any]] = [{"params": logs, "lr": options.rate}]
    if banks:
        groups.append({"params": banks, "lr": options.filter_rate})
    adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, options.updates)
    generator = torch.Generator().manual_seed(seed)
    stateful: dict[str, Any] = {"learner": learner, "adam": adam, "schedule": schedule}
    about = {**asdict(options), "form": form, "seed": seed, "dictionary": _sha256([dictionary])}
    about["images"] = _sha256(images)
    if start is not None:
        about["start"] = _sha256(t.numpy() for t in vars(start).values() if t is not None)
    done, seconds = 0, 0.0
    if checkpoint is not None and checkpoint.is_file():
        state = checkpoints.read(checkpoint)
        try:
            own = check(dict[str, Any], state["about"], "about")
            if other := [k for k in sorted({*own, *about}) if own.get(k) != about.get(k)]:
                raise InputError(
                    f"it belongs to a run with other options ({', '.join(other)}); give another "
                    "--out."
                )
            done, seconds = _restore(state, stateful, generator, options)
        except InputError as error:
            raise InputError(f"checkpoint {checkpoint}: {error}") from error
    with tqdm(
        range(done, options.updates), f"lista {form}", initial=done, total=options.updates
    ) as bar:
        for update in bar:
            before = time.perf_counter()
            signal, lam = draw(images, options, generator)
            loss = mean_log_objective(learner.learned(), SparseCoding(signal, filters, lam))
            if not torch.isfinite(loss):
                raise InputError(
                    f"the loss of lista {form} stopped being finite at update {update}; lower the "
                    "learning rates."
                )
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            adam.step()
            schedule.step()
            seconds += time.perf_counter() - before
            last = update + 1 == options.updates
            if checkpoint is not None and ((update + 1) % CHECKPOINT_EVERY == 0 or last):
                state = {name: part.state_dict() for name, part in stateful.items()}
                state |= {"generator": generator.get_state(), "about": about}
                checkpoints.write(checkpoint, state | {"done": update + 1, "seconds": seconds})
            bar.set_postfix_str(f"log P {float(loss.detach()):.4f}")
    with torch.no_grad():
        learned = learner.learned()
    tensors = {name: t.detach() for name, t in vars(learned).items() if t is not None}
    return LearnedSteps(**tensors), seconds


def _sha256(arrays: Iterable[np.ndarray]) -> str:
    """The SHA-256, as a hex digest, of the shapes and the elements of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode() + array.tobytes())
    return digest.hexdigest()


def _restore(
    state: Mapping[str, Any],
    stateful: Mapping[str, Any],
    generator: torch.Generator,
    options: Options,
) -> tuple[int, float]:
    """Take up a checkpoint; returns the updates made, and their seconds."""
    learner, adam, schedule = stateful["learner"], stateful["adam"], stateful["schedule"]
    like = {name: part.state_dict() for name, part in stateful.items()}
    momenta = {"step": torch.zeros(()), "exp_avg": None, "exp_avg_sq": None}
    like["adam"]["state"] = {
        number: {key: parameter if key != "step" else value for key, value in momenta.items()}
        for number, parameter in enumerate(p for g in adam.param_groups for p in g["params"])
    }
    like["generator"] = generator.get_state()
    for name, part in like.items():
        checkpoints.check_like(state[name], part, name)
    done = check(Annotated[int, Range(1, options.updates)], state["done"], "done")
    seconds = check(
        Annotated[float, Range(0, math.inf, open_high=True)], state["seconds"], "seconds"
    )
    for part, name in ((learner, "learner"), (adam, "adam"), (schedule, "schedule")):
        part.load_state_dict(state[name])
    try:
        generator.set_state(state["generator"])
    except RuntimeError as error:
        raise InputError("generator should be a random state, but is not.") from error
    return done, seconds


def write(
    path: Path,
    form: str,
    learned: LearnedSteps,
    dictionary: np.ndarray,
    options: Options,
    seed: int,
    seconds: float,
) -> None:
    """Write a weight file of learned steps."""
    tensors = {name: t.numpy() for name, t in vars(learned).items() if t is not None}
    metadata = {
        "kind": KIND,
        "form": form,
        "dictionary_sha256": dictionary_sha256(dictionary),
        "training_set": TRAINING_SET,
        "options": asdict(options),
        "seed": seed,
        "minutes": round(seconds / 60, 1),
    }
    weights.write(path, {**tensors, "dictionary": dictionary}, metadata)


def train_lista(
    data: str | Path | None,
    out: str | Path,
    *,
    forms: Sequence[str] = FORMS,
    filters: str = FILTERS,
    options: Options | None = None,
    ship: bool = False,
    seed: int = 0,
) -> list[Path]:
    """Train forms of LISTA and write ``lista-FORM.safetensors`` and its card for each.

    Parameters
    ----------
    data
        The folder of the data sets; None: that of CSCSR_DATA.
    out
        The folder for weights, cards and checkpoints.
    forms
        The forms to train, among `FORMS`.
    filters
        Weights to take the dictionary from: the tensor "filters" (M, s, s) of CSC-SR, or
        "dictionary" (M, 1, s, s) of LISTA.
    options
        The settings; None: the defaults.
    ship
        Whether to put the weights among the shipped ones.
    seed
        The seed of each run.

    Returns
    -------
    list of Path
        The weight files.

    Raises
    ------
    InputError
        If the data or the filters are missing, if the images are too small, if `out` holds weights
        without their checkpoint or the form before for another dictionary, and as in `train`.
    """
    options = options or Options()
    check(Seed, seed, "seed")
    folder = data_folder(data)
    if folder is None:
        raise InputError("training needs a data folder; name it with --data or CSCSR_DATA.")
    dictionary = _dictionary(filters)
    out = Path(out)
    with folder_lock(out, "trains"):
        return _train_forms(folder, out, forms, filters, dictionary, options, ship, seed)


def _train_forms(
    folder: Path,
    out: Path,
    forms: Sequence[str],
    filters: str,
    dictionary: np.ndarray,
    options: Options,
    ship: bool,
    seed: int,
) -> list[Path]:
    """`train_lista`, in a folder that belongs to this process."""
    forms = [form for form in FORMS if form in forms]
    for path in [out / f"lista-{form}.safetensors" for form in forms]:
        if path.exists() and not path.with_suffix(".checkpoint").exists():
            raise InputError(
                f"{path} is the result of a run whose checkpoint is missing: move it away or give "
                "another --out."
            )
    start, starts_at = None, ""
    if forms and forms[0] != FORMS[0]:
        before = out / f"lista-{FORMS[FORMS.index(forms[0]) - 1]}.safetensors"
        if before.is_file():
            start = _start(before, dictionary, options)
            starts_at = f"{before.name}, SHA-256 {weights.sha256(before)}"
    paths = training_images(folder, [TRAINING_SET])
    images = list(residuals(paths, options.scales))
    held_out = list(residuals(holdout_images(folder), (2,)))
    if not any(min(image.shape) >= HELD_OUT_CROP for image in held_out):
        raise InputError(
            f"training needs a held-out image with a residual of at least {HELD_OUT_CROP}x"
            f"{HELD_OUT_CROP} pixels at x2."
        )
    written = []
    for number, form in enumerate(forms):
        checkpoint = out / f"lista-{form}.checkpoint"
        learned, seconds = train(
            form, images, dictionary, options, start=start, checkpoint=checkpoint, seed=seed
        )
        start = learned
        name = f"lista-{form}"
        path = out / f"{name}.safetensors"
        write(path, form, learned, dictionary, options, seed, seconds)
        gaps = held_out_gaps(
            LISTA(form=form, weights=str(path), record_every=0, iterations=options.steps),
            held_out,
            dictionary,
        )
        made = forms[: number + 1]
        text = card(name, made, options, seconds, len(paths), filters, seed, gaps, starts_at, ship)
        write_text(path.with_suffix(".md"), text)
        if ship:
            path = weights.save(name, *weights.load(path), text)
        written.append(path)
    return written


def _start(path: Path, dictionary: np.ndarray, options: Options) -> LearnedSteps:
    """The steps of the form before, as many as are trained and for the same dictionary."""
    form = path.stem.removeprefix("lista-")
    learned, bank = LISTA(form=form, weights=str(path))._learned()
    if len(learned) != options.steps:
        raise InputError(
            f"the start {path} has {len(learned)} steps, not {options.steps}; give another --out."
        )
    if not np.array_equal(bank, dictionary):
        raise InputError(f"the start {path} is of another dictionary; give another --out.")
    return learned


def _dictionary(filters: str) -> np.ndarray:
    """The dictionary (M,1,s,s), float32, of a weight file. Raises InputError without one."""
    tensors, _ = weights.load(filters)
    bank = tensors.get("filters", tensors.get("dictionary"))
    if bank is None:
        raise InputError(f"{filters} holds no filters.")
    return np.ascontiguousarray(bank.reshape(len(bank), 1, *bank.shape[-2:]), dtype=np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of this module, and return its exit code."""
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m cscsr.training.lista",
        description="Train the steps of LISTA on residuals of T91; continues where it was stopped.",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="(default: CSCSR_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs/lista"), metavar="DIR")
    parser.add_argument("--ship", action="store_true", help="put them among the shipped weights")
    parser.add_argument("--form", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--filters", default=FILTERS, metavar="WEIGHTS", help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=usual.steps, help="K (%(default)s)")
    parser.add_argument("--updates", type=int, default=usual.updates, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=usual.batch, help="(%(default)s)")
    parser.add_argument("--crop", type=int, default=usual.crop, help="in pixels (%(default)s)")
    parser.add_argument("--rate", type=float, default=usual.rate, help="(%(default)s)")
    parser.add_argument("--filter-rate", type=float, default=usual.filter_rate)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    try:
        options = Options(
            steps=chosen.steps,
            updates=chosen.updates,
            batch=chosen.batch,
            crop=chosen.crop,
            rate=chosen.rate,
            filter_rate=chosen.filter_rate,
        )
        written = train_lista(
            chosen.data,
            chosen.out,
            forms=chosen.form,
            filters=chosen.filters,
            options=options,
            ship=chosen.ship,
            seed=chosen.seed,
        )
    except InputError as error:
        print(f"cscsr: {printable(str(error))}", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
