"""Where each measured cell of the page came from, and how names and numbers are written in HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from typing import Any

from cscsr.compare.grid import (
    two_digits,
)
from cscsr.compare.results import SCORED
from cscsr.compare.summary import Mean, Place, Summary
from cscsr.registry import solver_family


def escaped(text: Any) -> str:
    return html.escape(str(text))


def family(solver: str) -> str:
    """Which kind of method a solver is, for its colour and mark in the plots."""
    kind = solver_family(solver)
    return kind if kind in ("classical", "learned") else "other"


def engineering(value: float) -> str:
    """A count with two digits and a prefix: 1.2 G, 340 M."""
    if not math.isfinite(value):
        return "–"
    for unit, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.995 * unit:
            return two_digits(value / unit) + prefix
    return two_digits(value)


def place_id(place: Place) -> str:
    return "/".join(map(str, place)).rstrip("/")


class Sources:
    """Where each measured cell came from; a cell in the page names its number here."""

    def __init__(self, summary: Summary, commands: dict[int, str]) -> None:
        self.commands = commands
        self.rows: list[dict[str, Any]] = []
        self._numbers: dict[tuple[Place, str], int] = {}
        for key, cell in summary.rows.groupby([*Place._fields, "solver"], sort=False):
            place, solver = Place(key[0], int(key[1]), key[2]), key[3]
            self._numbers[place, solver] = len(self.rows)
            mean = summary.mean(place.dataset, place.scale, solver, place.degradation)
            self.rows.append(self._described(place, mean, cell))

    def number(self, mean: Mean) -> int:
        return self._numbers[mean.place, mean.solver]

    def of(self, mean: Mean) -> dict[str, Any]:
        return self.rows[self.number(mean)]

    def _described(self, place: Place, mean: Mean, cell: Any) -> dict[str, Any]:
        scored = cell[cell.outcome == SCORED]
        first = cell.iloc[0]

        def each(column: str) -> str:
            values = [v for v in scored[column] if v == v and v not in ("", None)]
            return "; ".join(dict.fromkeys(map(str, values)))

        def between(column: str, text: Callable[[float], str] = "{:g}".format) -> str:
            values = scored[column].dropna()
            if not len(values):
                return ""
            low, high = text(values.min()), text(values.max())
            return low if low == high else f"{low} to {high}"

        ran = [
            self.commands[int(n)] for n in dict.fromkeys(scored.run.dropna()) if n in self.commands
        ]
        figures = {}
        if mean.images:
            seconds = f"{two_digits(mean.seconds)} ({between('seconds', two_digits)})"
            figures = {
                "PSNR": f"{mean.psnr_db:.4f} dB",
                "SSIM": f"{mean.ssim:.5f}",
                "Seconds an image": seconds,
                "Multiply-adds an image": engineering(mean.operations),
            }
        line = {"y": "y: luma, low-resolution image in floating point"}
        line["rgb"] = "rgb: 8-bit low-resolution image, in colour where the truth is"
        return {
            "title": f"{mean.solver} on {place}",
            "facts": {
                **figures,
                "Images": f"{mean.images} of {mean.expected}",
                "Missing": " ".join(mean.reasons),
                "Protocol": f"line {line[mean.protocol]}",
                "Input": place.degradation or "as it is",
                "Weights (SHA-256)": first.weights_sha256 or "none: nothing is trained",
                "Solver": f"{mean.solver}, version {first.solver_version}",
                "Parameters": first.params,
                "Code version": each("code_version"),
                "Machine": each("machine"),
                "Device, threads, precision": ", ".join(
                    filter(None, (each("device"), between("threads"), each("precision")))
                ),
                "Iterations": between("iterations"),
                "Ended": each("status"),
                "Preparation": f"{two_digits(scored.prepare_seconds.max())} s at most"
                if mean.images
                else "",
                "Peak memory": f"{scored.memory_mb.max():.0f} MB"
                if scored.memory_mb.notna().any()
                else "",
                "Measured": " to ".join(sorted({scored.time.min(), scored.time.max()}))
                if mean.images
                else "",
            },
            "commands": list(dict.fromkeys(ran))
            or (["unknown: measured before commands were kept"] if mean.images else []),
        }


def source_button(sources: Sources, mean: Mean, text: str, kind: str = "cell") -> str:
    return (
        f'<button type="button" class="{kind}" data-source="{sources.number(mean)}" '
        f'aria-haspopup="dialog">{text}</button>'
    )


def sortable_head(text: str, column: int, kind: str = "number", pressed: str = "none") -> str:
    return (
        f'<th scope="col" aria-sort="{pressed}"><button type="button" class="sort" '
        f'data-column="{column}" data-kind="{kind}">{text}</button></th>'
    )


def number_cell(value: float | None, text: str, kind: str = "") -> str:
    shown = "" if value is None or not math.isfinite(value) else f"{value:.6g}"
    return f'<td data-value="{shown}"{kind}>{text}</td>'
