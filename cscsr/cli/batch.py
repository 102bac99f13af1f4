"""The work of ``cscsr upscale``: image files, folders and patterns in, larger files out.

A file is finished before the next is begun and appears under its name only when it is complete,
so that an interrupted batch can be resumed. Needs pillow and tqdm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from cscsr.cli.batch_plan import Job, Plan
from cscsr.errors import InputError
from cscsr.imaging.encoders import check_layout, format_of, lost_colour, write_bands
from cscsr.imaging.files import read_picture
from cscsr.output import make_folder, printable
from cscsr.parallel import connect, map_unordered, reason_of
from cscsr.solver import Solver
from cscsr.super_resolution import SuperResolution
from cscsr.tiles import enlarged_bands

_BAR = "{desc}: {n_fmt} of {total_fmt} {unit} |{bar:20}| {elapsed} gone, {remaining} left"


@dataclass(frozen=True)
class Settings:
    """How each image is enlarged.

    Attributes
    ----------
    scale
        The factor.
    quality
        As for `cscsr.imaging.encoders.write_bands`.
    side
        As for `cscsr.tiles.enlarged_bands`.
    """

    scale: int
    quality: int | None = None
    side: int | None = None


def run(
    solver: Solver[SuperResolution],
    plan: Plan,
    settings: Settings,
    force: bool,
    processes: int = 1,
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
        total=len(jobs),
        unit="images",
        leave=False,
        disable=None if batch else True,
        bar_format=_BAR,
    ) as images:
        if batch and not force:
            todo = [job for job in jobs if not job.out.exists()]
            skipped = len(jobs) - len(todo)
            images.update(skipped)
        else:
            todo = list(jobs)
        if processes > 1 and len(todo) > 1:
            results = _in_processes(solver, todo, settings, processes)
        else:
            results = _in_turn(solver, todo, settings, images)
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
    solver: Solver[SuperResolution], job: Job, settings: Settings, quiet: bool = False
) -> str | Exception:
    """The line of an enlarged file, or the error that prevented it."""
    try:
        return enlarge_file(solver, job.source, job.out, settings, quiet)
    except Exception as error:  # of this image; the others may be sound
        return error


def _in_turn(
    solver: Solver[SuperResolution], jobs: Sequence[Job], settings: Settings, bar: tqdm
) -> Iterator[tuple[Job, str | Exception]]:
    """The jobs with their results, one after the other; `bar` says which one it is."""
    for job in jobs:
        bar.set_description(printable(job.source.name))
        yield job, _enlarged(solver, job, settings)


def _in_processes(
    solver: Solver[SuperResolution], jobs: Sequence[Job], settings: Settings, processes: int
) -> Iterator[tuple[Job, str | Exception]]:
    """The jobs with their results, in the order in which they are finished."""
    with connect(min(processes, len(jobs))) as client:
        enlarge = partial(_enlarge_quietly, solver, settings)
        for job, result, error in map_unordered(client, enlarge, jobs):
            if error is not None:
                result = InputError(f"{job.source} could not be enlarged: {reason_of(error)}")
            yield job, result


def _enlarge_quietly(
    solver: Solver[SuperResolution], settings: Settings, job: Job
) -> str | Exception:
    return _enlarged(solver, job, settings, quiet=True)


def enlarge_file(
    solver: Solver[SuperResolution],
    source: Path,
    out: Path,
    settings: Settings,
    quiet: bool = False,
) -> str:
    """Enlarge one file into another, which is replaced if it exists.

    Bits, alpha channel, colour profile, the chunks of a PNG that say what its numbers mean, and
    resolution are carried over where the format of `out` can hold them. If what says the colours'
    meaning is lost, a line on standard error names it. A bar shows the progress of an image that
    is enlarged in parts, unless `quiet`.

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
    scale = settings.scale
    picture = read_picture(source)
    height, width, channels = picture.layout.shape
    layout = picture.layout.enlarged(scale)
    check_layout(out, layout)
    taken = 0.0
    bar = tqdm(
        desc=printable(source.name),
        unit="parts",
        leave=False,
        disable=quiet or None,
        delay=0.5,
        bar_format=_BAR,
    )

    def progress(done: int, parts: int, seconds: float) -> None:
        nonlocal taken
        taken += seconds
        bar.total = parts
        bar.update()

    with bar:
        make_folder(out.parent)
        bands = enlarged_bands(solver, picture, scale, progress, settings.side)
        write_bands(out, layout, bands, settings.quality)
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
