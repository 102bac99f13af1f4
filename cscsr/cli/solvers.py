"""``cscsr solvers``: list the solvers by the problem that they solve."""

from __future__ import annotations

import argparse

from cscsr.cli.options import Commands
from cscsr.cli.upscale import BEST_SOLVER, DEFAULT_SOLVER
from cscsr.registry import list_solvers


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    commands.add_parser("solvers", help="list the solvers").set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each solver, and the names of those that cannot be loaded."""
    not_loaded = list_solvers()
    for problem in ("SuperResolution", "SparseCoding"):
        summaries = list_solvers(problem)
        width = max(map(len, summaries))
        print(f"Solvers of {problem}:")
        for name, summary in summaries.items():
            print(f"  {name:{width}}  {summary}")
            not_loaded.pop(name)
    print(f"cscsr upscale takes {DEFAULT_SOLVER}, and {BEST_SOLVER} with --best.")
    if not_loaded:
        names = ", ".join(f"{name} ({summary})" for name, summary in not_loaded.items())
        print(f"Cannot be loaded: {names}.")
