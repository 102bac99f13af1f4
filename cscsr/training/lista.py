"""Training of LISTA's steps on the objective itself: no codes of another solver are needed.

    python -m cscsr.training.lista --data DIR --out runs/lista

The loss is the mean of log P(zₖ) over the steps k = 1 … K and the crops of a batch, P being
eq. 4: the gradient of the objective relative to its value, so that a crop with little
contrast weighs as much as another. Every step is trained to be the last one. λ is drawn anew
for each batch, log-uniformly. The crops are those of the low-resolution residuals that CSC-SR
codes, from T91 without its held-out images, and wrap around.

Each form starts where the one before it ended: "step" at ISTA, "tied" at "step", "untied" at
"tied". A run that was stopped goes on from its checkpoint with the same curve. Needs torch,
numpy and tqdm.
"""

from __future__ import annotations

import argparse
import datetime
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cscsr import weights
from cscsr.csc_sr.decompose import MARGIN, continued, split
from cscsr.data.datasets import data_folder, holdout_images, licence_of_weights, training_images
from cscsr.errors import InputError
from cscsr.imaging import degrade, read_image
from cscsr.problem import SparseCoding
from cscsr.registry import make_solver
from cscsr.sparse.lista import (
    FORMS,
    KIND,
    LISTA,
    STEPS,
    LearnedSteps,
    dictionary_sha256,
    lista_step,
)

TRAINING_SET = "T91"
FILTERS = "csc-sr-ista"
"""Shipped weights whose filters are the dictionary, unless another file is named."""

CHECKPOINT_EVERY = 10
SHOWN_LAMS = (0.01, 0.05)
"""λ of the held-out figures."""

HELD_OUT_CROP = 48
HELD_OUT_IMAGES = 4
REFERENCE_ITERATIONS = 200


@dataclass(frozen=True)
class Options:
    """steps: K. updates: of the parameters. batch: crops an update; crop: their side.
    lams: the range that λ is drawn from. rate: of Adam, for log γ and log θ; filter_rate: for
    the elements of W and B (unit-norm atoms); both fall to zero by a cosine."""

    steps: int = STEPS
    updates: int = 600
    batch: int = 6
    crop: int = 32
    lams: tuple[float, float] = (0.005, 0.1)
    rate: float = 0.03
    filter_rate: float = 1e-3
    scales: tuple[int, ...] = (2, 3, 4)


class Learner(nn.Module):
    """γ and θ as their logarithms, W and B as they are; starts at ISTA."""

    def __init__(self, form: str, dictionary: Tensor, steps: int) -> None:
        super().__init__()
        each = 1 if form == "step" else len(dictionary)
        self.log_gains = nn.Parameter(torch.zeros(steps))
        self.log_thresholds = nn.Parameter(torch.zeros(steps, each))
        self.analysis = self.synthesis = None
        if form != "step":
            banks = dictionary.expand(1 if form == "tied" else steps, *dictionary.shape)
            self.analysis = nn.Parameter(banks.clone())
            self.synthesis = nn.Parameter(banks.clone())

    def learned(self) -> LearnedSteps:
        """The steps, differentiable in the parameters."""
        return LearnedSteps(
            self.log_gains.exp(), self.log_thresholds.exp(), self.analysis, self.synthesis
        )

    def start_at(self, learned: LearnedSteps) -> None:
        """Take over the steps of a form with no more parameters than this one."""
        with torch.no_grad():
            self.log_gains.copy_(learned.gains.log())
            self.log_thresholds.copy_(learned.thresholds.log().expand_as(self.log_thresholds))
            if self.analysis is not None and learned.analysis is not None:
                self.analysis.copy_(learned.analysis.expand_as(self.analysis))
                self.synthesis.copy_(learned.synthesis.expand_as(self.synthesis))


def mean_log_objective(learned: LearnedSteps, problem: SparseCoding) -> Tensor:
    """The mean of log P(zₖ), k = 1 … K, over a batch of signals: the loss."""
    step, operator, observed = lista_step(learned, problem), problem.operator(), problem.observed()
    codes = observed.new_zeros(problem.codes_shape)
    total = observed.new_zeros(())
    for k in range(len(learned)):
        codes = step(codes, k)
        misfit = (observed - operator.synthesis(codes)).square().sum((1, 2, 3))
        objective = 0.5 * misfit + problem.lam * codes.abs().sum((1, 2, 3))
        total = total + (objective + 1e-6).log().mean()
    return total / len(learned)


