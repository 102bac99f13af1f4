"""Recipes: the settings of a training run, as small readable TOML files.

A recipe names the architecture, data sets, scales, arguments of the network and optimiser. The
types and bounds of its values are the annotations of the dataclasses here and of the network's
constructor.
Needs the standard library only; `load_recipe` loads torch, for the network's part.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from cscsr.errors import InputError, unknown_name
from cscsr.schema import Distinct, Range, check_fields, check_table

FOLDER = Path(__file__).parent / "recipes"
"""Where the recipes of this package are."""

SMALL = Path(__file__).parent / "small.toml"
"""The recipes that differ from one of `FOLDER` in their network alone, each a table of this file:
``NAME-small`` trains the architecture NAME."""

Share = Annotated[float, Range(0, 1, open_high=True)]
"""A part of a whole, which it never is."""

Part = Annotated[float, Range(0, 1, open_low=True)]
"""A part of a whole, which it may be."""


PASSES = 3
"""A backward pass takes the operations of two forward passes: the gradients of the input and of the
weights."""


class _Checked:
    """A table of a recipe, checked against its annotations when it is made."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Optimiser(_Checked):
    """The settings of the optimiser.

    Attributes
    ----------
    batch
        Patches per step. Where a step takes all scales (`joint_scales` of a network), each of n
        scales has the same number of them, batch // n, and the remainder is left out.
    patch
        Side of the network's input patch in pixels.
    learning_rate
        The peak of the schedule.
    warmup
        The share of the run over which the rate rises from zero.
    clip
        See `clip_by`; ``inf`` for none.
    ema
        Decay of the averaged weights; 0 for none.
    method
        "adam" (0.9, 0.999), "sgd" with momentum 0.9, or "muon" for the inner convolutions
        (`cscsr.training.optim`) with adam for the other weights.
    weight_decay
        The weight decay of sgd and adam, added to the gradient.
    schedule
        "cosine" falls to zero; "step" multiplies the rate by `decay` after each share `decay_every`
        of the run; "wsd" (warmup, stable, decay) stays at the peak and falls linearly to zero over
        the last share `cooldown` of the run, which is below 1 and begins after the warmup.
    decay, decay_every, cooldown
        See `schedule`.
    loss
        "l1" the mean absolute error, "charbonnier" the mean of √(e² + 10⁻⁶), or "mse" the mean
        squared error.
    balance
        Divide each scale's loss by the error of bicubic interpolation.
    clip_by
        "norm" limits the Euclidean norm of the gradient to `clip`; "rate" limits each element to
        ± clip / learning rate, as in VDSR.

    Raises
    ------
    InputError
        For a name that is not one of these, a number out of range, and a cooldown of "wsd" that is
        the whole run or begins in the warmup.
    """

    batch: Annotated[int, Range(1, 2**16)]
    patch: Annotated[int, Range(1, 2**12)]
    learning_rate: Annotated[float, Range(0, math.inf, open_low=True, open_high=True)]
    warmup: Share = 0.02
    clip: Annotated[float, Range(0, math.inf, open_low=True)] = 1.0
    ema: Share = 0.999
    method: Literal["adam", "sgd", "muon"] = "adam"
    weight_decay: Annotated[float, Range(0, math.inf, open_high=True)] = 0.0
    schedule: Literal["cosine", "step", "wsd"] = "cosine"
    decay: Part = 0.1
    decay_every: Part = 1.0
    cooldown: Part = 0.25
    loss: Literal["l1", "charbonnier", "mse"] = "l1"
    balance: bool = True
    clip_by: Literal["norm", "rate"] = "norm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule != "wsd":
            return
        if self.cooldown == 1:
            raise InputError("cooldown should be below 1 in the schedule wsd, got 1.")
        if self.warmup + self.cooldown > 1:
            raise InputError(
                "warmup and cooldown should be at most 1 together in the schedule wsd, "
                f"got {self.warmup:g} and {self.cooldown:g}."
            )


@dataclass(frozen=True)
class Teacher(_Checked):
    """A trained network whose output is a target besides the truth: distillation (Hinton, Vinyals
    and Dean 2015), of the output itself.

    Attributes
    ----------
    solver
        Its name, such as "carn-m[published]". It must take the same input as the trained network.
    weight
        The share of the teacher in the loss; the rest is the truth's.

    Raises
    ------
    InputError
        For a weight out of range.
    """

    solver: str
    weight: Part = 0.5


