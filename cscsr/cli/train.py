"""``cscsr train``: train a network by a recipe, or the parameters of a classical method."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from cscsr.cli.options import Commands, add_data_option
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.trained_weights import TRAINED
from cscsr.training.recipe import recipe_names

CLASSICAL = ("csc-sr", *TRAINED)
"""The methods that are no networks and have options of their own."""


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "train",
        help="train the parameters of a solver",
        description="Train on the images of a data folder; held-out images and known leaks of "
        f"test images are left out. {', '.join(CLASSICAL)} have other options: "
        "cscsr train csc-sr --help.",
        epilog="example: cscsr train crnet-b-small --data images --minutes 20 --out runs/b",
    )
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help=f"{', '.join([*CLASSICAL, *recipe_names()])}, or a .toml file",
    )
    add_data_option(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes",
        type=float,
        help="time to train for, that before --resume included; reading the images and evaluating "
        "them takes more (default: the budget before --resume, the recipe's steps, or 10 minutes)",
    )
    budget.add_argument(
        "--steps", type=int, help="updates to train for, those before --resume included"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the weights go (default: runs/RECIPE)"
    )
    parser.add_argument("--device", help="cpu (default), cuda, cuda:1")
    parser.add_argument(
        "--seed", type=int, help="of the random numbers (default: 0, or the resumed run's)"
    )
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), help="(default: whichever is faster here)"
    )
    parser.add_argument(
        "--init", metavar="FILE", help="start from these weights, which may be of other scales"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint in --out"
    )
    parser.add_argument(
        "--watch", metavar="SET", help="also record the PSNR on this data set, for a plot"
    )
    add_max_pixels_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Train a network. Raises InputError for bad input, SystemExit if the loss diverges."""
    from cscsr.data.datasets import FOLDER_VARIABLE, data_folder
    from cscsr.training.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    data = data_folder(arguments.data)
    if data is None:
        raise InputError(
            f"training needs images: name their folder with --data or {FOLDER_VARIABLE}."
        )
    out = arguments.out or Path("runs", Path(arguments.recipe).stem)

    from cscsr.training.run import NonFiniteLoss, train

    minutes = arguments.minutes
    resumed = arguments.resume and os.path.exists(out / "checkpoint.pt")
    if minutes is None and arguments.steps is None and recipe.steps is None and not resumed:
        minutes = 10.0
    try:
        path = train(
            recipe,
            data,
            out,
            minutes=minutes,
            steps=arguments.steps,
            device=arguments.device or "cpu",
            bf16=None if arguments.precision is None else arguments.precision == "bf16",
            seed=arguments.seed,
            init=arguments.init,
            resume=arguments.resume,
            watch=arguments.watch,
        )
    except NonFiniteLoss as error:
        raise SystemExit(f"cscsr: {error}") from error
    print(f"{path}: use it with cscsr upscale --weights {path}")


def has_own_options(words: Sequence[str]) -> bool:
    """Whether the words after ``cscsr train`` ask for a method of `CLASSICAL`."""
    return bool(words) and words[0] in CLASSICAL


def run_own(method: str, words: Sequence[str]) -> int:
    """Run the training of a method of `CLASSICAL` that the words after its name ask for."""
    if method in TRAINED:
        from cscsr.cli import train_patches

        return train_patches.main(method, words)
    from cscsr.cli import train_csc_sr

    return train_csc_sr.main(words)
