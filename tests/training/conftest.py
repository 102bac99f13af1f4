"""What the tests of training share: a small recipe and a folder of embedded images."""

from __future__ import annotations

import pytest

from cscsr.data.datasets import demo, training_textures
from cscsr.imaging import write_image
from cscsr.training.recipe import Optimiser, Recipe


@pytest.fixture
def small_recipe():
    """A function that makes a recipe of a tiny network; its keywords are the optimiser's."""

    def make(architecture: str = "crnet-a", **optimiser) -> Recipe:
        settings = {"batch": 6, "patch": 16, "learning_rate": 2e-3, "warmup": 0.1, "ema": 0.9}
        return Recipe(
            name="tiny",
            architecture=architecture,
            sets=["T91"],
            scales=[2, 3],
            optimiser=Optimiser(**{**settings, **optimiser}),
            network={"n0": 8, "m0": 8, "recursions": 2},
        )

    return make


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder laid out as the research images are, of embedded images."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "T91").mkdir()
    for name, image in list(training_textures().items())[:3]:
        write_image(folder / "T91" / f"{name}.png", image[:96, :96])
    for name, image in list(demo())[:2]:
        write_image(folder / "T91" / f"{name}.png", image[96:160, 96:160])
    (folder / "holdout.txt").write_text("T91/astronaut.png\n")
    (folder / "leaks.txt").write_text("T91/camera.png\tis a test image\n")
    return folder
