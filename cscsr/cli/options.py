"""What several subcommands share: the type of their parsers, and options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from cscsr.errors import InputError
from cscsr.problem import check_scale

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_parser` of a subcommand adds its parser to."""


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data DIR``, the folder of data sets."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: CSCSR_DATA)"
    )


def parse_scale(text: str) -> int:
    """The value of ``--scale``. Raises InputError unless it is a whole number from 1."""
    for number in (int, float):
        try:
            return check_scale(number(text))
        except InputError:
            raise
        except ValueError:
            continue
    return check_scale(text)
