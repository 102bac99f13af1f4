"""Training pairs: images degraded once, patches cut and turned in batches where they lie.

All images of one scale live in one flat array (on the GPU when there is one); a batch is
one gather, with position and orientation in the index. Needs torch, numpy and
`cscsr.imaging`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from cscsr.errors import InputError
from cscsr.imaging import crop_to_multiple, degrade, imresize, luma_of


def training_pair(image: np.ndarray, scale: int, line: str) -> tuple[np.ndarray, np.ndarray]:
    """Input and target of a network for one image, channels first.

    image: uint8 (H,W) or (H,W,3). line "y" (CRNet-A): the bicubic enlargement of the
    degraded luma, float32 (1,H,W), and the luma, uint8 (1,H,W). line "rgb" (CRNet-B): the
    8-bit low-resolution image (3,H/s,W/s) and the image (3,H,W), both uint8.
    """
    truth = crop_to_multiple(image, scale)
    if line == "y":
        luma = luma_of(truth)
        enlarged = imresize(degrade(truth, scale, "y").astype(np.float64), shape=luma.shape)
        return enlarged.astype(np.float32)[None], luma[None]
    colour = truth if truth.ndim == 3 else np.repeat(truth[..., None], 3, axis=2)
    small = np.rint(degrade(colour, scale, "rgb") * 255).astype(np.uint8)
    return small.transpose(2, 0, 1), colour.transpose(2, 0, 1)


class PatchBank:
    """Pairs of images from which random patches are cut, in eight orientations.

    pairs: (input (C,h,w), target (C,r·h,r·w)) arrays, uint8 or float32 in [0,1], all with
    the same ratio r. sizes: rows and columns (N,2) of the inputs. Raises InputError if there
    is no pair.
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
        """`count` random pairs: inputs (count,C,size,size) and targets (count,C,r·size,r·size),
        float32 in [0,1]. Every position of every image is equally likely; images smaller
        than the patch are left out. Raises InputError if all are.

        generator: on the bank's device. part: those of the pairs to cut; all are drawn, so
        that processes with the same generator can share a batch."""
        room, weights = self._room(size)
        where = {"generator": generator, "device": self.device}
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        corner = (torch.rand(count, 2, **where) * room[chosen]).long()
        turn = torch.randint(0, 2, (count, 3), **where).bool()
        return self.cut(chosen[part], corner[part], turn[part], size)

    def _room(self, size: int) -> tuple[Tensor, Tensor]:
        """Rows and columns (N,2) at which a patch can begin in each image, and their products.
        Kept, as to look whether there are any waits for a GPU."""
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
        """The pairs of patches at `corner` (N,2), row and column in the input of the images
        `chosen` (N,), turned by `turn` (N,3): rows reversed, columns reversed, transposed."""
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
"""What {as it is, rows reversed, columns reversed} times {0°, 90°, 180°, 270°} come to: of
the twelve only eight differ, and the reflections occur twice."""


def partition_counts(sizes: Tensor, patch: int, multiple: int = 64) -> tuple[Tensor, int]:
    """Patches at a stride of their size in images of `sizes` (N,2): those of each image in
    one orientation (N,), and all in all, rounded down to a `multiple` as in appendix A.4."""
    each = (sizes // patch).prod(1)
    total = len(ORIENTATIONS) * int(each.sum())
    return each, total - total % multiple


class Partition:
    """The training pairs of appendix A.4: every image in twelve orientations, each cut into
    patches at a stride of their size, and gone through in a new order each epoch.

    A turned image is cut from its own upper left corner, as if the turned image had been
    degraded; only the up to three pixels that make its sides a multiple of the scale are
    cut off where they are in the upright image.
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
        """Inputs and targets of a step, of which only the `part` is cut."""
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
