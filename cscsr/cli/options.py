"""What several subcommands share: their parsers, ``--scale`` and ``--data``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn, TypeAlias

from cscsr.errors import InputError
from cscsr.output import printable
from cscsr.super_resolution import check_scale

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The type of the argument of `add_parser`."""


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"cscsr: {printable(message)}; see {self.prog} --help.\n")


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data DIR``, the folder of data sets."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: CSCSR_DATA)"
    )


def parse_scale(text: str) -> int:
    """Return the value of ``--scale``; raise InputError unless it is a whole number of at least
    1."""
    for number in (int, float):
        try:
            return check_scale(number(text))
        except InputError:
            raise
        except ValueError:
            continue
    return check_scale(text)
