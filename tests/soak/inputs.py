"""Small sound inputs for all trials: images, a data folder, a recipe of a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cscsr.data.datasets import demo, training_textures
from cscsr.imaging import write_image

RECIPE = (
    'architecture = "crnet-a"\nsets = ["T91"]\nscales = [2, 3]\n'
    "[network]\nn0 = 4\nm0 = 4\nrecursions = 1\n"
    "[optimiser]\nbatch = 4\npatch = 8\nlearning_rate = 1e-3\nwarmup = 0.1\nema = 0.9\n"
)


def write_inputs(folder: Path) -> Path:
    """Write the inputs into a folder: the data sets `mine` and T91 with its two lists, `album`
    with sixteen images, and tiny.toml; returns the folder."""
    for name in ("mine", "T91", "album"):
        (folder / name).mkdir()
    for number, (name, image) in enumerate(demo()):
        write_image(folder / "mine" / f"{name}.png", image[: 40 + number, :48])
        side = 100 if name == "astronaut" else 32  # LISTA's held-out image needs 96 pixels
        write_image(folder / "T91" / f"{name}.png", image[96 : 96 + side, 96 : 96 + side])
    for name, image in list(training_textures().items())[:3]:
        write_image(folder / "T91" / f"{name}.png", image[:100, :100])
    (folder / "holdout.txt").write_text("T91/astronaut.png\n")
    (folder / "leaks.txt").write_text("T91/camera.png\tis a test image\n")
    (folder / "tiny.toml").write_text(RECIPE)
    noise = np.random.default_rng(0)
    for number in range(16):
        pixels = noise.integers(0, 256, (60 + number, 66, 3)).astype(np.uint8)
        write_image(folder / "album" / f"{number}.png", pixels)
    return folder
