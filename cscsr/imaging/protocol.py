"""How a true image becomes a solver's input, and how its output becomes two figures.

The literature has two lines, which differ in what is degraded and what is rounded:

- "y" (VDSR, CSC-SR, CRNet-A): the integer luma is shrunk and kept in floating point; the
  enlarged luma is rounded once.
- "rgb" (EDSR, CRNet-B): the 8-bit RGB image is shrunk to 8 bits; the enlarged RGB image is
  rounded, then its luma is taken and rounded.

Both crop the truth to a multiple of the scale, and `scale` pixels off each side before
scoring luma against luma. A grey image is its own luma in both.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cscsr.errors import InputError, unknown_name
from cscsr.imaging.colour import luma_of, to_uint8
from cscsr.imaging.metrics import crop_border, crop_to_multiple, psnr, ssim
from cscsr.imaging.resize import imresize
from cscsr.problem import check_scale

PROTOCOLS = ("paper", "common")
LINES = ("y", "rgb")


class Score(NamedTuple):
    """PSNR in dB and SSIM of one image's luma."""

    psnr_db: float
    ssim: float


def line_of(protocol: str, solver_line: str) -> str:
    """The line, "y" or "rgb", on which a solver is scored.

    "paper" gives every solver its own line (`Solver.line`), as the paper's Table 1 does;
    "common" gives all the same 8-bit RGB input. Raises InputError for another name.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    return _check_line(solver_line if protocol == "paper" else "rgb")


def degrade(truth: np.ndarray, scale: int, protocol: str) -> np.ndarray:
    """The low-resolution input, float32, that line `protocol` ("y" or "rgb") makes of `truth`.

    truth: uint8 (H,W) or (H,W,3), cropped here to a multiple of `scale`.
    "y" gives (H/scale, W/scale), which may overshoot [0,1] a little, as bicubic does;
    "rgb" gives (H/scale, W/scale[, 3]) whose values are 8-bit ones over 255.

    Raises InputError for another array, scale or line, and for a truth smaller than the
    scale.
    """
    scale = check_scale(scale)
    truth = crop_to_multiple(_check_truth(truth), scale)
    if _check_line(protocol) == "y":
        small = imresize(luma_of(truth).astype(np.float64), 1 / scale)
    else:
        small = imresize(truth, 1 / scale)
    return (small / 255).astype(np.float32)


def score(estimate: np.ndarray, truth: np.ndarray, scale: int, protocol: str) -> Score:
    """PSNR and SSIM of `estimate` against `truth` on line `protocol` ("y" or "rgb").

    estimate: floating point in [0,1], of the shape of the cropped truth; on line "y" it is
    luma (H,W), on line "rgb" it has the truth's channels. truth: uint8 (H,W) or (H,W,3).

    Raises InputError if shapes disagree, for NaN, and for an image too small to score.
    """
    scale = check_scale(scale)
    truth = crop_to_multiple(_check_truth(truth), scale)
    if _check_line(protocol) == "y":
        truth = luma_of(truth)
    estimate = np.asarray(estimate)
    if estimate.shape != truth.shape:
        raise InputError(
            f"on line {protocol} an estimate must have the shape of the truth, {truth.shape}, "
            f"got {estimate.shape}."
        )
    estimate = crop_border(luma_of(to_uint8(estimate)), scale)
    truth = crop_border(luma_of(truth), scale)
    return Score(psnr(estimate, truth), ssim(estimate, truth))


def luma_psnr(estimate: np.ndarray, truth: np.ndarray, scale: int) -> float:
    """PSNR in dB as `score` measures it, of two floating-point images in [0,1], each luma
    (H,W) or RGB (H,W,3); NaN where cutting off `scale` pixels a side leaves nothing."""
    if min(truth.shape[:2]) <= 2 * scale:
        return math.nan
    ours, theirs = (crop_border(luma_of(to_uint8(image)), scale) for image in (estimate, truth))
    return psnr(ours, theirs)


def _check_line(line: str) -> str:
    if line not in LINES:
        raise InputError(f"a line of the tables is y or rgb, got {line!r}.")
    return line


def _check_truth(truth: np.ndarray) -> np.ndarray:
    shape: tuple[int, ...] = tuple(getattr(truth, "shape", ()))
    if getattr(truth, "dtype", None) != np.uint8 or not (
        len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    ):
        raise InputError(
            "a true image must be uint8 of shape (H, W) or (H, W, 3), "
            f"got {getattr(truth, 'dtype', type(truth).__name__)} of shape {shape}."
        )
    return truth
