"""Drawings of the report as SVG: PSNR against cost, and intervals within a line of text.

Colours come from the classes of page.css, so that they follow its light and dark theme.
Needs the standard library.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 380
NARROW_WIDTH = 350
"""The width of the drawing that stands in a telephone's window in place of the wide one."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 20, 14, 46
_LINE = 15.0
_LETTER, _BOLD = 6.7, 7.7
"""Width of a letter in a name, and in the bold name of a point on the frontier, at 12px."""


@dataclass(frozen=True)
class Point:
    """A solver in a scatter plot.

    Attributes
    ----------
    name
        The solver's name.
    cost
        Its cost, above 0.
    psnr_db
        Its PSNR in dB.
    family
        Its family, which decides the colour and the mark.
    note
        The tooltip.
    """

    name: str
    cost: float
    psnr_db: float
    family: str
    note: str


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto frontier of cost and PSNR, the cheapest point first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.psnr_db)):
        if not best or point.psnr_db > best[-1].psnr_db:
            best.append(point)
    return best


def power_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten from `low` to `high`, and where they are few, also 2 and 5 times
    each."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = [10.0**e for e in exponents if low <= 10.0**e <= high]
    if len(decades) >= 3:
        step = 1 + (len(decades) - 1) // 7
        return decades[::step]
    return [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]


def even_ticks(low: float, high: float) -> list[float]:
    """Return four to eight round numbers from `low` to `high`."""
    span = high - low
    base = 10.0 ** math.floor(math.log10(span / 4))
    step = next(m * base for m in (1, 2, 2.5, 5, 10, 20) if span / (m * base) <= 7)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def scatter(
    points: Sequence[Point],
    axis: str,
    tick_text: Callable[[float], str],
    title: str,
    narrow: bool = False,
) -> str:
    """Draw PSNR (vertical) against a cost (horizontal, logarithmic), with the frontier as a line.

    Parameters
    ----------
    points
        The solvers.
    axis
        The cost's name and unit.
    tick_text
        Formats a cost for the axis.
    title
        The label for screen readers.
    narrow
        Draw it for a narrow window: `NARROW_WIDTH` wide, and as high as the names need.

    Returns
    -------
    str
        SVG; "" without points.
    """
    if not points:
        return ""
    width, height = WIDTH, HEIGHT
    if narrow:
        width, height = NARROW_WIDTH, max(340, 120 + 24 * len(points))
    costs, values = [p.cost for p in points], [p.psnr_db for p in points]
    # Room on the right for the names, which stand beside the points.
    low, high = min(costs) / 1.7, max(costs) * 1.7
    span = max(values) - min(values) or 1.0
    bottom, top = min(values) - 0.08 * span, max(values) + 0.1 * span
    inside_x, inside_y = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def x(cost: float) -> float:
        return _LEFT + inside_x * math.log(cost / low) / math.log(high / low)

    def y(psnr_db: float) -> float:
        return _TOP + inside_y * (top - psnr_db) / (top - bottom)

    parts = [
        f'<svg class="scatter{" narrow" if narrow else ""}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{html.escape(title)}">'
    ]
    for tick in even_ticks(bottom, top):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{width - _RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" '
            f'text-anchor="end">{tick:g}</text>'
        )
    for tick in power_ticks(low, high):
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {_TOP}V{height - _BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{height - _BOTTOM + 18}" '
            f'text-anchor="middle">{tick_text(tick)}</text>'
        )
    parts.append(
        f'<text class="axis" x="{_LEFT + inside_x / 2:.0f}" y="{height - 6}" '
        f'text-anchor="middle">{html.escape(axis)}</text>'
    )
    parts.append(
        f'<text class="axis upright" transform="translate(13 {_TOP + inside_y / 2:.0f}) '
        f'rotate(-90)" text-anchor="middle">PSNR (dB)</text>'
    )
    best = frontier(points)
    path = "L".join(f"{x(p.cost):.1f} {y(p.psnr_db):.1f}" for p in best)
    parts.append(f'<path class="frontier" d="M{path}"/>')
    labels = _labels(
        [
            (len(p.name) * (_BOLD if p in best else _LETTER), x(p.cost), y(p.psnr_db))
            for p in points
        ],
        width,
        height,
    )
    for point, (label_x, label_y, anchor) in zip(points, labels, strict=True):
        at_x, at_y = x(point.cost), y(point.psnr_db)
        lead = ""
        if abs(label_y - 4 - at_y) > 14:
            to_x = label_x + {"start": -3, "end": 3, "middle": 0}[anchor]
            to_y = label_y - 4
            if anchor == "middle":  # to the side of the name that faces the point
                to_y += 6 if label_y < at_y else -8
            lead = f'<path class="lead" d="M{at_x:.1f} {at_y:.1f}L{to_x:.1f} {to_y:.1f}"/>'
        strong = " strong" if point in best else ""
        parts.append(
            f'<g class="point {point.family}{strong}"><title>{html.escape(point.note)}</title>'
            f"{lead}{_mark(point.family, at_x, at_y)}"
            f'<text x="{label_x:.1f}" y="{label_y:.1f}" text-anchor="{anchor}">'
            f"{html.escape(point.name)}</text></g>"
        )
    return "".join([*parts, "</svg>"])


