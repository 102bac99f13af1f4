"""Figures and tables of `benchmarks.convergence`, from its CSV files alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks._study.figures import busy, thread_count
from benchmarks._study.race import BEST_RHO, GAPS
from cscsr import plot
from cscsr.output import write_text

FLOOR = 1e-9
"""Relative gaps are drawn down to this, or to what the optimum is certified to."""

_LOOKS = {
    "ista": ("ISTA", {"color": "#F0A070", "linewidth": 4.5}),
    "cista": ("CISTA", {"color": "#000000", "linewidth": 1.3, "linestyle": (0, (4, 2))}),
    "fista": ("FISTA (with restart)", {"color": "#009E73", "linewidth": 1.8}),
    "admm": ("ADMM (ours)", {"color": "#CC79A7", "linewidth": 1.8}),
    "sporco-admm": ("ADMM (sporco)", {"color": "#0072B2", "linewidth": 1.8, "linestyle": "-."}),
    BEST_RHO: (
        "ADMM (sporco, best fixed ρ)",
        {"color": "#0072B2", "linewidth": 1.2, "linestyle": ":"},
    ),
    "sporco-pgm": ("PGM (sporco)", {"color": "#56B4E9", "linewidth": 1.8, "linestyle": "-."}),
    "auto": ("auto", {"color": "#6A3D9A", "linewidth": 1.8, "linestyle": (0, (1, 1.6))}),
    "lista[step]": ("LISTA, step sizes", {"color": "#D55E00", "linewidth": 1.4}),
    "lista[tied]": ("LISTA, tied", {"color": "#D55E00", "linewidth": 1.4, "linestyle": "--"}),
    "lista[untied]": ("LISTA, untied", {"color": "#D55E00", "linewidth": 1.4, "linestyle": ":"}),
}
"""Solver: its label and line, in drawing order; CISTA's dashes lie on ISTA's broad line, and auto's
dots on the line of its pick."""

_OTHER_COLOURS = ("#8C6D1F", "#444444", "#B2DF8A")


def _looks(names: Iterable[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label and line of each of `names`, those without one of their own included."""
    names = list(names)
    looks = {name: look for name, look in _LOOKS.items() if name in names}
    others = [name for name in names if name not in _LOOKS]
    for name, colour in zip(others, itertools.cycle(_OTHER_COLOURS), strict=False):
        looks[name] = (name, {"color": colour, "linewidth": 1.8})
    return looks


def draw_convergence(table: Path, picture: Path) -> None:
    """Draw the picture of one problem from its table: the relative objective gap against
    iterations, seconds and operations."""
    import pandas as pd

    from cscsr.sparse.lista import STEPS

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    certified = _certified(rows)
    floor = max(certified, FLOOR)
    figure, made = plot.panels(1, 3, (12.6, 4.9), sharey=True)
    panels = made[0]
    axes = (
        ("iteration", "iterations"),
        ("seconds", "solver's own time (seconds)"),
        ("operations", "multiply-adds"),
    )
    looks = _looks(rows.solver.unique())
    for panel, (column, label) in zip(panels, axes, strict=True):
        for solver, (name, look) in looks.items():
            curve = rows[rows.solver == solver]
            panel.plot(curve[column], curve.relative_gap.clip(lower=floor / 10), label=name, **look)
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.set_ylim(bottom=floor)
    panels[0].set_xlim(1, first.iterations)
    panels[0].set_ylabel("relative objective gap  (P(z) − P*) / P*")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    for panel in panels[:2]:
        panel.xaxis.set_major_formatter("{x:g}")
    figure.suptitle(
        f"½‖y − Σ f⊗z‖² + λ‖z‖₁, λ = {first.lam:g}, circular, {first['dtype']}: camera, "
        f"high-passed, {first['size']}×{first['size']} pixels, {first.atoms} "
        f"{_whose(first.dictionary)} of {first.filter_size}×{first.filter_size}; "
        f"P* = {first.reference_objective:.5f}, certified to {certified:.0e} by the duality gap\n"
        "ISTA and CISTA make the same iterates, auto those of its pick; LISTA takes ISTA's steps "
        f"after its {STEPS} learned ones; {thread_count(first.threads, 'CPU ')}{busy(first)}",
        fontsize=10,
    )
    plot.save(figure, picture, dpi=120)


def _certified(rows: Any) -> float:
    """The largest duality gap of the optima of a table, as a share of the optimum."""
    return max((rows.reference_duality_gap / rows.reference_objective).max(), 0.0)


def _whose(dictionary: str) -> str:
    own = {"camera": "learned atoms", "lista": "atoms of LISTA's"}
    return own.get(dictionary, f"atoms ({dictionary})")


