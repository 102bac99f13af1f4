"""The work of ``cscsr upscale``: image files, folders and patterns in, larger files out.

A file is finished before the next is begun and appears under its name only when it is complete,
so that an interrupted batch can be resumed. Needs pillow and tqdm.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TextIO

from tqdm import tqdm

from cscsr.errors import InputError
from cscsr.imaging.encoders import SUFFIXES, check_layout, format_of, write_bands
from cscsr.imaging.files import read_picture
from cscsr.problem import SuperResolution
from cscsr.solver import Solver
from cscsr.tiles import enlarged_bands

NAME = "{name}-x{scale}.png"
"""The default name of an enlarged file."""


@dataclass(frozen=True)
class Job:
    """A file to be enlarged into another."""

    source: Path
    out: Path


def plan(
    images: Sequence[str], out: str | None, scale: int, solver: str, force: bool = False
) -> tuple[list[Job], bool]:
    """List the files to enlarge, and check that the results can be written.

    Parameters
    ----------
    images
        Files, folders (the images directly in them) and patterns such as ``photos/*.png`` or
        ``photos/**/*.png``. A file of a folder or pattern is skipped if it is the result of another
        file, so that a folder can be processed again.
    out
        None: `NAME` beside each image; a folder, created if missing: `NAME` in it; a pattern with
        {name} and optionally {scale} and {solver}; or, for a single image, a file.
    scale
        The factor.
    solver
        The solver's name, for the pattern.
    force
        Whether a single result may replace an existing file. In a batch results may exist, and
        `run` decides.

    Returns
    -------
    jobs, batch
        The jobs in order, and whether they are a batch: from a folder, a pattern or several images.

    Raises
    ------
    InputError
        For a folder or pattern without images, two images that would become one file, an image
        that would replace itself, and an `out` that cannot be written.
    """
    if "" in images or out == "":
        raise InputError("expected the name of a file or folder, but one of them is empty.")
    try:
        return _plan(images, out, scale, solver, force)
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a NUL
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"one of the file names cannot be used: {reason}.") from error


def _plan(
    images: Sequence[str], out: str | None, scale: int, solver: str, force: bool
) -> tuple[list[Job], bool]:
    sources, listed = _sources(images)
    batch = bool(listed) or len(sources) > 1
    name, in_folder = _pattern(out, batch)
    jobs = [Job(path, _formatted(name, path, scale, solver)) for path in sources]
    targets = {_same(job.out) for job in jobs}
    jobs = [job for job in jobs if not (job.source in listed and _same(job.source) in targets)]
    source_of: dict[Path, Path] = {}
    for job in jobs:
        other = source_of.setdefault(_same(job.out), job.source)
        if other != job.source:
            raise InputError(
                f"{other} and {job.source} would both become {job.out}; "
                "enlarge them separately, or name the results by a pattern with -o."
            )
        if _same(job.out) == _same(job.source):
            raise InputError(f"{job.source} would replace itself; name another file with -o.")
        _check_writable(job.out, force or batch, in_folder)
    return jobs, batch


def run(
    solver: Solver[SuperResolution], jobs: Sequence[Job], batch: bool, scale: int, force: bool
) -> None:
    """Run the jobs of a `plan`, and print one line per file.

    In a batch an existing result is skipped unless `force`, and an image that fails is reported on
    standard error without stopping the others.

    Raises
    ------
    InputError
        If an image failed.
    """
    skipped = failed = 0
    with tqdm(
        total=len(jobs), unit="image", leave=False, disable=None if batch else True
    ) as images:
        for job in jobs:
            images.set_description(job.source.name)
            if batch and job.out.exists() and not force:
                skipped += 1
            else:
                try:
                    _say(enlarge_file(solver, job.source, job.out, scale))
                except (InputError, MemoryError) as error:
                    if not batch:
                        raise
                    failed += 1
                    reason = str(error) or "there is not enough memory for it."
                    about = "" if str(job.source) in reason else f"{job.source}: "
                    _say(f"cscsr: {about}{reason}", sys.stderr)
            images.update()
    if skipped:
        _say(f"{skipped} of {len(jobs)} skipped, because their results exist (--force redoes them)")
    if failed:
        raise InputError(f"{failed} of {len(jobs)} images could not be enlarged; see above.")


def enlarge_file(solver: Solver[SuperResolution], source: Path, out: Path, scale: int) -> str:
    """Enlarge one file into another, which is replaced if it exists.

    The result keeps bit depth, alpha channel, colour profile and resolution where the format of
    `out` can hold them. A progress bar shows the parts of a large image.

    Returns
    -------
    str
        A line for the user: file, size, channels, bits, solver and seconds.

    Raises
    ------
    InputError
        As `cscsr.imaging.files.read_picture`, `cscsr.tiles.enlarged_bands` and
        `cscsr.imaging.encoders.write_bands` do.
    """
    picture = read_picture(source)
    height, width, channels = picture.layout.shape
    layout = picture.layout.enlarged(scale)
    check_layout(out, layout)
    taken = 0.0
    bar = tqdm(desc=source.name, unit="part", leave=False, disable=None, delay=0.5)

    def progress(done: int, parts: int, seconds: float) -> None:
        nonlocal taken
        taken += seconds
        bar.total = parts
        bar.update()

    with bar:
        out.parent.mkdir(exist_ok=True)
        write_bands(out, layout, enlarged_bands(solver, picture, scale, progress))
    deep = layout.dtype.itemsize == 2 and format_of(out) in ("PNG", "TIFF")
    kind = ("grey", "grey and alpha", "RGB", "RGBA")[channels - 1]
    bits = 16 if deep else 8
    size = f"{scale * width}x{scale * height}"
    return f"{out}: {size} {kind}, {bits} bits, by {solver.name} in {taken:.1f} s"


def _say(line: str, file: TextIO | None = None) -> None:
    """Print a line above the progress bar."""
    tqdm.write(line, file=file or sys.stdout)


def _sources(images: Iterable[str]) -> tuple[list[Path], set[Path]]:
    """The files that `images` name, without repeats, and those from a folder or pattern."""
    sources: dict[Path, Path] = {}
    listed: set[Path] = set()
    for image in images:
        path = Path(image)
        if path.is_dir():
            entries = _images(path.iterdir())
            if not entries:
                raise InputError(f"expected images ({', '.join(SUFFIXES)}) in {path}, found none.")
        elif glob.has_magic(image) and not path.exists():
            entries = _images(map(Path, glob.glob(image, recursive=True)))
            if not entries:
                raise InputError(f"expected images that match {image!r}, found none.")
        else:
            sources.setdefault(_same(path), path)
            continue
        for entry in entries:
            listed.add(sources.setdefault(_same(entry), entry))
    return list(sources.values()), listed


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
    )


def _pattern(out: str | None, batch: bool) -> tuple[str | None, bool]:
    """`out` as a pattern of paths (None: `NAME` beside each image), and whether it is a folder."""
    if out is None or "{" in out:
        return out, False
    folder = out.endswith(("/", os.sep)) or Path(out).is_dir()
    if batch and not folder:
        if Path(out).suffix.lower() in SUFFIXES:
            raise InputError(
                f"several images cannot become one file {out}; name a folder with -o, or a "
                "pattern such as 'large/{name}.png'."
            )
        folder = True
    return (str(Path(_escaped(out), NAME)) if folder else _escaped(out)), folder


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _formatted(pattern: str | None, source: Path, scale: int, solver: str) -> Path:
    fields = {"name": source.stem, "scale": str(scale), "solver": solver}
    if pattern is None:
        return source.with_name(NAME.format(**fields))
    try:
        named = {field for _, field, _, _ in Formatter().parse(pattern)} - {None}
        if named <= set(fields):
            return Path(pattern.format(**fields))
    except (KeyError, ValueError):  # a single bracket, or a format that text does not have
        pass
    raise InputError(
        f"a pattern for -o may use {{name}}, {{scale}} and {{solver}}, got {pattern!r}."
    )


def _same(path: Path) -> Path:
    """A canonical path: equal for equal files, even if the file does not exist yet."""
    return Path(os.path.realpath(path))


def _check_writable(out: Path, force: bool, make_folder: bool) -> None:
    """Raise InputError if `out` cannot be written."""
    format_of(out)
    folder = out.parent
    if make_folder and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        reason = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        raise InputError(f"{out} cannot be written: {reason}.")
    if out.is_dir():
        raise InputError(f"{out} should name a file, but it is a folder.")
    if out.exists() and not force:
        raise InputError(f"{out} exists; give --force to replace it, or another name with -o.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{out} cannot be written: the folder {folder} is read-only.")
