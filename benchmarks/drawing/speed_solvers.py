"""The table and the figure of `benchmarks.speed solvers`, from speed_solvers.csv alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks._study.figures import thread_count
from benchmarks._study.race import BEST_RHO, GAPS, SEARCH_GAP, SPORCO
from cscsr import plot
from cscsr.output import write_text

Row = dict[str, str]

_LOOKS = {
    SPORCO: ("ADMM (sporco)", "#0072B2", "s"),
    "ista": ("ISTA", "#E69F00", "v"),
    "fista": ("FISTA", "#009E73", "^"),
    "admm": ("ADMM (ours)", "#CC79A7", "o"),
}


def _median(rows: Sequence[Row], column: str) -> float | None:
    """The median of a column, None where a row lacks it."""
    values = [float(row[column]) for row in rows if row[column]]
    return median(values) if values and len(values) == len(rows) else None


def exponent(rows: Sequence[Row], column: str) -> float:
    """The slope of log(seconds per iteration) against log(column), by least squares."""
    x = np.log([float(row[column]) for row in rows])
    y = np.log([float(row["seconds_per_iteration"]) for row in rows])
    return float(np.polyfit(x, y, 1)[0])


def _scaling_rows(rows: Sequence[Row], name: str) -> tuple[list[Row], list[Row]]:
    """A solver's rows of growing images, with all atoms, and of growing dictionaries, at the size
    that also has the fewest; both in order."""
    own = [r for r in rows if r["measurement"] == "scaling" and r["solver"] == name]
    own = [{**r, "pixels": str(int(r["size"]) ** 2)} for r in own]
    by_atoms = sorted(own, key=lambda r: int(r["atoms"]))
    most, side = (by_atoms[-1]["atoms"], by_atoms[0]["size"]) if own else ("", "")
    by_pixels = sorted(own, key=lambda r: int(r["pixels"]))
    return [r for r in by_pixels if r["atoms"] == most], [r for r in by_atoms if r["size"] == side]


def write_table(rows: Sequence[Row], path: Path, introduction: str) -> None:
    """Write speed_solvers.md from the rows of speed_solvers.csv."""
    lines = ["# Speed of the sparse-coding solvers", "", introduction, ""]
    for size, lam in sorted(
        {(int(r["size"]), r["lam"]) for r in rows if r["measurement"] == "race"}
    ):
        lines += [*_race_lines([r for r in rows if (r["size"], r["lam"]) == (str(size), lam)]), ""]
    if any(row["measurement"] == "scaling" for row in rows):
        lines += [*_scaling_lines(rows), ""]
    if any(row["measurement"] == "memory" for row in rows):
        lines += [*_memory_lines(rows), ""]
    last = rows[-1]
    threads = thread_count(int(last["threads"]))
    lines += [f"{last['clock'].capitalize()}, {threads}; {last['machine']}.", ""]
    write_text(path, "\n".join(lines))


def _race_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The section of one problem: a row for each solver."""
    first = rows[0]
    optimum = next(row for row in rows if row["measurement"] == "optimum")
    certified = float(optimum["duality_gap"]) / float(optimum["objective"])
    yield from (
        f"## {first['size']}×{first['size']}, λ = {first['lam']}",
        "",
        f"P* = {float(optimum['objective']):.6f}, certified to {certified:.0e}. Medians of "
        f"seconds (iterations) to a relative gap; times as fast as {SPORCO} with its "
        f"defaults / with its best ρ, to 1e-3.",
        "",
        "| solver | " + " | ".join(f"{gap:g}" for gap in GAPS) + " | speedup to 1e-3 |",
        "|---|" + "---|" * (len(GAPS) + 1),
    )
    runs: dict[str, list[Row]] = {}
    for row in (row for row in rows if row["measurement"] == "race"):
        runs.setdefault(row["solver"], []).append(row)
    column = f"seconds_to_{SEARCH_GAP:g}"
    yardsticks = [_median(runs.get(name, []), column) for name in (SPORCO, BEST_RHO)]
    for name, own in runs.items():
        cells = []
        for gap in GAPS:
            seconds, count = (_median(own, f"{x}_to_{gap:g}") for x in ("seconds", "iterations"))
            cells.append("–" if seconds is None else f"{seconds:.2f} s ({count:.0f})")
        to_gap = _median(own, column)
        ratios = ["–" if None in (to_gap, y) else f"{y / to_gap:.1f}" for y in yardsticks]
        label = name
        if name == BEST_RHO:
            fixed = own[0]["auto_rho"] == "False"
            label = f"{name} = {own[0]['rho']}" if fixed else f"{name}: its defaults"
        yield f"| {label} | {' | '.join(cells)} | {' / '.join(ratios)} |"


