"""Why two programs measure different PSNR on the same two files, choice by choice.

The literature's protocol is one of many: they differ in luma or RGB, the luma's weights, the
border cut off, rounding, and the bicubic that made the low-resolution image. `explain` changes one
choice at a time, `combinations` channels and border together. Needs numpy, pillow, scikit-image
(for its SSIM) and torch (for its bicubic).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cscsr.errors import InputError
from cscsr.imaging.colour import luma_of, rgb_to_y, to_uint8
from cscsr.imaging.metrics import SSIM_WINDOW, crop_border, crop_to_multiple, psnr, ssim
from cscsr.imaging.resize import imresize

FULL_RANGE = np.array([0.299, 0.587, 0.114])
"""Weights of R, G and B in the full-range luma of JPEG, Pillow and OpenCV, 0 to 255."""

REC709 = np.array([0.2125, 0.7154, 0.0721])
"""Weights of R, G and B in the luma of scikit-image's rgb2gray."""

ALIKE_DB = 0.02
"""PSNR that differ by less are taken to be measured alike: programs print two digits and round
luma in different places."""


class Line(NamedTuple):
    """One way to measure.

    Attributes
    ----------
    choice
        The difference from the protocol.
    psnr_db
        PSNR in dB.
    ssim
        SSIM; NaN for RGB.
    """

    choice: str
    psnr_db: float
    ssim: float = math.nan


def explain(estimate: np.ndarray, truth: np.ndarray, scale: int) -> tuple[list[Line], list[Line]]:
    """Score an estimate, changing one choice of the protocol at a time.

    Parameters
    ----------
    estimate
        Floating point in [0,1], of the shape of the cropped truth, or its luma.
    truth
        uint8 (H,W) or (H,W,3).
    scale
        The factor, at least 1.

    Returns
    -------
    tuple of two lists of Line
        The scores of the estimate if one choice differs, and the scores of bicubic interpolation
        on this truth if another program shrinks or enlarges it. The first line of each list is the
        protocol's.

    Raises
    ------
    InputError
        If the shapes disagree or the image is too small to score.
    """
    truth = crop_to_multiple(truth, scale)
    if estimate.shape not in (truth.shape, truth.shape[:2]):
        raise InputError(
            f"the images must have the same shape, got {estimate.shape} and {truth.shape}."
        )
    return _measures(estimate, truth, scale), _resizes(truth, scale)


def _measures(estimate: np.ndarray, truth: np.ndarray, scale: int) -> list[Line]:
    """The estimate's scores, the protocol's first."""
    ours, theirs = to_uint8(estimate), truth
    y, truth_y = luma_of(ours), luma_of(theirs)
    cut, true_cut = crop_border(y, scale), crop_border(truth_y, scale)
    lines = [_line(f"the protocol: luma, {scale} pixels cut off each side", cut, true_cut)]
    if ours.ndim == 3:
        a, b = crop_border(ours, scale), crop_border(theirs, scale)
        lines.append(_line("RGB: the mean squared error of all three channels", a, b))
        lines.append(_line("RGB, no pixels cut off (scikit-image's default)", ours, theirs))
        grey = [np.floor(image @ FULL_RANGE + 0.5) for image in (a, b)]
        lines.append(_line("luma from 0 to 255 (JPEG, Pillow, OpenCV), not 16 to 235", *grey))
        floats = [rgb_to_y(image / 255.0) * 255 for image in (a, b)]
        lines.append(_line("luma that is not rounded to whole numbers", *floats))
    lines.append(_line("no pixels cut off", y, truth_y))
    if min(y.shape) > 2 * (scale + 6) + SSIM_WINDOW:
        wider = crop_border(y, scale + 6), crop_border(truth_y, scale + 6)
        lines.append(_line(f"{scale + 6} pixels cut off each side (EDSR on DIV2K)", *wider))
    if np.abs(estimate * 255.0 - ours).max() > 1e-3:  # a file of 16 bits
        exact = luma_of(estimate.astype(np.float64)) * 255
        lines.append(_line("the result not rounded to 8 bits", crop_border(exact, scale), true_cut))
    lines.append(
        Line("SSIM in 7x7 squares (scikit-image)", lines[0].psnr_db, _box_ssim(cut, true_cut))
    )
    return lines