def residuals(paths: Sequence[Path], scales: Sequence[int]) -> Iterator[np.ndarray]:
    """The LR residual (h,w), float32, that CSC-SR codes, of each image and scale."""
    for path in tqdm(paths, "reading images", leave=False):
        image = read_image(path)
        for scale in scales:
            residual = split(continued(degrade(image, scale, "y").astype(np.float64))).residual
            yield residual[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)


def draw(
    images: Sequence[np.ndarray], options: Options, generator: torch.Generator
) -> tuple[Tensor, float]:
    """A batch of crops (B,1,c,c) and a λ."""

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
    """K learned steps of a form for a dictionary (M,1,s,s), from residuals (h,w) like
    `images`, and the seconds that all updates took.

    start: steps to begin with (ISTA's by default). checkpoint: a file that is written every
    `CHECKPOINT_EVERY` updates, and gone on from where it is there; made with other options,
    it is refused. Raises InputError for that, if no image is as large as a crop, and for a
    loss that is not finite.
    """
    images = [image for image in images if min(image.shape) >= options.crop]
    if not images:
        raise InputError(f"training needs residuals of at least {options.crop}x{options.crop}.")
    filters = torch.from_numpy(dictionary)
    learner = Learner(form, filters, options.steps)
    if start is not None:
        learner.start_at(start)
    logs = [learner.log_gains, learner.log_thresholds]
    groups = [{"params": logs, "lr": options.rate}]
    if form != "step":
        banks = [learner.analysis, learner.synthesis]
        groups.append({"params": banks, "lr": options.filter_rate})
    adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, options.updates)
    generator = torch.Generator().manual_seed(seed)
    kept = {"learner": learner, "adam": adam, "schedule": schedule}
    about = {**asdict(options), "form": form, "seed": seed}
    done, seconds = 0, 0.0
    if checkpoint is not None and checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        if state["about"] != about:
            raise InputError(f"{checkpoint} is of a run with other options; remove it.")
        for name, part in kept.items():
            part.load_state_dict(state[name])
        generator.set_state(state["generator"])
        done, seconds = state["done"], state["seconds"]
    bar = tqdm(range(done, options.updates), f"lista {form}", initial=done, total=options.updates)
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
            state = {name: part.state_dict() for name, part in kept.items()}
            state |= {"generator": generator.get_state(), "about": about}
            part = checkpoint.with_suffix(".part")
            torch.save(state | {"done": update + 1, "seconds": seconds}, part)
            part.replace(checkpoint)
        bar.set_postfix_str(f"log P {float(loss.detach()):.4f}")
    with torch.no_grad():
        learned = learner.learned()
    return LearnedSteps(*(t if t is None else t.detach() for t in vars(learned).values())), seconds


