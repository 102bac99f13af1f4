"""What notebooks show of solutions, traces, problems and solvers: small tables, as HTML.

Every text is escaped. Needs pillow for an image; imported when a notebook asks.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cscsr.arrays import described, to_numpy

if TYPE_CHECKING:
    from cscsr.problem import SparseCoding
    from cscsr.solver import Solution, Solver, Trace
    from cscsr.super_resolution import SuperResolution

_MOST_PIXELS = 256
"""The longest side of an image in a notebook; a larger one is thinned."""

_ENDS = 4
"""Rows of a trace that are shown of its start and of its end."""

_CELL = 'style="text-align:left"'


def _table(title: str, facts: Mapping[str, Any], below: str = "") -> str:
    """A title above a table of two columns; values without a text are left out."""
    rows = "".join(
        f"<tr><th {_CELL}>{html.escape(name)}</th><td {_CELL}>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<div><b>{html.escape(title)}</b><table><tbody>{rows}</tbody></table>{below}</div>"


def image_html(image: Any, label: str) -> str:
    """Return an image (H,W) or (H,W,3) in [0,1] as an element that holds it; "" for other shapes
    and values that are not finite."""
    from PIL import Image

    pixels = to_numpy(image)
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        return ""
    step = max(1, math.ceil(max(pixels.shape[:2]) / _MOST_PIXELS))
    pixels = pixels[::step, ::step].astype(np.float64)
    if not np.isfinite(pixels).all():
        return ""
    file = io.BytesIO()
    Image.fromarray(np.floor(pixels * 255 + 0.5).clip(0, 255).astype(np.uint8)).save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(label)}" src="data:image/png;base64,{png}">'


def solution_html(solution: Solution) -> str:
    """Return a table of a solution, and the estimate where it is an image."""
    trace, codes = solution.trace, solution.codes
    facts: dict[str, Any] = {
        "status": f"{solution.status.value}: {solution.status.message}",
        "seconds": f"{solution.seconds:.3g}",
    }
    if len(trace):
        facts["iterations"] = f"{trace['iteration'][-1]:.0f}"
        for column in ("objective", "duality_gap", "psnr_db"):
            value = trace[column][-1]
            facts[column] = "" if math.isnan(value) else f"{value:.6g}"
    if solution.solver is not None:
        facts["solver"] = solution.solver
    if codes is not None:
        count = int((codes != 0).sum())
        facts["codes"] = described(codes)
        facts["nonzero"] = f"{count} ({count / math.prod(codes.shape):.2%})"
    picture = ""
    if codes is not solution.estimate:
        facts["estimate"] = described(solution.estimate)
        picture = image_html(solution.estimate, "the estimate")
    return _table("Solution", facts, picture)


def trace_html(trace: Trace) -> str:
    """Return the first and the last rows of a trace, without its empty columns."""
    columns = [c for c in trace.COLUMNS if len(trace) and np.isfinite(trace[c]).any()]
    heads = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    numbers = {column: trace[column] for column in columns}
    shown = list(range(len(trace)))
    if len(shown) > 2 * _ENDS + 1:
        shown[_ENDS:-_ENDS] = [-1]
    rows = "".join(
        f'<tr><td colspan="{len(columns)}">…</td></tr>'
        if row < 0
        else "<tr>" + "".join(f"<td>{numbers[c][row]:.6g}</td>" for c in columns) + "</tr>"
        for row in shown
    )
    return (
        f"<div><b>Trace</b>, {len(trace)} rows<table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def super_resolution_html(problem: SuperResolution) -> str:
    """Return a table of a problem, and its image."""
    facts = {
        "lr": described(problem.lr),
        "scale": problem.scale,
        "truth": "" if problem.truth is None else described(problem.truth),
    }
    return _table("SuperResolution", facts, image_html(problem.lr, "the low-resolution image"))


def sparse_coding_html(problem: SparseCoding) -> str:
    """Return a table of a problem."""
    number = isinstance(problem.lam, (int, float))
    facts = {
        "signal": described(problem.signal, True),
        "dictionary": described(problem.dictionary),
        "codes": str(problem.codes_shape),
        "lam": problem.lam if number else described(problem.lam, True),
        "boundary": problem.boundary,
        "nonnegative": "yes" if problem.nonnegative else "",
        "mask": "" if problem.mask is None else described(problem.mask),
    }
    return _table("SparseCoding", facts)


def solver_html(solver: Solver[Any]) -> str:
    """Return a table of a solver's parameters."""
    facts = {name: repr(value) for name, value in solver.params().items()}
    title = f"{type(solver).__name__}: {solver.name}, solves a {solver.problem_type.__name__}"
    return _table(title, facts)
