"""All small networks trained alike, for equal numbers of floating-point operations.

    python -m benchmarks.equal_compute --data DIR --out reports/latest

Each network of `cscsr/training/small.toml` and the small CRNets see the same patches in the same
order, with the same optimiser, for the same budgets of operations: 2 per multiply-add of a forward
pass, and twice as many again backward. What the optimiser itself does is not counted. Three
learning rates are tried with the first seed, and the one that is best on the held-out images is
taken for the others: at the smallest budget, or with ``--search each`` at every budget.

The smallest budget comes first, so that a run that is stopped has compared all networks. A run is
a row of equal_compute.csv as soon as it is done; one that was interrupted goes on from its
checkpoint in equal_compute_runs, if its worker sees that folder. equal_compute_curves.csv has the
held-out PSNR at each quarter of a run, equal_compute.md the table, and equal_compute.png the
figure. `cscsr compare` with the same ``--out`` takes the table and the figure into its database and
page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._study.command import (
    Report,
    add_data,
    needed_data,
    run_command,
    silent,
    study_parser,
)
from benchmarks._study.curves import digest, read_curves, write_curves
from benchmarks._study.images import pixels_sha256, tested_images
from benchmarks._study.phases import phases
from benchmarks._study.workers import results_of
from benchmarks.drawing.equal_compute import draw
from cscsr import InputError, interrupts
from cscsr.compare import machine
from cscsr.compare.trained_alike import COLUMNS, CONFIGURATION, SETS, chosen, table_of
from cscsr.data.datasets import training_images
from cscsr.errors import unknown_name
from cscsr.imaging import read_image
from cscsr.locks import folder_lock
from cscsr.output import make_folder, write_text
from cscsr.parallel import add_worker_options
from cscsr.training.recipe import Optimiser, Recipe, load_recipe, recipe_names

if TYPE_CHECKING:
    import numpy as np

    from benchmarks._study.same_patches import SamePatches
    from cscsr.training.trainer import Trainer

SCALE = 2
"""The one factor that every network enlarges by."""

BUDGETS = (2e13, 6e13, 2e14)
RATES = (1.5e-3, 5e-4, 4.5e-3)
"""Peak learning rates, in the order in which they are tried."""

SEEDS = 2
BATCH = 8
PATCH = 24
"""Side of a patch in low-resolution pixels."""

SETTINGS: dict[str, Any] = {"method": "muon", "warmup": 0.05, "clip": 1.0, "ema": 0.995}
"""Of all networks; the rest are the defaults of `Optimiser`: Muon for the inner convolutions, Adam
for the other weights, L1, and a cosine."""

CHECKPOINT_SECONDS = 60.0
EVALUATIONS = 4

CRNETS = ("crnet-a-small", "crnet-b-small")


@dataclass(frozen=True)
class Run:
    """One training: a network's recipe by name, its budget, peak learning rate and seed."""

    network: str
    budget: float
    rate: float
    seed: int

    def __str__(self) -> str:
        return f"{self.network}, {self.budget:.3g} FLOP, rate {self.rate:g}, seed {self.seed}"


@dataclass(frozen=True)
class Task:
    """What all runs share: the images' digests, bicubic's PSNR on the held-out and the test images
    by line, these images, and the folder of the checkpoints."""

    digests: dict[str, str]
    bicubic: dict[str, tuple[float, float]]
    holdout: list[np.ndarray]
    tests: list[np.ndarray]
    folder: str


def network_names() -> list[str]:
    """The recipes that are compared: the CRNets, then the others."""
    own = {name.removesuffix("-small") for name in recipe_names() if name.endswith("-small")}
    return [*CRNETS, *(f"{name}-small" for name in sorted(own) if not name.startswith("crnet"))]


def recipe_of(run: Run) -> Recipe:
    """The recipe of a run: the network of its own, and all else the same for all."""
    from cscsr.networks import blueprint

    recipe = load_recipe(run.network)
    if SCALE not in recipe.scales:
        raise InputError(f"{run.network} does not enlarge by {SCALE}.")
    network = blueprint(recipe.architecture, {**recipe.network, "scales": [SCALE]})
    patch = PATCH * network.input_ratio(SCALE)
    return Recipe(
        name=run.network,
        architecture=recipe.architecture,
        sets=[],
        scales=[SCALE],
        network=recipe.network,
        optimiser=Optimiser(batch=BATCH, patch=patch, learning_rate=run.rate, **SETTINGS),
    )


