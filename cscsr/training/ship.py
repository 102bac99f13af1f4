"""Ship trained network weights: measure them on the held-out images, write card and manifest.

    python -m cscsr.training.ship runs/crnet-b-small crnet-b-small --data DIR

Weights are shipped only if they beat bicubic interpolation on the images of holdout.txt and, unless
``--replace`` is given, the shipped ones.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from cscsr import interrupts, weights
from cscsr.bicubic import Bicubic
from cscsr.data.datasets import licence_of_weights, training_images
from cscsr.errors import InputError
from cscsr.network import NetworkSolver, read_network
from cscsr.published_weights import row_of_solver
from cscsr.schema import Range, Seed, check_table, shown
from cscsr.training.recipe import FOLDER, Recipe, Teacher, recipe_file
from cscsr.training.run import HOLDOUT_CROP, holdout_crops, holdout_psnr


def publish(
    run: str | os.PathLike[str],
    name: str,
    data: str | os.PathLike[str],
    replace: bool = False,
    device: str = "cpu",
    half: bool = False,
) -> Path:
    """Ship the weights of a training run.

    Parameters
    ----------
    run
        Folder of the run.
    name
        Name of the shipped weights.
    data
        Folder of the data sets, with holdout.txt.
    replace
        Ship them even if they are no better than the shipped ones.
    device
        The device to score them on.
    half
        Ship them in half precision, in half as many bytes: they are rounded before they are scored.

    Returns
    -------
    Path
        The shipped weight file.

    Raises
    ------
    InputError
        For a name with other characters than small letters, digits and hyphens, or of shipped
        weights that are no network; if the run has no weights of a network with their recipe, if
        they are changed while they are scored, or if bicubic interpolation is at least as good on
        the held-out images, by the mean over scales. Unless `replace` is True, also if the shipped
        weights of that name have another scale, or are at least as good, by the mean over theirs.
    """
    if not re.fullmatch("[a-z0-9-]+", name):
        raise InputError(
            "the name of shipped weights should be of small letters, digits and hyphens, "
            f"got {shown(name)}."
        )
    shipped = read_network(name)[1].holdout_psnr_db if name in weights.manifest() else None
    source = Path(run) / "weights.safetensors"
    if half:
        tensors, metadata = weights.load(source)
        source = source.with_name("weights-half.safetensors")
        weights.write(source, {k: v.astype(np.float16) for k, v in tensors.items()}, metadata)
    digest = weights.sha256(source)
    tensors, about = read_network(source, digest)
    if about.recipe is None or about.trained is None:
        raise InputError(f"{source} was not written by a training run: it states no recipe.")
    recipe = Recipe.from_dict(about.recipe)
    line, scales = about.line, about.scales
    solver = NetworkSolver(model=name, weights=str(source), device=device)
    truths = holdout_crops(data)
    ours = holdout_psnr(solver, truths, scales, line)
    if solver.weights_sha256() != digest:
        raise InputError(f"{source} was changed while it was scored; ship it when it is finished.")
    rounded = {str(scale): round(value, 3) for scale, value in ours.items()}
    metadata = {**asdict(about), "holdout_psnr_db": rounded}
    bicubic = holdout_psnr(Bicubic(), truths, scales, line)
    if np.mean(list(bicubic.values())) >= np.mean(list(ours.values())):
        theirs = {str(scale): round(value, 3) for scale, value in bicubic.items()}
        raise InputError(
            f"bicubic interpolation is better on the held-out images ({theirs}) than {source} "
            f"({rounded}); train it for longer."
        )
    if shipped and not replace:
        if lacking := [f"x{scale}" for scale in shipped if scale not in rounded]:
            raise InputError(
                f"{source} lacks {', '.join(lacking)} of the shipped {name}; give --replace to "
                "ship it anyway."
            )
        if np.mean(list(shipped.values())) >= np.mean([rounded[scale] for scale in shipped]):
            raise InputError(
                f"the shipped {name} is better on the held-out images ({shipped}) than {source} "
                f"({rounded}); give --replace to ship it anyway."
            )
    count = len(training_images(Path(data), recipe.sets))
    return weights.save(name, tensors, metadata, card(name, metadata, bicubic, count, half))


@dataclass(frozen=True)
class _Trained:
    """The entry "trained" of a weight file, as `cscsr.training.run.export` writes it."""

    steps: Annotated[int, Range(0)]
    minutes: Annotated[float, Range(0)]
    seed: Seed
    device: str
    threads: Annotated[int, Range(1)]
    bf16: bool
    start: dict[str, Any] | None = None
    holdout_crops_psnr_db: dict[str, float] | None = None

    def starts(self) -> list[_Start]:
        """The weights that the training started from, what these started from, and so on."""
        starts: list[_Start] = []
        table = self.start
        while table is not None:
            if "steps" in table:  # of an earlier release, which stated the training alone
                table = {"trained": table}
            start = check_table(_Start, table, "start")
            starts.append(start)
            table = start.trained.start if start.trained else None
        return starts


@dataclass(frozen=True)
class _Start:
    """The origin of weights to start from, as `cscsr.training.trainer.read_start` returns it."""

    trained: _Trained | None
    name: str | None = None
    sha256: str | None = None
    scales: list[int] = field(default_factory=list)
    sets: list[str] | None = None
    teacher: Teacher | None = None


_METHODS = {"adam": "Adam", "sgd": "SGD", "muon": "Muon for the inner convolutions and Adam"}
_LOSSES = {
    "l1": "mean absolute error",
    "charbonnier": "Charbonnier loss",
    "mse": "mean squared error",
}


def card(
    name: str, metadata: dict[str, Any], bicubic: dict[int, float], count: int, half: bool = False
) -> str:
    """Return the model card of a network, as Markdown.

    Parameters
    ----------
    name
        The name of the shipped weights.
    metadata
        The metadata of the weight file, with "holdout_psnr_db".
    bicubic
        PSNR of bicubic interpolation on the same images, in dB, by scale.
    count
        The number of training images.
    half
        Whether the weights are shipped in half precision.
    """
    recipe, trained = metadata["recipe"], check_table(_Trained, metadata["trained"], "trained")
    network = ", ".join(f"{key} = {value}" for key, value in metadata["network"].items())
    rows = "\n".join(
        f"| ×{scale} | {bicubic[scale]:.2f} | {metadata['holdout_psnr_db'][str(scale)]:.2f} |"
        for scale in metadata["scales"]
    )
    optimiser = recipe["optimiser"]
    method = _METHODS[optimiser.get("method", "adam")]
    loss = _LOSSES[optimiser.get("loss", "l1")]
    file = recipe_file(recipe["name"])
    precision = "bfloat16 autocast" if trained.bf16 else "float32"
    starts = trained.starts()
    start = "".join(f",\n  started from {_described(origin)}" for origin in starts)
    init = f" --init {shlex.quote(starts[0].name or 'FIRST')}" if starts else ""
    sets = dict.fromkeys(
        [*recipe["sets"], *(name for origin in starts for name in origin.sets or [])]
    )
    operations = trained.steps * Recipe.from_dict(recipe).step_operations()
    teacher = _teacher_line(recipe["teacher"]) if recipe.get("teacher") else ""
    return f"""# {name}

