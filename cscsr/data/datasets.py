"""The data sets: the embedded set `demo`, and folders of images on disk.

A data set is a folder that holds images directly; its name is the folder's. The embedded
images are files of scikit-image's wheel, so they need no network. Needs numpy and pillow, and only
the image files of scikit-image.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from cscsr.data.sources import FETCHABLE, SOURCES
from cscsr.errors import InputError, unknown_name
from cscsr.imaging.colour import luma_of
from cscsr.imaging.files import FORMATS, read_image
from cscsr.output import printable
from cscsr.schema import shown

PAPER_SETS = ("Set5", "Set14", "B100")
"""The test sets of the paper's Table 1; never trained or tuned on."""

FOLDER_VARIABLE = "CSCSR_DATA"
"""The environment variable that names the folder of data sets."""

DEMO_SIZE = 256
"""Height and width of the demo images in pixels."""

DEMO_CROPS = {
    "astronaut": ("astronaut.png", 0, 96),
    "camera": ("camera.png", 48, 144),
    "chelsea": ("chelsea.png", 32, 104),
    "coffee": ("coffee.png", 100, 200),
    "rocket": ("rocket.jpg", 160, 128),
}
"""Image name: file in scikit-image's wheel, top row and left column of its crop."""

TEXTURES = (
    "brick.png",
    "cell.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "text.png",
)
"""Files of scikit-image's wheel for training where no other data are available."""


@dataclass(frozen=True)
class ImageSource:
    """One image of a data set.

    Attributes
    ----------
    name
        The file's name without its suffix.
    path
        The file.
    box
        The part of the file that is the image, (top, left, height, width) in pixels; None for
        the whole file.
    """

    name: str
    path: Path
    box: tuple[int, int, int, int] | None = None

    def read(self) -> np.ndarray:
        """Read the pixels.

        Returns
        -------
        np.ndarray
            uint8, (H,W) or (H,W,3).

        Raises
        ------
        InputError
            As `cscsr.imaging.read_image` does.
        """
        image = read_image(self.path)
        if self.box is None:
            return image
        top, left, height, width = self.box
        return np.ascontiguousarray(image[top : top + height, left : left + width])


@dataclass(frozen=True)
class Dataset:
    """A named sequence of images; iterating reads them and yields (image name, pixels).

    Attributes
    ----------
    name
        The name of the data set.
    images
        Its images, read during iteration.
    """

    name: str
    images: tuple[ImageSource, ...]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        return ((source.name, source.read()) for source in self.images)

    def __len__(self) -> int:
        return len(self.images)


def demo() -> Dataset:
    """Return the embedded data set: 256×256 crops of five photographs, one of them grey."""
    return Dataset(
        "demo",
        tuple(
            ImageSource(name, _embedded(file), (top, left, DEMO_SIZE, DEMO_SIZE))
            for name, (file, top, left) in DEMO_CROPS.items()
        ),
    )


def training_textures() -> dict[str, np.ndarray]:
    """Return embedded images to train on, none of them in `demo`.

    Returns
    -------
    dict[str, np.ndarray]
        Name to luma, uint8 (H,W).
    """
    return {Path(file).stem: luma_of(read_image(_embedded(file))) for file in TEXTURES}


def _embedded(file: str) -> Path:
    # By path, so that nothing is ever downloaded.
    path = Path(str(files("skimage") / "data" / file))
    if not path.is_file():
        raise InputError(
            f"expected the image {file} inside the installed scikit-image, but it is not "
            "there; install scikit-image from its wheel."
        )
    return path


def data_folder(folder: str | Path | None = None) -> Path | None:
    """Return the folder of data sets: `folder`, else the one that CSCSR_DATA names, else None.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    name = folder if folder is not None else os.environ.get(FOLDER_VARIABLE) or None
    return None if name is None else _existing_folder(Path(name))


def _existing_folder(path: Path) -> Path:
    """`path` itself. Raises InputError if it is not a folder."""
    try:
        if path.is_dir():
            return path
        there = "there is a file" if path.exists() else "there is nothing there"
    except (OSError, ValueError) as error:
        there = getattr(error, "strerror", None) or str(error)
    raise InputError(f"expected a folder of data sets at {path}, but {there}.")


class NoImages(InputError):
    """A folder of data sets in which there is none."""


def find_datasets(folder: str | Path) -> dict[str, Path]:
    """Return the data sets in a folder: itself and the folders directly under it, where they hold
    images.

    Returns
    -------
    dict[str, Path]
        Name to folder: first the paper's test sets, then the others in alphabetical order.

    Raises
    ------
    InputError
        If the folder is missing or holds no images.
    """
    root = _existing_folder(Path(folder)).resolve()
    candidates = [root, *(path for path in _entries(root) if path.is_dir())]
    folders = {path.name: path for path in candidates if _image_files(path)}
    if not folders:
        raise NoImages(
            f"expected images ({', '.join(FORMATS)}) in {root} or in folders under it, "
            "but found none."
        )
    paper = [name for name in PAPER_SETS if name in folders]
    return {name: folders[name] for name in [*paper, *sorted(set(folders) - set(paper))]}


def load_dataset(name: str, folder: str | Path | None = None) -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name
        "demo", or a name that `find_datasets` returns.
    folder
        Where to look (default: the folder that CSCSR_DATA names).

    Raises
    ------
    InputError
        For an unknown name (with the nearest known ones), a missing folder, and two files whose
        names differ only in the suffix.
    """
    if name == "demo":
        return demo()
    root = data_folder(folder)
    if root is None:
        if difflib.get_close_matches(name.lower(), ["demo"]):
            raise unknown_name("data set", name, ["demo"])
        raise InputError(
            f"the data set {name!r} is not embedded (demo is); name the folder that holds it "
            f"with --data or {FOLDER_VARIABLE}."
        )
    folders = find_datasets(root)
    if name not in folders:
        raise unknown_name("data set", name, ["demo", *folders])
    paths = _image_files(folders[name])
    by_stem = {path.stem: path for path in paths}
    for path in paths:
        if by_stem[path.stem] is not path:
            raise InputError(
                f"the images of a data set must have different names, but {folders[name]} holds "
                f"{path.name} and {by_stem[path.stem].name}."
            )
    return Dataset(
        printable(name), tuple(ImageSource(printable(path.stem), path) for path in paths)
    )


