"""Arrays as other libraries have them: channels first, batches, whole numbers, sporco's axes.

The problems take (H,W) and (H,W,3) in [0,1], and (M,C,h,w) beside (C,H,W). `upscale` and
`from_sporco` convert from what a user of torch or of sporco has. Needs numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cscsr.arrays import dtype_name, is_tensor, plain, to_numpy, to_type_of
from cscsr.contract import checked_solve
from cscsr.errors import InputError, unknown_name
from cscsr.imaging.colour import to_samples
from cscsr.problem import SparseCoding
from cscsr.registry import make_solver
from cscsr.solver import Solver
from cscsr.super_resolution import SuperResolution

LAYOUTS = ("hwc", "chw")

_LARGEST = {"uint8": 255, "uint16": 65535}


def upscale(
    images: Any,
    scale: int,
    solver: str | Solver[SuperResolution] = "crnet-b-small",
    *,
    layout: str = "hwc",
) -> Any:
    """Enlarge an image or a batch of images.

    Parameters
    ----------
    images
        (H,W) grey, or with channels and a batch: in the layout "hwc" (H,W,1), (H,W,3) or
        (B,H,W,1|3), in "chw" (1,H,W), (3,H,W) or (B,1|3,H,W); numpy or torch. Three channels are
        RGB. Floating point in [0,1], or uint8 or uint16, which stand for their share of 255 or
        65535.
    scale
        The factor, a whole number.
    solver
        A solver of `SuperResolution`, or its name.
    layout
        "hwc" or "chw", as torch has images.

    Returns
    -------
    Any
        In the layout, array type, dtype and device of `images`. Whole numbers are rounded half up
        and clipped; floating-point values may slightly overshoot [0,1].

    Raises
    ------
    InputError
        For another layout, shape or dtype, values outside [0,1], a solver of another problem, and
        what the solver cannot enlarge. Of a batch, the first member that cannot be enlarged ends
        the call.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", str(layout), LAYOUTS)
    if isinstance(solver, str):
        solver = make_solver(solver)
    if not isinstance(solver, Solver):
        raise InputError(f"expected the name of a solver or a solver, got {solver!r}.")
    if solver.problem_type is not SuperResolution:
        raise InputError(f"{solver.name} does not enlarge images.")
    shape = tuple(getattr(images, "shape", ()))
    channel = -1 if layout == "hwc" else -3
    known = len(shape) == 2 or (len(shape) in (3, 4) and shape[channel] in (1, 3))
    if not known or 0 in shape:
        wanted = "(H, W, C) or (B, H, W, C)" if layout == "hwc" else "(C, H, W) or (B, C, H, W)"
        raise InputError(
            f"images in the layout {layout!r} must have shape (H, W), {wanted} with 1 or 3 "
            f"channels, got {shape}."
        )
    images = plain("images", images)
    if dtype_name(images) not in (*_LARGEST, "float16", "float32", "float64"):
        raise InputError(
            f"images must be floating point in [0, 1], uint8 or uint16, got {images.dtype}."
        )
    if len(shape) == 4:
        members = [_enlarged(image, scale, solver, channel) for image in images]
        return _stacked(members)
    return _enlarged(images, scale, solver, channel)


def _enlarged(image: Any, scale: int, solver: Solver[SuperResolution], channel: int) -> Any:
    """An image (H,W), (H,W,C) for the channel −1, or (C,H,W) for −3, enlarged."""
    single = image.ndim == 3 and image.shape[channel] == 1
    lr = image
    if single:
        lr = image[..., 0] if channel == -1 else image[0]
    elif image.ndim == 3 and channel == -3:
        lr = image.permute(1, 2, 0) if is_tensor(image) else np.moveaxis(image, 0, -1)
    whole = dtype_name(image)
    if whole in _LARGEST:
        lr = to_type_of(to_numpy(lr) / np.float32(_LARGEST[whole]), _like_float(lr))
    estimate = checked_solve(solver, SuperResolution(lr, scale)).estimate
    if whole in _LARGEST:
        estimate = to_type_of(to_samples(to_numpy(estimate), whole), image)
    if single:
        return estimate[..., None] if channel == -1 else estimate[None]
    if image.ndim == 3 and channel == -3:
        return (
            estimate.permute(2, 0, 1).contiguous()
            if is_tensor(estimate)
            else np.ascontiguousarray(np.moveaxis(estimate, -1, 0))
        )
    return estimate


def _like_float(array: Any) -> Any:
    """An empty float32 array of the type and on the device of an array of whole numbers."""
    if is_tensor(array):
        import torch

        return array.new_empty(0, dtype=torch.float32)
    return np.empty(0, np.float32)


def _stacked(members: list[Any]) -> Any:
    if is_tensor(members[0]):
        import torch

        return torch.stack(members)
    return np.stack(members)


def from_sporco(
    dictionary: Any, signal: Any, lam: Any, *, nonnegative: bool = False
) -> SparseCoding:
    """Return the problem that sporco's ``cbpdn.ConvBPDN(D, S, lmbda)`` solves.

    Parameters
    ----------
    dictionary
        D, (h,w,M), or (h,w,C,M) for signals of several channels; any h and w.
    signal
        S, (H,W), or (H,W,C) beside a D of C channels; (H,W,1) is one channel.
    lam
        λ, a number, or an array of λ by atom, (M,).
    nonnegative
        Add the constraint z ≥ 0 (sporco's option NonNegCoef).

    Returns
    -------
    SparseCoding
        The same problem with the circular boundary. Codes (M,H,W) are sporco's X, (H,W,1,1,M), with
        the last axis first.

    Raises
    ------
    InputError
        For other shapes, and as `SparseCoding` does.
    """
    atoms, image = to_numpy(plain("dictionary", dictionary)), to_numpy(plain("signal", signal))
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if atoms.ndim == 4 and atoms.shape[2] == 1:
        atoms = atoms[:, :, 0]
    if (atoms.ndim, image.ndim) not in ((3, 2), (4, 3)):
        raise InputError(
            "sporco's arrays have shapes (h, w, M) and (H, W), or (h, w, C, M) and (H, W, C), got "
            f"the dictionary {tuple(dictionary.shape)} and the signal {tuple(signal.shape)}."
        )
    filters = np.moveaxis(atoms, -1, 0)
    if atoms.ndim == 4:
        filters, image = np.moveaxis(filters, -1, 1), np.moveaxis(image, -1, 0)
    if getattr(lam, "ndim", 0) == 1:
        lam = lam[:, None, None]
    return SparseCoding(
        np.ascontiguousarray(image), np.ascontiguousarray(filters), lam, nonnegative=nonnegative
    )