def _mark(family: str, x: float, y: float) -> str:
    """The mark of a family; families do not differ in colour alone."""
    if family == "classical":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    if family == "learned":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
    return f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5-6.5 6.5-6.5-6.5z"/>'


def _labels(
    points: Sequence[tuple[float, float, float]], width: int, height: int
) -> list[tuple[float, float, str]]:
    """The positions (x, y, anchor) of the names: the first free candidate beside each point.

    `points` holds (width of the name, x, y) of each point; width and height are the drawing's.
    """
    marks = [(x - 7, y - 7, x + 7, y + 7) for _, x, y in points]
    taken: list[tuple[float, float, float, float]] = []
    placed: dict[int, tuple[float, float, str]] = {}
    for index in sorted(range(len(points)), key=lambda i: points[i][2]):
        wide, x, y = points[index]
        tries = []
        for down in (0, *(sign * step for step in range(12, height // 2, 13) for sign in (-1, 1))):
            for away in (10,) if abs(down) < 20 else (10, 34):
                tries.append((x + away, y + 4 + down, "start", x + away, x + away + wide))
                tries.append((x - away, y + 4 + down, "end", x - away - wide, x - away))
            if abs(down) > 20:
                tries.append((x, y + 4 + down, "middle", x - wide / 2, x + wide / 2))
        best, least = tries[0], math.inf
        for where in tries:
            box = (where[3], where[1] - _LINE + 4, where[4], where[1] + 3)
            outside = max(0.0, _LEFT - box[0]) + max(0.0, box[2] - width + 2)
            outside += max(0.0, _TOP - box[1]) + max(0.0, box[3] - height + _BOTTOM)
            others = [m for other, m in enumerate(marks) if other != index]
            cost = 2000 * outside + sum(_overlap(box, other) for other in (*taken, *others))
            if cost < least:
                best, least = where, cost
            if cost == 0:
                break
        taken.append((best[3], best[1] - _LINE + 4, best[4], best[1] + 3))
        placed[index] = best[:3]
    return [placed[index] for index in range(len(points))]


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """The area that two boxes share."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def interval(mean: float, low: float | None, high: float | None, least: float) -> str:
    """Draw a difference in dB as a dot with its interval.

    Parameters
    ----------
    mean, low, high
        The difference and the bounds of its interval, if it has one.
    least
        The left end of the axis, below 0; its right end is 0.

    Returns
    -------
    str
        SVG.
    """
    width, height, margin = 150, 18, 8
    span = min(least, -1e-6)

    def x(value: float) -> float:
        return margin + (width - 2 * margin) * (1 - max(value, 1.1 * span) / span)

    whisker = ""
    if low is not None and high is not None:
        whisker = f'<path class="whisker" d="M{x(low):.1f} 9H{x(min(high, 0.06 * -span)):.1f}"/>'
    return (
        f'<svg class="interval" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<path class="zero" d="M{x(0):.1f} 1V17"/>{whisker}'
        f'<circle cx="{x(mean):.1f}" cy="9" r="3.5"/></svg>'
    )