def join_datasets(names: Iterable[str], folder: str | Path | None = None) -> Dataset:
    """Return one data set of the images of several, named as for `load_dataset`."""
    sets = [load_dataset(name, folder) for name in names]
    images = tuple(image for dataset in sets for image in dataset.images)
    return Dataset(",".join(dataset.name for dataset in sets), images)


def training_images(folder: str | Path, sets: Iterable[str]) -> list[Path]:
    """Return the files that may be trained on.

    Two lists beside the data set exclude images: holdout.txt lists the images that all choices are
    made on, leaks.txt the copies of test images. A line of a list, up to the first tab, is the path
    of an image relative to the list's folder.

    Parameters
    ----------
    folder
        The folder of data sets.
    sets
        The names of the data sets to train on.

    Raises
    ------
    InputError
        For an unknown data set, and for a test or validation set (`cscsr.data.sources`).
    """
    folders = find_datasets(folder)
    paths = []
    for name in sets:
        if name in SOURCES and SOURCES[name].purpose != "training":
            raise InputError(
                f"expected training sets, but {name} is a {SOURCES[name].purpose} set."
            )
        if name not in folders:
            raise _missing_training_set(name, folder, folders)
        beside = folders[name].parent
        left_out = {*_listed(beside / "holdout.txt"), *_listed(beside / "leaks.txt")}
        paths += [path for path in _image_files(folders[name]) if path not in left_out]
    return paths


def _missing_training_set(name: str, folder: str | Path, known: Iterable[str]) -> InputError:
    if name not in FETCHABLE:
        return unknown_name("data set", name, known)
    return InputError(
        f"the training set {name} is not in {folder}; "
        f"fetch it with cscsr data fetch {name} --data {folder}."
    )


def holdout_images(folder: str | Path) -> list[Path]:
    """Return the images that the holdout.txt of `folder` lists, in that order.

    Raises
    ------
    InputError
        If the list or one of its images is missing.
    """
    root = _existing_folder(Path(folder)).resolve()
    images = _listed(root / "holdout.txt")
    missing = [path for path in images if not path.is_file()]
    if not images or missing:
        lacking = f"the image {missing[0]} that it lists" if missing else "it"
        raise InputError(
            f"expected {root / 'holdout.txt'} and its images, but {lacking} is missing."
        )
    return images


def licence_of_weights(sets: Iterable[str]) -> str:
    """Return the line of a model card that states the licence of the weights.

    Parameters
    ----------
    sets
        The names of the data sets that the weights were trained on. The line gives the authors,
        origin and terms of each.
    """
    described = []
    for name in sets:
        source = SOURCES.get(name)
        about = (
            f"{source.authors}, {source.origin}: {source.terms}" if source else "terms not known"
        )
        described.append(f"{name} ({about})")
    return (
        "- Licence of the weights: MIT, as the code. They were trained on images that others "
        f"provide under terms of their own, which this licence does not change: "
        f"{'; '.join(described)}. The images are not part of this package."
    )


def _listed(file: Path) -> list[Path]:
    """The paths on the lines of `file`, each up to the first tab; none if there is no file."""
    names = [line.split("\t")[0].strip() for line in list_lines(file)]
    for number, name in enumerate(names, 1):
        if not name.isprintable() or len(os.fsencode(name)) > 1024:
            raise InputError(
                f"line {number} of {file} should be the path of an image, got {shown(name)}."
            )
    return [file.parent / name for name in names if name]


def list_lines(file: Path) -> list[str]:
    """Return the lines of a list of images, none if there is no file.

    Raises
    ------
    InputError
        For a file that cannot be read, or that is no text in UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"the list {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} should be a list of images, one path a line, but is no text in UTF-8."
        ) from error


def _entries(folder: Path) -> list[Path]:
    """What is in a folder. Raises InputError where it cannot be listed."""
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}.") from error


def _image_files(folder: Path) -> list[Path]:
    """The images directly in `folder`, by name, without hidden files."""
    return sorted(
        path
        for path in _entries(folder)
        if path.suffix.lower() in FORMATS and path.name[0] != "." and path.is_file()
    )
