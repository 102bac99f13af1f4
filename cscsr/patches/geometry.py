"""The patches of patch-based super-resolution: their features, and the mean where they overlap.

A patch is `WINDOW`×`WINDOW` low-resolution pixels large, 3s×3s in the enlarged image, and there is
one around every low-resolution pixel. Needs numpy and scipy.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cscsr.imaging import imresize

WINDOW = 3
"""The side of a patch in low-resolution pixels."""

RADIUS = 4
"""How many low-resolution pixels around its centre the features of a patch depend on: one of the
patch, one of the derivatives' filters, two of the bicubic kernel."""

SUPPORT = (2 * RADIUS + 1) ** 2
"""The number of low-resolution pixels that the features of a patch are a linear function of."""

HALO = RADIUS + 1
"""How many low-resolution pixels around it an enlarged pixel depends on: the patches that cover it
are centred up to one pixel away."""


def derivatives(enlarged: np.ndarray, scale: int) -> np.ndarray:
    """Return the first and second derivatives that patches are described by.

    They are x(i + s) − x(i − s) and ½x(i − s) − x(i) + ½x(i + s) along rows and along columns, so
    that they span one low-resolution pixel a side (Zeyde et al. 2010, Timofte et al. 2014).

    Parameters
    ----------
    enlarged
        (…,H,W), images enlarged by bicubic.
    scale
        s.

    Returns
    -------
    np.ndarray
        (…,4,H−2s,W−2s).
    """
    height, width = enlarged.shape[-2:]
    rows, columns = slice(scale, height - scale), slice(scale, width - scale)
    centre = enlarged[..., rows, columns]
    left, right = enlarged[..., rows, : width - 2 * scale], enlarged[..., rows, 2 * scale :]
    above, below = enlarged[..., : height - 2 * scale, columns], enlarged[..., 2 * scale :, columns]
    return np.stack(
        [right - left, below - above, (left + right) / 2 - centre, (above + below) / 2 - centre],
        axis=-3,
    )


@lru_cache(maxsize=8)
def feature_matrix(scale: int) -> np.ndarray:
    """Return the linear map from the low-resolution pixels around a patch to its features.

    Bicubic enlargement and derivatives are linear and commute with shifts by a low-resolution
    pixel, so the 4·(3s)² derivatives of a patch are one matrix times the 9×9 pixels around its
    centre. The matrix is their response to each of these pixels.

    Returns
    -------
    np.ndarray
        (4·(3s)², `SUPPORT`), float64, read-only.
    """
    side = 2 * RADIUS + 1
    impulses = np.eye(SUPPORT).reshape(side, side, SUPPORT)
    enlarged = np.moveaxis(imresize(impulses, scale), -1, 0)
    reach = WINDOW // 2 + 1  # of the patch and the filters, in low-resolution pixels
    inside = slice((RADIUS - reach) * scale, (RADIUS + reach + 1) * scale)
    matrix = derivatives(enlarged[:, inside, inside], scale).reshape(SUPPORT, -1).T
    matrix = np.ascontiguousarray(matrix)
    matrix.flags.writeable = False
    return matrix


def surroundings(lr: np.ndarray) -> np.ndarray:
    """Return the 9×9 pixels around each pixel of an image, its edges repeated.

    Parameters
    ----------
    lr
        (H,W).

    Returns
    -------
    np.ndarray
        (H,W,9,9), a view of the continued image.
    """
    side = 2 * RADIUS + 1
    return np.lib.stride_tricks.sliding_window_view(np.pad(lr, RADIUS, mode="edge"), (side, side))


def patch_elements(scale: int) -> int:
    """Return the number of pixels of an enlarged patch, (3s)²."""
    return (WINDOW * scale) ** 2


def features_of(luma: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Return the features of all patches that cover a pixel of an image.

    Parameters
    ----------
    luma
        (H,W), float64.
    projection
        (d,`SUPPORT`): from the pixels around a patch to its features.

    Returns
    -------
    np.ndarray
        ((H+2)(W+2),d), float64: of a patch around each pixel, and around those one pixel outside.
    """
    rows = surroundings(np.pad(luma, 1, mode="edge"))
    matrix = projection.astype(np.float64).T
    # The pixels around all patches at once would be 81 images.
    return np.concatenate([row.reshape(-1, SUPPORT) @ matrix for row in rows])


def mean_of_patches(patches: np.ndarray, height: int, width: int, scale: int) -> np.ndarray:
    """Return the image that overlapping patches make: at each pixel the mean of the nine over it.

    Parameters
    ----------
    patches
        ((H+2)(W+2), (3s)²): a patch around each low-resolution pixel, and around those one pixel
        outside the image.
    height, width
        H and W, of the low-resolution image.
    scale
        s.

    Returns
    -------
    np.ndarray
        (sH,sW), in the dtype of `patches`.
    """
    cells = patches.reshape(height + 2, width + 2, WINDOW, scale, WINDOW, scale)
    total = np.zeros((height + 4, scale, width + 4, scale), patches.dtype)
    for row in range(WINDOW):
        for column in range(WINDOW):
            part = cells[:, :, row, :, column, :].transpose(0, 2, 1, 3)
            total[row : row + height + 2, :, column : column + width + 2, :] += part
    inside = total[2:-2, :, 2:-2, :].reshape(height * scale, width * scale)
    return inside / WINDOW**2
