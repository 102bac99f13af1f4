"""Weights that other authors published: where they are, and where imported ones lie.

They are not ours to ship. `PUBLISHED` has one row per network; ``cscsr weights import`` converts
the files of a row (`cscsr.conversion`) into the user's cache, and from then on NAME[published] is a
solver. Needs the standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cscsr.errors import InputError, unknown_name

CACHE_VARIABLE = "CSCSR_CACHE"
"""The environment variable that names the cache folder."""

_SUFFIX = "[published]"


@dataclass(frozen=True)
class PublishedFile:
    """A file with weights.

    Attributes
    ----------
    path
        Its path in the repository.
    bytes, sha256
        Its size and SHA-256. No other bytes are read as weights.
    scales
        The factors whose network needs this file.
    """

    path: str
    bytes: int
    sha256: str
    scales: tuple[int, ...] = (2, 3, 4)


@dataclass(frozen=True)
class PublishedWeights:
    """A network whose authors, or others with their consent, published weights.

    Attributes
    ----------
    name
        For the command; the solver is NAME[published].
    method
        The name of the method in tables of published figures.
    summary
        One line for lists.
    architecture
        The network; see `cscsr.networks.build`.
    repository, commit
        OWNER/NAME of a GitHub repository, and the commit of the files.
    licence
        The licence that the repository states for them.
    files
        A scale can be imported from all the files that list it.
    network
        The arguments of the network, without its scales.
    """

    name: str
    method: str
    summary: str
    architecture: str
    repository: str
    commit: str
    licence: str
    files: tuple[PublishedFile, ...]
    network: dict[str, Any] = field(default_factory=dict)

    @property
    def solver(self) -> str:
        """The name of the solver."""
        return self.name + _SUFFIX

    @property
    def scales(self) -> tuple[int, ...]:
        """The factors that can be imported."""
        return tuple(sorted({scale for file in self.files for scale in file.scales}))

    @property
    def command(self) -> str:
        """The command that imports it."""
        return f"cscsr weights import {self.name} FILE{' …' if len(self.files) > 1 else ''}"

    def address(self, file: PublishedFile) -> str:
        """Return the web page of a file."""
        return f"https://github.com/{self.repository}/blob/{self.commit}/{file.path}"


_NONE_STATED = "none stated"

PUBLISHED: dict[str, PublishedWeights] = {
    row.name: row
    for row in (
        PublishedWeights(
            "vdsr",
            "VDSR",
            "VDSR, 20 layers (Kim et al. 2016), its authors' weights",
            "vdsr",
            "huangzehao/caffe-vdsr",
            "5a839232",
            "MIT",
            (
                PublishedFile(
                    "Test/VDSR_Official.mat",
                    2490083,
                    "f613166660840af1a2ca47e31b0337b951e7c4e094364f6135a16d81a55c323c",
                ),
            ),
        ),
        PublishedWeights(
            "scn",
            "CSCN",
            "SCN, its cascade of two networks for x2 (Wang et al. 2015), its authors' weights",
            "scn",
            "huangzehao/SCN_Matlab",
            "e232ccec",
            _NONE_STATED,
            (
                PublishedFile(
                    "model/weights_srnet_x2_52.mat",
                    153788,
                    "c76ea5bc21198cef577e40bb2406ab4254c68dea808489aeaf807e041ad9c5cf",
                ),
                PublishedFile(
                    "model/weights_srnet_x2_310.mat",
                    153684,
                    "876e59bd99c6a777d858406d4cbd50ccaa6bc558639359df706ae266d3139966",
                    scales=(3, 4),
                ),
            ),
        ),
        PublishedWeights(
            "lapsrn",
            "LapSRN",
            "LapSRN for x2 (Lai et al. 2017), its authors' weights",
            "lapsrn",
            "phoenix104104/LapSRN",
            "95154bba",
            _NONE_STATED,
            (
                PublishedFile(
                    "pretrained_models/LapSRN_x2.mat",
                    1518234,
                    "e368225004e2d5e49d772c5c4eb16c3f28f7fe3b68fec7a9bb91f55e25602baa",
                    scales=(2,),
                ),
            ),
        ),
        PublishedWeights(
            "carn-m",
            "CARN-M",
            "CARN-M (Ahn et al. 2018), its authors' weights",
            "carn-m",
            "nmhkahn/CARN-pytorch",
            "40d3514f",
            "MIT",
            (
                PublishedFile(
                    "checkpoint/carn_m.pth",
                    1670695,
                    "d48a759a84509351facb6b7c6d5bd6edec98b98519b8c464ee4ab44d2ba964ff",
                ),
            ),
        ),
        PublishedWeights(
            "imdn",
            "IMDN",
            "IMDN (Hui et al. 2019), its authors' weights",
            "imdn",
            "Zheng222/IMDN",
            "8f158e6a",
            _NONE_STATED,
            (
                PublishedFile(
                    "checkpoints/IMDN_x2.pth",
                    2796052,
                    "740b39653592bd3f49955a21cd9e16f2d37f2c413368cc09327601b8fbe42ce1",
                    scales=(2,),
                ),
                PublishedFile(
                    "checkpoints/IMDN_x3.pth",
                    2830672,
                    "11b1716a19bc16e5e353e1db798d476169338e631eb170c82d765559888cb028",
                    scales=(3,),
                ),
                PublishedFile(
                    "checkpoints/IMDN_x4.pth",
                    2879112,
                    "e660c38221147217a136debeb99eb304d62d9c0f73ac421ed66281b619719714",
                    scales=(4,),
                ),
            ),
        ),
    )
}
"""The published weights by name."""


def published_row(name: str) -> PublishedWeights:
    """Return a row of `PUBLISHED`.

    Raises
    ------
    InputError
        For an unknown name, with the nearest known ones.
    """
    if name not in PUBLISHED:
        raise unknown_name("published weights", name, PUBLISHED)
    return PUBLISHED[name]


def row_of_solver(solver: str) -> PublishedWeights | None:
    """Return the row that a solver such as "vdsr[published]" stands for; None for another name."""
    name = solver.removesuffix(_SUFFIX)
    return PUBLISHED.get(name) if solver.endswith(_SUFFIX) else None


def cache_folder() -> Path:
    """Return the folder of what this toolkit keeps for the user, which need not exist.

    It is what CSCSR_CACHE names, else ``cscsr`` in the user's folder for caches: XDG_CACHE_HOME,
    LOCALAPPDATA on Windows, ``~/Library/Caches`` on macOS, ``~/.cache`` elsewhere.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    parent = os.environ.get(variable)
    if parent:
        return Path(parent) / "cscsr"
    home = Path(os.path.expanduser("~"))
    caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return home / caches / "cscsr"


def imported_path(row: PublishedWeights) -> Path:
    """Return where the imported weights of a row lie, or would lie."""
    return cache_folder() / "published" / f"{row.name}.safetensors"


def is_imported(row: PublishedWeights) -> bool:
    """Whether the weights of a row have been imported."""
    return imported_path(row).is_file()


def needed_weights(row: PublishedWeights) -> Path:
    """Return the file of the imported weights of a row.

    Raises
    ------
    InputError
        If they have not been imported, with the command that does.
    """
    path = imported_path(row)
    if not path.is_file():
        raise InputError(
            f"{row.solver} needs weights that are not ours to ship: 'cscsr weights list' says "
            f"where its authors publish them, and '{row.command}' imports them."
        )
    return path


def importable_scales(row: PublishedWeights, files: Sequence[PublishedFile]) -> tuple[int, ...]:
    """Return the scales that need none but `files`, of `row`.

    Raises
    ------
    InputError
        If there is none, with the files that are missing.
    """
    scales = tuple(
        scale
        for scale in row.scales
        if all(file in files for file in row.files if scale in file.scales)
    )
    if not scales:
        missing = ", ".join(file.path for file in row.files if file not in files)
        raise InputError(f"{row.solver} needs also {missing} of {row.repository}.")
    return scales
