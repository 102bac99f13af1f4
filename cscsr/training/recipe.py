"""Recipes: the settings of a training run, as small readable TOML files.

A recipe names the architecture, data sets, scales, arguments of the network and optimiser. Needs
the standard library only.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from cscsr.errors import InputError, unknown_name

FOLDER = Path(__file__).parent / "recipes"

CHOICES = {
    "method": ("adam", "sgd", "muon"),
    "schedule": ("cosine", "step", "wsd"),
    "loss": ("l1", "charbonnier", "mse"),
    "clip_by": ("norm", "rate"),
    "sampling": ("random", "partition"),
}
"""The allowed values of the fields of a recipe that are names."""

_RANGES = {
    "batch": ("at least 1", lambda value: value >= 1),
    "patch": ("at least 1", lambda value: value >= 1),
    "learning_rate": ("positive and finite", lambda value: 0 < value < math.inf),
    "warmup": ("in [0, 1)", lambda value: 0 <= value < 1),
    "clip": ("positive", lambda value: value > 0),
    "ema": ("in [0, 1)", lambda value: 0 <= value < 1),
    "weight_decay": ("at least 0", lambda value: value >= 0),
    "decay": ("in (0, 1]", lambda value: 0 < value <= 1),
    "decay_every": ("in (0, 1]", lambda value: 0 < value <= 1),
    "cooldown": ("in (0, 1]", lambda value: 0 < value <= 1),
    "scales": ("whole numbers from 2", lambda values: values and min(values) >= 2),
    "sizes": ("factors in (0, 1]", lambda values: values and all(0 < v <= 1 for v in values)),
    "steps": ("at least 1", lambda value: value is None or value >= 1),
}
"""The range of each number of a recipe, in words and as a test."""


class _Checked:
    """A table of a recipe whose values are checked when it is made."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in CHOICES and value not in CHOICES[name]:
                raise unknown_name(name, str(value), CHOICES[name])
            if name in _RANGES and not _RANGES[name][1](value):
                raise InputError(f"{name} should be {_RANGES[name][0]}, got {value}.")


@dataclass(frozen=True)
class Optimiser(_Checked):
    """The settings of the optimiser.

    Attributes
    ----------
    batch
        Patches per step.
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
        the last share `cooldown` of the run.
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
        For a name that is not one of these, and a number out of range.
    """

    batch: int
    patch: int
    learning_rate: float
    warmup: float = 0.02
    clip: float = 1.0
    ema: float = 0.999
    method: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "cosine"
    decay: float = 0.1
    decay_every: float = 1.0
    cooldown: float = 0.25
    loss: str = "l1"
    balance: bool = True
    clip_by: str = "norm"


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
        The data sets to train on.
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

    Raises
    ------
    InputError
        For an unknown sampling, and a number out of range.
    """

    name: str
    architecture: str
    sets: list[str]
    scales: list[int]
    optimiser: Optimiser
    network: dict[str, Any] = field(default_factory=dict)
    sizes: list[float] = field(default_factory=lambda: [1.0])
    sampling: str = "random"
    steps: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dictionaries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """Return the recipe of a dictionary, from `as_dict` or a TOML file.

        Raises
        ------
        InputError
            For keys that are unknown or missing, and values of another type or out of range.
        """
        return _table(cls, table, "the recipe")


def _table(kind: type, table: Any, where: str) -> Any:
    """A dataclass from a dictionary, every value checked against its type."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where} should be a table, got {table!r}.")
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise unknown_name(f"key of {where}", str(key), hints)
    values = {key: _value(hints[key], value, key) for key, value in table.items()}
    for each in fields(kind):
        required = each.default is MISSING and each.default_factory is MISSING
        if required and each.name not in values:
            raise InputError(f"{where} lacks the key {each.name}.")
    return kind(**values)


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _value(kind: Any, value: Any, key: str) -> Any:
    """A value of a recipe, if it is of the type `kind` (a number may be written without a dot)."""
    if kind is Optimiser:
        return _table(Optimiser, value, f"[{key}]")
    if get_origin(kind) is UnionType or isinstance(kind, UnionType):
        if value is None:
            return None
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise InputError(f"{key} should be a list, got {value!r}.")
        return [_value(get_args(kind)[0], item, f"each of {key}") for item in value]
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{key} should be a table, got {value!r}.")
        return dict(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{key} should be {_WORDS[kind]}, got {value!r}.")
    return value


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str | os.PathLike[str]) -> Recipe:
    """Return the recipe called `name`, or the one in the TOML file at that path.

    Raises
    ------
    InputError
        For an unknown name, a file that is missing or not TOML, and wrong keys or values.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in recipe_names():
            raise unknown_name("recipe", str(name), recipe_names())
        path = FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"no recipe file at {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} should be a TOML file but is not: {error}.") from error
    try:
        return Recipe.from_dict({"name": path.stem, **table})
    except InputError as error:
        raise InputError(f"recipe {path}: {error}") from error
