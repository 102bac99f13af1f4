"""``cscsr data``: list data sets, download them, and look for test images in training sets."""

from __future__ import annotations

import argparse
import contextlib
import os

from cscsr.cli.options import Commands, add_data_option
from cscsr.errors import InputError
from cscsr.limits import add_max_pixels_option
from cscsr.output import printable


def add_parser(commands: Commands) -> None:
    """Add the subcommand and its three actions."""
    parser = commands.add_parser("data", help="list, fetch and check data sets")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = actions.add_parser(
        "list", help="the data sets that are here, and those that can be fetched"
    )
    add_data_option(listing)
    listing.set_defaults(run=run_list)

    check = actions.add_parser(
        "check-leaks",
        help="find training images that show a test image",
        description="Look for images of TRAIN that show one of TEST, crops and other sizes "
        "included. Each line of the output can be put into the data folder's leaks.txt, whose "
        "images are never trained on.",
        epilog="example: cscsr data check-leaks T91,BSD200 Set5,Set14 --data images",
    )
    check.add_argument("train", metavar="TRAIN", help="data sets, joined by commas")
    check.add_argument("test", metavar="TEST", help="data sets, joined by commas")
    add_data_option(check)
    add_max_pixels_option(check)
    check.set_defaults(run=run_check_leaks)

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
    add_data_option(fetch)
    fetch.add_argument(
        "--mirror",
        metavar="URL",
        help="a server with the files at URL/REPOSITORY/COMMIT/PATH (default: GitHub's)",
    )
    fetch.set_defaults(run=run_fetch)


def run_list(arguments: argparse.Namespace) -> None:
    """Print a line for each data set that is here, then for each that can be fetched."""
    from cscsr.data.datasets import (
        FOLDER_VARIABLE,
        NoImages,
        data_folder,
        find_datasets,
        load_dataset,
    )
    from cscsr.data.fetch import remote_files
    from cscsr.data.sources import FETCHABLE

    folder = data_folder(arguments.data)
    places, option = {"demo": "embedded in scikit-image"}, ""
    if folder is not None:
        option = f" --data {arguments.data}" if arguments.data else ""
        with contextlib.suppress(NoImages):
            places |= {name: str(path) for name, path in find_datasets(folder).items()}
    absent = [name for name in FETCHABLE if name not in places]
    width = max(map(len, [*places, *absent]))
    for name, place in places.items():
        print(f"{name:{width}}  {len(load_dataset(name, folder)):5d} images  {place}")
    for name in absent:
        print(
            f"{name:{width}}  {len(remote_files(name)):5d} images  cscsr data fetch {name}{option}"
        )
    if folder is None:
        print(f"To list the data sets of a folder, name it with --data or {FOLDER_VARIABLE}.")
    elif len(places) == 1:
        print(f"There is no image in {folder} or in folders under it yet.")


def run_check_leaks(arguments: argparse.Namespace) -> None:
    """Print a line for each training image that shows a test image."""
    from tqdm import tqdm

    from cscsr.data.datasets import join_datasets
    from cscsr.data.leaks import FEWEST, find_leaks

    train, test = (
        join_datasets(names.split(","), arguments.data)
        for names in (arguments.train, arguments.test)
    )
    with tqdm(total=len(train) + len(test), unit="image", leave=False, disable=None) as bar:
        leaks, unchecked = find_leaks(
            train, test, lambda name, done, total: bar.update(done - bar.n)
        )
    for leak in leaks:
        print(leak)
    count = len({leak.train for leak in leaks})
    print(f"{count} of {len(train)} images show one of the {len(test)} of {arguments.test}")
    if unchecked:
        named = ", ".join(map(printable, unchecked[:5])) + ", …" * (len(unchecked) > 5)
        print(
            f"{len(unchecked)} images could not be checked, as they have less than 32x32 pixels or "
            f"fewer than {FEWEST} corners: {named}"
        )


def run_fetch(arguments: argparse.Namespace) -> None:
    """Download data sets. Raises InputError as `cscsr.data.fetch.fetch` does."""
    from cscsr.data.datasets import FOLDER_VARIABLE
    from cscsr.data.fetch import HOST, fetch, remote_files
    from cscsr.data.sources import SOURCES

    folder = arguments.data or os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise InputError(f"name the folder to put them in, with --data or {FOLDER_VARIABLE}.")
    for name in arguments.names:
        remote_files(name)  # refuse a wrong name before anything is fetched
    for name in arguments.names:
        path = fetch(name, folder, host=arguments.mirror or HOST)
        source = SOURCES[name]
        print(f"{path}: {len(remote_files(name))} images, each with its pinned SHA-256")
        print(f"{name} is by {source.authors}; terms of use: {source.terms}.")
    if os.environ.get(FOLDER_VARIABLE) != str(folder):
        print(f"Use them with --data {folder}, or export {FOLDER_VARIABLE}={folder}.")
