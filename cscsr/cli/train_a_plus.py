"""``cscsr train a-plus``: learn the features, anchors and regressors of A+."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cscsr.cli.options import CommandParser, add_data_option
from cscsr.data.datasets import FOLDER_VARIABLE, data_folder
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.patches.train import Options, train_a_plus
from cscsr.patches.weight_file import A_PLUS
from cscsr.trained_weights import trained_path


def main(words: Sequence[str]) -> int:
    """Run the training that the words after ``cscsr train a-plus`` ask for.

    Returns
    -------
    int
        The exit code, 0.

    Raises
    ------
    InputError
        For missing data, options out of range, and a weight file that exists.
    """
    arguments = _parser().parse_args(words)
    options = Options(
        anchors=arguments.anchors,
        neighbours=arguments.neighbours,
        ridge=arguments.ridge,
        samples=arguments.samples,
        scales=tuple(arguments.scale),
        sets=tuple(arguments.sets),
        seed=arguments.seed,
    )
    path = arguments.out or trained_path(A_PLUS)
    if path.exists() and not arguments.force:
        raise InputError(f"{path} exists; --force replaces it.")
    data = data_folder(arguments.data)
    if data is None:
        raise InputError(
            f"training needs images: name their folder with --data or {FOLDER_VARIABLE}."
        )
    train_a_plus(data, path, options)
    own = "" if arguments.out is None else f" --weights {path}"
    print(f"{path}: use it with cscsr upscale --solver {A_PLUS}{own}")
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = Options()
    parser = CommandParser(
        prog=f"cscsr train {A_PLUS}",
        description="Learn the features, anchors and regressors of A+, in a few minutes. A run "
        "that was stopped begins again.",
        epilog=f"example: cscsr train {A_PLUS} --data images",
    )
    add_data_option(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"the weight file (default: {trained_path(A_PLUS)}, which {A_PLUS} uses by itself)",
    )
    parser.add_argument("--force", action="store_true", help="replace what exists")
    parser.add_argument("--scale", nargs="+", type=int, default=usual.scales, metavar="S")
    parser.add_argument(
        "--sets", nargs="+", default=usual.sets, metavar="SET", help="data sets to learn from (T91)"
    )
    parser.add_argument("--anchors", type=int, default=usual.anchors, help="(%(default)s)")
    parser.add_argument(
        "--neighbours",
        type=int,
        default=usual.neighbours,
        help="patches that a regression is fitted to (%(default)s)",
    )
    parser.add_argument(
        "--ridge", type=float, default=usual.ridge, help="lambda of the regressions (%(default)s)"
    )
    parser.add_argument(
        "--samples", type=int, default=usual.samples, help="patches drawn (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help="of all draws (%(default)s)")
    add_max_pixels_option(parser)
    return parser