def draw_grid(table: Path, picture: Path) -> None:
    """Draw the picture of the grid: a panel for each problem, gap against seconds; and below
    it the distance to the optimal codes and the non-zeros of the first of them."""
    import pandas as pd

    rows = pd.read_csv(table)
    looks = _looks(rows.solver.unique())
    problems = list(rows.groupby(["dictionary", "size", "lam"], sort=False))
    columns = 4
    lines = -(-len(problems) // columns)
    figure, panels = plot.panels(lines + 1, columns, (3.5 * columns, 2.9 * (lines + 1) + 0.9))
    for panel in panels.ravel():
        panel.set_visible(False)
    for panel, (problem, part) in zip(panels[:-1].ravel(), problems, strict=False):
        _curves(panel, problem, part, looks, "seconds", "relative_gap")
    panels[0][0].set_ylabel("relative objective gap", fontsize=9)
    below = (
        ("iteration", "relative_gap", "relative objective gap"),
        ("operations", "relative_gap", "relative objective gap"),
        ("iteration", "codes_distance", "‖z − z*‖ / ‖z*‖"),
        ("iteration", "nnz", "non-zeros"),
    )
    for panel, (x, y, label) in zip(panels[-1], below, strict=True):
        _curves(panel, *problems[0], looks, x, y)
        panel.set_ylabel(label, fontsize=9)
    labelled: dict[str, Any] = {}
    for panel in panels[:-1].ravel():
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            labelled.setdefault(label, handle)
    figure.legend(
        labelled.values(),
        labelled.keys(),
        loc="outside lower center",
        ncols=min(len(labelled), 6),
        fontsize=9,
    )
    first = rows.iloc[0]
    figure.suptitle(
        f"Time to the optimum of every problem ({first['dtype']}, "
        f"{thread_count(first.threads, 'CPU ')}{busy(first)}); optima certified to "
        f"{_certified(rows):.0e} by the duality gap",
        fontsize=10,
    )
    plot.save(figure, picture, dpi=120)


_AXES = {"seconds": "seconds", "iteration": "iterations", "operations": "multiply-adds"}


def _curves(
    panel: Any,
    problem: tuple[str, int, float],
    rows: Any,
    looks: dict[str, tuple[str, dict[str, Any]]],
    x: str,
    y: str,
) -> None:
    """Draw column `y` against column `x` for every solver of one problem."""
    dictionary, size, lam = problem
    for solver, (name, look) in looks.items():
        curve = rows[rows.solver == solver]
        if not curve.empty:
            panel.plot(
                curve[x], curve[y].clip(lower=1 if y == "nnz" else FLOOR), label=name, **look
            )
    panel.set_visible(True)
    panel.set(xscale="log", yscale="log")
    if y == "relative_gap":
        panel.set_ylim(1e-5, 2)
    panel.set_xlabel(_AXES[x], fontsize=8)
    panel.set_title(f"{dictionary}, {size}×{size}, λ = {lam:g}", fontsize=9)
    panel.tick_params(labelsize=8)


def times_to_gaps(table: Path) -> list[dict[str, Any]]:
    """For each problem and solver of a table: iterations, seconds and operations at the first
    iteration that is within each of `GAPS`, None where none is."""
    import pandas as pd

    times = []
    keys = ["dictionary", "size", "lam", "solver"]
    for key, curve in pd.read_csv(table).groupby(keys, sort=False):
        row: dict[str, Any] = dict(zip(keys, key, strict=True))
        row["rho"] = curve.rho.iloc[0]
        for level in GAPS:
            near = curve[curve.relative_gap <= level]
            row[level] = None if near.empty else near.iloc[0]
        times.append(row)
    return times


def write_times(table: Path, page: Path, command: str) -> None:
    """Write the page: a table of seconds (and iterations) to each gap for every problem."""
    import pandas as pd

    rows = pd.read_csv(table)
    first = rows.iloc[0]
    lines = [
        "# Time to the optimum",
        "",
        "Seconds of the solver's own time, in brackets iterations, to the first iterate whose "
        "objective is within a relative gap of the optimum; – is not within "
        f"{first.iterations} iterations. {first['dtype']}, {first.threads} thread(s). The optima "
        f"are certified to {_certified(rows):.0e} by the duality gap. Bold is the fastest of a "
        "problem.",
        "",
        f"| dictionary | size | λ | solver | {' | '.join(f'{level:.0e}' for level in GAPS)} |",
        f"|---|--:|--:|---|{'--:|' * len(GAPS)}",
    ]
    times = times_to_gaps(table)
    for row in times:
        same = [r for r in times if all(r[k] == row[k] for k in ("dictionary", "size", "lam"))]
        cells = []
        for level in GAPS:
            at = row[level]
            if at is None:
                cells.append("–")
                continue
            text = f"{at.seconds:.3g} ({at.iteration:.0f})"
            fastest = min(r[level].seconds for r in same if r[level] is not None)
            cells.append(f"**{text}**" if at.seconds == fastest else text)
        label = row["solver"] + (f" = {row['rho']:.3g}" if row["rho"] == row["rho"] else "")
        lines.append(
            f"| {row['dictionary']} | {row['size']} | {row['lam']:g} | {label} | "
            f"{' | '.join(cells)} |"
        )
    lines += ["", f"Made by `{command}` on {first.machine}{busy(first)}.", ""]
    write_text(page, "\n".join(lines))
