"""The model card of LISTA's learned steps, and the held-out figures on it.

Needs numpy, and torch for the solvers that it compares.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cscsr.data.datasets import licence_of_weights
from cscsr.problem import SparseCoding
from cscsr.registry import make_solver
from cscsr.sparse.lista import LISTA

if TYPE_CHECKING:
    from cscsr.training.lista import Options

TRAINING_SET = "T91"
"""The data set that LISTA is trained on."""

SHOWN_LAMS = (0.01, 0.05)
"""λ of the held-out figures."""

HELD_OUT_CROP = 48
HELD_OUT_IMAGES = 4
REFERENCE_ITERATIONS = 200


def held_out_gaps(
    solver: LISTA, images: Sequence[np.ndarray], dictionary: np.ndarray
) -> dict[float, dict[str, float]]:
    """Return the relative objective gaps of ISTA, FISTA and `solver` after K iterations, by λ and
    name.

    They are those of the central crops of residuals (h, w); the optimum is ADMM's after
    `REFERENCE_ITERATIONS`.
    """
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


def card(
    name: str,
    forms: Sequence[str],
    options: Options,
    seconds: float,
    images: int,
    filters: str,
    seed: int,
    gaps: dict[float, dict[str, float]],
    start: str = "",
    ship: bool = False,
) -> str:
    """Return the model card, as Markdown.

    Parameters
    ----------
    name
        The name of the weights.
    forms
        The forms that were trained one after another up to this one, the last.
    options
        The settings of the training.
    seconds
        The time of all updates.
    images
        The number of training images.
    filters
        The weights that the dictionary is taken from.
    seed
        The seed.
    gaps
        As from `held_out_gaps`.
    start
        The file that the first of `forms` started from; "": ISTA.
    ship
        Whether the weights are put among the shipped ones.
    """
    form = forms[-1]
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
    words = ["--form", *forms, "--filters", filters, "--seed", str(seed)]
    for key in ("steps", "updates", "batch", "crop", "rate", "filter_rate"):
        words += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    command = shlex.join(words + ["--ship"] * ship)
    return f"""# {name}

{options.steps} learned iterations of CISTA, form "{form}" (docs/solvers.md). {bound}

- Trained on the objective itself (eq. 3; the mean of its logarithm over all {options.steps} \
steps), without codes of another solver, for the filters of {filters} and λ drawn from \
{low:g} to {high:g}.
- Data: low-resolution residuals at {", ".join(f"x{s}" for s in options.scales)} of the {images} \
images of {TRAINING_SET} (Yang et al.) that are neither held out nor copies of test images; \
{options.updates} updates of {options.batch} crops of {options.crop}x{options.crop}, seed {seed}, \
{seconds / 60:.1f} minutes on one thread of a shared machine.
- Command: `python -m cscsr.training.lista --data DIR {command}`, on \
{datetime.date.today().isoformat()}{f", in a folder with {start}" * bool(start)}.
{licence_of_weights([TRAINING_SET])}

Relative objective gap (P(z) − P*)/P* after {options.steps} iterations, on the central \
{HELD_OUT_CROP}x{HELD_OUT_CROP} of the x2 residuals of {HELD_OUT_IMAGES} held-out images \
(P* by {REFERENCE_ITERATIONS} iterations of ADMM):

| λ | {" | ".join(names)} |
|---|{"---|" * len(names)}
{rows}
"""