def combinations(estimate: np.ndarray, truth: np.ndarray, scale: int) -> list[Line]:
    """Return the PSNR for each choice of luma or RGB with each border; without SSIM.

    Parameters
    ----------
    estimate, truth, scale
        As in `explain`; the estimate is rounded to 8 bits.
    """
    truth = crop_to_multiple(truth, scale)
    ours = to_uint8(estimate)
    channels: dict[str, tuple[np.ndarray, ...]] = {
        "luma, as the protocol's": (luma_of(ours), luma_of(truth))
    }
    if ours.ndim == 3:
        pair = (ours, truth)
        channels |= {
            "luma that is not rounded": tuple(rgb_to_y(i / 255.0) * 255 for i in pair),
            "luma from 0 to 255 (JPEG, Pillow, OpenCV)": tuple(
                np.floor(i @ FULL_RANGE + 0.5) for i in pair
            ),
            "luma of Rec. 709 (scikit-image's rgb2gray)": tuple(i @ REC709 for i in pair),
            "RGB": pair,
        }
    return [
        Line(
            f"{name}, {border or 'no'} pixels cut off",
            psnr(*(crop_border(i, border) for i in pair)),
        )
        for name, pair in channels.items()
        for border in (0, scale, scale + 6)
        if min(truth.shape[:2]) > 2 * border
    ]


def as_measured(lines: list[Line], psnr_db: float) -> str:
    """Return which of `combinations` give a PSNR that another program prints, as text."""
    by_distance = sorted(lines, key=lambda line: abs(line.psnr_db - psnr_db))
    near = [line for line in by_distance if abs(line.psnr_db - psnr_db) < ALIKE_DB]
    shown = "\n".join(f"{line.psnr_db:8.2f}  {line.choice}" for line in near or by_distance[:1])
    if near:
        return f"{psnr_db:.2f} dB is measured by:\n{shown}"
    return (
        f"No choice of channels and border measures {psnr_db:.2f} dB; the nearest:\n{shown}\n"
        "The other program may cut off another border, or score another file, or a shifted or "
        "rescaled image."
    )


def _line(choice: str, a: np.ndarray, b: np.ndarray) -> Line:
    """The scores of one image against another."""
    return Line(choice, psnr(a, b), ssim(a, b) if a.ndim == 2 else math.nan)


def _box_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM in 7×7 squares."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(a, b, data_range=255))


Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def _matlab(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize like MATLAB's imresize."""
    return imresize(image, shape=shape)


def _pillow(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize like Pillow's BICUBIC."""
    from PIL import Image

    resized = Image.fromarray(image.astype(np.float32)).resize(
        shape[::-1], Image.Resampling.BICUBIC
    )
    return np.asarray(resized, np.float64)


def _opencv(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize like cv2.resize(INTER_CUBIC) and torch's interpolate: a = -0.75, a support of four
    pixels even when shrinking."""
    import torch

    batch = torch.from_numpy(image.astype(np.float64))[None, None]
    resized = torch.nn.functional.interpolate(
        batch, shape, mode="bicubic", align_corners=False, antialias=False
    )
    return resized[0, 0].numpy()


def _area(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mean of each square."""
    height, width = shape
    return image.reshape(height, image.shape[0] // height, width, -1).mean(axis=(1, 3))


def _resizes(truth: np.ndarray, scale: int) -> list[Line]:
    """The scores of bicubic interpolation by several programs, the protocol's first."""
    y = luma_of(truth).astype(np.float64)
    small = tuple(n // scale for n in y.shape)
    true_cut = crop_border(luma_of(truth), scale)

    def score(choice: str, shrink: Resize, enlarge: Resize, rounded: bool = False) -> Line:
        lr = shrink(y, small)
        if rounded:
            lr = np.floor(lr + 0.5).clip(0, 255)
        hr = np.floor(enlarge(lr, y.shape) + 0.5).clip(0, 255)
        return _line(choice, crop_border(hr, scale), true_cut)

    return [
        score("MATLAB's imresize both ways: the protocol", _matlab, _matlab),
        score("the small image rounded to 8 bits", _matlab, _matlab, rounded=True),
        score("shrunk by Pillow's BICUBIC", _pillow, _matlab),
        score("shrunk by OpenCV's INTER_CUBIC (no anti-aliasing)", _opencv, _matlab),
        score("shrunk by the mean of each square", _area, _matlab),
        score("enlarged by Pillow's BICUBIC", _matlab, _pillow),
        score("enlarged by OpenCV's INTER_CUBIC", _matlab, _opencv),
    ]


def as_text(lines: list[Line]) -> str:
    """Return a table of lines: PSNR, its difference from the first line, and SSIM."""
    width = max(len(line.choice) for line in lines)
    rows = [f"{'':{width}}  PSNR, dB   worth    SSIM"]
    for number, line in enumerate(lines):
        worth = round(line.psnr_db - lines[0].psnr_db, 2) + 0.0 if number else math.nan
        shown = f"{worth:+.2f}".replace("+0.00", "0.00") if math.isfinite(worth) else ""
        quality = "" if math.isnan(line.ssim) else f"{line.ssim:.4f}"
        rows.append(
            f"{line.choice:{width}}  {line.psnr_db:8.2f}  {shown:>6}  {quality:>6}".rstrip()
        )
    return "\n".join(rows)
