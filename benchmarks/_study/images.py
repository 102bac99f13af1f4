"""The images that studies train and test on, and bicubic interpolation as where they start from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cscsr import InputError, SuperResolution, make_solver
from cscsr.compare.plan import Image
from cscsr.data.datasets import data_folder, find_datasets, load_dataset
from cscsr.imaging import crop_to_multiple, degrade, luma_of, luma_psnr


def tested_images(
    folder: str | Path | None = None, read: Mapping[str, Sequence[Image]] | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """Set5 where it is found in `folder` (default: what CSCSR_DATA names), else `demo`: the data
    set's name and its images. read: the data sets that a comparison has read already."""
    path = data_folder(folder)
    name = "Set5" if path is not None and "Set5" in find_datasets(path) else "demo"
    if read and name in read:
        return name, {image.source.name: image.read() for image in read[name]}
    return name, dict(load_dataset(name, path))


def pixels_sha256(images: Iterable[tuple[object, np.ndarray]]) -> str:
    """SHA-256 of all images' names, shapes and pixels: a data set's name says nothing of them."""
    digest = hashlib.sha256()
    for name, truth in images:
        digest.update(f"{name} {truth.shape} ".encode())
        digest.update(np.ascontiguousarray(truth).data)
    return digest.hexdigest()


def central(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most `side` pixels high and wide; all of it for 0."""
    if side < 1:
        return image
    top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def check_scorable(images: Sequence[np.ndarray], scale: int) -> None:
    """Raise InputError, before anything is solved, where the protocol's border leaves nothing of an
    image."""
    side, needed = min(min(image.shape[:2]) for image in images), 3 * scale
    if side < needed:
        raise InputError(
            f"to be scored at x{scale} an image needs sides of at least {needed} pixels, "
            f"but one has {side}."
        )


def problem_of(truth: np.ndarray, scale: int, line: str) -> SuperResolution:
    """An image (uint8), shrunk as a solver of the line "y" or "rgb" is to see it, with the truth it
    is scored against."""
    truth = crop_to_multiple(truth, scale)
    target = luma_of(truth) if line == "y" else truth
    return SuperResolution(degrade(truth, scale, line), scale, (target / 255).astype(np.float32))


def bicubic_psnr(truths: Sequence[np.ndarray], scale: int) -> float:
    """Mean PSNR in dB of bicubic interpolation, line y."""
    solver = make_solver("bicubic")
    values = []
    for truth in truths:
        problem = problem_of(truth, scale, "y")
        values.append(luma_psnr(solver.solve(problem).estimate, problem.truth, scale))
    return float(np.mean(values))
