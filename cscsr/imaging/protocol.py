"""The protocols: from a true image to a solver's input, and from its output to scores.

The literature has two lines, which differ in what they degrade and round:

- "y" (VDSR, CSC-SR, CRNet-A): the integer luma is shrunk and kept in floating point; the
  enlarged luma is rounded once.
- "rgb" (EDSR, CRNet-B): the 8-bit RGB image is shrunk to 8 bits; the enlarged RGB image is
  rounded, then its luma is taken and rounded.

Both crop the truth to a multiple of the scale, and cut `scale` pixels off each side before scoring
luma against luma. A grey image is its own luma in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cscsr.arrays import check_unit_range, plain, to_numpy
from cscsr.errors import InputError, unknown_name
from cscsr.imaging.colour import luma_of, to_uint8
from cscsr.imaging.metrics import (
    DEFAULT_METRICS,
    METRICS,
    check_metrics,
    crop_border,
    crop_to_multiple,
    psnr,
)
from cscsr.imaging.resize import imresize
from cscsr.super_resolution import check_scale

PROTOCOLS = ("paper", "common")
"""What a solver gets as input: what its published method had ("paper"), or the same for all
("common")."""

LINES = ("y", "rgb")
"""What a solver enlarges: the luma ("y") or the RGB values ("rgb") of the image."""


def line_of(protocol: str, solver_line: str) -> str:
    """Return the line on which a solver is scored.

    Parameters
    ----------
    protocol
        "paper" gives every solver its own line, as the paper's Table 1 does; "common" gives all
        the same 8-bit RGB input.
    solver_line
        `Solver.line`.

    Returns
    -------
    str
        "y" or "rgb".

    Raises
    ------
    InputError
        For an unknown protocol or line.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    return _check_line(solver_line if protocol == "paper" else "rgb")


def degrade(truth: np.ndarray, scale: int, line: str) -> np.ndarray:
    """Return the low-resolution input made from a true image.

    Parameters
    ----------
    truth
        uint8 (H,W) or (H,W,3), cropped here to a multiple of `scale`.
    scale
        The factor, at least 1.
    line
        "y" or "rgb".

    Returns
    -------
    numpy.ndarray
        float32. "y" gives (H/scale, W/scale), which may slightly overshoot [0,1], as bicubic
        interpolation does; "rgb" gives (H/scale, W/scale[, 3]), 8-bit values divided by 255.

    Raises
    ------
    InputError
        For another array, scale or line, and for a truth smaller than the scale.
    """
    scale = check_scale(scale)
    truth = crop_to_multiple(_check_truth(truth), scale)
    if _check_line(line) == "y":
        small = imresize(luma_of(truth).astype(np.float64), 1 / scale)
    else:
        small = imresize(truth, 1 / scale)
    return (small / 255).astype(np.float32)


def score(
    estimate: Any,
    truth: np.ndarray,
    scale: int,
    line: str,
    metrics: Iterable[str] = DEFAULT_METRICS,
) -> dict[str, float]:
    """Measure an estimate against the truth.

    Parameters
    ----------
    estimate
        Floating point on the [0,1] scale, numpy or torch, of the shape of the cropped truth; on
        line "y" it is luma (H,W), on line "rgb" it has the truth's channels. Values are clipped,
        so single ones may lie far outside, as in a bad estimate; the mean must lie in
        `cscsr.arrays.UNIT_RANGE`.
    truth
        uint8 (H,W) or (H,W,3).
    scale
        The factor, at least 1; as many pixels are cut off each side.
    line
        "y" or "rgb".
    metrics
        Names of `cscsr.imaging.METRICS`.

    Returns
    -------
    dict
        Name of each metric to its value.

    Raises
    ------
    InputError
        For an unknown metric or line, if shapes disagree, for NaN, a mean far outside [0,1] and
        masked arrays in which anything is masked, and for an image too small to score.
    """
    scale = check_scale(scale)
    truth = crop_to_multiple(_check_truth(truth), scale)
    if _check_line(line) == "y":
        truth = luma_of(truth)
    estimate = to_numpy(plain("an estimate", estimate))
    if estimate.shape != truth.shape:
        raise InputError(
            f"on line {line} an estimate must have the shape of the truth, {truth.shape}, "
            f"got {estimate.shape}."
        )
    rows = [METRICS[name] for name in check_metrics(metrics)]
    if np.issubdtype(estimate.dtype, np.floating):
        check_unit_range("the mean of an estimate", estimate.mean(dtype=np.float64, keepdims=True))
    estimate = crop_border(luma_of(to_uint8(estimate)), scale)
    truth = crop_border(luma_of(truth), scale)
    return {metric.name: metric.function(estimate, truth) for metric in rows}


def luma_psnr(estimate: np.ndarray, truth: np.ndarray, scale: int) -> float:
    """Return the PSNR of two lumas, as `score` measures it.

    Parameters
    ----------
    estimate, truth
        Floating point in [0,1], each luma (H,W) or RGB (H,W,3).
    scale
        As many pixels are cut off each side.

    Returns
    -------
    float
        The PSNR in dB; NaN where the cut leaves nothing of the image.
    """
    if min(truth.shape[:2]) <= 2 * scale:
        return math.nan
    ours, theirs = (crop_border(luma_of(to_uint8(image)), scale) for image in (estimate, truth))
    return psnr(ours, theirs)


def _check_line(line: str) -> str:
    """`line` itself. Raises InputError unless it is one of `LINES`."""
    if line not in LINES:
        raise InputError(f"the line must be y or rgb, got {line!r}.")
    return line


def _check_truth(truth: np.ndarray) -> np.ndarray:
    """`truth` itself. Raises InputError unless it is an 8-bit image."""
    shape: tuple[int, ...] = getattr(truth, "shape", ())
    if getattr(truth, "dtype", None) != np.uint8 or not (
        len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    ):
        raise InputError(
            "a true image must be uint8 of shape (H, W) or (H, W, 3), "
            f"got {getattr(truth, 'dtype', type(truth).__name__)} of shape {tuple(shape)}."
        )
    return truth