def exact(budget: float) -> str:
    """The budget as the tables have it: 2e+13, or all digits where these say another number."""
    short = f"{budget:g}"
    return short if float(short) == budget else repr(budget)


def steps_of(recipe: Recipe, budget: float) -> int:
    """The training steps that come closest to a budget, at least one."""
    return max(1, round(budget / recipe.step_operations()))


def configuration(digests: Mapping[str, str]) -> str:
    """A digest of what all runs share, which tells rows of other settings apart."""
    shared = {"scale": SCALE, "batch": BATCH, "patch": PATCH, **SETTINGS, **digests}
    return digest(shared)


def images_of(digests: Mapping[str, str]) -> dict[str, str]:
    """The columns that name the images of a run."""
    return {name: digests[name] for name in ("trained_on", "test_set")}


def key_of(run: Run, digests: Mapping[str, str]) -> str:
    """A digest of all that a run's result depends on, but the code."""
    recipe = recipe_of(run).as_dict()
    return digest({"recipe": recipe, "budget": run.budget, "seed": run.seed, **digests})


def trained(
    run: Run, task: Task, banks: Mapping[str, SamePatches]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train a network, from its checkpoint if it has one; its row and the rows of its curve.

    A run whose loss stops being finite has no PSNR.
    """
    from cscsr.training.allocator import keep_freed_memory
    from cscsr.training.trainer import NonFiniteLoss

    keep_freed_memory()
    recipe = recipe_of(run)
    steps = steps_of(recipe, run.budget)
    trainer, curve = _started(run, recipe, task, banks)
    line = trainer.network.line
    row: dict[str, Any] = {
        "key": key_of(run, task.digests),
        CONFIGURATION: configuration(task.digests),
        **images_of(task.digests),
        "network": run.network,
        "budget_flop": exact(run.budget),
        "learning_rate": run.rate,
        "seed": run.seed,
        "line": line,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "multiply_adds_per_pixel": trainer.network.multiply_adds(SCALE),
        "steps": steps,
        "training_flop": f"{steps * recipe.step_operations():.4g}",
        "bicubic_holdout_psnr_db": round(task.bicubic[line][0], 4),
        "bicubic_test_psnr_db": round(task.bicubic[line][1], 4),
    }
    try:
        holdout = _train(run, trainer, steps, task, curve)
        start = time.process_time()
        test = trainer.evaluate(task.tests)[SCALE]
        row |= {
            "holdout_psnr_db": f"{holdout:.4f}",
            "test_psnr_db": f"{test:.4f}",
            "seconds": round(trainer.progress.seconds, 1),
            "test_seconds": round(time.process_time() - start, 2),
        }
        row["machine"] = machine.describe()
    except NonFiniteLoss:
        row |= {"holdout_psnr_db": "", "test_psnr_db": "", "seconds": "", "test_seconds": ""}
    about = {name: row[name] for name in ("key", "network", "budget_flop", "learning_rate", "seed")}
    return row, [
        {**about, "share": share, "holdout_psnr_db": f"{psnr:.4f}"} for share, psnr in curve
    ]


def checkpoint_of(run: Run, task: Task) -> Path:
    """Where a run's checkpoint is while it is not done."""
    return Path(task.folder) / f"{run.network}-{key_of(run, task.digests)}.pt"


def _started(
    run: Run, recipe: Recipe, task: Task, banks: Mapping[str, SamePatches]
) -> tuple[Trainer, list[list[float]]]:
    """The trainer of a run and the points of its curve, as the checkpoint has them."""
    from cscsr import checkpoints
    from cscsr.networks import architecture
    from cscsr.schema import check
    from cscsr.training.trainer import Trainer

    bank = banks[bank_of(architecture(recipe.architecture))]
    trainer = Trainer(recipe, {SCALE: bank}, bf16=False, seed=run.seed)
    trainer.progress.per_step = 1 / steps_of(recipe, run.budget)
    path = checkpoint_of(run, task)
    if not path.is_file():
        return trainer, []
    state = checkpoints.read(path)
    trainer.restore(state)
    return trainer, check(list[list[float]], state["curve"], "curve")


def _train(run: Run, trainer: Trainer, steps: int, task: Task, curve: list[list[float]]) -> float:
    """Make the steps that are left; the held-out PSNR at the end. Seconds are of the processor.

    A worker that does not see the folder of the checkpoints makes none.
    """
    from cscsr import checkpoints

    path, since = checkpoint_of(run, task), time.monotonic()
    has_folder = path.parent.is_dir()
    due = {round(steps * number / EVALUATIONS) for number in range(1, EVALUATIONS + 1)}
    while trainer.progress.step < steps:
        start = time.process_time()
        trainer.step()
        trainer.progress.seconds += time.process_time() - start
        step = trainer.progress.step
        evaluated = step in due
        if evaluated:
            trainer.check_finite()
            curve.append([step / steps, trainer.evaluate(task.holdout)[SCALE]])
        if has_folder and (evaluated or time.monotonic() - since > CHECKPOINT_SECONDS):
            checkpoints.write(path, {**trainer.state(), "curve": curve})
            since = time.monotonic()
    return curve[-1][1]


def bank_of(network: type) -> str:
    """The name of the class that makes a network's training pairs."""
    from cscsr.networks import LumaEnlarger, LumaRefiner, RGBEnlarger

    kinds = (LumaRefiner, LumaEnlarger, RGBEnlarger)
    return next(kind.__name__ for kind in kinds if issubclass(network, kind))


def make_banks(images: Sequence[np.ndarray], networks: Sequence[str]) -> dict[str, SamePatches]:
    """The patches of all kinds of networks that `networks`, recipes by name, have."""
    from benchmarks._study.same_patches import SamePatches
    from cscsr.networks import architecture

    classes = {}
    for name in networks:
        network = architecture(load_recipe(name).architecture)
        classes[bank_of(network)] = network
    return {
        kind: SamePatches([network.training_pair(image, SCALE) for image in images], SCALE)
        for kind, network in classes.items()
    }


def _earlier(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table of the study.

    Raises InputError for a file that is none.
    """
    rows: list[dict[str, Any]] = list(read_curves(path))
    missing = {"key", *columns}.difference(*rows[:1]) if rows else set()
    if missing:
        raise InputError(f"{path} is no table of this study: it has no {min(missing)}.")
    return rows


class _Results:
    """The rows of equal_compute.csv and of its curves, and what is drawn of them."""

    def __init__(self, out: Path, task: Task, budgets: Sequence[float]) -> None:
        self.out, self.task, self.budgets = out, task, sorted(budgets)
        rows, curves, *_ = self.paths()
        self.rows: list[dict[str, Any]] = _earlier(rows, COLUMNS)
        self.curves: list[dict[str, Any]] = _earlier(curves, ())
        self.keys = {row["key"] for row in self.rows}
        try:
            chosen(self.own())
        except (TypeError, ValueError) as error:
            raise InputError(f"{rows} is damaged: {error}.") from error
        for row in self.own():  # of a release that did not name the images
            row.update(images_of(task.digests))

    def own(self) -> list[dict[str, Any]]:
        """The rows of these settings."""
        wanted = configuration(self.task.digests)
        return [row for row in self.rows if row[CONFIGURATION] == wanted]

    def add(self, run: Run, result: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
        """Write a run's row, and remove its checkpoint."""
        row, curve = result
        self.rows.append({name: str(value) for name, value in row.items()})
        self.curves = [line for line in self.curves if line["key"] != row["key"]] + curve
        self.keys.add(row["key"])
        self.write()
        checkpoint_of(run, self.task).unlink(missing_ok=True)

    def best_rate(self, network: str, budget: float, search: str) -> float | None:
        """The rate of the best run with the first seed, at the first budget, or with ``each`` at
        the largest up to `budget` that has one; None without any."""
        upto = self.budgets[: self.budgets.index(budget) + 1] if search == "each" else []
        points = {
            point.budget: point.rate for point in chosen(self.own()) if point.network == network
        }
        for source in (*reversed(upto), self.budgets[0]):
            if source in points:
                return points[source]
        return None

    def paths(self) -> list[Path]:
        """The files of the study: rows, curves, table and figure."""
        ends = (".csv", "_curves.csv", ".md", ".png")
        return [self.out / f"equal_compute{end}" for end in ends]

    def write(self) -> None:
        """Write rows, curves and table."""
        rows, curves, table, _ = self.paths()
        write_curves(curves, self.curves)
        write_curves(rows, self.rows)
        write_text(table, table_of(chosen(self.own())))

    def draw(self) -> None:
        """Draw the figure."""
        draw(chosen(self.own()), self.task.digests["test_set"], SCALE, self.paths()[-1])


def equal_compute(
    out: str | Path,
    data: str | Path | None = None,
    *,
    budgets: Sequence[float] = BUDGETS,
    networks: Sequence[str] | None = None,
    rates: Sequence[float] = RATES,
    seeds: int = SEEDS,
    search: str = "first",
    sets: Sequence[str] = SETS,
    jobs: str | int = 1,
    scheduler: str | None = None,
    report: Report = silent,
) -> list[Path]:
    """Make the files of the study in the folder `out`; returns their paths.

    Raises InputError for an unknown network, a budget, rate or number of seeds that is not
    positive, missing images, and as `results_of` does.
    """
    known = network_names()
    networks = list(dict.fromkeys(networks or known))
    budgets, rates = list(dict.fromkeys(budgets)), list(dict.fromkeys(rates))
    for name in networks:
        if name not in known:
            raise unknown_name("network", name, known)
    for words, numbers in (("budgets", budgets), ("rates", rates), ("seeds", [seeds])):
        if not all(0 < number < inf for number in numbers):
            raise InputError(f"the study needs positive, finite {words}, got {list(numbers)}.")
    out = make_folder(out)
    with folder_lock(out, "trains"):
        task, banks = _prepared(needed_data(data), out, networks, sets)
        results = _Results(out, task, budgets)
        for budget, choices, numbers in phases(budgets, rates, seeds, search):
            runs = []
            for seed in numbers:
                for choice in choices:
                    for name in networks:
                        rate = choice or results.best_rate(name, budget, search)
                        if rate is not None:  # None: no rate was finite
                            runs.append(Run(name, budget, rate, seed))
            left = [run for run in runs if key_of(run, task.digests) not in results.keys]
            workers = {"jobs": jobs, "scheduler": scheduler}
            for run, result in results_of(trained, left, task, banks, **workers, report=report):
                results.add(run, result)
            results.write()
            results.draw()
    return results.paths()


def _prepared(
    data: Path, out: Path, networks: Sequence[str], sets: Sequence[str]
) -> tuple[Task, dict[str, SamePatches]]:
    """Read the images, and make the patches."""
    from cscsr.bicubic import Bicubic
    from cscsr.training.run import holdout_crops, holdout_psnr

    images = [read_image(path) for path in training_images(data, list(sets))]
    holdout = holdout_crops(data)
    test_set, tests = tested_images(data)
    digests = {
        "trained_on": " ".join(sets),
        "trained_sha256": pixels_sha256(enumerate(images)),
        "holdout_sha256": pixels_sha256(enumerate(holdout)),
        "test_set": test_set,
        "test_sha256": pixels_sha256(tests.items()),
    }
    bicubic = {
        line: tuple(
            holdout_psnr(Bicubic(), truths, [SCALE], line)[SCALE]
            for truths in (holdout, list(tests.values()))
        )
        for line in ("y", "rgb")
    }
    folder = make_folder(out / "equal_compute_runs").resolve()
    task = Task(digests, bicubic, holdout, list(tests.values()), str(folder))
    return task, make_banks(images, networks)


def _words(numbers: Sequence[float]) -> str:
    """Numbers as a command has them."""
    return " ".join(f"{number:g}".replace("e+", "e") for number in numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.equal_compute`."""
    parser = study_parser("equal_compute", __doc__.split("\n\n")[0])
    add_data(parser)
    parser.add_argument(
        "--budgets",
        type=float,
        nargs="+",
        default=BUDGETS,
        metavar="FLOP",
        help=f"operations of a training (default: {_words(BUDGETS)})",
    )
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=RATES,
        metavar="RATE",
        help=f"peak learning rates, the likeliest first (default: {_words(RATES)})",
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of the best (%(default)s)")
    parser.add_argument(
        "--search",
        choices=("first", "each"),
        default="first",
        help="try all rates at the first budget, or at each (%(default)s)",
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        default=SETS,
        metavar="SET",
        help=f"of the training images (default: {' '.join(SETS)})",
    )
    add_worker_options(parser)
    return run_command(equal_compute, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
