"""``cscsr weights``: list and import the weights that other authors published."""

from __future__ import annotations

import argparse

from cscsr.cli.options import Commands
from cscsr.published_weights import (
    CACHE_VARIABLE,
    PUBLISHED,
    cache_folder,
    imported_path,
    is_imported,
    published_row,
)


def add_parser(commands: Commands) -> None:
    """Add the subcommand and its two actions."""
    parser = commands.add_parser("weights", help="list and import published weights")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="where the weights are, their licences, and which are imported"
    )
    listing.set_defaults(run=run_list)
    importing = actions.add_parser(
        "import",
        help="convert published weights, so that NAME[published] is a solver",
        description="Convert the files of NAME, as their authors published them, to safetensors in "
        f"the folder {CACHE_VARIABLE} (default: {cache_folder()}). A file must have the SHA-256 "
        "that 'cscsr weights list' shows; no code in it is run. With several files, name all "
        "whose scales are wanted in one command: it replaces an earlier import of NAME.",
        epilog="example: cscsr weights import vdsr VDSR_Official.mat",
    )
    importing.add_argument(
        "name", metavar="NAME", help="one of those that 'cscsr weights list' names"
    )
    importing.add_argument("files", nargs="+", metavar="FILE", help="a downloaded file")
    importing.set_defaults(run=run_import)


def run_list(arguments: argparse.Namespace) -> None:
    """Print for each network its scales, whether it is imported, its licence and its files."""
    for row in PUBLISHED.values():
        scales = " ".join(f"x{scale}" for scale in row.scales)
        state = f"imported, {imported_path(row)}" if is_imported(row) else "not imported"
        print(f"{row.name}: {row.summary}, {scales}; licence: {row.licence}; {state}")
        for file in row.files:
            print(f"  {row.address(file)}\n    SHA-256 {file.sha256}, {file.bytes} bytes")
    print("Import one with 'cscsr weights import NAME FILE …'; the solver is NAME[published].")


def run_import(arguments: argparse.Namespace) -> None:
    """Convert the files. Raises InputError as `cscsr.conversion.import_weights` does."""
    row = published_row(arguments.name)
    from cscsr.conversion import import_weights

    path, scales = import_weights(row, arguments.files)
    print(f"{path}: {', '.join(f'x{scale}' for scale in scales)}; licence: {row.licence}")
    print(f"The solver is '{row.solver}'.")
