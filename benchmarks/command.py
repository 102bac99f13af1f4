"""What `cscsr upscale` costs, start included: the figures its default solver is chosen by.

    python -m benchmarks.command solvers --data DIR
    python -m benchmarks.command memory --size 4000x6000 --scale 2
    python -m benchmarks.command explain
    python -m benchmarks.command picture

`solvers` enlarges a 256x256 photograph with each solver by the command itself, and scores the
solver on the held-out images; the default is the best of those that take under
`LIMIT_SECONDS` at every scale on two cores, ``--best`` the best of all. `memory` watches the
command enlarge one large image. Both add rows to a CSV beside the reference run, and put the
table that is made of it into docs/quick-start.md. `explain` puts what ``cscsr score --explain``
says of an embedded photograph into docs/protocol.md, and `picture` draws what README shows.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import cscsr
from benchmarks._study.curves import read_curves, write_curves
from benchmarks._study.pages import REFERENCE, ROOT, with_block
from cscsr import interrupts, plot
from cscsr.cli.upscale import DEFAULT_SOLVER
from cscsr.compare import machine
from cscsr.errors import InputError
from cscsr.imaging import write_image
from cscsr.output import make_folder, write_text

LIMIT_SECONDS = 5.0
"""What a person waits for gladly: the default solver takes less for a 256x256 photograph."""

SCALES = (2, 3, 4)
_POLL = 0.02
"""Seconds between two looks at a process's memory."""

SOLVERS_CSV = REFERENCE / "command.csv"
MEMORY_CSV = REFERENCE / "command_memory.csv"
PAGE = ROOT / "docs" / "quick-start.md"
PROTOCOL_PAGE = ROOT / "docs" / "protocol.md"
PHOTO = "astronaut"
EXPLAINED = ("chelsea", 3)
PICTURE_FILE = REFERENCE / "upscaled.png"
PICTURE = ("astronaut", 3, (54, 69, 102))
"""Photograph of the demo set, scale, and the part that is shown: top, left and side."""
COLUMNS = 3
PICTURED = ("bicubic", "csc-sr", "crnet-a-small", "crnet-b-small")


def measure(solver: str, image: Path, scale: int, limit: float | None = None) -> dict[str, float]:
    """Run ``cscsr upscale`` on `image` in a process of its own.

    Returns seconds (wall clock), cpu_seconds (user and system, all threads), peak_mb (the most
    resident memory) and finished, 0.0 where `limit` seconds were over before.
    Raises InputError with the command's own sentence if it fails.
    """
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        command = [sys.executable, "-m", "cscsr", "upscale", str(image), "--scale", str(scale)]
        command += ["--solver", solver, "-o", str(Path(folder, "out.png"))]
        start, peak, interrupted, ended = time.perf_counter(), 0.0, False, 0
        with Path(folder, "errors.txt").open("w+") as errors:
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
            while not ended:
                peak = max(peak, _most_resident(child.pid))
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                late = limit is not None and time.perf_counter() - start > limit
                if late and not interrupted:
                    child.send_signal(signal.SIGINT)
                    interrupted = True
                time.sleep(_POLL)
            seconds = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            sentence = errors.read().strip().rpartition("\n")[2].removeprefix("cscsr: ")
    stopped = child.returncode == 130
    if child.returncode and not stopped:
        raise InputError(sentence)
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": peak or usage.ru_maxrss * 1024 / 1e6,
        "finished": float(not stopped),
    }


