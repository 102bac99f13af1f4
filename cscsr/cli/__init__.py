"""The command `cscsr`: one module per subcommand, and `main`, which runs them.

A subcommand's module has `run` and `add_parser`, which imports nothing heavy, so that
``cscsr --help`` answers at once. Bad input ends in one sentence on standard error and exit code 2.
No subcommand replaces an existing file unless ``--force`` says so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

import cscsr
from cscsr import interrupts
from cscsr.cli import (
    compare,
    data,
    export,
    learn_dictionary,
    race,
    score,
    solvers,
    train,
    upscale,
    weights,
)
from cscsr.cli.options import CommandParser
from cscsr.errors import InputError
from cscsr.limits import MAX_PIXELS_VARIABLE
from cscsr.output import print_any_name, printable

SUBCOMMANDS = (
    solvers,
    upscale,
    score,
    compare,
    train,
    learn_dictionary,
    race,
    data,
    weights,
    export,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        The words after ``cscsr`` (default: those of the process).

    Returns
    -------
    int
        The exit code: 0, 1 if a solver of a comparison or an image of several failed, 2 for bad
        input, 130 when interrupted, 143 by SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    pixels = os.environ.get(MAX_PIXELS_VARIABLE)
    print_any_name()
    try:
        return interrupts.ended(lambda: _explained(words))
    finally:  # what an option has put into it was meant for this command
        os.environ.pop(MAX_PIXELS_VARIABLE, None)
        if pixels is not None:
            os.environ[MAX_PIXELS_VARIABLE] = pixels


def _explained(words: list[str]) -> int:
    """Run the subcommand, and print an error as one sentence; returns its exit code."""
    try:
        return _run(words)
    except Exception as error:
        if interrupts.caused(error):  # an interrupted import may look like bad input
            raise
        match error:
            case InputError():
                return _failed(str(error))
            case MemoryError():
                return _failed("there is not enough memory for this image at this scale.")
            case BrokenPipeError():  # the reader of our output, such as head, has closed it
                _drop_output()
                return 0
            case OSError():
                _drop_output()
                where = error.filename or "the output"
                return _failed(f"{where} cannot be used: {error.strerror or error}.")
        raise


def _run(words: list[str]) -> int:
    """Run the subcommand that the words name; returns its exit code."""
    if words[:1] == ["compare"]:  # these have parsers of their own
        return compare.run(words[1:])
    if words[:1] == ["train"] and train.has_own_options(words[1:]):
        return train.run_own(words[1], words[2:])
    arguments = _parser().parse_args(words)
    code = arguments.run(arguments)
    if sys.stdout is not None:  # closed before the command began
        sys.stdout.flush()
    return code or 0


def _failed(sentence: str) -> int:
    print(f"cscsr: {printable(sentence)}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    """Lose what is still to be printed, at which the interpreter would fail once more."""
    if sys.stdout is None:
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="cscsr",
        description="Classical and learned convolutional sparse coding for image super-resolution.",
    )
    parser.add_argument("--version", action="version", version=f"cscsr {cscsr.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subcommand in SUBCOMMANDS:
        subcommand.add_parser(commands)
    return parser
