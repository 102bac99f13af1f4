"""Super-resolution on one axis: PSNR against iterations, seconds and operations.

    python -m benchmarks.sr_convergence --data DIR --out reports/latest

CSC-SR with each of its coders and each CRNet are stopped after k iterations (recursions, for a
network) and what there is then is decoded, for k up to twice the number they were
trained with. Only the trained number was trained to be decoded: the map of CSC-SR was fitted to
codes of that many iterations, the layers of CRNet behind z_K to z_K. The figures at all other
k say how the iteration comes there and what it does beyond, not how good a method of k
iterations could be.

A longer run is the same weight file with another number of iterations in its header: CRNet's
S is shared by all recursions and a coder's step does not depend on its cap. Seconds and
operations at k are those of a solve that ends there, its decoding included. Operations are
multiply-adds as `cscsr.Solver.operations` counts them.
"""

from __future__ import annotations

import argparse
import math
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.curves import made_with, make_folder, run_command, write_curves
from cscsr import InputError, Solver, SuperResolution, list_solvers, make_solver, weights
from cscsr.compare.machine import describe, load, threads
from cscsr.data.datasets import load_dataset
from cscsr.imaging import crop_to_multiple, degrade, luma_of

BEYOND = 2
"""Iterations are followed up to this many times the trained number."""

NAME = "sr_convergence"
SAME_AS_ISTA = "csc-sr[cista]"
"""Makes the iterates of csc-sr[ista] at M(2s−1)²/(2s²) times the operations, and is followed
only when it is named."""

SETTINGS = ["dataset", "scales", "crop", "solvers", "beyond", "weights"]
CSV_COLUMNS = [
    *SETTINGS,
    "solver",
    "scale",
    "iteration",
    "trained_iterations",
    "psnr_db",
    "seconds",
    "operations",
    "nnz_share",
    "relative_change",
    "images",
    "bicubic_psnr_db",
    "threads",
    "machine",
    "load",
]


class Followed(NamedTuple):
    """A solver that runs past the number of iterations it was trained with.

    solver: with `iterations` of them; trained: the number its weights were made for.
    codes: M, its code channels.
    """

    solver: Solver
    trained: int
    iterations: int
    codes: int


def iterative_solvers() -> list[str]:
    """The registered solvers of super-resolution that have iterates: CSC-SR with each coder
    and the networks, without self-ensemble."""
    names = list_solvers("SuperResolution")
    return [n for n in names if n.startswith(("csc-sr[", "crnet-")) and not n.endswith("+")]


@contextmanager
def followed(name: str, scale: int, beyond: float = BEYOND) -> Iterator[Followed]:
    """The solver `name`, made to go on to `beyond` times its trained number of iterations.

    Raises InputError for a solver without iterates, or without the scale.
    """
    if name not in iterative_solvers():
        raise InputError(
            f"{name} has no iterates to follow; these have: {', '.join(iterative_solvers())}."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "longer.safetensors")
        if name.startswith("crnet-"):
            tensors, metadata = weights.load(name)
            trained = int(metadata["network"]["recursions"])
            longest = metadata["network"]["recursions"] = math.ceil(beyond * trained)
            codes = tensors["block.W.weight"].shape[0]
            options: dict[str, Any] = {"tile": 0}
        else:
            from cscsr.csc_sr.solver import weights_name

            tensors, metadata = weights.load(weights_name(name[len("csc-sr[") : -1]))
            if str(scale) not in metadata["scales"]:
                raise InputError(f"{name} has no map for x{scale}.")
            settings = metadata["scales"][str(scale)]["settings"]
            trained = int(settings["iterations"])
            longest = settings["iterations"] = math.ceil(beyond * trained)
            codes = len(tensors["filters"])
            options = {"trace": True}
        weights.write(path, tensors, metadata)
        yield Followed(make_solver(name, weights=path, **options), trained, longest, codes)