@dataclass(frozen=True)
class Recipe(_Checked):
    """One training run.

    Attributes
    ----------
    name
        The name of the recipe.
    architecture
        A name of `cscsr.networks.architectures`.
    sets
        The data sets to train on; a study that brings its own images names none.
    scales
        The factors to train for.
    optimiser
        The settings of the optimiser.
    network
        Arguments of the network's constructor, without its scales.
    sizes
        Factors in (0, 1] by which each training image is shrunk, to augment the data.
    sampling
        "random" patches, or the "partition" of the paper's appendix A.4, in a new order each
        epoch.
    steps
        The default length of the run; None: see `cscsr train`.
    teacher
        A network to learn from as well, the table ``[teacher]``; None: from the truth alone.

    Raises
    ------
    InputError
        For an unknown sampling, and a number out of range.
    """

    name: str
    architecture: str
    sets: Annotated[list[str], Distinct(empty=True)]
    scales: Annotated[list[Annotated[int, Range(2, 16)]], Distinct()]
    optimiser: Optimiser
    network: dict[str, Any] = field(default_factory=dict)
    sizes: Annotated[list[Part], Distinct()] = field(default_factory=lambda: [1.0])
    sampling: Literal["random", "partition"] = "random"
    steps: Annotated[int, Range(1, 10**9)] | None = None
    teacher: Teacher | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dictionaries, without a teacher if it has none."""
        table = asdict(self)
        if self.teacher is None:
            del table["teacher"]
        return table

    def step_operations(self) -> float:
        """Return the floating-point operations of a training step, forward and backward: two for
        each multiply-add of a convolution, by the mean over the scales.

        Those of the optimiser and of a teacher are not counted. Loads torch.
        """
        from cscsr.networks import blueprint

        network = blueprint(self.architecture, {**self.network, "scales": self.scales})
        per_pixel = [network.multiply_adds(s) / network.input_ratio(s) ** 2 for s in self.scales]
        patches = self.optimiser.batch
        if network.joint_scales and self.sampling == "random":
            patches -= patches % len(self.scales)
        pixels = patches * self.optimiser.patch**2
        return 2.0 * PASSES * pixels * sum(per_pixel) / len(per_pixel)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a dictionary, from `as_dict` or a TOML file.

        Raises
        ------
        InputError
            For keys that are unknown or missing, and values of another type or out of range.
        """
        return check_table(cls, table, "the recipe")

    def check_network(self) -> None:
        """Check what the recipe asks of its architecture; loads torch.

        Raises
        ------
        InputError
            For an unknown architecture, for arguments that it does not have or that are out of
            their bounds, for a patch smaller than its largest filters, whose outer elements would
            never meet a pixel, and for a batch that does not hold a patch of each scale.
        """
        from cscsr.networks import blueprint

        if "scales" in self.network:
            raise InputError("scales belong to the recipe, not to its table [network].")
        network = blueprint(self.architecture, {**self.network, "scales": self.scales})
        side = max(
            conv.layer.kernel_size[0]
            for scale in self.scales
            for conv in network.convolutions(scale)
        )
        if self.optimiser.patch < side:
            raise InputError(
                f"patch should be at least {side}, the side of the largest filters of "
                f"{self.architecture}, got {self.optimiser.patch}."
            )
        if network.joint_scales and self.optimiser.batch < len(self.scales):
            raise InputError(
                f"batch should be at least {len(self.scales)}, one patch of each scale, "
                f"got {self.optimiser.batch}."
            )


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted([*(path.stem for path in FOLDER.glob("*.toml")), *_small_tables()])


@cache
def _small_tables() -> dict[str, dict[str, Any]]:
    """The tables of `SMALL`, by the names of their recipes."""
    return tomllib.loads(SMALL.read_text(encoding="utf-8"))


def recipe_file(name: str) -> Path:
    """Return the file that a recipe of the package is in."""
    return SMALL if name in _small_tables() else FOLDER / f"{name}.toml"


def load_recipe(name: str | os.PathLike[str]) -> Recipe:
    """Return the recipe called `name`, or the one in the TOML file at that path.

    Raises
    ------
    InputError
        For an unknown name, a file that is missing or not TOML, and wrong keys or values.
    """
    path, own = Path(name), _small_tables().get(str(name))
    if own is not None:
        path = FOLDER / f"{own['like']}.toml"
    elif path.suffix != ".toml":
        if str(name) not in recipe_names():
            raise unknown_name("recipe", str(name), recipe_names())
        path = recipe_file(str(name))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"no recipe file at {path}.") from error
    except OSError as error:
        raise InputError(f"recipe {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"recipe {path} should be a TOML file but is not: {error}.") from error
    try:
        table = {"name": path.stem, **table}
        if own is not None:
            table |= {"name": str(name), "architecture": str(name).removesuffix("-small"), **own}
            del table["like"]
        recipe = Recipe.from_dict(table)
        recipe.check_network()
        if not recipe.sets:
            raise InputError("sets should be a list of at least one item, got [].")
    except InputError as error:
        raise InputError(f"recipe {path}: {error}") from error
    return recipe
