"""``cscsr export``: write a trained network for other programs; `cscsr.export` does the work."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cscsr.cli.options import Commands, parse_scale


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "export",
        help="write a network as ONNX, or as a program of torch.export",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write a network at one scale as a file whose batch, height and width vary.\n"
        "It is checked against torch, to 1e-5, before it appears under its name.",
        epilog="examples:\n"
        "  cscsr export crnet-b-small model.onnx --scale 3    (needs the extra cscsr[onnx])\n"
        "  cscsr export crnet-a-small model.pt2 --scale 2",
    )
    parser.add_argument("solver", metavar="SOLVER", help="a network among 'cscsr solvers'")
    parser.add_argument("file", type=Path, metavar="FILE", help="NAME.onnx or NAME.pt2")
    parser.add_argument("--scale", default="2", help="the factor (default: %(default)s)")
    parser.add_argument(
        "--weights", metavar="FILE", help="a .safetensors file in place of the solver's shipped one"
    )
    parser.add_argument("--force", action="store_true", help="replace what exists")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the file. Raises InputError as `cscsr.export.export` does."""
    scale = parse_scale(arguments.scale)
    options = {} if arguments.weights is None else {"weights": arguments.weights}

    from cscsr.export import export
    from cscsr.network import check_architecture
    from cscsr.registry import make_solver

    solver = make_solver(arguments.solver, **options)
    check_architecture(solver)
    written = export(solver, arguments.file, scale, force=arguments.force, say=_say)
    print(f"{written.path}: {solver.name} at x{scale}")
    print(f"  takes {written.input}")
    print(f"  returns {written.output}")
    print(f"  differs from torch by at most {written.difference:.1e} on the [0, 1] scale")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
