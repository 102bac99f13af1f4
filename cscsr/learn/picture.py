"""A dictionary as a picture."""

from __future__ import annotations

import numpy as np

from cscsr.plot import montage

LINE_COLOUR = (0x44, 0x77, 0xAA)
"""Of the lines between filters."""

LEAST_SIDE = 40
"""Pixels of a filter in a picture, at least."""


def picture_of(filters: np.ndarray) -> np.ndarray:
    """Return an RGB picture of a dictionary, uint8: zero is grey, lines are blue.

    Parameters
    ----------
    filters
        (M,s,s), (M,1,s,s), or (M,3,s,s), whose channels are red, green and blue.

    Raises
    ------
    ValueError
        For another number of channels.
    """
    if filters.ndim == 4:
        if filters.shape[1] not in (1, 3):
            raise ValueError(f"1 or 3 channels make a picture, not {filters.shape[1]}")
        filters = np.moveaxis(filters, 1, 3) if filters.shape[1] == 3 else filters[:, 0]
    columns = int(np.ceil(np.sqrt(len(filters))))
    sheet = montage(filters, columns)
    if sheet.ndim == 2:
        sheet = np.repeat(sheet[..., None], 3, 2)
    pixels = np.where(np.isnan(sheet), LINE_COLOUR, 127.5 * (1 + np.nan_to_num(sheet)))
    factor = -(-LEAST_SIDE // filters.shape[1])
    return np.rint(pixels).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
