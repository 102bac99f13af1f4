"""Patches at the same places for networks of all kinds, whatever the size of their inputs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from cscsr.training.patches import PatchBank


class SamePatches(PatchBank):
    """A bank whose patches begin at whole low-resolution pixels.

    With the same images, generator and size in low-resolution pixels, the banks of a network that
    takes an enlarged image and of one that enlarges draw the same targets.

    Parameters
    ----------
    pairs
        As in `PatchBank`.
    scale
        The factor between low resolution and the targets.
    """

    def __init__(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]], scale: int) -> None:
        super().__init__(pairs)
        self.unit = scale // self.ratio

    def _room(self, size: int) -> tuple[Tensor, Tensor]:
        """As in `PatchBank`, in low-resolution pixels."""
        room, _ = super()._room(size)
        room = torch.div(room + self.unit - 1, self.unit, rounding_mode="floor")
        return room, room.prod(1).double()

    def cut(self, chosen: Tensor, corner: Tensor, turn: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Cut pairs whose `corner` is in low-resolution pixels; the rest as in `PatchBank`."""
        return super().cut(chosen, corner * self.unit, turn, size)
