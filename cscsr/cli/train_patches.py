"""``cscsr train a-plus`` and ``cscsr train scsr``: learn the weights of a patch-based method."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from cscsr.cli.options import CommandParser, add_data_option
from cscsr.data.datasets import FOLDER_VARIABLE, data_folder
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.patches.train import APlusOptions, Options, ScSROptions, train
from cscsr.trained_weights import trained_path

METHODS: dict[str, type[Options]] = {each.kind: each for each in (APlusOptions, ScSROptions)}

SIZES = {
    "samples": "patches drawn",
    "anchors": "anchors, K",
    "neighbours": "patches that a regression is fitted to",
    "ridge": "lambda of the regressions",
    "rounds": "rounds of learning the anchors",
    "atoms": "atoms of each dictionary, K",
    "lam": "lambda of the joint codes",
    "steps": "steps of the dictionary learning",
}
"""The options of all methods that are numbers, and what they are."""


def main(method: str, words: Sequence[str]) -> int:
    """Run the training of a method that the words after its name ask for.

    Returns
    -------
    int
        The exit code, 0.

    Raises
    ------
    InputError
        For missing data, options out of range, and a weight file that exists.
    """
    arguments = _parser(method).parse_args(words)
    sizes = {name: getattr(arguments, name) for name in _sizes(METHODS[method])}
    options = METHODS[method](
        scales=tuple(arguments.scale), sets=tuple(arguments.sets), seed=arguments.seed, **sizes
    )
    path = arguments.out or trained_path(method)
    if path.exists() and not arguments.force and not path.is_dir():
        raise InputError(f"{path} exists; --force replaces it.")
    data = data_folder(arguments.data)
    if data is None:
        raise InputError(
            f"training needs images: name their folder with --data or {FOLDER_VARIABLE}."
        )
    train(data, path, options)
    own = "" if arguments.out is None else f" --weights {path}"
    print(f"{path}: use it with cscsr upscale --solver {method}{own}")
    return 0


def _sizes(options: type[Options]) -> list[str]:
    """The options of a method that are in `SIZES`."""
    return [field.name for field in fields(options) if field.name in SIZES]


def _parser(method: str) -> argparse.ArgumentParser:
    usual = METHODS[method]()
    parser = CommandParser(
        prog=f"cscsr train {method}",
        description=f"Learn the weights of {method}, in a few minutes. A run that was stopped "
        "starts over.",
        epilog=f"example: cscsr train {method} --data images",
    )
    add_data_option(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"the weight file (default: {trained_path(method)}, which {method} uses by itself)",
    )
    parser.add_argument("--force", action="store_true", help="replace what exists")
    parser.add_argument("--scale", nargs="+", type=int, default=usual.scales, metavar="S")
    parser.add_argument(
        "--sets", nargs="+", default=usual.sets, metavar="SET", help="data sets to learn from (T91)"
    )
    for name in _sizes(METHODS[method]):
        default = getattr(usual, name)
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=f"{SIZES[name]} (%(default)s)"
        )
    parser.add_argument(
        "--seed", type=int, default=usual.seed, help="of the random draws (%(default)s)"
    )
    add_max_pixels_option(parser)
    return parser
