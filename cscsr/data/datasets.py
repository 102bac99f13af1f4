"""Which images there are: the embedded set `demo`, and folders of images on disk.

A data set is a folder that holds images directly; its name is the folder's. Embedded
images are read out of scikit-image's wheel, so they need no network. Needs numpy and
pillow, and of scikit-image the files only.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from cscsr.errors import InputError, unknown_name
from cscsr.imaging.colour import rgb_to_y
from cscsr.imaging.files import FORMATS, read_image

PAPER_SETS = ("Set5", "Set14", "B100")
"""The test sets of the paper's Table 1; never trained or tuned on."""

FOLDER_VARIABLE = "CSCSR_DATA"
"""The environment variable that names the folder of data sets."""

DEMO_SIZE = 256
DEMO_CROPS = {
    "astronaut": ("astronaut.png", 0, 96),
    "camera": ("camera.png", 48, 144),
    "chelsea": ("chelsea.png", 32, 104),
    "coffee": ("coffee.png", 100, 200),
    "rocket": ("rocket.jpg", 160, 128),
}
"""Image name: file in scikit-image's wheel, top row and left column of the crop."""

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
"""Files of scikit-image's wheel that are trained on where no other data is at hand."""


@dataclass(frozen=True)
class Terms:
    """Whose images a data set has, where they come from, and the terms of use, as far as stated."""

    authors: str
    source: str
    terms: str


_BERKELEY = Terms(
    "BSDS500, Arbeláez et al. 2011",
    "github.com/BIDS/BSDS500",
    "non-commercial research and educational use",
)

TERMS = {
    "T91": Terms("Yang et al. 2010", "github.com/tegg89/SRCNN-Tensorflow", "no licence stated"),
    "BSD200": _BERKELEY,
    "BSD200test": _BERKELEY,
    "SunHays80": Terms("Sun and Hays 2012", "github.com/jbhuang0604/SelfExSR", "no licence stated"),
    "CID22": Terms(
        "Cloudinary Image Dataset 2022", "github.com/imazen/codec-corpus", "CC BY-SA 4.0"
    ),
    "DIV2K": Terms(
        "Agustsson and Timofte 2017", "data.vision.ee.ethz.ch/cvl/DIV2K", "terms on its page"
    ),
}
"""The terms of the sets that recipes and shipped weights train on."""


def licence_of_weights(sets: Iterable[str]) -> str:
    """The line of a model card on the licence of weights trained on the data sets `sets`, which
    names each set with its authors, source and terms."""
    described = []
    for name in sets:
        known = TERMS.get(name)
        about = f"{known.authors}, {known.source}: {known.terms}" if known else "terms not known"
        described.append(f"{name} ({about})")
    return (
        "- Licence of the weights: MIT, as the code. They were trained on images that others "
        f"provide under terms of their own, which this licence does not change: "
        f"{'; '.join(described)}. The images are not part of this package."
    )


@dataclass(frozen=True)
class ImageSource:
    """One image of a data set: its name, its file, and the part of it that counts.

    box: (top, left, height, width) in pixels, or None for the whole image.
    """

    name: str
    path: Path
    box: tuple[int, int, int, int] | None = None

    def read(self) -> np.ndarray:
        """The pixels, uint8 (H,W) or (H,W,3). Raises InputError as `read_image` does."""
        image = read_image(self.path)
        if self.box is None:
            return image
        top, left, height, width = self.box
        return np.ascontiguousarray(image[top : top + height, left : left + width])


@dataclass(frozen=True)
class Dataset:
    """A named sequence of images; iterating reads them and yields (image name, pixels)."""

    name: str
    images: tuple[ImageSource, ...]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        return ((source.name, source.read()) for source in self.images)

    def __len__(self) -> int:
        return len(self.images)


def demo() -> Dataset:
    """The embedded data set: 256×256 crops of five photographs, one of them grey."""
    return Dataset(
        "demo",
        tuple(
            ImageSource(name, _embedded(file), (top, left, DEMO_SIZE, DEMO_SIZE))
            for name, (file, top, left) in DEMO_CROPS.items()
        ),
    )


def training_textures() -> dict[str, np.ndarray]:
    """Embedded images to train on, none of them in `demo`: name to grey uint8 (H,W).

    Colour ones are given as their luma.
    """
    images = {Path(file).stem: read_image(_embedded(file)) for file in TEXTURES}
    return {name: im if im.ndim == 2 else rgb_to_y(im) for name, im in images.items()}


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
    """`folder`, else the one that the variable CSCSR_DATA names, else None.

    Raises InputError if it is not a folder.
    """
    given = folder if folder is not None else os.environ.get(FOLDER_VARIABLE) or None
    if given is None:
        return None
    path = Path(given)
    if not path.is_dir():
        came = "a file" if path.exists() else "nothing there"
        raise InputError(f"expected a folder of data sets at {path}, but there is {came}.")
    return path


