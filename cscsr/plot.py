"""Plots of solves, dictionaries, codes and images, in the style of the benchmark's figures.

    >>> import numpy as np, cscsr, cscsr.plot
    >>> numbers = np.random.default_rng(0)
    >>> problem = cscsr.SparseCoding(
    ...     numbers.random((16, 16)), numbers.standard_normal((4, 3, 3)), lam=0.5
    ... )
    >>> axes = cscsr.plot.trace({"FISTA": cscsr.FISTA().solve(problem)})
    >>> axes.get_ylabel()
    'objective'

`trace` and `dictionary` draw into given axes or make a figure, and return the axes; `codes` and
`compare_images` return a figure. `panels` makes a figure in the same style, and `save` writes one
as a small PNG. Needs matplotlib, which is imported when something is drawn.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cscsr.arrays import plain, to_numpy
from cscsr.errors import InputError
from cscsr.output import replacing
from cscsr.solver import Solution, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D1F", "#56B4E9", "#E69F00", "#555555")
"""Of curves, in their order (Okabe and Ito's palette, with brown and grey)."""

_DASHES = ("-", "--", "-.", ":")

_LABELS = {
    "iteration": "iterations",
    "seconds": "solver's own time (seconds)",
    "objective": "objective",
    "relative_change": "relative change of an iteration",
    "nnz": "nonzero codes",
    "duality_gap": "duality gap",
    "psnr_db": "PSNR (dB)",
    "operations": "multiply-adds",
}

_GAP = "relative objective gap  (P(z) − P*) / |P*|"

_LOGARITHMIC = ("relative_change", "duality_gap", "operations")

Traced: TypeAlias = "Solution | Trace"
"""What a curve is drawn from: a solution, or its trace."""


def panels(
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (6.4, 4.2),
    grid: bool = True,
    **options: Any,
) -> tuple[Figure, np.ndarray]:
    """Make a figure in the style of this package, which belongs to no window.

    Parameters
    ----------
    rows, columns
        Of panels.
    size
        Width and height in inches.
    grid
        Whether the panels have grid lines.
    **options
        Further arguments of `matplotlib.figure.Figure.subplots`, such as ``sharey=True``.

    Returns
    -------
    tuple
        The figure, and its axes as an array (rows, columns).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False, **options)
    if grid:
        for axes in made.flat:
            axes.grid(alpha=0.25)
    return figure, made


def save(figure: Figure, picture: str | Path, dpi: int = 150, colours: int = 256) -> None:
    """Write a figure as PNG, with a palette of so many colours (0: all its colours).

    A palette, and no opaque alpha, make a plot less than half as large as matplotlib's file. An
    existing file is replaced only when the new one is complete.

    Raises
    ------
    InputError
        For a folder that cannot be written.
    """
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    image: Any = Image.open(drawn).convert("RGB")
    if colours:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    with replacing(Path(picture)) as partial:
        image.save(partial, "PNG", optimize=True, dpi=(dpi, dpi))


def _shown(rows: int, columns: int, size: tuple[float, float], grid: bool) -> Any:
    """A figure as `panels` makes it, which a notebook shows."""
    import matplotlib.pyplot as plt

    figure, made = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    if grid:
        for axes in made.flat:
            axes.grid(alpha=0.25)
    return figure, made


def trace(
    solutions: Mapping[str, Traced] | Traced,
    y: str = "objective",
    x: str = "iteration",
    *,
    optimum: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a column of one or several traces.

    Parameters
    ----------
    solutions
        A solution or trace, or label to solution or trace.
    y, x
        Columns of `Trace.COLUMNS`. For PSNR the problem needs its truth, for the duality gap a
        solver with ``gap=True``.
    optimum
        P*, the least objective, certified for instance by `cscsr.ActiveSet`. The objective is then
        drawn as (P(z) − P*)/|P*|, on a logarithmic axis.
    ax
        The axes to draw into; None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a label for each curve and a legend if there are several.

    Raises
    ------
    InputError
        For a column that a trace does not have or that is empty, and for an optimum of another
        column.
    """
    for column in (x, y):
        if column not in Trace.COLUMNS:
            raise InputError(f"a trace has the columns {', '.join(Trace.COLUMNS)}, got {column!r}.")
    if optimum is not None and y != "objective":
        raise InputError(f"an optimum belongs to the objective, not to {y}.")
    named = solutions if isinstance(solutions, Mapping) else {"": solutions}
    curves = {name: _columns(name, one, x, y) for name, one in named.items()}
    if not curves:
        raise InputError("there is no trace to draw.")
    if ax is None:
        ax = _shown(1, 1, (6.4, 4.2), True)[1][0, 0]
    for number, (name, (across, up)) in enumerate(curves.items()):
        if optimum is not None:
            up = (up - optimum) / max(abs(optimum), np.finfo(float).tiny)
            up = np.where(up > 0, up, np.nan)  # the optimum itself has no logarithm
        colour = COLOURS[number % len(COLOURS)]
        dashes = _DASHES[number // len(COLOURS) % len(_DASHES)]
        marker = "o" if len(across) == 1 else ""
        ax.plot(across, up, label=name, color=colour, linestyle=dashes, marker=marker)
    if optimum is not None or y in _LOGARITHMIC:
        ax.set_yscale("log")
    if x in _LOGARITHMIC:
        ax.set_xscale("log")
    ax.set_xlabel(_LABELS[x])
    ax.set_ylabel(_GAP if optimum is not None else _LABELS[y])
    if len(curves) > 1:
        ax.legend(loc="best", fontsize=9)
    return ax


def _columns(name: str, solution: Any, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of a trace, where both are known."""
    rows = solution.trace if isinstance(solution, Solution) else solution
    if not isinstance(rows, Trace):
        raise InputError(f"expected a solution or a trace, got {type(solution).__name__}.")
    across, up = rows[x], rows[y]
    known = np.isfinite(across) & np.isfinite(up)
    if not known.any():
        missing = y if not np.isfinite(up).any() else x
        remedy = {
            "psnr_db": "; give the problem its truth",
            "duality_gap": "; make the solver with gap=True",
        }.get(missing, "")
        of = f" of {name}" if name else ""
        raise InputError(f"the trace{of} has no values of {missing}{remedy}.")
    return across[known], up[known]


def montage(filters: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Return filters beside each other, with a line of NaN between them.

    Parameters
    ----------
    filters
        (M,h,w), or (M,h,w,3). Each is divided by its largest magnitude, so that it fills [−1,1].
    columns
        In a row; None: as many as make a wide rectangle.

    Returns
    -------
    numpy.ndarray
        (rows·(h+1) + 1, columns·(w+1) + 1[, 3]), float64.
    """
    count, high, wide = filters.shape[:3]
    if columns is None:
        least, most = (max(1, math.ceil(math.sqrt(r * count * high / wide))) for r in (1.0, 2.5))
        columns = min(range(least, most + 1), key=lambda n: (-(-count // n) * n - count, n))
    rows = -(-count // columns)
    largest = np.abs(filters).reshape(count, -1).max(1).reshape(-1, *[1] * (filters.ndim - 1))
    scaled = filters / np.where(largest > 0, largest, 1)
    sheet = np.full((rows * (high + 1) + 1, columns * (wide + 1) + 1, *filters.shape[3:]), np.nan)
    for number, one in enumerate(scaled):
        row, column = divmod(number, columns)
        top, left = row * (high + 1) + 1, column * (wide + 1) + 1
        sheet[top : top + high, left : left + wide] = one
    return sheet


def _finite(name: str, array: Any) -> np.ndarray:
    """An array as float64. Raises InputError for what is none, NaN and infinity."""
    values = to_numpy(plain(name, array)).astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{name} must be finite, but it holds NaN or infinity.")
    return values


def dictionary(filters: Any, *, columns: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw the atoms of a dictionary side by side: grey is 0, and each atom fills the range.

    Parameters
    ----------
    filters
        (M,h,w), or (M,C,h,w) with C = 1 or 3 (then in colour), numpy or torch.
    columns
        Atoms in a row; None: chosen from their number.
    ax
        The axes to draw into; None: those of a new figure.

    Raises
    ------
    InputError
        For another shape, NaN or infinity.
    """
    atoms = _finite("a dictionary", filters)
    shape = atoms.shape
    if not (len(shape) == 3 or (len(shape) == 4 and shape[1] in (1, 3))) or 0 in shape:
        raise InputError(
            f"a dictionary must have shape (M, h, w) or (M, C, h, w) with C = 1 or 3, got {shape}."
        )
    if len(shape) == 4:
        atoms = atoms[:, 0] if shape[1] == 1 else np.moveaxis(atoms, 1, -1)
    sheet = montage(atoms, columns)
    if ax is None:
        width = 6.4
        height = min(max(1.0, width * sheet.shape[0] / sheet.shape[1]) + 0.4, 9.0)
        ax = _shown(1, 1, (width, height), False)[1][0, 0]
    show_montage(ax, sheet)
    high, wide = shape[-2:]
    ax.set_title(f"{shape[0]} atoms of {high}×{wide}", fontsize=10)
    return ax


def show_montage(axes: Axes, sheet: np.ndarray) -> None:
    """Draw a `montage` into axes without ticks; the lines between the atoms are blue."""
    import matplotlib

    if sheet.ndim == 3:
        gap = np.isnan(sheet)
        lines = np.array(matplotlib.colors.to_rgb("#4477aa"))
        axes.imshow(np.where(gap, lines, (sheet + 1) / 2), interpolation="nearest")
    else:
        colours = matplotlib.colormaps["gray"].with_extremes(bad="#4477aa")
        axes.imshow(sheet, cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def codes(
    codes: Any, *, most: int = 8, filters: Any = None, columns: int = 4
) -> Figure:  # the argument is named as the field names it
    """Draw the code maps with the largest ℓ1 norm, and the sum of the magnitudes of all maps.

    Parameters
    ----------
    codes
        (M,H,W), numpy or torch; of a batch, one member of it.
    most
        The number of maps.
    filters
        The dictionary (M,h,w) or (M,C,h,w), of which each map's atom is drawn into its corner.
    columns
        Panels in a row.

    Raises
    ------
    InputError
        For another shape, NaN or infinity, and for a dictionary of another number of atoms.
    """
    maps = _finite("codes", codes)
    if maps.ndim != 3 or 0 in maps.shape:
        raise InputError(
            f"codes must have shape (M, H, W), got {maps.shape}; of a batch, take one: codes[0]."
        )
    atoms = None if filters is None else _finite("a dictionary", filters)
    if atoms is not None and len(atoms) != len(maps):
        raise InputError(f"the codes have {len(maps)} maps, but the dictionary {len(atoms)} atoms.")
    sizes = np.abs(maps).sum((1, 2))
    strongest = np.argsort(-sizes, kind="stable")[: max(most, 1)]
    count = 1 + len(strongest)
    columns = min(columns, count)
    rows = -(-count // columns)
    each = 2.2
    shape = (each * columns, (each * maps.shape[1] / maps.shape[2] + 0.35) * rows)
    figure, made = _shown(rows, columns, shape, False)
    for axes in made.flat:
        axes.set_axis_off()
    share = np.count_nonzero(maps) / maps.size
    _map(made.flat[0], np.abs(maps).sum(0), f"all {len(maps)} maps, {share:.1%} nonzero")
    for axes, number in zip(made.flat[1:], strongest, strict=False):
        share = np.count_nonzero(maps[number]) / maps[number].size
        _map(axes, np.abs(maps[number]), f"atom {number}, {share:.1%} nonzero")
        if atoms is not None:
            atom = atoms[number] if atoms.ndim == 3 else np.moveaxis(atoms[number], 0, -1)
            corner = axes.inset_axes((0.0, 0.0, 0.26, 0.26), anchor="SW")
            show_montage(corner, montage(atom.squeeze()[None], 1))
    return figure


def _map(axes: Axes, size: np.ndarray, title: str) -> None:
    """Draw a map of magnitudes: white is 0, and its largest value is black."""
    axes.imshow(size, cmap="gray_r", vmin=0, vmax=size.max() or 1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])


def compare_images(
    images: Mapping[str, Any],
    truth: Any = None,
    *,
    scale: int = 0,
    box: Sequence[int] | None = None,
) -> Figure:
    """Draw images side by side, each with its PSNR, and the truth last.

    Parameters
    ----------
    images
        Label to image, (H,W) or (H,W,3), uint8 or floating point in [0,1], numpy or torch.
    truth
        The true image, of the same size.
    scale
        The factor of the enlargement: so many pixels are left out at each side, as the tables do.
        PSNR is that of luma, after rounding to 8 bits (docs/protocol.md).
    box
        (top, left, height, width) of a part. It is drawn below each image, enlarged.

    Raises
    ------
    InputError
        Without an image, for images of different sizes, and for a box outside of them.
    """
    from cscsr.imaging import luma_psnr, to_uint8

    shown = {name: to_uint8(to_numpy(image)) for name, image in images.items()}
    truth = None if truth is None else to_uint8(to_numpy(truth))
    if not shown:
        raise InputError("there is no image to draw.")
    everything = [*shown.items(), *([] if truth is None else [("truth", truth)])]
    height, width = everything[-1][1].shape[:2]
    for name, image in everything:
        if image.ndim not in (2, 3) or image.shape[:2] != (height, width):
            raise InputError(
                f"the images must have one size, but {name} has shape {image.shape} and "
                f"{everything[-1][0]} {everything[-1][1].shape}."
            )
    if box is not None:
        top, left, high, wide = box
        if min(top, left) < 0 or min(high, wide) < 1 or top + high > height or left + wide > width:
            raise InputError(f"the box {tuple(box)} does not lie in {height}x{width} pixels.")
    rows = 1 if box is None else 2
    across = 2.4
    tall = across * height / width + 0.45
    below = 0.0 if box is None else across * box[2] / box[3]
    heights = [tall, below][:rows]
    figure, made = _shown(rows, len(everything), (across * len(everything), sum(heights)), False)
    made[0, 0].get_gridspec().set_height_ratios(heights)
    for column, (name, image) in enumerate(everything):
        title = name
        if truth is not None:
            measured = name != "truth" or image is not truth
            title += f"\n{luma_psnr(image / 255, truth / 255, scale):.2f} dB" if measured else "\n"
        show_image(made[0, column], image, title)
        if box is not None:
            from matplotlib.patches import Rectangle

            made[0, column].add_patch(
                Rectangle((left - 0.5, top - 0.5), wide, high, fill=False, color="#ffd400")
            )
            show_image(made[1, column], image[top : top + high, left : left + wide])
    return figure


def show_image(axes: Axes, image: np.ndarray, title: str = "") -> None:
    """Draw an image, uint8 or in [0,1], pixel by pixel into axes without ticks."""
    largest = 255 if image.dtype == np.uint8 else 1
    axes.imshow(image, cmap="gray", vmin=0, vmax=largest, interpolation="nearest")
    if title:
        axes.set_title(title, fontsize=9)
    axes.set_axis_off()
