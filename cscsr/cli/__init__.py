"""The command `cscsr`: one module per subcommand, and `main`, which runs them.

A subcommand's module has `run` and `add_parser`, which imports nothing heavy, so that
``cscsr --help`` answers at once. Bad input ends in one sentence on standard error and exit code 2.
No subcommand replaces an existing file unless ``--force`` says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import cscsr
from cscsr.cli import compare, data, score, solvers, train, upscale
from cscsr.cli.options import CommandParser
from cscsr.errors import InputError

SUBCOMMANDS = (solvers, upscale, score, compare, train, data)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        The words after ``cscsr`` (default: those of the process).

    Returns
    -------
    int
        The exit code: 0, 1 if a solver of a comparison failed, 2 for bad input, 130 when
        interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["compare"]:  # these two have parsers of their own
            return compare.run(words[1:])
        if words[:2] == ["train", train.CSC_SR]:
            return train.run_csc_sr(words[2:])
        arguments = _parser().parse_args(words)
        arguments.run(arguments)
        sys.stdout.flush()
    except InputError as error:
        print(f"cscsr: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("cscsr: there is not enough memory for this image at this scale.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("cscsr: interrupted.", file=sys.stderr)
        return 130
    return 0


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
