"""``cscsr race``: run solvers of sparse coding on an image to a certified optimum."""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cscsr.cli.options import Commands
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.output import check_folder, make_folder, write_bytes

if TYPE_CHECKING:
    import numpy as np

FILES = ("race.csv", "curves.csv", "race.md", "race.png")
LEARNED = "dictionary.npy"


def add_parser(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "race",
        help="run solvers of sparse coding to a certified optimum",
        description="Code an image under a dictionary by several solvers until the objective of "
        "each is within a relative gap of the optimum, which a duality gap certifies. Print the "
        "table, and write it, the curves and a plot. The smooth part of the image is removed "
        "first. The image wraps around. With OMP_NUM_THREADS=1 seconds are processor time, to "
        "which other work on the machine adds little.",
        epilog="example: OMP_NUM_THREADS=1 cscsr race photo.png --crop 128 --dictionary G:8x8x64",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--dictionary",
        metavar="D",
        help="a .npy file with filters (M,h,w), or (M,3,h,w) for RGB, as learn-dictionary writes; "
        "or lista, or one of sporco's, such as G:8x8x64",
    )
    source.add_argument(
        "--learn", metavar="MxS", help="learn M filters of SxS pixels from the image, such as 64x8"
    )
    parser.add_argument(
        "--lam", type=float, default=0.05, help="lambda, for pixels in [0, 1] (%(default)s)"
    )
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="see cscsr solvers")
    parser.add_argument(
        "--gap", type=float, default=1e-4, help="the relative gap to reach (%(default)g)"
    )
    parser.add_argument(
        "--crop", type=int, default=0, metavar="N", help="take only the central NxN pixels"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--nonnegative", action="store_true", help="codes that are not negative")
    parser.add_argument("--keep-smooth", action="store_true", help="code the image as it is")
    parser.add_argument(
        "--iterations", type=int, default=1000, help="cap for a solver (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="cap for a solver (%(default)g)"
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="measure the peak memory of each solver too, in a process of its own (Linux)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("race"), metavar="DIR", help="(%(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace what exists")
    add_max_pixels_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the race. Raises InputError for bad input."""
    out = arguments.out
    check_folder(out)
    for name in (*FILES, LEARNED) if arguments.learn else FILES:
        if (out / name).exists() and not arguments.force:
            raise InputError(f"{out / name} exists already; replace it with --force.")
    shape = None if arguments.learn is None else _learned_shape(arguments.learn)

    import numpy as np

    from cscsr.imaging import read_image
    from cscsr.learn import ImageSignals, learn_dictionary
    from cscsr.problem import SparseCoding
    from cscsr.racing import SOLVERS, race

    read_image(arguments.image)
    filters = None if shape else read_dictionary(arguments.dictionary)
    colour = filters is not None and filters.ndim == 4 and filters.shape[1] == 3
    signal = ImageSignals([arguments.image], colour, not arguments.keep_smooth)[0]
    signal = _central(signal, arguments.crop)
    if shape:
        atoms, size = shape
        learned = learn_dictionary(
            [signal],
            atoms,
            size,
            arguments.lam,
            steps=100,
            nonnegative=arguments.nonnegative,
            progress=True,
        )
        filters = learned.filters
        content = io.BytesIO()
        np.save(content, filters)
        write_bytes(make_folder(out) / LEARNED, content.getbuffer())
    assert filters is not None
    problem = SparseCoding(
        signal.astype(arguments.dtype),
        np.ascontiguousarray(filters, arguments.dtype),
        arguments.lam,
        arguments.nonnegative,
    )
    result = race(
        problem,
        arguments.solvers or SOLVERS,
        gap=arguments.gap,
        iterations=arguments.iterations,
        max_seconds=arguments.seconds,
        memory=arguments.memory,
        progress=True,
    )
    print(f"{problem!r}\n\n{result}\n", flush=True)  # before the disk can fail
    result.save(out)
    print(f"{', '.join(FILES)} are in {out}")


def _learned_shape(text: str) -> tuple[int, int]:
    """The number of filters and their side, of "64x8"."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if match is None:
        raise InputError(f"--learn must be like 64x8, filters and their side, got {text!r}.")
    return int(match[1]), int(match[2])


def read_dictionary(name: str) -> np.ndarray:
    """Return the filters of a .npy file or of a name (`cscsr.data.problems.named_dictionary`).

    Raises
    ------
    InputError
        For a name that is none, and a file that cannot be read or holds no filters.
    """
    import numpy as np

    if not name.endswith(".npy"):
        from cscsr.data.problems import named_dictionary

        return named_dictionary(name)
    try:
        filters = np.load(name, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise InputError(
            f"{name} should be a NumPy file of filters but cannot be read: it is cut short or of "
            "another kind."
        ) from error
    shape = getattr(filters, "shape", None)
    if shape is None or len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] not in (1, 3)):
        raise InputError(f"{name} should hold filters (M,h,w) or (M,3,h,w), got {shape}.")
    if filters.dtype.kind != "f":
        raise InputError(f"{name} should hold floating-point filters, got {filters.dtype}.")
    return filters


def _central(signal: np.ndarray, side: int) -> np.ndarray:
    """The middle of a signal ([C,]H,W), all of it for 0."""
    if side < 0:
        raise InputError(f"--crop must be at least 0, got {side}.")
    if side == 0:
        return signal
    top, left = (max(0, (n - side) // 2) for n in signal.shape[-2:])
    return signal[..., top : top + side, left : left + side]
