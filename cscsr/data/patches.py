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
    the same ratio r. Raises InputError if there is no pair.
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
        self._sizes = torch.tensor([source.shape[1:] for source, _ in pairs])
        self._inputs, self._input_starts = self._flatten([p[0] for p in pairs])
        self._targets, self._target_starts = self._flatten([p[1] for p in pairs])

    def _flatten(self, images: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        starts = np.cumsum([0] + [image.size for image in images[:-1]])
        flat = np.concatenate([image.reshape(-1) for image in images])
        return torch.from_numpy(flat).to(self.device), torch.from_numpy(starts)

    def sample(self, count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` random pairs: inputs (count,C,size,size) and targets (count,C,r·size,r·size),
        float32 in [0,1]. Every position of every image is equally likely; images smaller
        than the patch are left out. Raises InputError if all are."""
        room = (self._sizes - size + 1).clamp(min=0)
        weights = room.prod(1).double()
        if not weights.any():
            raise InputError(f"no training image is as large as a patch of {size}x{size} pixels.")
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        corner = (torch.rand(count, 2, generator=generator) * room[chosen]).long()
        turn = torch.randint(0, 2, (count, 3), generator=generator).bool()
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
        steps = torch.arange(side).expand(len(chosen), side)
        rows = torch.where(turn[:, :1], side - 1 - steps, steps) + ratio * corner[:, :1]
        columns = torch.where(turn[:, 1:2], side - 1 - steps, steps) + ratio * corner[:, 1:]
        height, width = (ratio * self._sizes[chosen]).unbind(1)
        place = rows[:, :, None] * width[:, None, None] + columns[:, None, :]
        place = torch.where(turn[:, 2, None, None], place.transpose(1, 2), place)
        planes = torch.arange(self.channels) * (height * width)[:, None] + starts[chosen][:, None]
        index = (planes[:, :, None, None] + place[:, None]).to(self.device)
        patch = flat[index]
        return patch.float() / 255 if patch.dtype == torch.uint8 else patch
