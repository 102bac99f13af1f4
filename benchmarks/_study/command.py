"""The command line of a study: its usual options, its progress bar, its errors in one sentence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cscsr.data.datasets import FOLDER_VARIABLE, data_folder
from cscsr.errors import InputError

Report = Callable[[str, int, int], None]
"""Called with (message, steps done, steps in all)."""

LATEST = Path("reports/latest")


def silent(message: str, done: int, total: int) -> None:
    """A `Report` that shows nothing."""


def counted(report: Report, total: int) -> Callable[[str], None]:
    """A function that reports a message and counts it as one step of `total`."""
    done = 0

    def say(message: str) -> None:
        nonlocal done
        report(message, done, total)
        done += 1

    return say


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--out``, the folder that files are made in."""
    parser.add_argument(
        "--out", type=Path, default=LATEST, metavar="DIR", help="folder of the files (%(default)s)"
    )


def study_parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser for ``python -m benchmarks.MODULE`` with the option ``--out``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    add_out(parser)
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--data``, the folder of the data sets."""
    parser.add_argument(
        "--data", metavar="DIR", help=f"folder of the data sets (default: ${FOLDER_VARIABLE})"
    )


def needed_data(folder: str | Path | None) -> Path:
    """The folder of the data sets. Raises InputError where none is named."""
    path = data_folder(folder)
    if path is None:
        raise InputError(f"name the folder of the images with --data or {FOLDER_VARIABLE}.")
    return path


def run_command(study: Callable[..., list[Path]], options: dict[str, Any]) -> int:
    """Run a study with a progress bar and print the files it made; returns the exit code.

    study: called with `options` and ``report``, a `Report`.
    """
    from tqdm import tqdm

    bar = tqdm(bar_format="{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}]", leave=False)

    def report(message: str, done: int, total: int) -> None:
        bar.total, bar.n = total, done
        bar.set_description_str(message)

    try:
        paths = study(**options, report=report)
    except InputError as error:
        bar.close()
        print(error, file=sys.stderr)
        return 2
    finally:
        bar.close()
    for path in paths:
        print(path)
    return 0
