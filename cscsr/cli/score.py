"""``cscsr score``: PSNR and SSIM of an enlarged image file against the true one."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from cscsr.cli.options import Commands, parse_scale
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option

if TYPE_CHECKING:
    import numpy as np


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "score",
        help="PSNR and SSIM of an enlarged image",
        description="PSNR and SSIM on luma, SCALE pixels cut off each side, as in the paper. "
        "TRUTH is first cropped to a multiple of SCALE.",
    )
    parser.add_argument("image", type=Path, metavar="OUT", help="the enlarged image")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="the image it should be")
    parser.add_argument("--scale", required=True, help="the factor it was enlarged by")
    parser.add_argument(
        "--line",
        choices=("y", "rgb"),
        help="what OUT holds: rgb, the truth's own channels (default where both have the "
        "same number), or y, the luma of a colour TRUTH as a grey image",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show why another program measures another PSNR on these images: what each choice "
        "(luma or RGB, border, rounding, the bicubic of another library) is worth in dB",
    )
    parser.add_argument(
        "--other",
        type=float,
        metavar="DB",
        help="the PSNR that another program prints for these images: name the channels and the "
        "border that it measures by",
    )
    add_max_pixels_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the scores; raise InputError if the images do not match."""
    scale = parse_scale(arguments.scale)
    if arguments.other is not None and not math.isfinite(arguments.other):
        raise InputError(f"--other must be a finite number of dB, got {arguments.other}.")

    from cscsr.imaging import score

    estimate, truth = _read_pair(arguments.image, arguments.truth, scale)
    line = arguments.line or ("rgb" if estimate.ndim == truth.ndim else "y")
    if estimate.ndim == 3 and (truth.ndim == 2 or line == "y"):
        grey = "TRUTH is" if truth.ndim == 2 else "luma is"
        raise InputError(f"{arguments.image} is in colour, but it should be grey, as {grey}.")
    if estimate.ndim < truth.ndim and line == "rgb":
        raise InputError(f"{arguments.image} is grey, but TRUTH is in colour; try --line y.")
    result = score(estimate, truth, scale, line)
    print(f"PSNR {result['psnr']:.2f} dB, SSIM {result['ssim']:.4f} (line {line}, x{scale})")
    if arguments.explain:
        from cscsr.imaging.explain import as_text, explain

        measures, resizes = explain(estimate, truth, scale)
        print(f"\nThis image, if a choice differs:\n{as_text(measures)}")
        print(f"\nBicubic on this truth, by the program that resizes:\n{as_text(resizes)}")
    if arguments.other is not None:
        from cscsr.imaging.explain import as_measured, combinations

        lines = combinations(estimate, truth, scale)
        print(f"\n{as_measured(lines, arguments.other)}")


def _read_pair(out: Path, truth: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The enlarged image in [0,1] and the truth as uint8, both cropped to a multiple of `scale`."""
    from cscsr.imaging import crop_to_multiple, read_image
    from cscsr.imaging.files import read_picture

    picture, true_pixels = read_picture(out), read_image(truth)
    if picture.alpha is not None and picture.alpha.min() < picture.alpha.max():
        raise InputError(f"{out} has transparent pixels; save it without an alpha channel.")
    pixels, cropped = picture.pixels, crop_to_multiple(true_pixels, scale)
    if pixels.shape[:2] == true_pixels.shape[:2]:
        pixels = crop_to_multiple(pixels, scale)
    if pixels.shape[:2] != cropped.shape[:2]:
        ours, theirs = (f"{shape[1]}x{shape[0]}" for shape in (pixels.shape, cropped.shape))
        raise InputError(
            f"the images must have the same size, but {out} has {ours} pixels and {truth}, cropped "
            f"to a multiple of {scale}, {theirs}; was it enlarged by another factor?"
        )
    return pixels / float(2 ** (8 * pixels.itemsize) - 1), cropped
