"""Training patches: images are degraded once, and patches cut and turned on the device.

All images of one scale are in one flat array, on the GPU if there is one. A batch is one gather,
whose index holds positions and orientations. Needs torch, numpy, pillow and tqdm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cscsr.data.datasets import training_images
from cscsr.errors import InputError
from cscsr.imaging import imresize, read_image
from cscsr.networks import architecture
from cscsr.training.recipe import Recipe


class PatchBank:
    """Pairs of images from which random patches are cut, in eight orientations.

    Parameters
    ----------
    pairs
        Inputs (C, h, w) and targets (C, r·h, r·w), uint8 or float32 in [0, 1], all with the same
        ratio r.
    device
        The device that holds the pixels.

    Attributes
    ----------
    ratio
        r.
    sizes
        Rows and columns of the inputs, (N, 2).

    Raises
    ------
    InputError
        If there is no pair.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[np.ndarray, np.ndarray]],
        device: str | torch.device = "cpu",
    ) -> None:
        pairs = list(pairs)
        if not pairs:
            raise InputError("training needs at least one image, got none.")
        self.ratio = pairs[0][1].shape[1] // pairs[0][0].shape[1]
        self.channels = pairs[0][0].shape[0]
        self.device = torch.device(device)
        self.sizes = torch.tensor([p[0].shape[1:] for p in pairs], device=self.device)
        self._rooms: dict[int, tuple[Tensor, Tensor]] = {}
        self._inputs, self._input_starts = self._flatten([p[0] for p in pairs])
        self._targets, self._target_starts = self._flatten([p[1] for p in pairs])

    def _flatten(self, images: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """All images in one flat array, and where each starts in it."""
        starts = np.cumsum([0] + [image.size for image in images[:-1]])
        flat = np.concatenate([image.reshape(-1) for image in images])
        return torch.from_numpy(flat).to(self.device), torch.from_numpy(starts).to(self.device)

    def sample(
        self,
        count: int,
        size: int,
        generator: torch.Generator,
        part: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Cut random pairs of patches; every position of every image is equally likely.

        Images smaller than the patch are left out.

        Parameters
        ----------
        count
            Number of pairs.
        size
            Side of the input patch in pixels.
        generator
            The source of the draws, on the bank's device.
        part
            The pairs to cut. All pairs are drawn, so that processes with the same generator can
            share a batch.

        Returns
        -------
        inputs, targets : Tensor
            (count, C, size, size) and (count, C, r·size, r·size), float32 in [0, 1].

        Raises
        ------
        InputError
            If no image is as large as the patch.
        """
        room, weights = self._room(size)
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        corner = (
            torch.rand(count, 2, generator=generator, device=self.device) * room[chosen]
        ).long()
        turn = torch.randint(0, 2, (count, 3), generator=generator, device=self.device).bool()
        return self.cut(chosen[part], corner[part], turn[part], size)

    def _room(self, size: int) -> tuple[Tensor, Tensor]:
        """Rows and columns (N,2) at which a patch can begin in each image, and their products.

        They are cached, because the check below waits for a GPU.
        """
        if size not in self._rooms:
            room = (self.sizes - size + 1).clamp(min=0)
            weights = room.prod(1).double()
            if not weights.any():
                raise InputError(
                    f"no training image is as large as a patch of {size}x{size} pixels."
                )
            self._rooms[size] = room, weights
        return self._rooms[size]

    def cut(self, chosen: Tensor, corner: Tensor, turn: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Cut pairs of patches.

        Parameters
        ----------
        chosen
            Indices of the images, (N,).
        corner
            Row and column of each patch in its input, (N, 2).
        turn
            Whether rows are reversed, columns are reversed, and both exchanged, (N, 3), bool.
        size
            Side of the input patch in pixels.

        Returns
        -------
        inputs, targets : Tensor
            As in `sample`.
        """
        source = self._gather(self._inputs, self._input_starts, chosen, corner, turn, size, 1)
        target = self._gather(
            self._targets, self._target_starts, chosen, corner, turn, size, self.ratio
        )
        return source, target

    def _gather(
        self,
        flat: Tensor,
        starts: Tensor,
        chosen: Tensor,
        corner: Tensor,
        turn: Tensor,
        size: int,
        ratio: int,
    ) -> Tensor:
        """Patches (N,C,side,side) of one flat array, by one index."""
        side = size * ratio
        steps = torch.arange(side, device=self.device).expand(len(chosen), side)
        rows = torch.where(turn[:, :1], side - 1 - steps, steps) + ratio * corner[:, :1]
        columns = torch.where(turn[:, 1:2], side - 1 - steps, steps) + ratio * corner[:, 1:]
        height, width = (ratio * self.sizes[chosen]).unbind(1)
        place = rows[:, :, None] * width[:, None, None] + columns[:, None, :]
        place = torch.where(turn[:, 2, None, None], place.transpose(1, 2), place)
        channels = torch.arange(self.channels, device=self.device)
        planes = channels * (height * width)[:, None] + starts[chosen][:, None]
        patch = flat[planes[:, :, None, None] + place[:, None]]
        return patch.float() / 255 if patch.dtype == torch.uint8 else patch


_ROTATIONS = ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1))
_REFLECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
ORIENTATIONS = _ROTATIONS + 2 * _REFLECTIONS
"""{unchanged, rows reversed, columns reversed} × {0°, 90°, 180°, 270°} of appendix A.4. Only eight
of the twelve differ: the reflections occur twice."""


