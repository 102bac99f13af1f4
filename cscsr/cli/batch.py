"""The work of ``cscsr upscale``: image files, folders and patterns in, larger files out.

A file is finished before the next is begun and appears under its name only when it is complete,
so that an interrupted batch can be resumed. Needs pillow and tqdm.
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Formatter
from typing import TextIO

from tqdm import tqdm

from cscsr.errors import InputError
from cscsr.imaging.encoders import SUFFIXES, check_layout, format_of, lost_colour, write_bands
from cscsr.imaging.files import read_picture
from cscsr.output import make_folder, printable
from cscsr.parallel import connect, map_unordered, reason_of
from cscsr.solver import Solver
from cscsr.super_resolution import SuperResolution
from cscsr.tiles import enlarged_bands

NAME = "{name}-x{scale}.png"
"""The default name of an enlarged file."""


@dataclass(frozen=True)
class Job:
    """A file to be enlarged into another."""

    source: Path
    out: Path


@dataclass(frozen=True)
class Plan:
    """The files to enlarge.

    Attributes
    ----------
    jobs
        In their order.
    batch
        Whether they are of a folder, a pattern or several images.
    notes
        A line for each folder of which something is left out.
    """

    jobs: list[Job]
    batch: bool
    notes: list[str]


def plan(
    images: Sequence[str],
    out: str | None,
    scale: int,
    solver: str,
    force: bool = False,
    recursive: bool = False,
) -> Plan:
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
        Whether a single result may replace an existing file. A result of a batch may exist in
        any case: `run` decides.
    recursive
        Whether a folder stands for the folders under it too; they are made again in an `out` that
        is a folder. Hidden folders and links to folders are left out.

    Raises
    ------
    InputError
        For a folder or pattern without images, two images that would become one file, an image
        that would replace itself, and an `out` that cannot be written.
    """
    if "" in images or out == "":
        raise InputError("expected the name of a file or folder, but one of them is empty.")
    try:
        return _plan(images, out, scale, solver, force, recursive)
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a NUL
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"one of the file names cannot be used: {reason}.") from error


def _plan(
    images: Sequence[str], out: str | None, scale: int, solver: str, force: bool, recursive: bool
) -> Plan:
    sources, listed, notes = _sources(images, recursive)
    batch = bool(listed) or len(sources) > 1
    name, in_folder = _pattern(out, batch)
    jobs = []
    for path, under in sources.items():
        result = _formatted(name, path, scale, solver)
        jobs.append(Job(path, result.parent / under / result.name if in_folder else result))
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
        folders = 1 + len(sources[job.source].parts) if in_folder else 0
        _check_writable(job.out, force or batch, folders)
    return Plan(jobs, batch, notes)


def run(
    solver: Solver[SuperResolution], plan: Plan, scale: int, force: bool, processes: int = 1
) -> int:
    """Do the jobs of a plan, and print a line for each file.

    In a batch an existing result is skipped unless `force`, and an image that fails is reported on
    standard error without stopping the others. With more than one of `processes` (`cscsr.parallel`)
    so many images are enlarged at the same time.

    Returns
    -------
    int
        How many images failed.

    Raises
    ------
    InputError
        If the only image of a plan that is no batch failed.
    """
    skipped = failed = 0
    jobs, batch = plan.jobs, plan.batch
    for note in plan.notes:
        _say(f"cscsr: {note}", sys.stderr)
    with tqdm(
        total=len(jobs), unit="image", leave=False, disable=None if batch else True
    ) as images:
        if batch and not force:
            todo = [job for job in jobs if not job.out.exists()]
            skipped = len(jobs) - len(todo)
            images.update(skipped)
        else:
            todo = list(jobs)
        if processes > 1 and len(todo) > 1:
            results = _in_processes(solver, todo, scale, processes)
        else:
            results = _in_turn(solver, todo, scale, images)
        for job, result in results:
            if isinstance(result, str):
                _say(result)
            elif not batch:
                raise result
            else:
                failed += 1
                reason = str(result)
                if isinstance(result, MemoryError):
                    reason = "there is not enough memory for it."
                elif not isinstance(result, InputError):
                    reason = f"{solver.name} failed with {type(result).__name__}: {result}"
                about = "" if str(job.source) in reason else f"{job.source}: "
                _say(f"cscsr: {about}{reason}", sys.stderr)
            images.update()
    if skipped:
        _say(f"{skipped} of {len(jobs)} skipped, because their results exist (--force redoes them)")
    if failed:
        _say(f"cscsr: {failed} of {len(jobs)} images could not be enlarged; see above.", sys.stderr)
    return failed


def _enlarged(
    solver: Solver[SuperResolution], job: Job, scale: int, quiet: bool = False
) -> str | Exception:
    """The line of an enlarged file, or the error that prevented it."""
    try:
        return enlarge_file(solver, job.source, job.out, scale, quiet)
    except Exception as error:  # of this image; the others may be sound
        return error


def _in_turn(
    solver: Solver[SuperResolution], jobs: Sequence[Job], scale: int, bar: tqdm
) -> Iterator[tuple[Job, str | Exception]]:
    """The jobs with their results, one after the other; `bar` says which one it is."""
    for job in jobs:
        bar.set_description(printable(job.source.name))
        yield job, _enlarged(solver, job, scale)