def find_datasets(folder: str | Path) -> dict[str, Path]:
    """The data sets in `folder`, name to path: the paper's first, then by name.

    They are the folders directly under it that hold images, and `folder` itself if it
    holds images. Raises InputError if it is missing or there is no image in it.
    """
    folder = data_folder(folder).resolve()
    candidates = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    found = {path.name: path for path in candidates if _image_files(path)}
    if not found:
        raise InputError(
            f"expected images ({', '.join(FORMATS)}) in {folder} or in folders under it, "
            "but found none."
        )
    paper = [name for name in PAPER_SETS if name in found]
    return {name: found[name] for name in [*paper, *sorted(set(found) - set(paper))]}


def load_dataset(name: str, folder: str | Path | None = None) -> Dataset:
    """The data set `name`: "demo", or one of those that `find_datasets` finds.

    folder: where to look, by default the folder that CSCSR_DATA names. An image's name is
    its file's without the suffix.

    Raises InputError for an unknown name (with the nearest known ones), a missing folder,
    and for two files whose names differ in the suffix only.
    """
    if name == "demo":
        return demo()
    folder = data_folder(folder)
    if folder is None:
        if difflib.get_close_matches(name.lower(), ["demo"]):
            raise unknown_name("data set", name, ["demo"])
        raise InputError(
            f"the data set {name!r} is not embedded (demo is); name the folder that holds it "
            f"with --data or {FOLDER_VARIABLE}."
        )
    found = find_datasets(folder)
    if name not in found:
        raise unknown_name("data set", name, ["demo", *found])
    paths = _image_files(found[name])
    by_stem = {path.stem: path for path in paths}
    for path in paths:
        if by_stem[path.stem] is not path:
            raise InputError(
                f"images of a data set need names of their own, but {found[name]} holds "
                f"{path.name} and {by_stem[path.stem].name}."
            )
    return Dataset(name, tuple(ImageSource(path.stem, path) for path in paths))


def join_datasets(names: Iterable[str], folder: str | Path | None = None) -> Dataset:
    """The images of several data sets, by the names that `load_dataset` takes, as one."""
    sets = [load_dataset(name, folder) for name in names]
    images = tuple(image for dataset in sets for image in dataset.images)
    return Dataset(",".join(dataset.name for dataset in sets), images)


def training_images(folder: str | Path, sets: Iterable[str]) -> list[Path]:
    """The files of the data sets `sets` in `folder` that may be trained on.

    Left out are the images that the lists beside a set name, where these exist:
    holdout.txt (every choice is made on those) and leaks.txt (copies of test images). A
    line of a list is an image's path from the list's folder, up to the first tab.

    Raises InputError for an unknown set, and for one of the paper's test sets.
    """
    found = find_datasets(folder)
    paths = []
    for name in sets:
        if name in PAPER_SETS:
            raise InputError(f"expected training sets, but {name} is a test set.")
        if name not in found:
            raise _missing_training_set(name, folder, found)
        beside = found[name].parent
        left_out = {*_listed(beside / "holdout.txt"), *_listed(beside / "leaks.txt")}
        paths += [path for path in _image_files(found[name]) if path not in left_out]
    return paths


def _missing_training_set(name: str, folder: str | Path, found: Iterable[str]) -> InputError:
    from cscsr.data.fetch import SOURCES

    if name not in SOURCES:
        return unknown_name("data set", name, found)
    return InputError(
        f"the training set {name} is not in {folder}; "
        f"cscsr data fetch {name} --data {folder} puts it there."
    )


def holdout_images(folder: str | Path) -> list[Path]:
    """The images of `folder` that its holdout.txt lists, in that order.

    Raises InputError if the list or an image that it lists is missing.
    """
    folder = data_folder(folder).resolve()
    listed = _listed(folder / "holdout.txt")
    missing = [path for path in listed if not path.is_file()]
    if not listed or missing:
        what = f"the image {missing[0]} that it lists" if missing else "it"
        raise InputError(
            f"expected {folder / 'holdout.txt'} and its images, but {what} is missing."
        )
    return listed


def _listed(file: Path) -> list[Path]:
    """The paths on the lines of `file`, each up to the first tab; none if there is no file."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [file.parent / line.split("\t")[0].strip() for line in lines if line.strip()]


def _image_files(folder: Path) -> list[Path]:
    """The images directly in `folder`, by name; hidden files are none."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FORMATS and path.name[0] != "." and path.is_file()
    )
