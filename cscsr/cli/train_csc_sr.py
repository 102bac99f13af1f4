"""``cscsr train csc-sr``: learn the filters of CSC-SR, and fit its mapping and HR filters."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cscsr.cli.options import CommandParser
from cscsr.csc_sr.options import CODINGS, PRESETS, Coding, Options
from cscsr.csc_sr.train import train_csc_sr
from cscsr.csc_sr.weight_file import TRAINED_FOR
from cscsr.data.datasets import FOLDER_VARIABLE, data_folder
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.super_resolution import check_scale

SIZES = ("atoms", "hr_atoms", "support", "crop", "phases", "rounds", "filter_steps")
"""The fields of `Options` that have an option on the command line."""


def main(words: Sequence[str]) -> int:
    """Run the training that the words after ``cscsr train csc-sr`` ask for.

    Returns
    -------
    int
        The exit code, 0.

    Raises
    ------
    InputError
        For missing data and options out of range.
    """
    arguments = _parser().parse_args(words)
    data = data_folder(arguments.data)
    if data is None:
        raise InputError(
            f"training needs images: name their folder with --data or {FOLDER_VARIABLE}."
        )
    paths = train_csc_sr(
        data,
        arguments.out,
        coders=list(dict.fromkeys(TRAINED_FOR[coder] for coder in arguments.coder)),
        scales=[check_scale(scale) for scale in arguments.scale],
        options=_options(arguments),
        filters=arguments.filters,
        ship=arguments.ship,
        seed=arguments.seed,
    )
    for path in paths:
        print(f"{path}: use it with cscsr upscale --solver 'csc-sr[...]' --weights {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="cscsr train csc-sr",
        description="Learn the filters of CSC-SR, and fit its mapping and HR filters. To continue "
        "a run that was stopped, give the same command again.",
        epilog="example: cscsr train csc-sr --data images --scale 2 --coder ista --out runs/csc-sr",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder (CSCSR_DATA)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("runs", "csc-sr"))
    parser.add_argument("--ship", metavar="NAME", help="also write the shipped weights NAME-CODER")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--coder", nargs="+", default=list(CODINGS), choices=sorted(TRAINED_FOR))
    parser.add_argument("--scale", nargs="+", type=int, default=[2, 3, 4], metavar="S")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="data sets to fit to")
    parser.add_argument("--filters", metavar="FILE", help="take the filters of these weights")
    parser.add_argument("--atoms", type=int, help="LR filters, N")
    parser.add_argument("--hr-atoms", type=int, help="HR filters, M (1.5 N where not given)")
    parser.add_argument("--support", type=int, help="side of the HR filters in LR pixels")
    parser.add_argument("--crop", type=int, help="crop of the images in LR pixels")
    parser.add_argument("--phases", type=int, help="grid phases of each image")
    parser.add_argument(
        "--rounds", type=int, help="rounds of fitting the mapping, then the HR filters"
    )
    parser.add_argument("--filter-steps", type=int, help="steps of the dictionary learning")
    parser.add_argument("--lam", type=float, metavar="L", help="lambda on 0-255")
    parser.add_argument("--iterations", type=int, help="iterations of the coder")
    parser.add_argument("--rho", type=float, help="penalty of ADMM")
    parser.add_argument("--seed", type=int, default=0)
    add_max_pixels_option(parser)
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    """The preset with the changes of the command line."""
    preset = PRESETS[arguments.preset]
    changes = {n: getattr(arguments, n) for n in SIZES if getattr(arguments, n) is not None}
    for name, value in changes.items():
        if value < (name != "rounds"):
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")
    if arguments.atoms is not None and arguments.hr_atoms is None:
        changes["hr_atoms"] = arguments.atoms * 3 // 2
    if arguments.sets is not None:
        changes["sets"] = tuple(arguments.sets)
    codings = {coder: _changed(coding, coder, arguments) for coder, coding in CODINGS.items()}
    return replace(preset, codings=codings, **changes)


def _changed(coding: Coding, coder: str, arguments: argparse.Namespace) -> Coding:
    """A coder's usual coding with what the command line changes."""
    settings = dict(coding.settings)
    if arguments.iterations is not None:
        settings["iterations"] = arguments.iterations
    if arguments.rho is not None and coder == "admm":
        settings["rho"] = arguments.rho
    return Coding(coding.lam if arguments.lam is None else arguments.lam / 255, settings)
