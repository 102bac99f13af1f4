"""Convolution as torch computes it, what a transform costs, and filters of several sizes in one
dictionary. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F

from cscsr.arrays import ordinary_torch, plain, to_tensor, to_type_of, value_range
from cscsr.errors import InputError


@ordinary_torch()
def convolve(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Convolve where the filters fit inside the maps: outᵢ = Σⱼ filtersᵢⱼ ⊗ mapsⱼ.

    Parameters
    ----------
    maps
        (B,J,H,W).
    filters
        (I,J,h,w).

    Returns
    -------
    torch.Tensor
        (B,I,H−h+1,W−w+1), whose first element is that at (h−1, w−1) of the full convolution.
    """
    flipped = filters.flip(-2, -1)
    if maps.dtype != torch.float64 or maps.is_cuda:
        return F.conv2d(maps, flipped)
    # On a CPU torch has no fast conv2d in float64: a matrix product for each of the filters'
    # rows takes a quarter of its time and an h-th of its memory.
    rows, taps = filters.shape[-2:]
    height, width = maps.shape[-2] - rows + 1, maps.shape[-1] - taps + 1
    columns = maps.unfold(-1, taps, 1).permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
    products = (
        flipped[:, :, row].flatten(1) @ columns[..., row * width : (row + height) * width]
        for row in range(rows)
    )
    return reduce(torch.add, products).unflatten(-1, (height, width))


def transform_operations(pixels: int) -> float:
    """Return the multiply-adds of a Fourier transform of `pixels` real numbers: 1.25·n·log₂ n."""
    return 1.25 * pixels * math.log2(max(pixels, 2))


def stack_filters(filters: Iterable[Any]) -> Any:
    """Return filters of different sizes as one dictionary, zero-padded to the largest height and
    width.

    Each filter lies in the middle of the padded size: of d rows or columns of zeros, d//2 come
    before it, the rest behind, so that the atoms of one pixel have one centre. Padded zeros take
    as much time as other elements. Banks are joined by listing their filters:
    ``stack_filters([*small, *large])``.

    Parameters
    ----------
    filters
        Filters (C,h,w), or (h,w) for C = 1; numpy or torch, all of one kind.

    Returns
    -------
    Any
        (M,C,h,w), or (M,h,w), in the array type and dtype of the first filter.

    Raises
    ------
    InputError
        If there are none, they differ in their number of dimensions or channels, or they hold NaN
        or infinity.
    """
    arrays = [plain("a filter", one) for one in filters]
    shapes = {tuple(getattr(array, "shape", ())) for array in arrays}
    if len({shape[:-2] for shape in shapes}) != 1 or {len(shape) for shape in shapes} - {2, 3}:
        raise InputError(
            "the filters must all have shape (C, h, w) with one C, or all (h, w), got "
            f"{', '.join(map(str, sorted(shapes))) or 'none'}."
        )
    if not all(map(math.isfinite, (v for array in arrays for v in value_range(array)))):
        raise InputError("the filters must be finite, but they hold NaN or infinity.")
    height, width = (max(shape[axis] for shape in shapes) for axis in (-2, -1))
    padded = []
    for array in arrays:
        tensor = to_tensor(array)
        rows, columns = height - tensor.shape[-2], width - tensor.shape[-1]
        before = columns // 2, rows // 2
        margins = (before[0], columns - before[0], before[1], rows - before[1])
        padded.append(F.pad(tensor, margins))
    return to_type_of(torch.stack(padded), arrays[0])


def contract(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Σⱼ mapsⱼ·filtersⱼᵢ at each frequency: (B,J,h,w) and (J,I,h,w) to (B,I,h,w)."""
    if filters.shape[0] == 1:
        return maps * filters[0]
    return torch.einsum("bjhw,jihw->bihw", maps, filters)