def _scaling_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The section of time per iteration: a row for each solver that was timed at 256×256."""
    names = list(dict.fromkeys(row["solver"] for row in rows if row["measurement"] == "scaling"))
    by_pixels, by_atoms = _scaling_rows(rows, names[0])
    side = by_atoms[0]["size"]
    yield from (
        "## Time per iteration",
        "",
        f"Exponents fitted by least squares: pixels {by_pixels[0]['size']}² to "
        f"{by_pixels[-1]['size']}² with {by_pixels[0]['atoms']} atoms, {by_atoms[0]['atoms']} to "
        f"{by_atoms[-1]['atoms']} atoms at {side}×{side}.",
        "",
        "| solver | ms at 256×256, 64 atoms | exponent in pixels | exponent in atoms |",
        "|---|---|---|---|",
    )
    for name in names:
        by_pixels, by_atoms = _scaling_rows(rows, name)
        at = next((r for r in by_pixels if r["size"] == "256"), None)
        if at is not None and len(by_atoms) > 1:
            yield (
                f"| {name} | {1e3 * float(at['seconds_per_iteration']):.1f} | "
                f"{exponent(by_pixels, 'pixels'):.2f} | {exponent(by_atoms, 'atoms'):.2f} |"
            )


def _memory_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The section of peak memory: a row for each solver and size."""
    yield from (
        "## Peak memory",
        "",
        "The process's resident memory at its highest in a solve, less what it was before, in "
        "MB, and in arrays of M·H·W floats.",
        "",
        "| solver | size | MB | arrays |",
        "|---|---|---|---|",
    )
    for row in (row for row in rows if row["measurement"] == "memory"):
        peak, size, atoms = float(row["peak_mb"]), int(row["size"]), int(row["atoms"])
        arrays = peak * 1e6 / (4 * atoms * size**2)
        yield f"| {row['solver']} | {size}×{size} | {peak:.0f} | {arrays:.1f} |"


def draw_scaling(rows: Sequence[Row], picture: Path) -> None:
    """Draw speed_solvers.png: time per iteration against pixels and against atoms."""

    figure, made = plot.panels(1, 2, (9.6, 4.2))
    left, right = made[0]
    for panel, words in ((left, "pixels (64 atoms of 8×8)"), (right, "atoms (128×128 pixels)")):
        panel.set(xscale="log", yscale="log", xlabel=words, ylabel="ms per iteration")
        panel.grid(alpha=0.25, which="both")
    for name, (label, colour, marker) in _LOOKS.items():
        by_pixels, by_atoms = _scaling_rows(rows, name)
        for panel, own, column in ((left, by_pixels, "pixels"), (right, by_atoms, "atoms")):
            if len(own) < 2:
                continue
            x = [float(row[column]) for row in own]
            y = [1e3 * float(row["seconds_per_iteration"]) for row in own]
            slope = exponent(own, column)
            panel.plot(x, y, marker=marker, color=colour, label=f"{label}, exponent {slope:.2f}")
            if column == "pixels":
                panel.set_xticks(x, [f"{row['size']}²" for row in own])
            else:
                panel.set_xticks(x, [row["atoms"] for row in own])
    for panel in (left, right):
        panel.legend(fontsize=9)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
    last = rows[-1]
    figure.suptitle(
        f"Sparse-coding solvers, float32, {thread_count(int(last['threads']))}, {last['clock']}",
        fontsize=11,
    )
    plot.save(figure, picture)