def operations_by_iteration(followed: Followed, problem: SuperResolution) -> np.ndarray:
    """Multiply-adds of a solve of `problem` that ends after k = 0 … iterations."""
    solver, longest = followed.solver, followed.iterations
    k = np.arange(longest + 1)
    if not solver.name.startswith("crnet-"):
        none, one = (solver.operations(problem, n) for n in (0, 1))
        if none is None or one is None:
            return np.full(len(k), math.nan)
        return none + k * (one - none)
    tensors, _ = weights.load(solver.name)
    ratio = problem.scale if solver.line == "y" else 1
    places = ratio * ratio * math.prod(problem.lr.shape[:2])
    size = sum(t.size for name, t in tensors.items() if name.startswith("block.S") and t.ndim == 4)
    return solver.operations(problem) - (longest - k) * size * places


def problem_of(truth: np.ndarray, scale: int, line: str) -> SuperResolution:
    """An image (uint8) as it is given to a solver of a line of the paper's tables, with the
    truth it is scored against."""
    truth = crop_to_multiple(truth, scale)
    shown = luma_of(truth) if line == "y" else truth
    return SuperResolution(degrade(truth, scale, line), scale, (shown / 255).astype(np.float32))


def central(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most `side` pixels high and wide; all of it for 0."""
    if side < 1:
        return image
    top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def follow(
    name: str,
    scale: int,
    images: Sequence[np.ndarray],
    beyond: float,
    report: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """A row for each iteration: means over the images.

    Raises InputError if the solver declines one of them.
    """
    columns: dict[str, list[np.ndarray]] = {}
    with followed(name, scale, beyond) as run:
        for image in images:
            if report is not None:
                report(f"{name} ×{scale}")
            problem = problem_of(image, scale, run.solver.line)
            reason = run.solver.supports(problem)
            if reason is not None:
                raise InputError(reason)
            run.solver.prepare(problem)
            solution = run.solver.solve(problem)
            trace = solution.trace
            iterations = trace["iteration"].astype(int)
            decoding = solution.seconds - trace["seconds"][-1]
            size = run.codes * math.prod(np.shape(solution.codes)[-2:])
            for column, values in {
                "psnr_db": trace["psnr_db"],
                "seconds": trace["seconds"] + decoding,
                "operations": operations_by_iteration(run, problem)[iterations],
                "nnz_share": trace["nnz"] / size,
                "relative_change": trace["relative_change"],
            }.items():
                columns.setdefault(column, []).append(values)
        means = {column: np.mean(values, axis=0) for column, values in columns.items()}
        return [
            {
                "solver": name,
                "scale": scale,
                "iteration": int(k),
                "trained_iterations": run.trained,
                **{column: float(f"{values[row]:.6g}") for column, values in means.items()},
                "images": len(images),
            }
            for row, k in enumerate(iterations)
        ]


def bicubic_psnr(images: Sequence[np.ndarray], scale: int) -> float:
    """Mean PSNR in dB of bicubic interpolation, line y."""
    from cscsr.imaging import luma_psnr

    solver, found = make_solver("bicubic"), []
    for image in images:
        problem = problem_of(image, scale, "y")
        found.append(luma_psnr(solver.solve(problem).estimate, problem.truth, scale))
    return float(np.mean(found))


def measure(
    settings: dict[str, Any],
    names: Sequence[str],
    scales: Sequence[int],
    images: Sequence[np.ndarray],
    report: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """The rows of sr_convergence.csv; a solver that declines an image of a scale has none of
    that scale."""
    total, done, rows = len(names) * len(scales) * len(images), 0, []

    def say(what: str) -> None:
        nonlocal done
        if report is not None:
            report(what, done, total)
        done += 1

    for scale in scales:
        common = {
            **settings,
            "bicubic_psnr_db": round(bicubic_psnr(images, scale), 4),
            "threads": threads(),
            "machine": describe(),
            "load": load(),
        }
        for name in names:
            try:
                rows += [common | row for row in follow(name, scale, images, BEYOND, say)]
            except InputError as error:
                print(f"{name} ×{scale} is left out: {error}")
    return rows


_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D1F", "#56B4E9", "#E69F00", "#555555")


def draw(table: Path, picture: Path) -> None:
    """Draw sr_convergence.png from the table: a row of panels for each scale, PSNR against
    iterations, seconds and operations; a dot where a method was trained to stop."""
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    rows = pd.read_csv(table)
    scales = sorted(rows.scale.unique())
    figure = Figure(figsize=(11.5, 1.1 + 3.3 * len(scales)), layout="constrained")
    panels = figure.subplots(len(scales), 3, sharey="row", squeeze=False)
    names = list(dict.fromkeys(rows.solver))
    axes = (
        ("iteration", "iterations, or recursions k"),
        ("seconds", "seconds an image, decoding included"),
        ("operations", "multiply-adds an image, decoding included"),
    )
    for line, scale in zip(panels, scales, strict=True):
        part = rows[rows.scale == scale]
        bicubic = part.bicubic_psnr_db.iloc[0]
        for panel, (column, label) in zip(line, axes, strict=True):
            for name, colour in zip(names, _COLOURS * 3, strict=False):
                curve = part[part.solver == name]
                if curve.empty:
                    continue
                network = name.startswith("crnet-")
                style = "-" if network else "--"
                trained = curve.trained_iterations.iloc[0]
                before = curve[curve.iteration <= trained]
                after = curve[curve.iteration >= trained]
                panel.plot(before[column], before.psnr_db, style, color=colour, label=name)
                panel.plot(after[column], after.psnr_db, style, color=colour, alpha=0.45)
                panel.plot(before[column].iloc[-1], before.psnr_db.iloc[-1], "o", color=colour)
            panel.axhline(bicubic, color="#888888", linewidth=1, linestyle=":")
            panel.set_xlabel(label)
            panel.grid(alpha=0.25)
            if column == "iteration":
                panel.set_xscale("symlog", linthresh=1)
                panel.set_xticks([0, 1, 2, 5, 10, 20, 50, 100, 200], minor=False)
                panel.set_xlim(0, 1.1 * part.iteration.max())
                panel.xaxis.set_major_formatter("{x:g}")
            else:
                panel.set_xscale("log")
            if column == "seconds":
                panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter("")
        top = part.psnr_db.max()
        line[0].set_ylim(bicubic - 1.0, top + 0.3)
        line[0].set_ylabel(f"×{scale}: PSNR in dB")
        line[2].annotate(
            "bicubic",
            (0.8, bicubic),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
        )
    panels[0][0].legend(fontsize=8, loc="lower right")
    first = rows.iloc[0]
    figure.suptitle(
        f"{first.dataset}{_part(first)}, mean over {first.images} images. Dot: the number of "
        "iterations it was trained with, the only one trained to be decoded;\npale: beyond it. "
        f"{first.threads} CPU thread{'s' if first.threads > 1 else ''}.",
        fontsize=10,
    )
    _save(figure, picture)


def _part(row: Any) -> str:
    """What was taken of the images, in brackets, where that was not all."""
    return f" (the central {row.crop}×{row.crop})" if row.crop else ""


def _busy(row: Any) -> str:
    """What else the machine did, as far as its load tells."""
    load = row.get("load")
    return "" if load is None or load != load else f"; load average {load:g} when it began"


def _save(figure: Any, picture: Path) -> None:
    part = picture.with_name(f"{picture.name}.part")
    figure.savefig(part, format="png", dpi=130)
    part.replace(picture)


def describe_table(table: Path, page: Path) -> None:
    """Write sr_convergence.md from the table: PSNR at shares of the trained number of
    iterations, seconds and operations at it."""
    import pandas as pd

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    shares = (0.5, 1, (1 + BEYOND) / 2, BEYOND)
    heads = ["K/2", "**K**", *(f"{share:g} K" for share in shares[2:])]
    lines = [
        "# Super-resolution over iterations",
        "",
        f"PSNR in dB, mean over the {first.images} images of {first.dataset}{_part(first)}, "
        "of what is there after k iterations (recursions, for a network), decoded; K is the "
        "number that a method was trained with, and the only one that was trained to be decoded. "
        f"Seconds and multiply-adds are those of a solve that ends at K. {SAME_AS_ISTA} "
        "makes the iterates of csc-sr[ista].",
        "",
        f"| scale | solver | K | {' | '.join(heads)} | highest, at k | s | multiply-adds |",
        f"|---|---|--:|{'--:|' * len(heads)}--:|--:|--:|",
    ]
    for (scale, name), curve in rows.groupby(["scale", "solver"], sort=False):
        trained = int(curve.trained_iterations.iloc[0])
        by_k = curve.set_index("iteration")
        cells = [f"{by_k.psnr_db[round(share * trained)]:.2f}" for share in shares]
        best = int(by_k.psnr_db.idxmax())
        lines.append(
            f"| ×{scale} | {name} | {trained} | {' | '.join(cells)} | "
            f"{by_k.psnr_db[best]:.2f}, {best} | {by_k.seconds[trained]:.2g} | "
            f"{by_k.operations[trained]:.1e} |"
        )
    lines += [
        "",
        f"Made by `python -m benchmarks.sr_convergence --dataset {first.dataset} --scales "
        f"{first.scales}{f' --crop {first.crop}' if first.crop else ''} --solvers "
        f"{shlex.join(first.solvers.split())}`; "
        f"{first.threads} thread(s) of {first.machine}{_busy(first)}.",
        "",
    ]
    page.write_text("\n".join(lines), encoding="utf-8")


def sr_convergence(
    out: str | Path,
    *,
    data: str | Path | None = None,
    dataset: str = "demo",
    scales: Sequence[int] = (2,),
    crop: int = 0,
    solvers: Sequence[str] | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Make sr_convergence.csv, .png and .md in the folder `out`; returns their paths.

    crop: side in pixels of the part in the middle of each image that is taken, 0 for all.

    Nothing is solved where the table is there already, with the same settings and weights.
    Raises InputError for an unknown data set or solver.
    """
    names = list(solvers or (n for n in iterative_solvers() if n != SAME_AS_ISTA))
    for name in names:
        with followed(name, scales[0]):
            pass
    out = make_folder(out)
    table = out / f"{NAME}.csv"
    settings = {
        "dataset": dataset,
        "scales": " ".join(map(str, scales)),
        "crop": crop,
        "solvers": " ".join(names),
        "beyond": BEYOND,
        "weights": " ".join(make_solver(name).weights_sha256()[:8] for name in names),
    }
    if not made_with(table, settings):
        images = [central(image, crop) for _, image in load_dataset(dataset, data)]
        rows = measure(settings, names, scales, images, report)
        if not rows:
            raise InputError("no solver can be followed on these images.")
        write_curves(table, CSV_COLUMNS, rows)
    draw(table, out / f"{NAME}.png")
    describe_table(table, out / f"{NAME}.md")
    return [table, out / f"{NAME}.png", out / f"{NAME}.md"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m benchmarks.sr_convergence`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sr_convergence", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="(default: CSCSR_DATA)")
    parser.add_argument("--dataset", default="demo", metavar="NAME", help="(%(default)s)")
    parser.add_argument("--scales", nargs="+", type=int, default=[2], metavar="S")
    parser.add_argument(
        "--crop", type=int, default=0, help="middle of each image in pixels, 0: all (%(default)s)"
    )
    parser.add_argument(
        "--solvers",
        nargs="+",
        metavar="NAME",
        help=f"(default: all that have iterates, without {SAME_AS_ISTA})",
    )
    parser.add_argument("--out", type=Path, default=Path("reports/latest"), metavar="DIR")
    return run_command(sr_convergence, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
