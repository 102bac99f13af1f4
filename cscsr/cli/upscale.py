"""``cscsr upscale``: enlarge image files; `cscsr.cli.batch` does the work."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cscsr
from cscsr.arrays import check_device
from cscsr.cli.options import Commands, parse_scale
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.parallel import parse_jobs

DEFAULT_SOLVER = "crnet-b-small"
"""The solver where none is named."""

BEST_SOLVER = "crnet-b-small+"
"""The solver of ``--best``."""


FORMATS = ("png", "tif", "bmp", "jpg", "webp", "avif")
"""What ``--format`` takes; WebP and AVIF where pillow has them."""


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "upscale",
        help="enlarge images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Enlarge images: PNG, TIFF, BMP, JPEG, WebP or AVIF, 8 or 16 bits, grey or\n"
        "colour, with or without transparency. In a folder or a list of images, those whose\n"
        "results exist are skipped, so that an interrupted run can be resumed.",
        epilog="examples:\n"
        "  cscsr upscale photo.jpg --scale 3\n"
        "  cscsr upscale photos --scale 2 -o large/\n"
        "  cscsr upscale photos --scale 2 -o large/ --recursive\n"
        "  cscsr upscale 'photos/**/*.png' --scale 2 -o 'large/{name}.tif'\n"
        "\n"
        "exit code: 0; 1 if some of several images failed; 2 for bad input; 130 when interrupted,\n"
        "143 by SIGTERM",
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a file, a folder or a pattern such as '*.png'"
    )
    parser.add_argument("--scale", required=True, help="the factor, a whole number")
    solver = parser.add_mutually_exclusive_group()
    solver.add_argument(
        "--solver",
        help=f"one of 'cscsr solvers' (default: {DEFAULT_SOLVER}, or the network of --weights)",
    )
    solver.add_argument(
        "--best",
        action="store_true",
        help=f"the best that learned from images alone, however slow: {BEST_SOLVER}",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="the file to write, or a folder, or a pattern with {name} (and {scale}, {solver}); "
        "its suffix is its format (default: IMAGE's name with -xSCALE.png, in its folder)",
    )
    parser.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="also enlarge the images in subfolders, which -o FOLDER/ then mirrors",
    )
    parser.add_argument(
        "--format",
        metavar="KIND",
        help=f"the format of results that -o does not name: {', '.join(FORMATS)} (default: png)",
    )
    parser.add_argument(
        "--quality",
        metavar="Q",
        help="1 to 100, for jpg and avif (default: 95) and for webp (default: lossless)",
    )
    parser.add_argument(
        "--tile",
        metavar="N",
        help="enlarge in parts of up to NxN pixels of the image; smaller parts need less memory "
        "(default: the solver's choice)",
    )
    parser.add_argument("--force", action="store_true", help="replace what exists")
    parser.add_argument(
        "--device", help="where the solver computes, if it can choose: cpu (default), cuda, cuda:1"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="a .safetensors file in place of the solver's shipped one; without --solver, any "
        "network, which is named for its file",
    )
    add_max_pixels_option(parser)
    parser.add_argument(
        "--jobs",
        default="1",
        metavar="N",
        help="enlarge N images at a time, in processes of one thread each (default: one; more need "
        "the extra cscsr[cluster])",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Enlarge the images.

    Returns
    -------
    int
        The exit code: 0, or 1 if an image of several failed.

    Raises
    ------
    InputError
        For bad input.
    """
    scale = parse_scale(arguments.scale)
    processes = parse_jobs(arguments.jobs)
    name = BEST_SOLVER if arguments.best else arguments.solver or DEFAULT_SOLVER
    device = None if arguments.device is None else check_device(arguments.device)
    options = {"device": device, "weights": arguments.weights}
    solver = cscsr.make_solver(
        name, **{name: value for name, value in options.items() if value is not None}
    )
    if arguments.weights is not None:
        from cscsr.network import NetworkSolver, check_architecture

        if isinstance(solver, NetworkSolver) and arguments.solver is None:
            solver = replace(solver, model=Path(arguments.weights).stem)
        else:
            check_architecture(solver)
    if solver.problem_type is not cscsr.SuperResolution:
        names = ", ".join(cscsr.list_solvers("SuperResolution"))
        raise InputError(f"{solver.name} does not enlarge images; these do: {names}.")

    from cscsr.cli import batch, batch_plan
    from cscsr.imaging.encoders import SUFFIXES, check_quality

    suffix = None if arguments.format is None else f".{arguments.format.lower().lstrip('.')}"
    if suffix is not None and suffix not in SUFFIXES:
        known = ", ".join(name for name in FORMATS if f".{name}" in SUFFIXES)
        raise InputError(f"--format must be one of {known}, got {arguments.format!r}.")
    quality = _whole("--quality", arguments.quality, 100)
    plan = batch_plan.plan(
        arguments.images,
        arguments.out,
        scale,
        solver.name,
        force=arguments.force,
        recursive=arguments.recursive,
        suffix=suffix,
    )
    if quality is not None:
        for job in plan.jobs:
            check_quality(job.out, quality)
    settings = batch.Settings(scale, quality, _whole("--tile", arguments.tile))
    return 1 if batch.run(solver, plan, settings, arguments.force, processes) else 0


def _whole(option: str, text: str | None, most: int = 2**20) -> int | None:
    """The value of an option, a whole number from 1 to `most`; None where it is not given."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise InputError(f"{option} must be a whole number from 1 to {most}, got {text!r}.")
    return int(text)
