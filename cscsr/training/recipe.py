"""Recipes: what to train, on what, and how, as small TOML files that people can read."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cscsr.errors import InputError, unknown_name

FOLDER = Path(__file__).parent / "recipes"

CHOICES = {
    "method": ("adam", "sgd", "muon"),
    "schedule": ("cosine", "step", "wsd"),
    "loss": ("l1", "charbonnier", "mse", "squares"),
    "clip_by": ("norm", "rate"),
    "sampling": ("random", "partition"),
}
"""What the fields of a recipe that name something may be."""


@dataclass(frozen=True)
class Optimiser:
    """How the weights are moved.

    batch: patches a step; patch: side of the network's input patch in pixels;
    method: "adam" (0.9, 0.999), "sgd" with momentum 0.9, or "muon" for the inner convolutions
    (`cscsr.training.optim`) and adam for the others; learning_rate: its peak;
    weight_decay: of sgd and adam, added to the gradient;
    schedule: "cosine" falls to zero, "step" is multiplied by `decay` after each share
    `decay_every` of the run, "wsd" (warm up, stay, decay) stays at its peak and falls linearly
    to zero over the last share `cooldown`; warmup: share of the run over which the rate rises
    from zero;
    loss: "l1" the mean absolute error, "charbonnier" the mean of √(e² + 10⁻⁶), "mse" the mean
    squared error, "squares" half the sum of squared errors of a patch;
    balance: divide each scale's loss by the error of bicubic interpolation;
    clip_by: "norm" keeps the gradient's Euclidean norm at `clip` or less, "rate" each of its
    elements within ± clip / learning rate, as VDSR; ema: decay of the averaged weights.
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

    def __post_init__(self) -> None:
        for name in ("method", "schedule", "loss", "clip_by"):
            _check(name, getattr(self, name))


@dataclass(frozen=True)
class Recipe:
    """One training run.

    line: "y" or "rgb"; network: the constructor's arguments; sizes: factors by which each
    training image is shrunk to make more of them; sampling: "random" patches, or the
    "partition" of the paper's appendix A.4, gone through in a new order each epoch;
    steps: length of the run where none is asked for (None: see `cscsr train`).
    """

    name: str
    architecture: str
    line: str
    sets: list[str]
    scales: list[int]
    optimiser: Optimiser
    network: dict[str, Any] = field(default_factory=dict)
    sizes: list[float] = field(default_factory=lambda: [1.0])
    sampling: str = "random"
    steps: int | None = None

    def __post_init__(self) -> None:
        _check("sampling", self.sampling)
        if self.sampling == "partition" and self.line != "y":
            raise InputError("the partition into patches is that of CRNet-A, of line y.")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """The recipe that `as_dict` gave; fields that it lacks have their defaults."""
        return cls(**{**table, "optimiser": Optimiser(**table["optimiser"])})


def _check(name: str, value: str) -> None:
    if value not in CHOICES[name]:
        raise unknown_name(name, str(value), CHOICES[name])


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str | os.PathLike) -> Recipe:
    """The recipe called `name`, or the one in the TOML file at that path.

    Raises InputError for an unknown name, a file that is no TOML, or wrong keys or values.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in recipe_names():
            raise unknown_name("recipe", str(name), recipe_names())
        path = FOLDER / f"{name}.toml"
    try:
        return Recipe.from_dict({"name": path.stem, **tomllib.loads(path.read_text())})
    except FileNotFoundError as error:
        raise InputError(f"no recipe file at {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} should be a TOML file but is not: {error}.") from error
    except (KeyError, TypeError) as error:
        known = ", ".join(f.name for f in fields(Recipe))
        raise InputError(
            f"recipe {path} has missing or unknown keys ({error}); {known}."
        ) from error