def held_out_gaps(
    solver: LISTA, images: Sequence[np.ndarray], dictionary: np.ndarray
) -> dict[float, dict[str, float]]:
    """λ to the relative objective gaps, after K iterations, of ISTA, FISTA and `solver`, for
    the central crops of residuals; the optimum is ADMM's after `REFERENCE_ITERATIONS`."""
    crops = []
    for image in images:
        top, left = ((n - HELD_OUT_CROP) // 2 for n in image.shape)
        if min(top, left) >= 0:
            crops.append(image[top : top + HELD_OUT_CROP, left : left + HELD_OUT_CROP])
    signal = np.stack(crops[:HELD_OUT_IMAGES])[:, None]
    table = {}
    for lam in SHOWN_LAMS:
        problem = SparseCoding(signal, dictionary, lam)
        best = make_solver("admm", iterations=REFERENCE_ITERATIONS, tol=0, record_every=0)
        lowest = best.solve(problem).trace["objective"][-1]
        solvers = {
            n: make_solver(n, iterations=solver.iterations, tol=0, record_every=0)
            for n in ("ista", "fista")
        }
        table[lam] = {
            each.name: float(each.solve(problem).trace["objective"][-1] / lowest - 1.0)
            for each in (*solvers.values(), solver)
        }
    return table


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


def card(
    name: str,
    form: str,
    options: Options,
    seconds: float,
    images: int,
    filters: str,
    seed: int,
    gaps: dict[float, dict[str, float]],
) -> str:
    """The model card, as Markdown."""
    names = list(next(iter(gaps.values())))
    rows = "\n".join(
        f"| {lam:g} | " + " | ".join(f"{row[n]:.4f}" for n in names) + " |"
        for lam, row in gaps.items()
    )
    bound = (
        "Any dictionary."
        if form == "step"
        else "Its own dictionary only, which the file holds and whose SHA-256 is checked."
    )
    low, high = options.lams
    return f"""# {name}

{options.steps} learned iterations of CISTA, form "{form}" (docs/solvers.md). {bound}

- Trained on the objective itself (eq. 4; the mean of its logarithm over all {options.steps} \
steps), without codes of another solver, for the filters of {filters} and λ drawn from \
{low:g} to {high:g}.
- Data: low-resolution residuals at {", ".join(f"x{s}" for s in options.scales)} of the {images} \
images of {TRAINING_SET} (Yang et al.) that are neither held out nor copies of test images; \
{options.updates} updates of {options.batch} crops of {options.crop}x{options.crop}, seed {seed}, \
{seconds / 60:.1f} minutes on one thread of a shared machine.
- Command: `python -m cscsr.training.lista --data DIR --form {form} --updates \
{options.updates} --batch {options.batch} --crop {options.crop} --ship`, on \
{datetime.date.today().isoformat()}.
{licence_of_weights([TRAINING_SET])}

Relative objective gap (P(z) − P*)/P* after {options.steps} iterations, on the central \
{HELD_OUT_CROP}x{HELD_OUT_CROP} of the x2 residuals of {HELD_OUT_IMAGES} held-out images \
(P* by {REFERENCE_ITERATIONS} iterations of ADMM):

| λ | {" | ".join(names)} |
|---|{"---|" * len(names)}
{rows}
"""


def train_lista(
    data: str | Path,
    out: str | Path,
    *,
    forms: Sequence[str] = FORMS,
    filters: str = FILTERS,
    options: Options | None = None,
    ship: bool = False,
    seed: int = 0,
) -> list[Path]:
    """Train `forms` in the folder `out` and write ``lista-FORM.safetensors`` and its card
    there, or with `ship` among the shipped weights; returns the weight files' paths.

    A form whose file is in `out` already with the same options is not trained again.
    filters: weights whose tensor "filters" (M,s,s), of CSC-SR, or "dictionary" (M,1,s,s), of
    LISTA, is the dictionary. Raises InputError if
    data or filters are not there.
    """
    options = options or Options()
    data = data_folder(data)
    if data is None:
        raise InputError("training needs a data folder; name it with --data or CSCSR_DATA.")
    dictionary = _dictionary(filters)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    paths = training_images(data, [TRAINING_SET])
    images = list(residuals(paths, options.scales))
    held_out = list(residuals(holdout_images(data), (2,)))
    start, written = None, []
    for form in [form for form in FORMS if form in forms]:
        before = out / f"lista-{FORMS[max(FORMS.index(form) - 1, 0)]}.safetensors"
        if start is None and form != "step" and before.is_file():
            start = LISTA(form=FORMS[FORMS.index(form) - 1], weights=str(before))._learned()[0]
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
        text = card(name, form, options, seconds, len(paths), filters, seed, gaps)
        path.with_suffix(".md").write_text(text, encoding="utf-8")
        if ship:
            path = weights.save(name, *weights.load(path), text)
        written.append(path)
    return written


def _dictionary(filters: str) -> np.ndarray:
    """The dictionary (M,1,s,s), float32, of a weight file. Raises InputError without one."""
    tensors, _ = weights.load(filters)
    found = tensors.get("filters", tensors.get("dictionary"))
    if found is None:
        raise InputError(f"{filters} holds no filters.")
    return np.ascontiguousarray(found.reshape(len(found), 1, *found.shape[-2:]), dtype=np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of this module; ``--help`` has the options."""
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m cscsr.training.lista",
        description="Train the steps of LISTA on residuals of T91; goes on where it was stopped.",
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
    given = parser.parse_args(arguments)
    options = Options(
        steps=given.steps,
        updates=given.updates,
        batch=given.batch,
        crop=given.crop,
        rate=given.rate,
        filter_rate=given.filter_rate,
    )
    try:
        written = train_lista(
            given.data,
            given.out,
            forms=given.form,
            filters=given.filters,
            options=options,
            ship=given.ship,
            seed=given.seed,
        )
    except InputError as error:
        parser.error(str(error))
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
