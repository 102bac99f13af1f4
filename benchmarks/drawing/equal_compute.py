"""The figure of `benchmarks.equal_compute`, from the points of its CSV file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cscsr.compare.trained_alike import Point, Spread, largest_common_budget, on_one_machine
from cscsr.plot import COLOURS, panels, save

MARKERS = "osD^vP"

ROOM_DB = 1.0
"""The axis begins no further below bicubic interpolation."""

ALIKE = 1.2
"""Networks whose multiply-adds differ by a smaller factor are said to cost the same."""


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


def _draw_curves(panel: Any, points: Sequence[Point], axis: str, column: str) -> None:
    """A curve through the points of each network, with bars for the spread of its seeds."""
    networks = {point.network for point in points}
    for name, style in styles(sorted(networks)).items():
        own = [point for point in points if point.network == name]
        spreads: list[Spread] = [getattr(point, column) for point in own]
        below = [spread.mean - spread.low for spread in spreads]
        above = [spread.high - spread.mean for spread in spreads]
        places = [getattr(point, axis) for point in own]
        means = [spread.mean for spread in spreads]
        panel.errorbar(places, means, [below, above], capsize=2, linewidth=1, label=name, **style)


def groups_of(points: Sequence[Point]) -> list[list[Point]]:
    """The points of about the same multiply-adds of inference, the best on the held-out images
    first."""
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda point: point.multiply_adds):
        if not groups or point.multiply_adds > ALIKE * groups[-1][0].multiply_adds:
            groups.append([])
        groups[-1].append(point)
    return [sorted(group, key=lambda point: -point.holdout.mean) for group in groups]


def _draw_names(panels_of_row: Any, points: Sequence[Point], budget: float) -> None:
    """A line for each network: PSNR on the two sets of images and seconds, at all budgets."""
    budgets = sorted({point.budget for point in points})
    places, height = {}, 0
    first = panels_of_row[0]
    for group in groups_of([point for point in points if point.budget == budget]):
        millions = sum(point.multiply_adds for point in group) / len(group) / 1e6
        text = f"{millions:.1f} million multiply-adds per input pixel"
        place = (0.01, height - 0.1)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the dotted line
        across = first.get_yaxis_transform()
        first.text(*place, text, transform=across, fontsize=8, va="center", bbox=box)
        for number, point in enumerate(group, 1):
            places[point.network] = height + number
        height += len(group) + 2
    for panel, column in zip(panels_of_row, ("holdout", "test", "seconds"), strict=False):
        for point in points:
            if point.network not in places:
                continue
            own = point.network.startswith("crnet")
            share = (1 + budgets.index(point.budget)) / len(budgets)
            style = {"color": "black" if own else COLOURS[0], "alpha": share, "markersize": 5}
            place, value = places[point.network], getattr(point, column)
            if isinstance(value, Spread):
                bar = [[value.mean - value.low], [value.high - value.mean]]
                panel.errorbar(value.mean, place, xerr=bar, fmt="o", capsize=2, **style)
            else:
                panel.plot(value, place, "o", **style)
    first.set_yticks(list(places.values()), list(places), fontsize=8)
    for label in first.get_yticklabels():
        label.set_fontweight("bold" if label.get_text().startswith("crnet") else "normal")
    first.set_ylim(height - 1.5, -0.8)


def _draw_levels(panel: Any, levels: Sequence[float], upright: bool) -> None:
    """What bicubic interpolation reaches, on the lines of the protocol."""
    for level in set(levels):
        (panel.axvline if upright else panel.axhline)(
            level, color="#888888", linewidth=1, linestyle=":"
        )


def draw(points: Sequence[Point], test_set: str, scale: int, picture: Path) -> None:
    """Draw equal_compute.png: a line for each network, by the arithmetic of its inference, with
    PSNR on the held-out images and on the test set and, if all ran on one machine, seconds of
    training. Where there are several budgets, a second row has the PSNR against the operations and
    the seconds of training. Bars reach from the lowest seed to the highest."""
    from matplotlib.ticker import LogLocator

    networks = {point.network for point in points}
    if not networks:
        return
    budgets = sorted({point.budget for point in points})
    budget = largest_common_budget(points) or budgets[-1]
    timed, several = on_one_machine(points), len(budgets) > 1
    height = max(3.3, 1.6 + 0.19 * len(networks))
    size = (4.5 + 2.8 * (1 + timed), (1 + several) * height + 0.3)
    figure, grid = panels(1 + several, 2 + timed, size)
    for panel in grid[0][1:]:
        panel.sharey(grid[0][0])
        panel.tick_params(labelleft=False)
    _draw_names(grid[0], points, budget)
    below = False
    for number, (column, title) in enumerate(
        (("holdout", "the held-out images"), ("test", test_set))
    ):
        levels = [point.bicubic[column == "test"] for point in points]
        means = [getattr(point, column).mean for point in points]
        floor, top = max(min(*levels, *means), min(levels) - ROOM_DB), max(*levels, *means)
        below |= min(means) < floor
        margin = 0.06 * (top - floor)
        limits, label = (floor - margin, top + margin), f"PSNR on {title}, ×{scale} (dB)"
        grid[0][number].set_xlim(limits)
        grid[0][number].set_xlabel(label)
        _draw_levels(grid[0][number], levels, upright=True)
        if several:
            panel = grid[1][number]
            _draw_curves(panel, points, "training_flop", column)
            _draw_levels(panel, levels, upright=False)
            panel.set_ylim(max(floor, min(means)) - margin, top + margin)
            panel.set(xlabel="operations of training (FLOP)", ylabel=label)
    if timed:
        grid[0][2].set(xlabel="processor seconds of training", xscale="log")
    if timed and several:
        _draw_curves(grid[1][2], points, "seconds", "holdout")
        grid[1][2].set_ylim(grid[1][0].get_ylim())
        grid[1][2].set(xlabel="processor seconds of training", ylabel=grid[1][0].get_ylabel())
    short = grid[1:, :2]  # the budgets span a decade or two, the seconds more
    for panel in [*grid[1:].flat, *grid[0][2:]]:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if panel in short.flat else (1, 3)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
    if several:
        handles, names = grid[1][0].get_legend_handles_labels()
        figure.legend(handles, names, fontsize=7, loc="outside lower center", ncols=5)
    amounts = ", ".join(f"{number:.3g}".replace("e+", "e") for number in budgets)
    sentences = ["The same patches, optimiser and operations of training for every network:"]
    sentences.append(f"{amounts} FLOP" + (", the darker the more." if several else "."))
    marks = ["Dotted: bicubic interpolation, on both lines of the protocol."]
    if any(point.seeds > 1 for point in points):
        marks.append("Bars: lowest to highest seed.")
    if below:
        marks.append("Some points lie outside.")
    figure.suptitle(f"{' '.join(sentences)}\n{' '.join(marks)}", fontsize=9)
    save(figure, picture, dpi=120)
