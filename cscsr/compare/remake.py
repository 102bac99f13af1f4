"""The command line shared by the programs that remake files from a results database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cscsr.compare.records import FILE_NAME
from cscsr.compare.results import Results
from cscsr.errors import InputError


def remake(
    program: str,
    description: str,
    write: Callable[[Results, Path], Iterable[Path]],
    arguments: Sequence[str] | None,
) -> int:
    """Run a command that reads the results database of a folder and writes files there.

    Parameters
    ----------
    program, description
        For the help.
    write
        Makes the files from the open database and the folder; returns their paths.
    arguments
        The words after the program's name; None takes them from the process.

    Returns
    -------
    int
        The exit code: 0, or 2 if the database is missing or unusable.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("reports/latest"), help="default: %(default)s"
    )
    folder = parser.parse_args(arguments).folder
    try:
        with Results(folder / FILE_NAME, create=False) as results:
            for path in write(results, folder):
                print(path)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
