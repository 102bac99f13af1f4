"""The command `cscsr`: list solvers, enlarge images, score them, train, fetch data sets.

Bad input ends in one sentence on standard error and exit code 2. An existing file is
never replaced unless ``--force`` says so. Everything heavy is imported by the
subcommand that needs it, so that ``cscsr --help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

import cscsr
from cscsr.arrays import check_device
from cscsr.errors import InputError
from cscsr.problem import check_scale
from cscsr.training.recipe import recipe_names

DEFAULT_SOLVER = "crnet-b-small"
"""The solver of ``cscsr upscale`` where none is named."""

BEST_SOLVER = "crnet-b-small+"
"""The solver of ``cscsr upscale --best``."""

CSC_SR = "csc-sr"
"""The recipe that learns filters and maps rather than a network."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"cscsr: {message}; see {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv` (default: those of the process).

    Returns the exit code: 0, 2 for bad input, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:2] == ["train", CSC_SR]:  # has options of its own
            from cscsr.csc_sr import train as csc_sr

            csc_sr.main(words[2:], prog=f"cscsr train {CSC_SR}")
            return 0
        arguments = _parser().parse_args(words)
        arguments.run(arguments)
        sys.stdout.flush()
    except InputError as error:
        print(f"cscsr: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("cscsr: there is not enough memory for this image at this scale.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("cscsr: interrupted.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cscsr",
        description="Classical and learned convolutional sparse coding for image "
        "super-resolution. The comparison of all solvers is python -m benchmarks.compare.",
    )
    parser.add_argument("--version", action="version", version=f"cscsr {cscsr.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    solvers = commands.add_parser("solvers", help="list the solvers")
    solvers.set_defaults(run=_solvers)

    upscale = commands.add_parser(
        "upscale",
        help="enlarge images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Enlarge images: PNG, TIFF, BMP or JPEG, 8 or 16 bits, grey or colour, with\n"
        "or without transparency. Of a folder or several images, those whose results\n"
        "exist are passed over, so that an interrupted run goes on where it stopped.",
        epilog="examples:\n"
        "  cscsr upscale photo.jpg --scale 3\n"
        "  cscsr upscale photos --scale 2 -o large/\n"
        "  cscsr upscale 'photos/**/*.png' --scale 2 -o 'large/{name}.tif'",
    )
    upscale.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a file, a folder or a pattern such as '*.png'"
    )
    upscale.add_argument("--scale", required=True, help="the factor, a whole number")
    which = upscale.add_mutually_exclusive_group()
    which.add_argument(
        "--solver", default=DEFAULT_SOLVER, help="one of 'cscsr solvers' (default: %(default)s)"
    )
    which.add_argument(
        "--best", action="store_true", help=f"the best there is, however slow: {BEST_SOLVER}"
    )
    upscale.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="the file to write, or a folder, or a pattern with {name} (and {scale}, {solver}); "
        "its suffix is its format (default: IMAGE's name with -xSCALE.png, in its folder)",
    )
    upscale.add_argument("--force", action="store_true", help="replace what exists")
    upscale.add_argument("--device", help="where a network runs: cpu (default), cuda, cuda:1")
    upscale.add_argument(
        "--weights", metavar="FILE", help="a .safetensors file in place of the solver's shipped one"
    )
    upscale.set_defaults(run=_upscale)

    score = commands.add_parser(
        "score",
        help="PSNR and SSIM of an enlarged image",
        description="PSNR and SSIM on luma, SCALE pixels cut off each side, as in the paper. "
        "TRUTH is first cropped to a multiple of SCALE.",
    )
    score.add_argument("image", type=Path, metavar="OUT", help="the enlarged image")
    score.add_argument("truth", type=Path, metavar="TRUTH", help="the image it should be")
    score.add_argument("--scale", required=True, help="the factor it was enlarged by")
    score.add_argument(
        "--protocol",
        choices=("y", "rgb"),
        help="what OUT holds: rgb, the truth's own channels (default where both have the "
        "same number), or y, the luma of a colour TRUTH as a grey image",
    )
    score.add_argument(
        "--explain",
        action="store_true",
        help="show why another program measures another PSNR on these images: what each choice "
        "(luma or RGB, border, rounding, the bicubic of another library) is worth in dB",
    )
    score.set_defaults(run=_score)

    train = commands.add_parser(
        "train",
        help="train the parameters of a solver",
        description="Train on the images of a data folder; held-out images and known leaks of "
        f"test images are left out. {CSC_SR} has other options: cscsr train {CSC_SR} --help.",
        epilog="example: cscsr train crnet-b-small --data images --minutes 20 --out runs/b",
    )
    train.add_argument(
        "recipe", metavar="RECIPE", help=f"{CSC_SR}, {', '.join(recipe_names())}, or a .toml file"
    )
    train.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: CSCSR_DATA)"
    )
    budget = train.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes", type=float, help="time to train for (default: the recipe's steps, or 10)"
    )
    budget.add_argument("--steps", type=int, help="updates to train for")
    train.add_argument(
        "--out", type=Path, metavar="DIR", help="where the weights go (default: runs/RECIPE)"
    )
    train.add_argument("--device", help="cpu (default), cuda, cuda:1")
    train.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    train.add_argument(
        "--precision", choices=("fp32", "bf16"), help="(default: whichever is faster here)"
    )
    train.add_argument("--init", metavar="FILE", help="start from these weights")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument(
        "--watch", metavar="SET", help="put this data set's PSNR into the curve too, for a plot"
    )
    train.set_defaults(run=_train)

    data = commands.add_parser("data", help="list, fetch and check data sets")
    actions = data.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="the data sets that are found, and those that can be fetched"
    )
    listing.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: CSCSR_DATA)"
    )
    listing.set_defaults(run=_data_list)

    check = actions.add_parser(
        "check-leaks",
        help="find training images that show a test image",
        description="Look for images of TRAIN that show one of TEST, crops and other sizes "
        "included. Each line of what it finds can be put into the data folder's leaks.txt, whose "
        "images are never trained on.",
        epilog="example: cscsr data check-leaks T91,BSD200 Set5,Set14 --data images",
    )
    check.add_argument("train", metavar="TRAIN", help="data sets, joined by commas")
    check.add_argument("test", metavar="TEST", help="data sets, joined by commas")
    check.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: CSCSR_DATA)"
    )
    check.set_defaults(run=_data_check_leaks)

    fetch = actions.add_parser(
        "fetch",
        help="download data sets",
        description="Download data sets, each into a folder of its name. Every file is checked "
        "against a pinned SHA-256; an interrupted download goes on where it stopped.",
        epilog="example: cscsr data fetch Set5 Set14 --data images",
    )
    fetch.add_argument(
        "names", nargs="+", metavar="NAME", help="one of those that 'cscsr data list' names"
    )
    fetch.add_argument(
        "--data", type=Path, metavar="DIR", help="the data folder (default: CSCSR_DATA)"
    )
    fetch.add_argument(
        "--mirror",
        metavar="URL",
        help="a server with the files at URL/REPOSITORY/COMMIT/PATH (default: GitHub's)",
    )
    fetch.set_defaults(run=_data_fetch)
    return parser


def _scale(text: str) -> int:
    """The value of ``--scale``. Raises InputError unless it is a whole number from 1."""
    for number in (int, float):
        try:
            return check_scale(number(text))
        except InputError:
            raise
        except ValueError:
            continue
    return check_scale(text)


def _solvers(arguments: argparse.Namespace) -> None:
    broken = cscsr.list_solvers()
    for problem in ("SuperResolution", "SparseCoding"):
        rows = cscsr.list_solvers(problem)
        width = max(map(len, rows))
        print(f"Solvers of {problem}:")
        for name, summary in rows.items():
            print(f"  {name:{width}}  {summary}")
            broken.pop(name)
    print(f"cscsr upscale takes {DEFAULT_SOLVER}, and {BEST_SOLVER} with --best.")
    if broken:
        shown = ", ".join(f"{name} ({summary})" for name, summary in broken.items())
        print(f"Cannot be loaded: {shown}.")


def _upscale(arguments: argparse.Namespace) -> None:
    scale = _scale(arguments.scale)
    name = BEST_SOLVER if arguments.best else arguments.solver
    device = None if arguments.device is None else check_device(arguments.device)
    options = {"device": device, "weights": arguments.weights}
    solver = cscsr.make_solver(
        name, **{name: value for name, value in options.items() if value is not None}
    )
    if solver.problem_type is not cscsr.SuperResolution:
        names = ", ".join(cscsr.list_solvers("SuperResolution"))
        raise InputError(f"{solver.name} does not enlarge images; these do: {names}.")

    from cscsr.cli import upscale

    jobs, batch = upscale.plan(arguments.images, arguments.out, scale, solver.name, arguments.force)
    upscale.run(solver, jobs, batch, scale, arguments.force)


def _score(arguments: argparse.Namespace) -> None:
    scale = _scale(arguments.scale)

    from cscsr.imaging import score

    estimate, truth = _images_to_score(arguments.image, arguments.truth, scale)
    protocol = arguments.protocol or ("rgb" if estimate.ndim == truth.ndim else "y")
    if estimate.ndim == 3 and (truth.ndim == 2 or protocol == "y"):
        wanted = "TRUTH is" if truth.ndim == 2 else "luma is"
        raise InputError(f"{arguments.image} is in colour, but it should be grey, as {wanted}.")
    if estimate.ndim < truth.ndim and protocol == "rgb":
        raise InputError(f"{arguments.image} is grey, but TRUTH is in colour; try --protocol y.")
    result = score(estimate, truth, scale, protocol)
    shown = f"PSNR {result['psnr']:.2f} dB, SSIM {result['ssim']:.4f}"
    print(f"{shown} (protocol {protocol}, x{scale})")
    if arguments.explain:
        from cscsr.imaging.explain import as_text, explain

        measures, resizes = explain(estimate, truth, scale)
        print(f"\nThis image, if one choice differs:\n{as_text(measures)}")
        print(f"\nBicubic on this truth, by the program that resizes:\n{as_text(resizes)}")


def _images_to_score(out: Path, truth: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The enlarged image in [0,1] and the truth in 8 bits, both cropped. Raises InputError
    for a transparent image and two sizes."""
    from cscsr.imaging import crop_to_multiple, read_image
    from cscsr.imaging.files import read_picture

    picture, true_pixels = read_picture(out), read_image(truth)
    if picture.alpha is not None and picture.alpha.min() < picture.alpha.max():
        raise InputError(f"{out} has transparent pixels; give an opaque image.")
    pixels, cropped = picture.pixels, crop_to_multiple(true_pixels, scale)
    if pixels.shape[:2] == true_pixels.shape[:2]:
        pixels = crop_to_multiple(pixels, scale)
    if pixels.shape[:2] != cropped.shape[:2]:
        ours, theirs = (f"{shape[1]}x{shape[0]}" for shape in (pixels.shape, cropped.shape))
        raise InputError(
            f"both images must have one size, but {out} has {ours} pixels and {truth}, cropped to "
            f"a multiple of {scale}, {theirs}; was it enlarged by another factor?"
        )
    return pixels / float(2 ** (8 * pixels.itemsize) - 1), cropped


def _train(arguments: argparse.Namespace) -> None:
    from cscsr.data.datasets import FOLDER_VARIABLE, data_folder
    from cscsr.training.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    data = data_folder(arguments.data)
    if data is None:
        raise InputError(
            f"training needs images: name their folder with --data or {FOLDER_VARIABLE}."
        )
    out = arguments.out or Path("runs", Path(arguments.recipe).stem)

    from cscsr.training.run import NonFiniteLoss, train

    minutes = arguments.minutes
    if minutes is None and arguments.steps is None and recipe.steps is None:
        minutes = 10.0
    try:
        path = train(
            recipe,
            data,
            out,
            minutes=minutes,
            steps=arguments.steps,
            device=arguments.device or "cpu",
            bf16=None if arguments.precision is None else arguments.precision == "bf16",
            seed=arguments.seed,
            init=arguments.init,
            resume=arguments.resume,
            watch=arguments.watch,
        )
    except NonFiniteLoss as error:
        raise SystemExit(f"cscsr: {error}") from error
    print(f"{path}: use it with cscsr upscale --weights {path}")


def _data_check_leaks(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from cscsr.data.datasets import join_datasets
    from cscsr.data.leaks import find_leaks

    train, test = (
        join_datasets(names.split(","), arguments.data)
        for names in (arguments.train, arguments.test)
    )
    with tqdm(total=len(train) + len(test), unit="image", leave=False, disable=None) as bar:
        leaks = find_leaks(train, test, lambda name, done, total: bar.update(done - bar.n))
    for leak in leaks:
        print(leak)
    shown = len({leak.train for leak in leaks})
    print(f"{shown} of {len(train)} images show one of the {len(test)} of {arguments.test}")


def _data_list(arguments: argparse.Namespace) -> None:
    from cscsr.data.datasets import FOLDER_VARIABLE, data_folder, find_datasets, load_dataset
    from cscsr.data.fetch import SOURCES, remote_files

    folder = data_folder(arguments.data)
    found, into = {"demo": "embedded in scikit-image"}, ""
    if folder is not None:
        into = f" --data {arguments.data}" if arguments.data else ""
        with contextlib.suppress(InputError):  # there is no image in it yet
            found |= find_datasets(folder)
    lacking = [name for name in SOURCES if name not in found]
    width = max(map(len, [*found, *lacking]))
    for name, where in found.items():
        print(f"{name:{width}}  {len(load_dataset(name, folder)):5d} images  {where}")
    for name in lacking:
        print(f"{name:{width}}  {len(remote_files(name)):5d} images  cscsr data fetch {name}{into}")
    if folder is None:
        print(f"To list the data sets of a folder, name it with --data or {FOLDER_VARIABLE}.")
    elif len(found) == 1:
        print(f"There is no image in {folder} or in folders under it yet.")


def _data_fetch(arguments: argparse.Namespace) -> None:
    from cscsr.data.datasets import FOLDER_VARIABLE
    from cscsr.data.fetch import HOST, fetch, remote_files

    folder = arguments.data or os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise InputError(f"name the folder to put them in, with --data or {FOLDER_VARIABLE}.")
    for name in arguments.names:
        remote_files(name)  # so that a wrong name is told before anything is fetched
    for name in arguments.names:
        path = fetch(name, folder, host=arguments.mirror or HOST)
        print(f"{path}: {len(remote_files(name))} images, each with its pinned SHA-256")
    if os.environ.get(FOLDER_VARIABLE) != str(folder):
        print(f"Use them with --data {folder}, or export {FOLDER_VARIABLE}={folder}.")
