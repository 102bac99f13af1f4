"""The files of ``cscsr upscale``: which images are enlarged, and into which files."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from cscsr.errors import InputError
from cscsr.imaging.encoders import SUFFIXES, format_of

NAME = "{name}-x{scale}"
"""The default name of an enlarged file, without its suffix."""

SUFFIX = ".png"
"""The default suffix."""


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
    suffix: str | None = None,
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
        any case: `cscsr.cli.batch.run` decides.
    recursive
        Whether a folder stands for the folders under it too; they are made again in an `out` that
        is a folder. Hidden folders and links to folders are left out.
    suffix
        Of the results that `out` does not name, such as ".jpg" (default: `SUFFIX`).

    Raises
    ------
    InputError
        For a folder or pattern without images, two images that would become one file, an image
        that would replace itself, an `out` that cannot be written, and one that names another
        format than `suffix`.
    """
    if "" in images or out == "":
        raise InputError("expected the name of a file or folder, but one of them is empty.")
    try:
        return _plan(images, out, scale, solver, force, recursive, suffix)
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a NUL
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"one of the file names cannot be used: {reason}.") from error


def _plan(
    images: Sequence[str],
    out: str | None,
    scale: int,
    solver: str,
    force: bool,
    recursive: bool,
    suffix: str | None,
) -> Plan:
    sources, listed, notes = _sources(images, recursive)
    batch = bool(listed) or len(sources) > 1
    name, in_folder = _pattern(out, batch, suffix)
    beside = out is None
    jobs = []
    for path, under in sources.items():
        result = _formatted(name, path, scale, solver)
        result = path.with_name(result.name) if beside else result
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


def _pattern(out: str | None, batch: bool, suffix: str | None) -> tuple[str, bool]:
    """`out` as a pattern of paths (without a folder: beside each image), and whether it is a
    folder."""
    name = NAME + (suffix or SUFFIX)
    if out is None:
        return name, False
    if "{" in out:
        _check_suffix(out, suffix)
        return out, False
    folder = out.endswith(("/", os.sep)) or Path(out).is_dir()
    if batch and not folder:
        if Path(out).suffix.lower() in SUFFIXES:
            raise InputError(
                f"several images cannot become one file {out}; name a folder with -o, or a "
                "pattern such as 'large/{name}.png'."
            )
        folder = True
    if folder:
        return str(Path(_escaped(out), name)), True
    _check_suffix(out, suffix)
    return _escaped(out), False


def _check_suffix(out: str, suffix: str | None) -> None:
    """Raise InputError if a name is of another format than the one that is asked for."""
    if suffix is not None and format_of(out) != SUFFIXES[suffix]:
        raise InputError(
            f"-o {out} names the format {format_of(out)}, and --format {SUFFIXES[suffix]}; leave "
            "one of them out."
        )


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _formatted(pattern: str, source: Path, scale: int, solver: str) -> Path:
    fields = {"name": source.stem, "scale": str(scale), "solver": solver}
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
