"""What CSC-SR's LR filters are worth by the learner that they come from: sporco's online dictionary
learning, which made the shipped ones, and `cscsr.learn_dictionary`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._study.command import Report, silent
from benchmarks._study.curves import read_curves, write_curves
from benchmarks.csc_sr.choices import BASE, SCALE, fitted_row
from benchmarks.csc_sr.sporco_filters import sporco_filters, write_filters
from cscsr.csc_sr.options import CODINGS, Options
from cscsr.csc_sr.train import learned_filters
from cscsr.output import make_folder, write_text

SPORCO, OURS = "sporco, online", "learn_dictionary"

RUNS = ((SPORCO, 60), (OURS, 15), (OURS, 60))
"""Learners and their steps. A step codes one tile with sporco's learner and four with ours, so that
60 and 15 code as many."""

CODERS = ("ista", "admm")
SEEDS = (0, 1)


def learners(
    data: str | Path, out: str | Path, report: Report = silent, *, seeds: Sequence[int] = SEEDS
) -> list[Path]:
    """Learn filters with each of `RUNS` and each seed, fit the ridge form of each coder to them,
    and write the table; rows of a run that was stopped are kept. Raises InputError for a folder
    without the data."""
    out = make_folder(out)
    table, text = out / "learners.csv", out / "learners.md"
    rows: list[dict[str, Any]] = list(read_curves(table))
    done = {(row["learner"], row["steps"], row["seed"]) for row in rows}
    runs = [(learner, steps, seed) for seed in seeds for learner, steps in RUNS]
    for index, (learner, steps, seed) in enumerate(runs):
        if (learner, str(steps), str(seed)) in done:
            continue
        report(f"{learner}, {steps} steps, seed {seed}", index, len(runs))
        rows += _rows(data, out / "runs", learner, steps, seed)
        write_curves(table, rows)
    write_text(text, markdown(read_curves(table)))
    return [table, text]


def _rows(
    data: str | Path, folder: Path, learner: str, steps: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each coder, with the same filters."""
    options = replace(Options(), **BASE, filter_steps=steps)
    learn = sporco_filters if learner == SPORCO else learned_filters
    begin = time.process_time()
    bank = learn(data, options, seed)
    seconds = time.process_time() - begin
    name = f"{learner.split(',')[0]}-{steps}-{seed}"
    filters = write_filters(folder / f"{name}.safetensors", bank)
    for coder in CODERS:
        own = replace(options, codings={coder: CODINGS[coder]})
        row = fitted_row(data, folder / f"{name}-{coder}", coder, own, filters, seed)
        yield {
            "learner": learner,
            "steps": steps,
            "seed": seed,
            "learning_seconds": f"{seconds:.1f}",
            "coder": coder,
            **row,
        }


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """A line for each learner and number of steps, a column for each coder and seed."""
    seeds = sorted({row["seed"] for row in rows})
    columns = [(coder, seed) for coder in CODERS for seed in seeds]
    lines = [
        f"| ×{SCALE}, ridge form, {BASE['atoms']} filters | steps | seconds of learning | "
        + " | ".join(f"{coder}, seed {seed}" for coder, seed in columns)
        + " |",
        "|---|--:|--:|" + "--:|" * len(columns),
    ]
    for learner, steps in RUNS:
        own = [row for row in rows if (row["learner"], row["steps"]) == (learner, str(steps))]
        psnr = {(row["coder"], row["seed"]): float(row["psnr_db"]) for row in own}
        seconds = np.mean([float(row["learning_seconds"]) for row in own])
        cells = " | ".join(f"{psnr[column]:.2f}" for column in columns)
        lines.append(f"| {learner} | {steps} | {seconds:.1f} | {cells} |")
    return "\n".join(lines) + "\n"
