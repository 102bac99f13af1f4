"""Recipes: what to train, on what, and how, as small TOML files that people can read."""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cscsr.errors import InputError, unknown_name

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Optimiser:
    """Adam, or Muon for the inner convolutions (`cscsr.training.muon`), with a cosine schedule.

    batch: patches a step; patch: side of the network's input patch in pixels;
    learning_rate: its peak; warmup: share of the run over which it rises from zero;
    clip: largest Euclidean norm of the gradient; ema: decay of the averaged weights;
    method: "adam" or "muon". Raises InputError for another method.
    """

    batch: int
    patch: int
    learning_rate: float
    warmup: float = 0.02
    clip: float = 1.0
    ema: float = 0.999
    method: str = "adam"

    def __post_init__(self) -> None:
        if self.method not in ("adam", "muon"):
            raise unknown_name("method", str(self.method), ("adam", "muon"))


@dataclass(frozen=True)
class Recipe:
    """One training run; `line` is "y" or "rgb", `network` holds the constructor's arguments."""

    name: str
    architecture: str
    line: str
    sets: list[str]
    scales: list[int]
    optimiser: Optimiser
    network: dict[str, Any] = field(default_factory=dict)
    sizes: list[float] = field(default_factory=lambda: [1.0])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str | os.PathLike) -> Recipe:
    """The recipe called `name`, or the one in the TOML file at that path.

    Raises InputError for an unknown name, a file that is no TOML, or wrong keys.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in recipe_names():
            raise unknown_name("recipe", str(name), recipe_names())
        path = FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text())
        optimiser = Optimiser(**table.pop("optimiser"))
        return Recipe(name=path.stem, optimiser=optimiser, **table)
    except FileNotFoundError as error:
        raise InputError(f"no recipe file at {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} should be a TOML file but is not: {error}.") from error
    except (KeyError, TypeError) as error:
        known = ", ".join(f.name for f in fields(Recipe))
        raise InputError(
            f"recipe {path} has missing or unknown keys ({error}); {known}."
        ) from error
