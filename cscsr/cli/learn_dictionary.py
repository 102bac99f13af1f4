"""``cscsr learn-dictionary``: learn the filters of sparse coding from image files."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from cscsr.cli.options import Commands
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.output import check_folder, make_folder, write_bytes


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "learn-dictionary",
        help="learn the filters of sparse coding",
        description="Learn filters under which images have sparse codes, and write them as a NumPy "
        "file and as a picture. The smooth part of each image is removed first. To continue a "
        "run that was stopped, give the same command again.",
        epilog="example: cscsr learn-dictionary photos --atoms 64 --size 8 --out dictionary.npy",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders")
    parser.add_argument("--out", type=Path, default=Path("dictionary.npy"), metavar="FILE.npy")
    parser.add_argument("--force", action="store_true", help="replace what exists")
    parser.add_argument("--atoms", type=int, default=64, help="the number of filters (%(default)s)")
    parser.add_argument("--size", type=int, default=8, help="their side in pixels (%(default)s)")
    parser.add_argument(
        "--lam", type=float, default=0.1, help="lambda, for pixels in [0, 1] (%(default)s)"
    )
    parser.add_argument("--steps", type=int, default=200, help="steps of learning (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (%(default)s)")
    parser.add_argument("--colour", action="store_true", help="filters of three channels, RGB")
    parser.add_argument("--nonnegative", action="store_true", help="codes that are not negative")
    parser.add_argument(
        "--batch",
        dest="online",
        action="store_false",
        help="code all images at each step, instead of random parts",
    )
    parser.add_argument(
        "--keep-smooth", action="store_true", help="learn from the images as they are"
    )
    add_max_pixels_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Learn the filters. Raises InputError for bad input."""
    out = arguments.out
    if out.suffix != ".npy":
        raise InputError(f"--out must name a .npy file, got {out}.")
    check_folder(out.parent)
    picture = out.with_suffix(".png")
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    for path in (out, picture):
        if path.exists() and not arguments.force:
            raise InputError(f"{path} exists already; replace it with --force.")

    from cscsr.cli.batch_plan import images_of

    paths = images_of(arguments.images)

    import numpy as np
    from tqdm import tqdm

    from cscsr.imaging import read_image, write_image
    from cscsr.learn import ImageSignals, learn_dictionary
    from cscsr.learn.picture import picture_of

    make_folder(out.parent)
    for path in tqdm(paths, desc="checking images", unit="image", leave=False, delay=1):
        sides = read_image(path).shape[:2]
        if min(sides) < arguments.size:
            raise InputError(
                f"{path} has {sides[1]}x{sides[0]} pixels, but the filters have "
                f"{arguments.size}x{arguments.size}."
            )
    learned = learn_dictionary(
        ImageSignals(paths, arguments.colour, not arguments.keep_smooth),
        arguments.atoms,
        arguments.size,
        arguments.lam,
        channels=3 if arguments.colour else 1,
        online=arguments.online,
        steps=arguments.steps,
        seed=arguments.seed,
        nonnegative=arguments.nonnegative,
        checkpoint=checkpoint,
        progress=True,
    )
    content = io.BytesIO()
    np.save(content, learned.filters)
    write_bytes(out, content.getbuffer())
    write_image(picture, picture_of(learned.filters))
    checkpoint.unlink(missing_ok=True)
    print(f"{out}: {learned!r}; {picture} shows them")