def _in_processes(
    solver: Solver[SuperResolution], jobs: Sequence[Job], scale: int, processes: int
) -> Iterator[tuple[Job, str | Exception]]:
    """The jobs with their results, in the order in which they are finished."""
    with connect(min(processes, len(jobs))) as client:
        enlarge = partial(_enlarge_quietly, solver, scale)
        for job, result, error in map_unordered(client, enlarge, jobs):
            if error is not None:
                result = InputError(f"{job.source} could not be enlarged: {reason_of(error)}")
            yield job, result


def _enlarge_quietly(solver: Solver[SuperResolution], scale: int, job: Job) -> str | Exception:
    return _enlarged(solver, job, scale, quiet=True)


def enlarge_file(
    solver: Solver[SuperResolution], source: Path, out: Path, scale: int, quiet: bool = False
) -> str:
    """Enlarge one file into another, which is replaced if it exists.

    Bits, alpha channel, colour profile, the chunks of a PNG that say what its numbers mean, and
    resolution are carried over where the format of `out` can hold them. What is lost that says the
    colours' meaning is told on standard error. A bar shows the progress of an image that is
    enlarged in parts, unless `quiet`.

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
    bar = tqdm(
        desc=printable(source.name), unit="part", leave=False, disable=quiet or None, delay=0.5
    )

    def progress(done: int, parts: int, seconds: float) -> None:
        nonlocal taken
        taken += seconds
        bar.total = parts
        bar.update()

    with bar:
        make_folder(out.parent)
        write_bands(out, layout, enlarged_bands(solver, picture, scale, progress))
    if lost := lost_colour(out, layout):
        _say(
            f"cscsr: {out} does not say what {' and '.join(lost)} of {source} said of its colours; "
            "write a .png file to keep it.",
            sys.stderr,
        )
    deep = layout.dtype.itemsize == 2 and format_of(out) in ("PNG", "TIFF")
    kind = ("grey", "grey and alpha", "RGB", "RGBA")[channels - 1]
    bits = 16 if deep else 8
    size = f"{scale * width}x{scale * height}"
    return f"{out}: {size} {kind}, {bits} bits, by {solver.name} in {taken:.1f} s"


def _say(line: str, file: TextIO | None = None) -> None:
    """Print a line without tearing a bar."""
    tqdm.write(printable(line), file=file or sys.stdout)


def images_of(names: Iterable[str]) -> list[Path]:
    """Return the image files that `names` name: files, patterns, and folders with those in them.

    Raises
    ------
    InputError
        For a folder or pattern without images.
    """
    return list(_sources(names, recursive=True)[0])


def _sources(
    images: Iterable[str], recursive: bool
) -> tuple[dict[Path, Path], set[Path], list[str]]:
    """The files that `images` name, without repeats, each with the folder that it is in under a
    folder of `images`; those that a folder or pattern named; and notes on what is left out."""
    sources: dict[Path, tuple[Path, Path]] = {}
    listed: set[Path] = set()
    notes: list[str] = []
    for image in images:
        path = Path(image)
        top = None
        if path.is_dir():
            entries, note = _images_in(path, recursive)
            top = path
            if note:
                notes.append(note)
            if not entries:
                about = f" ({note})" if note else ""
                raise InputError(
                    f"expected images ({', '.join(SUFFIXES)}) in {path}, found none{about}."
                )
        elif glob.has_magic(image) and not path.exists():
            entries = _images(map(Path, glob.glob(image, recursive=True)))
            if not entries:
                raise InputError(f"expected images that match {image!r}, found none.")
        else:
            sources.setdefault(_same(path), (path, Path()))
            continue
        for entry in entries:
            under = entry.parent.relative_to(top) if top else Path()
            listed.add(sources.setdefault(_same(entry), (entry, under))[0])
    return dict(sources.values()), listed, notes


def _images_in(folder: Path, recursive: bool) -> tuple[list[Path], str]:
    """The images in a folder, and a line on what is left out, empty if there is nothing."""
    paths: list[Path] = []
    folders = 0
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name[0] != ".")
        paths += [Path(parent, name) for name in files]
        if not recursive:
            folders = len(names)
            break
    images = _images(paths)
    others = {path for path in paths if path.name[0] != "."}.difference(images)
    left_out = []
    if others:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in others)
        names = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
        names = names[:4] + ["…"] * (len(names) > 4)
        left_out.append(f"{len(others)} file{'s' * (len(others) > 1)} ({', '.join(names)})")
    if folders:
        left_out.append(f"{folders} folder{'s' * (folders > 1)} (--recursive takes what is in it)")
    return images, f"{folder}: left out {' and '.join(left_out)}" if left_out else ""


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


def _check_writable(out: Path, force: bool, new_folders: int) -> None:
    """Raise InputError, before any work is done, if `out` cannot be written in the end.

    new_folders: how many folders above it may be made.
    """
    format_of(out)
    folder = out.parent
    for _ in range(new_folders):
        if not folder.exists():
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
