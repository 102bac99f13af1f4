"""What each way of training is worth: short runs that differ in one thing, on held-out images.

    python -m benchmarks.levers --data DIR --out reports/latest

A narrow CRNet-A is trained at ×3 with everything as it stands, and with one lever moved at a
time; see `benchmarks._study.short_runs`. The table (levers.md) is what choices are made by, so it
never looks at a test set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._study.short_runs import BATCH, LEARNING_RATE, Variant, study_command
from cscsr import interrupts
from cscsr.output import write_text

BASE = "as it stands"
RECURSIONS = 4


def start_near_cista(network: Any) -> None:
    """Start S at n − (1/L) flip(f)⊗f for the f that W holds, cut to 3×3 (eq. 8)."""
    import torch
    from torch.nn.functional import conv2d

    W, S = network.block.W.weight, network.block.S.weight
    with torch.no_grad():
        product = conv2d(W, W, padding=1)  # the middle of the 5×5 of W and its adjoint
        spectrum = torch.fft.rfft2(product, (16, 16)).permute(2, 3, 0, 1)
        largest = torch.linalg.matrix_norm(spectrum, 2)
        S.copy_(-product / largest.max())
        S[:, :, 1, 1] += torch.eye(len(S))


def growth(recursions: int) -> Callable[[Any, float], None]:
    """One recursion more after each K-th part of the run, up to K; all of them share one S."""

    def grow(network: Any, done: float) -> None:
        network.block.recursions = 1 + int(done * recursions)

    return grow


def variants(width: int, recursions: int = RECURSIONS) -> list[Variant]:
    """The base, and a variant for each lever; with a teacher only where its weights are
    imported."""
    from cscsr.published_weights import PUBLISHED, is_imported
    from cscsr.training.recipe import Teacher

    network = {"n0": width, "m0": 2 * width, "recursions": recursions}
    factored, vdsr = {"s_rank": width}, Teacher("vdsr[published]")

    def lever(label: str, more: Any = None, **how: Any) -> Variant:
        return Variant(label, "crnet-a", network | (more or {}), **how)

    levers = [
        lever(BASE),
        lever("Muon for the inner convolutions", optimiser={"method": "muon"}),
        lever("no averaged weights", optimiser={"ema": 0.0}),
        lever("Charbonnier loss", optimiser={"loss": "charbonnier"}),
        lever("mean squared error", optimiser={"loss": "mse"}),
        lever("no clipping", optimiser={"clip": float("inf")}),
        lever("S started near n − (1/L) flip(f)⊗f", start=start_near_cista),
        lever(f"S = n − A∘B with {width} filters", factored),
        lever(
            f"Muon, and S = n − A∘B with {width} filters", factored, optimiser={"method": "muon"}
        ),
        lever("VDSR as a teacher", teacher=vdsr),
        lever(
            f"VDSR as a teacher, Muon, and S = n − A∘B with {width} filters",
            factored,
            optimiser={"method": "muon"},
            teacher=vdsr,
        ),
        lever(f"K grown from 1 to {recursions}", during=growth(recursions)),
        lever("bfloat16", bf16=True),
        lever("half the learning rate", optimiser={"learning_rate": LEARNING_RATE / 2}),
    ]
    taught = is_imported(PUBLISHED["vdsr"])
    return [variant for variant in levers if taught or variant.teacher is None]


def count_of(runs: Any, pairs: int) -> str:
    """The number of a variant's runs (a DataFrame), of those that diverged, and of the `pairs`
    whose gain is known if they are fewer than the others."""
    diverged = int(runs.psnr_db.isna().sum())
    remarks = [f"{diverged} diverged"] * (diverged > 0)
    remarks += [f"gain of {pairs}"] * (pairs < len(runs) - diverged)
    return f"{len(runs)}" + f" ({', '.join(remarks)})" * bool(remarks)


def write(table: Path, page: Path) -> None:
    """Write levers.md from levers.csv."""
    import pandas as pd

    rows = pd.read_csv(table)
    base = rows[rows.variant == BASE].set_index("seed")
    first = rows.iloc[0]
    lines = [
        "| lever | PSNR ×3, dB | gain over the base, dB | runs |",
        "|---|--:|--:|--:|",
    ]
    for variant, runs in rows.groupby("variant", sort=False):
        psnr_db = runs.set_index("seed").psnr_db.dropna()
        gain = (psnr_db - base.psnr_db).dropna()
        means = [f"{psnr_db.mean():.3f}" if len(psnr_db) else ""]
        means.append(f"{gain.mean():+.3f}" if len(gain) else "")
        lines.append(f"| {variant} | {' | '.join(means)} | {count_of(runs, len(gain))} |")
    lines += [
        "",
        f"CRNet-A, n₀ = {first.n0}, m₀ = {first.m0}, K = {first.recursions}: {first.steps} steps "
        f"of {BATCH} patches from {first.trained_on}, tested on the held-out images (bicubic: "
        f"{first.bicubic_psnr_db:.3f} dB). Gains are means over runs of the same seed.",
    ]
    write_text(page, "\n".join(lines) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.levers`."""
    return study_command(
        "levers",
        __doc__.split("\n\n")[2],
        variants,
        write,
        arguments,
        recursions=RECURSIONS,
        held_out=True,
        timed=True,
    )


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
