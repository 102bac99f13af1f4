"""How many pixels an image may have that is read: a small file can promise gigabytes of them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from cscsr.errors import InputError

MAX_PIXELS = 2**27
"""Pixels of the largest image that is read where nothing else is said: 134 million."""

MAX_PIXELS_VARIABLE = "CSCSR_MAX_PIXELS"
"""The environment variable that says another number of pixels, as ``--max-pixels`` does."""


def pixel_limit() -> int:
    """The most pixels of an image that is read: what CSCSR_MAX_PIXELS says, else `MAX_PIXELS`.

    Raises
    ------
    InputError
        If the variable is no whole number from 1.
    """
    return check_pixel_limit(os.environ.get(MAX_PIXELS_VARIABLE) or MAX_PIXELS)


def check_pixel_limit(value: str | int) -> int:
    """`value` as a whole number. Raises InputError unless it is one from 1."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise InputError(
            f"expected a whole number of pixels from 1 for --max-pixels or {MAX_PIXELS_VARIABLE}, "
            f"got {value!r}."
        )
    return number


class _LimitPixels(argparse.Action):
    """Puts the number into the environment variable that every reader of images asks."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        os.environ[MAX_PIXELS_VARIABLE] = str(check_pixel_limit(values))


def add_max_pixels_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-pixels N``, the size of the largest image that is read."""
    parser.add_argument(
        "--max-pixels",
        action=_LimitPixels,
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"read images of up to N pixels (default: {MAX_PIXELS_VARIABLE}, or {MAX_PIXELS})",
    )
