"""``cscsr compare``: every solver on every image; `cscsr.compare` does the work."""

from __future__ import annotations

from collections.abc import Sequence

from cscsr.cli.options import Commands


def add_parser(commands: Commands) -> None:
    """Add the subcommand to the list in the help; `cscsr.compare.command` parses its options."""
    commands.add_parser("compare", help="compare solvers on data sets, as tables and a page")


def run(words: Sequence[str]) -> int:
    """Run the comparison that the words after ``cscsr compare`` ask for.

    Returns
    -------
    int
        The exit code: 0, 1 if a solver failed on an image, 2 for bad input, 130 when interrupted.
    """
    from cscsr.compare import command

    return command.main(words, program="cscsr compare")
