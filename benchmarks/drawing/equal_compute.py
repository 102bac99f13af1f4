"""The figure of `benchmarks.equal_compute`, from the points of its CSV file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cscsr.compare.trained_alike import Point, Spread, on_one_machine
from cscsr.plot import COLOURS, panels, save

MARKERS = "osD^vP"

ROOM_DB = 1.0
"""The axis begins no further below bicubic interpolation."""


def styles(networks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each network: those of the CRNets are black."""
    result: dict[str, dict[str, Any]] = {}
    others = [name for name in networks if not name.startswith("crnet")]
    for name in networks:
        if name.startswith("crnet"):
            marker = "*" if name.startswith("crnet-a") else "X"
            result[name] = {"color": "black", "marker": marker, "zorder": 5, "markersize": 8}
        else:
            turn, colour = divmod(others.index(name), len(COLOURS))
            result[name] = {
                "color": COLOURS[colour],
                "marker": MARKERS[turn],
                "markersize": 5,
                "linestyle": "-" if turn == 0 else "--",
            }
    return result


def _draw_points(
    panel: Any, points: Sequence[Point], axis: str, column: str, style: dict[str, Any]
) -> None:
    """A curve through the points of a network, with bars for the spread of its seeds."""
    spreads: list[Spread] = [getattr(point, column) for point in points]
    below = [spread.mean - spread.low for spread in spreads]
    above = [spread.high - spread.mean for spread in spreads]
    unit = 1e6 if axis == "multiply_adds" else 1
    places = [getattr(point, axis) / unit for point in points]
    means = [spread.mean for spread in spreads]
    panel.errorbar(places, means, [below, above], capsize=2, linewidth=1, **style)


def draw(points: Sequence[Point], test_set: str, scale: int, picture: Path) -> None:
    """Draw equal_compute.png: PSNR on the held-out images and on the test set against training
    FLOP, where there are several budgets, multiply-adds of inference and, if all ran on one
    machine, seconds of training; bars from the lowest seed to the highest."""
    from matplotlib.ticker import LogLocator

    networks = list(dict.fromkeys(point.network for point in points))
    if not networks:
        return
    style = styles(networks)
    budgets = sorted({point.budget for point in points})
    last = f"{budgets[-1]:.0e}".replace("e+", "e")
    axes = [("multiply_adds", f"10⁶ multiply-adds per input pixel, at {last} FLOP")]
    if on_one_machine(points):
        axes.append(("seconds", "processor seconds of training"))
    if len(budgets) > 1:
        axes.insert(0, ("training_flop", f"training FLOP, {len(budgets)} budgets"))
    figure, grid = panels(2, len(axes), (2 + 3.5 * len(axes), 8), sharey="row", sharex="col")
    below = False
    for line, (column, title) in zip(
        grid, (("holdout", "the held-out images"), ("test", test_set)), strict=True
    ):
        levels = [point.bicubic[column == "test"] for point in points]
        means = [getattr(point, column).mean for point in points]
        floor, top = max(min(*levels, *means), min(levels) - ROOM_DB), max(*levels, *means)
        below |= min(means) < floor
        margin = 0.06 * (top - floor)
        line[0].set_ylim(floor - margin, top + margin)
        line[0].set_ylabel(f"PSNR on {title}, ×{scale} (dB)")
        for panel, (axis, _) in zip(line, axes, strict=True):
            for name in networks:
                own = [point for point in points if point.network == name]
                if axis == "multiply_adds":
                    own = [point for point in own if point.budget == budgets[-1]]
                _draw_points(panel, own, axis, column, {"label": name, **style[name]})
            for level in set(levels):
                panel.axhline(level, color="#888888", linewidth=1, linestyle=":")
            if axis != "multiply_adds" and len(budgets) > 1:
                panel.set_xscale("log")
                panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.xaxis.set_major_formatter("{x:g}")
                panel.xaxis.set_minor_formatter("")
            panel.grid(alpha=0.25, which="both")
    for panel, (_, label) in zip(grid[1], axes, strict=True):
        panel.set_xlabel(label)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, loc="outside center right")
    sentences = ["The same patches, optimiser and operations for every network."]
    if any(point.seeds > 1 for point in points):
        sentences.append("Bars: lowest to highest seed.")
    marks = ["Dotted: bicubic interpolation, on both lines of the protocol."]
    if below:
        marks.append("Some points lie below the axis.")
    figure.suptitle(f"{' '.join(sentences)}\n{' '.join(marks)}", fontsize=10)
    save(figure, picture, dpi=120)
