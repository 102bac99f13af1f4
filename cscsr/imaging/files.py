"""Reading and writing 8-bit PNG, BMP and JPEG files, grey and colour. Needs pillow."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cscsr.errors import InputError
from cscsr.imaging.colour import to_uint8

FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG"}

_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA")
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(path: str | Path) -> np.ndarray:
    """The pixels of a file as uint8, (H,W) if it is grey, else (H,W,3) RGB.

    1-bit images become grey, palette images RGB (grey if all their colours are grey), and
    the orientation that a camera noted is applied. An alpha channel is dropped where it is
    opaque everywhere.

    Raises InputError for a missing file, one that is no whole PNG, BMP or JPEG, more than
    8 bits a channel, a transparent image, and a colour space other than grey and RGB.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"expected an image file, but there is no file {path}.")
    try:
        with Image.open(path, formats=sorted(set(FORMATS.values()))) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except _UNREADABLE as error:
        raise InputError(f"{path} is no whole PNG, BMP or JPEG image ({error}).") from error
    if image.mode not in (*_GREY, *_COLOUR) or _is_16_bit_png(path):
        raise InputError(
            f"{path} must have 8 bits a channel, grey or RGB, "
            f"but it has 16 bits or a colour space of its own ({image.mode})."
        )
    if image.has_transparency_data:
        lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
        if lowest < 255:
            raise InputError(f"{path} has transparent pixels; give an opaque image.")
    pixels = np.array(image.convert("L" if image.mode in _GREY else "RGB"))
    if image.mode in ("P", "PA") and (pixels == pixels[..., :1]).all():
        pixels = np.ascontiguousarray(pixels[..., 0])
    return pixels


def _is_16_bit_png(path: Path) -> bool:
    """Whether the header of a PNG says 16 bits, which pillow would cut to 8 in silence."""
    with path.open("rb") as file:
        header = file.read(25)
    return header[12:16] == b"IHDR" and header[24] == 16


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write `image` to a PNG, BMP or JPEG file, as the suffix of `path` says.

    image: (H,W) or (H,W,3), uint8, or floating point in [0,1], which is rounded to 8 bits
    and clipped. JPEG is written at quality 95 with colour at full resolution. A file that
    was there is replaced only when the new one is complete.

    Raises InputError for another suffix or array, values far outside [0,1], or a folder
    that does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"an image file must end in {', '.join(FORMATS)}, got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path.name}: there is no folder {path.parent}.")
    shape = getattr(image, "shape", ())
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise InputError(f"an image must have shape (H, W) or (H, W, 3), got {tuple(shape)}.")
    pixels = to_uint8(image)
    if image.dtype != np.uint8 and (image.min() < -1 or image.max() > 2):
        raise InputError(
            f"a floating-point image must lie in [0, 1], got values from {image.min():.4g} "
            f"to {image.max():.4g}."
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        Image.fromarray(pixels).save(
            partial, format=FORMATS[path.suffix.lower()], quality=95, subsampling=0
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