def partition_counts(sizes: Tensor, patch: int, multiple: int = 64) -> tuple[Tensor, int]:
    """Return the number of patches of a `Partition`.

    Parameters
    ----------
    sizes
        Rows and columns of the images, (N, 2).
    patch
        Side of a patch and stride, in pixels.
    multiple
        The total is rounded down to a multiple of this, as in appendix A.4.

    Returns
    -------
    each : Tensor
        Patches of each image in one orientation, (N,).
    total : int
        Patches of all images in all orientations.
    """
    each = (sizes // patch).prod(1)
    total = len(ORIENTATIONS) * int(each.sum())
    return each, total - total % multiple


class Partition:
    """The training pairs of appendix A.4: every image in twelve orientations, each cut into
    non-overlapping patches, in a new order each epoch.

    A turned image is cut from its own upper left corner, as if it had been degraded after turning.
    Only the cropping of its sides to a multiple of the scale, by three pixels at most, is that of
    the upright image.

    Parameters
    ----------
    bank
        Pairs of ratio 1.
    patch
        Side of a patch and stride, in pixels.
    seed
        The seed of the order of the patches.

    Raises
    ------
    InputError
        If there are fewer than 64 patches.
    """

    def __init__(self, bank: PatchBank, patch: int, seed: int) -> None:
        self.bank, self.patch, self.seed = bank, patch, seed
        counts, self.total = partition_counts(bank.sizes, patch)
        if not self.total:
            raise InputError(f"the images hold fewer than 64 patches of {patch}x{patch} pixels.")
        self._ends = counts.cumsum(0)
        self._turns = torch.tensor(ORIENTATIONS, device=bank.device).bool()
        self._epoch, self._order = -1, torch.empty(0)

    def _pairs(self, step: int, batch: int) -> Tensor:
        """Numbers of the pairs of a step; a batch never reaches into the next epoch."""
        epoch, place = divmod(step, max(1, self.total // batch))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed + 7919 * epoch)
            self._order = torch.randperm(self.total, generator=generator).to(self.bank.device)
            self._epoch = epoch
        return self._order[place * batch : (place + 1) * batch]

    def batch(self, step: int, batch: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the inputs and targets (N, C, patch, patch) of a step, cut only for `part`."""
        number = self._pairs(step, batch)[part]
        turn = self._turns[number % len(ORIENTATIONS)]
        number = number // len(ORIENTATIONS)
        chosen = torch.searchsorted(self._ends, number, right=True)
        size = self.bank.sizes[chosen]
        columns = size[:, 1] // self.patch
        number = number - torch.where(chosen > 0, self._ends[chosen - 1], 0)
        corner = self.patch * torch.stack([number // columns, number % columns], 1)
        corner = torch.where(turn[:, :2], size - self.patch - corner, corner)
        return self.bank.cut(chosen, corner, turn, self.patch)


def load_banks(
    recipe: Recipe, data: str | os.PathLike[str], device: str = "cpu"
) -> dict[int, PatchBank]:
    """Return the patches that a recipe trains on, without the images of holdout.txt and leaks.txt.

    Parameters
    ----------
    recipe
        The recipe.
    data
        The folder of the data sets.
    device
        The device that holds the pixels.

    Returns
    -------
    dict
        A bank for each scale. A recipe that takes a partition has one bank for all scales, under
        the key 0.

    Raises
    ------
    InputError
        For a missing data set, and for a partition for a network whose patches differ in size
        between scales.
    """
    network = architecture(recipe.architecture)
    if recipe.sampling == "partition" and not network.joint_scales:
        raise InputError(
            "a partition mixes the scales, which "
            f"{recipe.architecture} (line {network.line}) cannot."
        )
    paths = training_images(Path(data), recipe.sets)
    pairs: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {scale: [] for scale in recipe.scales}
    with tqdm(paths, desc="reading and degrading images", unit="image") as remaining:
        for path in remaining:
            original = read_image(path)
            for size in recipe.sizes:
                image = original if size == 1 else imresize(original, scale=size)
                for scale in recipe.scales:
                    pairs[scale].append(network.training_pair(image, scale))
    if recipe.sampling == "partition":
        pairs = {0: [pair for scale in recipe.scales for pair in pairs[scale]]}
    return {scale: PatchBank(part, device) for scale, part in pairs.items()}