def _most_resident(pid: int) -> float:
    """The most memory in MB that a process has had resident so far, 0 where that is not known.

    Not ``ru_maxrss``, which begins with the memory of the process that started it.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


def solver_rows(
    solvers: Sequence[str],
    data: Path,
    repeats: int,
    images: int | None = None,
    known: Sequence[dict[str, str]] = (),
) -> Iterator[dict[str, object]]:
    """A row for each solver and scale, as soon as it is measured: the least of `repeats` times,
    and PSNR on `images` of the held-out images, evenly chosen (default: all).

    known: rows of an earlier run; those of the same weights and images are not made again.
    """
    from cscsr.data.datasets import demo
    from cscsr.training.run import holdout_crops
    from cscsr.training.ship import holdout_psnr

    truths = holdout_crops(data)
    if images is not None and images < len(truths):
        truths = [truths[len(truths) * index // images] for index in range(images)]
    about = {"cores": machine.cores(), "machine": machine.describe()}
    identity = ("solver", "scale", "weights_sha256", "holdout_images")
    done = {tuple(row[key] for key in identity) for row in known}
    with tempfile.TemporaryDirectory() as folder:
        photo, stamp = Path(folder, "photo.png"), Path(folder, "stamp.png")
        write_image(photo, dict(demo())[PHOTO])
        write_image(stamp, dict(demo())[PHOTO][:16, :16])
        for name in solvers:
            solver = cscsr.make_solver(name)
            weights = solver.weights_sha256() or ""
            wanted = [s for s in SCALES if (name, str(s), weights, str(len(truths))) not in done]
            if not wanted:
                continue
            start = min(measure(name, stamp, 2)["cpu_seconds"] for _ in range(repeats))
            for scale in wanted:
                quality = holdout_psnr(solver, truths, [scale], "rgb")[scale]
                runs = [measure(name, photo, scale) for _ in range(repeats)]
                row = {key: min(run[key] for run in runs) for key in ("cpu_seconds", "peak_mb")}
                yield {
                    "solver": name,
                    "scale": scale,
                    "holdout_psnr_db": round(quality, 3),
                    "holdout_images": len(truths),
                    "weights_sha256": weights,
                    "start_cpu_seconds": float(f"{start:.3g}"),
                    **{key: float(f"{value:.3g}") for key, value in row.items()},
                    **about,
                }
                print(f"{name} x{scale}: {row['cpu_seconds']:.1f} s of processor time")


def on_two_cores(row: dict[str, str]) -> float:
    """Seconds that a row's command takes on two cores that do nothing else: those of its start,
    which one core does, and half of its other processor time. So measured, other work on the
    machine does not count."""
    start, all_seconds = float(row["start_cpu_seconds"]), float(row["cpu_seconds"])
    return start + max(all_seconds - start, 0.0) / 2


def choice(rows: Sequence[dict[str, str]]) -> tuple[str, str]:
    """The default solver and the best, from rows of `SOLVERS_CSV`.

    Best is the mean over scales of PSNR on the held-out images.
    Raises InputError if no solver is fast enough.
    """
    by_solver = _by_solver(rows)
    quality = {
        name: float(np.mean([float(row["holdout_psnr_db"]) for row in own]))
        for name, own in by_solver.items()
    }
    fast = [n for n, own in by_solver.items() if max(map(on_two_cores, own)) < LIMIT_SECONDS]
    if not fast:
        raise InputError(f"no solver takes under {LIMIT_SECONDS:g} s.")
    return max(fast, key=quality.__getitem__), max(quality, key=quality.__getitem__)


def _by_solver(rows: Sequence[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    names = dict.fromkeys(row["solver"] for row in rows)
    return {name: [row for row in rows if row["solver"] == name] for name in names}


def write_rows(path: Path, rows: Sequence[dict[str, object]], keys: Sequence[str]) -> None:
    """Put `rows` into the CSV `path`, in place of those with the same `keys`."""
    new = {tuple(str(row[key]) for key in keys) for row in rows}
    others = [row for row in read_curves(path) if tuple(row[key] for key in keys) not in new]
    make_folder(path.parent)
    write_curves(path, [*others, *rows])


def page(text: str) -> str:
    """The text of `PAGE` with its two tables made of the CSV files."""
    rows = _read(SOLVERS_CSV)
    lines = [
        "| solver | held-out images, dB | seconds on two cores | peak memory |",
        "|---|---|---|---|",
    ]
    for name, own in _by_solver(rows).items():
        quality = " / ".join(f"{float(row['holdout_psnr_db']):.2f}" for row in own)
        seconds = " / ".join(f"{on_two_cores(row):.1f}" for row in own)
        peak = " / ".join(f"{float(row['peak_mb']):.0f}" for row in own)
        notes = [
            word
            for word, best in zip(("default", "`--best`"), choice(rows), strict=True)
            if best == name
        ]
        note = f" ({', '.join(notes)})" if notes else ""
        lines.append(f"| {name}{note} | {quality} | {seconds} | {peak} MB |")
    text = with_block(text, "command", "\n".join([*lines, "", _conditions(rows)]))
    lines = ["| solver | image | peak memory | measured by |", "|---|---|---|---|"]
    for row in _read(MEMORY_CSV):
        image = f"{row['size'].replace('x', '×')}, ×{row['scale']}"
        options = f"--size {row['size']} --scale {row['scale']} --solver {row['solver']}"
        stopped = "" if float(row["finished"]) else f", stopped after {float(row['seconds']):.0f} s"
        command = f"python -m benchmarks.command memory {options}"
        lines.append(
            f"| {row['solver']} | {image} | {float(row['peak_mb']):.0f} MB{stopped} | `{command}` |"
        )
    return with_block(text, "memory", "\n".join(lines))


def protocol_page(text: str) -> str:
    """The text of `PROTOCOL_PAGE` with what `explain` says of bicubic on `EXPLAINED`."""
    from cscsr.data.datasets import demo
    from cscsr.imaging import degrade, imresize, to_uint8
    from cscsr.imaging.explain import as_text, explain

    name, scale = EXPLAINED
    truth = dict(demo())[name]
    small = degrade(truth, scale, "rgb").astype(np.float64)
    measures, resizes = explain(to_uint8(imresize(small, scale)) / 255, truth, scale)
    lines = ["```text", *as_text(measures).split("\n"), "", *as_text(resizes).split("\n"), "```"]
    return with_block(text, "explain", "\n".join(lines))


def _explain(arguments: argparse.Namespace) -> None:
    write_text(PROTOCOL_PAGE, protocol_page(PROTOCOL_PAGE.read_text("utf-8")))


def _conditions(rows: Sequence[dict[str, str]]) -> str:
    images = "/".join(dict.fromkeys(row["holdout_images"] for row in rows))
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    return (
        f"(Each at ×2 / ×3 / ×4. PSNR on {images} of the held-out images, all from 8-bit RGB. "
        "Seconds: the processor time of the start-up, plus half of that of the enlarging, which "
        f"two threads share. {machines}.)"
    )


def draw_picture(path: Path, solvers: Sequence[str] = PICTURED) -> None:
    """A part of an embedded photograph, shrunk and enlarged by each solver, beside the truth.

    Each is named with the PSNR of the whole photograph, and all enlarge the same 8-bit image.
    """

    from cscsr import SuperResolution
    from cscsr.data.datasets import demo
    from cscsr.imaging import crop_to_multiple, degrade, score

    name, scale, (top, left, side) = PICTURE
    truth = crop_to_multiple(dict(demo())[name], scale)
    small = degrade(truth, scale, "rgb")
    repeated = small.repeat(scale, axis=0).repeat(scale, axis=1)
    panels = [(f"{name},\n1/{scale} of the size", repeated)]
    for solver in solvers:
        image = np.asarray(cscsr.make_solver(solver).solve(SuperResolution(small, scale)).estimate)
        panels.append((f"{solver}\n{score(image, truth, scale, 'rgb')['psnr']:.2f} dB", image))
    panels.append(("\nthe truth", truth / 255))
    rows = math.ceil(len(panels) / COLUMNS)
    figure, made = plot.panels(rows, COLUMNS, (2.1 * COLUMNS, 2.55 * rows), grid=False)
    for axes in made.flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(made.flat, panels, strict=False):
        plot.show_image(axes, image[top : top + side, left : left + side].clip(0, 1), title)
    make_folder(path.parent)
    plot.save(figure, path, dpi=120, colours=0)


def _picture(arguments: argparse.Namespace) -> None:
    draw_picture(arguments.out or PICTURE_FILE)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"expected the measurements at {path}, but there is no such file.")
    return read_curves(path)


def _write_page() -> None:
    if PAGE.is_file() and SOLVERS_CSV.is_file() and MEMORY_CSV.is_file():
        write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))


def _solvers(arguments: argparse.Namespace) -> None:
    names = arguments.solvers or list(cscsr.list_solvers("SuperResolution"))
    path = arguments.out or SOLVERS_CSV
    known = [] if arguments.again else read_curves(path)
    rows = solver_rows(names, arguments.data, arguments.repeats, arguments.images, known)
    for row in rows:
        write_rows(path, [row], ("solver", "scale"))
    default, best = choice(_read(path))
    print(f"default: {default}; --best: {best}")
    _write_page()


def _memory(arguments: argparse.Namespace) -> None:
    height, width = (int(side) for side in arguments.size.lower().split("x"))
    from cscsr.data.datasets import demo

    photo = dict(demo())[PHOTO]
    repeats = -(-height // photo.shape[0]), -(-width // photo.shape[1]), 1
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        image = Path(folder, "large.png")
        write_image(image, np.tile(photo, repeats)[:height, :width])
        figures = measure(arguments.solver, image, arguments.scale, arguments.limit)
    row: dict[str, object] = {
        "solver": arguments.solver,
        "size": arguments.size,
        "scale": arguments.scale,
        **{key: float(f"{value:.3g}") for key, value in figures.items()},
        "machine": machine.describe(),
    }
    write_rows(arguments.out or MEMORY_CSV, [row], ("solver", "size", "scale"))
    print(", ".join(f"{key} {value}" for key, value in row.items()))
    _write_page()


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``python -m benchmarks.command``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.command", description=__doc__.splitlines()[0]
    )
    studies = parser.add_subparsers(required=True, metavar="STUDY")
    solvers = studies.add_parser("solvers", help="time and quality of each solver")
    solvers.add_argument("--data", type=Path, required=True, metavar="DIR")
    solvers.add_argument("--solvers", nargs="+", metavar="NAME", help="(default: all)")
    solvers.add_argument("--repeats", type=int, default=2)
    solvers.add_argument("--again", action="store_true", help="measure what is there, too")
    solvers.add_argument("--images", type=int, help="held-out images (default: all)")
    solvers.add_argument("--out", type=Path, metavar="CSV", help=f"(default: {SOLVERS_CSV.name})")
    solvers.set_defaults(run=_solvers)
    memory = studies.add_parser("memory", help="peak memory for a large image")
    memory.add_argument("--size", default="4000x6000", metavar="HxW")
    memory.add_argument("--scale", type=int, default=2)
    memory.add_argument("--solver", default=DEFAULT_SOLVER)
    memory.add_argument("--limit", type=float, help="stop after so many seconds")
    memory.add_argument("--scratch", type=Path, metavar="DIR", help="where the images go")
    memory.add_argument("--out", type=Path, metavar="CSV", help=f"(default: {MEMORY_CSV.name})")
    memory.set_defaults(run=_memory)
    explain = studies.add_parser("explain", help="the example in docs/protocol.md")
    explain.set_defaults(run=_explain)
    picture = studies.add_parser("picture", help="the picture in README")
    picture.add_argument("--out", type=Path, metavar="PNG", help=f"(default: {PICTURE_FILE.name})")
    picture.set_defaults(run=_picture)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.ended(main))
