"""Fill in missing pixels and remove impulse noise by convolutional sparse coding.

    python examples/inpainting.py --out folder     # the table and the picture
    python examples/inpainting.py --choose         # what the penalties were chosen from

The image is a crop of scikit-image's camera; sporco learns the atoms on other parts of it. The
smooth part of the image has an atom of its own, a cubic B-spline whose codes are exempt from the
penalty on a grid of every fourth pixel. For inpainting a mask marks the observed pixels; for
impulse noise, an impulse atom with a penalty of its own takes up the wrong pixels. A margin that
the mask excludes keeps opposite sides of the image apart. The penalties were chosen on another
crop. PSNR is in dB, for inpainting that of the missing pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import griddata
from scipy.ndimage import median_filter

import cscsr
from cscsr.data.problems import CORNER, camera, camera_problem
from cscsr.imaging import write_image

SIZE = 128
MARGIN = 16
SPACING = 4
CHOICE_CORNER = (64, 64)
FORBIDDEN = 1e3
"""A penalty that no code of the image is worth."""

INPAINTING_LAM = 0.01
NOISE_LAMS = (0.02, 0.02)
"""Penalties of the learned atoms and of the impulse."""

LAMS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
IMPULSE_LAMS = (0.02, 0.05, 0.1, 0.2)


def dictionary() -> np.ndarray:
    """Return atoms of different sizes in one array: a B-spline, an impulse, 16 learned ones."""
    box = np.ones(SPACING) / SPACING
    spline = np.convolve(np.convolve(box, box), np.convolve(box, box))
    smooth = np.outer(spline, spline)
    learned = camera_problem(SIZE, atoms=16, filter_size=7).dictionary
    return cscsr.stack_filters([smooth / np.linalg.norm(smooth), np.ones((1, 1)), *learned])


def penalties(lam: float, impulse: float) -> np.ndarray:
    """Return λ by code, (18,H,W), which exempts the B-spline on its grid and forbids it between."""
    penalty = np.full((18, SIZE + MARGIN, SIZE + MARGIN), lam)
    penalty[0] = FORBIDDEN
    penalty[0, ::SPACING, ::SPACING] = 0.0
    penalty[1] = impulse
    return penalty


def crop(corner: tuple[int, int]) -> np.ndarray:
    top, left = corner
    return camera()[top : top + SIZE, left : left + SIZE].copy()


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    error = image - truth if where is None else (image - truth)[where]
    return float(-10 * np.log10(np.mean(error**2)))


def explained(image: np.ndarray, mask: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Return what all atoms but the impulse make of an image where `mask` is true."""
    margins = (0, MARGIN), (0, MARGIN)
    signal, observed = np.pad(image, margins), np.pad(mask, margins)
    problem = cscsr.SparseCoding(signal, dictionary(), penalty, mask=observed)
    solution = cscsr.FISTA(iterations=600, tol=1e-4, record_every=0).solve(problem)
    print(problem, solution, sep="\n")
    codes = solution.codes.copy()
    codes[1] = 0
    return problem.synthesis(codes)[:SIZE, :SIZE]


def inpainted(truth: np.ndarray, mask: np.ndarray, lam: float) -> np.ndarray:
    return np.where(mask, truth, explained(truth * mask, mask, penalties(lam, FORBIDDEN)))


def cleaned(noisy: np.ndarray, lam: float, impulse: float) -> np.ndarray:
    return explained(noisy, np.ones(noisy.shape, bool), penalties(lam, impulse))


def damaged(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask of half the pixels, and the image with a tenth of its pixels random."""
    rng = np.random.default_rng(0)
    mask = rng.random(truth.shape) < 0.5
    return mask, np.where(rng.random(truth.shape) < 0.1, rng.random(truth.shape), truth)


def choose() -> None:
    truth = crop(CHOICE_CORNER)
    mask, noisy = damaged(truth)
    rows = []
    for lam in LAMS:
        rows.append(f"| mask, {lam} | {psnr(inpainted(truth, mask, lam), truth, ~mask):.2f} |")
        for impulse in IMPULSE_LAMS:
            value = psnr(cleaned(noisy, lam, impulse), truth)
            rows.append(f"| impulses, {lam}, {impulse} | {value:.2f} |")
    print("| penalties | PSNR |\n|---|---|", *rows, sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the picture")
    parser.add_argument("--choose", action="store_true", help="try penalties on another crop")
    arguments = parser.parse_args()
    if arguments.choose:
        choose()
        return
    truth = crop(CORNER)
    mask, noisy = damaged(truth)
    places = np.indices(truth.shape).transpose(1, 2, 0)
    linear, nearest = (
        griddata(places[mask], truth[mask], places, method) for method in ("linear", "nearest")
    )
    linear = np.where(np.isnan(linear), nearest, linear)
    filled = inpainted(truth, mask, INPAINTING_LAM)
    median = median_filter(noisy, 3, mode="wrap")
    clean = cleaned(noisy, *NOISE_LAMS)
    table = {
        "half of the pixels missing: linear interpolation": psnr(linear, truth, ~mask),
        "sparse coding with a mask": psnr(filled, truth, ~mask),
        "a tenth of the pixels random: as it is": psnr(noisy, truth),
        "median of 3x3": psnr(median, truth),
        "sparse coding with an impulse atom": psnr(clean, truth),
    }
    print("| | PSNR |\n|---|---|")
    for label, value in table.items():
        print(f"| {label} | {value:.2f} |")
    rows = [[truth * mask, linear, filled], [noisy, median, clean]]
    picture = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    arguments.out.mkdir(parents=True, exist_ok=True)
    doubled = np.kron(np.clip(picture, 0, 1), np.ones((2, 2)))
    write_image(arguments.out / "inpainting.png", doubled)


if __name__ == "__main__":
    main()
