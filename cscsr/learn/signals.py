"""What a dictionary is learned from: arrays, or image files that are read when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cscsr.arrays import plain, to_numpy
from cscsr.csc_sr.decompose import split
from cscsr.errors import InputError
from cscsr.imaging import luma_of, read_image
from cscsr.weighting import checked_mask

CACHE_BYTES = 2**30
"""The most bytes of signals that are held in memory between two uses."""

LEAST, LARGEST = 1e-15, 1e15
"""The largest value of a signal lies between these, so that float32 holds squares of it."""

Signals = Sequence[Any]
"""Arrays (H,W) or (C,H,W), numpy or torch, or a sequence that makes them when it is indexed."""


class ImageSignals(Sequence[np.ndarray]):
    """Signals made of image files, each read whenever it is indexed.

    Parameters
    ----------
    paths
        Image files of 8 bits.
    colour
        Three channels (3,H,W), red, green and blue, rather than the luma (H,W).
    high_pass
        Subtract the smooth part of CSC-SR (`cscsr.csc_sr.decompose.split`): filters of a few pixels
        cannot code it sparsely.
    """

    def __init__(
        self, paths: Sequence[str | Path], colour: bool = False, high_pass: bool = True
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.colour, self.high_pass = colour, high_pass

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        """Return one signal, float32 on the [0,1] scale; a slice gives `ImageSignals`."""
        if isinstance(index, slice):
            return ImageSignals(self.paths[index], self.colour, self.high_pass)
        image = read_image(self.paths[index])
        if self.colour:
            planes = np.moveaxis(image if image.ndim == 3 else np.dstack([image] * 3), 2, 0)
        else:
            planes = luma_of(image)
        signal = planes / 255.0
        return (split(signal).residual if self.high_pass else signal).astype(np.float32)


class Observed(NamedTuple):
    """A signal (C,H,W), float32, and its mask of the same shape, None where all is observed."""

    signal: np.ndarray
    mask: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.signal.nbytes + (0 if self.mask is None else self.mask.nbytes)

    def masked(self) -> np.ndarray:
        """The signal with zeros where it is not observed."""
        return self.signal if self.mask is None else self.signal * self.mask

    def random_part(self, side: int, random: np.random.Generator) -> Observed:
        """A part of at most `side` pixels a side."""
        top, left = (int(random.integers(max(n - side, 0) + 1)) for n in self.signal.shape[1:])
        part = (slice(None), slice(top, top + side), slice(left, left + side))
        return Observed(
            np.ascontiguousarray(self.signal[part]),
            None if self.mask is None else np.ascontiguousarray(self.mask[part]),
        )


class CheckedSignals:
    """Signals and masks, checked and held in memory as long as there is room.

    Parameters
    ----------
    signals
        See `Signals`.
    masks
        One for each signal, that broadcasts to it; None: all is observed.
    channels, size
        C, and the side of the filters, which must fit into each signal.

    Raises
    ------
    InputError
        If there is none, or another number of masks; on use, for a signal of another shape, dtype
        or with NaN or infinity, for one whose largest value is not from `LEAST` to `LARGEST`, and
        for a mask that `cscsr.SparseCoding` refuses.
    """

    def __init__(self, signals: Signals, masks: Signals | None, channels: int, size: int) -> None:
        if len(signals) == 0:
            raise InputError("learning a dictionary needs at least one signal.")
        if masks is not None and len(masks) != len(signals):
            raise InputError(
                f"there must be a mask for each of the {len(signals)} signals, got {len(masks)}."
            )
        self._signals, self._masks = signals, masks
        self._channels, self._size = channels, size
        self._held: OrderedDict[int, Observed] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._signals)

    def __getitem__(self, index: int) -> Observed:
        if index in self._held:
            self._held.move_to_end(index)
            return self._held[index]
        signal = self._checked(index)
        observed = Observed(signal, self._checked_mask(index, signal.shape))
        self._held[index] = observed
        self._bytes += observed.nbytes
        while self._bytes > CACHE_BYTES and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return observed

    def _checked(self, index: int) -> np.ndarray:
        name = f"signal {index}"
        array = to_numpy(plain(name, self._signals[index]))
        if array.ndim == 2:
            array = array[None]
        if array.ndim != 3 or len(array) != self._channels or min(array.shape[1:]) < self._size:
            raise InputError(
                f"{name} must have shape ({self._channels}, H, W)"
                f"{' or (H, W)' if self._channels == 1 else ''} with sides of at least "
                f"{self._size} pixels, got {array.shape}."
            )
        if array.dtype not in (np.float32, np.float64):
            raise InputError(f"{name} must be float32 or float64, got {array.dtype}.")
        if not np.isfinite(array).all():
            raise InputError(f"{name} must be finite, but it holds NaN or infinity.")
        largest = float(np.abs(array).max())
        if largest > 0 and not LEAST <= largest <= LARGEST:
            raise InputError(
                f"{name} reaches {largest:.3g}: learning computes in float32, where the largest "
                f"value of a signal should be from {LEAST:g} to {LARGEST:g}; scale the signals."
            )
        return array.astype(np.float32)

    def _checked_mask(self, index: int, shape: tuple[int, ...]) -> np.ndarray | None:
        if self._masks is None:
            return None
        try:
            mask = to_numpy(checked_mask(self._masks[index], shape))
        except InputError as error:
            raise InputError(f"mask {index}: {error}") from error
        return np.broadcast_to(mask, shape).astype(np.float32)