Architecture `{metadata["architecture"]}` with
{network}; one model for scales {", ".join(f"×{s}" for s in metadata["scales"])}.

| scale | bicubic, dB | {name}, dB |
|---|---|---|
{rows}

Mean PSNR on luma (line `{metadata["line"]}` of docs/protocol.md) over the central
{HOLDOUT_CROP}×{HOLDOUT_CROP} crops of the images of holdout.txt, which were not trained on.
Figures on the test sets are in README.md or in reports/reference/pins.csv.

- Recipe: `cscsr/training/{file.relative_to(FOLDER.parent).as_posix()}`: {method}, peak learning
  rate {optimiser["learning_rate"]:g}, {optimiser["batch"]} patches a step, {loss}.
- Data: {count} images of {", ".join(recipe["sets"])}; the images of holdout.txt and leaks.txt were
  left out.
{teacher}- Trained for {trained.steps} steps, {trained.minutes} minutes of training steps on
  {trained.device} ({trained.threads} thread{"s" * (trained.threads != 1)}, {precision}),
  seed {trained.seed}{start}.
- Arithmetic: {operations:.1e} floating-point operations, forward and backward, without those of the
  starts{" and of the teacher" * bool(teacher)}.
- Command: `cscsr train {recipe["name"]} --data DIR --steps {trained.steps}{init}`, then
  `python -m cscsr.training.ship runs/{recipe["name"]} {name} --data DIR{" --half" * half}`.
- Shipped on {date.today().isoformat()}.
{licence_of_weights(sets)}
"""


def _described(start: _Start) -> str:
    """What a card says of the weights that a training started from."""
    trained = start.trained
    training = f"{trained.steps} steps ({trained.minutes} minutes)" if trained else ""
    if start.name is None:
        return f"weights of {training}"
    scales = ", ".join(f"×{scale}" for scale in start.scales)
    sets = f" on {', '.join(start.sets)}" if start.sets else ", whose file names no data sets"
    teacher = f", with the teacher {_with_licence(start.teacher.solver)}" if start.teacher else ""
    return (
        f"{_with_licence(start.name)}, SHA-256 {start.sha256},\n"
        f"  for {scales}{f', trained for {training}' if trained else ''}{sets}{teacher}"
    )


def _teacher_line(teacher: dict[str, Any]) -> str:
    """What a card says of a teacher, if the recipe has one."""
    return (
        f"- Teacher: {100 * teacher['weight']:.0f} % of the loss compares with the output of "
        f"{_with_licence(teacher['solver'])}.\n  The rest compares with the images.\n"
    )


def _with_licence(name: str) -> str:
    """The name of weights, and if other authors published them, whose they are."""
    row = row_of_solver(name)
    return name if row is None else f"{name} ({row.summary}; licence: {row.licence})"


def main() -> int:
    """Run the command line of this module, and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="the folder of a training run")
    parser.add_argument("name", help="of the shipped weights, such as crnet-a-small")
    parser.add_argument("--data", required=True, help="the folder with holdout.txt")
    parser.add_argument("--replace", action="store_true", help="even if no better than shipped")
    parser.add_argument("--device", default="cpu", help="%(default)s")
    parser.add_argument("--half", action="store_true", help="in half precision")
    try:
        print(publish(**vars(parser.parse_args())))
    except InputError as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
