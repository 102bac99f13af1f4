"""λ and the mask of a sparse coding problem: their checks, their parts, and sums over codes.

Needs numpy; imports torch only to handle a boolean mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cscsr.arrays import dtype_name, plain, to_tensor, value_range
from cscsr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 2**18
"""Codes per piece where a measure runs over all of them."""


def checked_lam(lam: Any, codes_shape: tuple[int, ...]) -> Any:
    """λ as a number or a plain array; see `SparseCoding`."""
    if getattr(lam, "shape", None) == () and not isinstance(lam, np.number):
        lam = lam.item()
    if isinstance(lam, (int, float, np.number)) and not isinstance(lam, (bool, np.complexfloating)):
        if not 0 <= lam < np.inf:
            raise InputError(f"lam must be a finite number of at least 0, got {lam!r}.")
        return lam.item() if isinstance(lam, np.number) else lam
    if not getattr(lam, "shape", ()):
        raise InputError(f"lam must be a finite number of at least 0 or an array, got {lam!r}.")
    lam = plain("lam", lam)
    shape, atoms = tuple(lam.shape), codes_shape[-3]
    if not (len(shape) >= 3 and _broadcasts(shape, codes_shape)):
        raise InputError(
            f"lam must be a number or broadcast to the codes' shape {codes_shape} with at least "
            f"three dimensions, such as ({atoms}, 1, 1) for one per atom, got shape {shape}."
        )
    if not dtype_name(lam).startswith(("float", "int", "uint")):
        raise InputError(f"lam must hold real numbers, got {lam.dtype}.")
    least, largest = value_range(lam)
    if not (np.isfinite(least) and np.isfinite(largest)):
        raise InputError("lam must be finite, but it holds NaN or infinity.")
    if least < 0:
        raise InputError(f"lam must be at least 0 everywhere, but its least value is {least:g}.")
    return lam


def checked_mask(mask: Any, signal_shape: tuple[int, ...]) -> Any:
    """Return a mask as a plain array; raise InputError where `SparseCoding` refuses it."""
    shape = tuple(getattr(mask, "shape", ()))
    if not (len(shape) >= 1 and _broadcasts(shape, signal_shape)):
        raise InputError(f"mask must broadcast to the signal's shape {signal_shape}, got {shape}.")
    mask = plain("mask", mask)
    if not dtype_name(mask).startswith(("bool", "float", "int", "uint")):
        raise InputError(f"mask must be boolean or hold numbers in [0, 1], got {mask.dtype}.")
    numbers = mask if not dtype_name(mask).startswith("bool") else to_tensor(mask).byte()
    least, largest = value_range(numbers)
    if not (least >= 0 and largest <= 1):
        raise InputError(
            "mask must lie in [0, 1], 1 where the signal is observed and 0 where it is missing, "
            f"got values from {least:.4g} to {largest:.4g}."
        )
    return mask


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of a shape broadcasts to a target shape."""
    if len(shape) > len(target):
        return False
    aligned = zip(reversed(shape), reversed(target), strict=False)
    return all(n in (1, full) for n, full in aligned)


def part_of(weights: Any, block: tuple[slice, slice, slice]) -> Any:
    """Return the weights of the codes of a block: a number as it is, else the part of a tensor
    ([B or 1,]M or 1,H or 1,W or 1)."""
    if isinstance(weights, (int, float)):
        return weights
    signals, _, rows = block
    batch = weights if weights.ndim == 4 else weights[None]
    return batch[
        signals if batch.shape[0] > 1 else slice(None),
        :,
        rows if batch.shape[2] > 1 else slice(None),
    ]


def sum_of_squares(tensor: Any) -> float:
    return float(tensor.double().square().sum())


def sum_of_sizes(codes: Any) -> float:
    """‖·‖₁ in float64."""
    return sum(float(part.abs().double().sum()) for (part,) in in_pieces(codes))


def in_pieces(*codes: Any) -> Iterator[tuple[Any, ...]]:
    """Yield codes ([B,]M,H,W), tensors of one shape, some rows at a time.

    A piece has about `PIECE` elements, so that intermediate arrays are small beside the codes.
    """
    height = codes[0].shape[-2]
    rows = max(PIECE * height // codes[0].numel(), 1)
    yield from zip(*(array.split(rows, -2) for array in codes), strict=True)
