"""What CSC-SR has learned, in pictures: its filters, and the parts it splits an image into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._study.command import Report, silent
from benchmarks.csc_sr.choices import SCALE
from cscsr import plot
from cscsr.output import make_folder


def pictures(out: str | Path, report: Report = silent) -> list[Path]:
    """Montages of the shipped LR and HR filters, and an image's smooth part and residual."""
    out = make_folder(out)
    drawings = {
        "filters.png": _draw_filters,
        "hr-filters.png": _draw_hr,
        "parts.png": _draw_parts,
    }
    for index, (name, draw) in enumerate(drawings.items()):
        report(name, index, len(drawings))
        draw(out / name)
    return [out / name for name in drawings]


def _shipped() -> Any:
    from cscsr.csc_sr.weight_file import read_weights, weights_name

    return read_weights(weights_name("admm"))


def _show(axes: Any, sheet: np.ndarray, title: str) -> None:
    plot.show_montage(axes, sheet)
    axes.set_title(title, fontsize=11)


def _draw_filters(picture: Path) -> None:

    trained = _shipped()
    order = np.argsort([_roughness(f) for f in trained.filters])
    figure, made = plot.panels(1, 1, (8, 6.2), grid=False)
    _show(
        made[0, 0],
        plot.montage(trained.filters[order], 24),
        f"The {len(order)} low-resolution filters, 5×5, smooth to rough",
    )
    plot.save(figure, picture)


def _roughness(filter_: np.ndarray) -> float:
    """Share of a filter's energy in its differences."""
    energy = sum(float((np.diff(filter_, axis=axis) ** 2).sum()) for axis in (0, 1))
    return energy / float((filter_**2).sum())


def _draw_hr(picture: Path) -> None:

    trained = _shipped()
    figure, made = plot.panels(1, len(trained.scales), (12, 4.6), grid=False)
    for axes, scale in zip(made[0], trained.scales, strict=True):
        filters = trained.mappings[scale].filters.numpy()
        strongest = np.argsort(-(filters**2).sum((1, 2)))[:144]
        side = filters.shape[-1]
        _show(axes, plot.montage(filters[strongest], 12), f"×{scale}: {side}×{side}")
    figure.suptitle(f"The 144 strongest of {len(filters)} high-resolution filters", fontsize=12)
    plot.save(figure, picture)


def _draw_parts(picture: Path) -> None:

    from cscsr.csc_sr.decompose import MARGIN, continued, split
    from cscsr.csc_sr.solver import CSCSR, divide
    from cscsr.data.datasets import demo
    from cscsr.imaging import degrade, rgb_to_y
    from cscsr.super_resolution import SuperResolution

    truth = rgb_to_y(dict(demo())["chelsea"])[40:200, 120:330]
    small = degrade(truth, SCALE, "y")
    parts = split(continued(small.astype(np.float64)))
    inside = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    estimate = CSCSR().solve(SuperResolution(small, SCALE)).estimate
    smooth, _ = divide(small, SCALE, "float32")
    sheets = [
        (small, "low-resolution luma", False),
        (parts.smooth[inside], "its smooth part", False),
        (parts.residual[inside], "its residual (grey is 0, ±0.1)", True),
        (estimate, f"CSC-SR, ×{SCALE}", False),
        (smooth, "smooth part, bicubic", False),
        (estimate - smooth, "what the codes add (grey is 0, ±0.1)", True),
    ]
    figure, made = plot.panels(2, 3, (11, 6), grid=False)
    for axes, (image, title, signed) in zip(made.flat, sheets, strict=True):
        low, high = (-0.1, 0.1) if signed else (0, 1)
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    plot.save(figure, picture)
