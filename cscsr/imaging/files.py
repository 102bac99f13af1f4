"""Reading and writing PNG, TIFF, BMP, JPEG, WebP and AVIF files of 8 or 16 bits, grey and colour.

`read_image` is for the images of the tables: 8 bits, grey or RGB. `write_image` writes an array.
`read_picture` and `write_picture` are for any image: they keep 16 bits, an alpha channel, what says
the colours' meaning, and the resolution. Whatever a decoder makes of a file, the reader gets an
image or one sentence. Needs pillow, which may lack WebP and AVIF; tifffile (which comes with
scikit-image) for TIFF files.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from cscsr.arrays import check_unit_range, plain, to_numpy
from cscsr.errors import InputError
from cscsr.imaging.colour import to_uint8
from cscsr.imaging.encoders import SUFFIXES as FORMATS
from cscsr.imaging.encoders import format_of, write_bands
from cscsr.imaging.picture import TURNED, Picture, check_size, upright_picture
from cscsr.imaging.tiff import deep_tiff
from cscsr.limits import pixel_limit
from cscsr.output import printable

_BAND = 256
"""Rows that are converted at once."""

_KINDS = list(dict.fromkeys(FORMATS.values()))
_NAMES = f"{', '.join(_KINDS[:-1])} or {_KINDS[-1]}".replace("WEBP", "WebP")
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N", "I")
_COLOUR = ("P", "PA", "RGB", "RGBA")
_COLOUR_CHUNKS = {b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}
"""The chunks of a PNG that say what its numbers mean, and their bytes; a profile is apart."""


def read_image(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read the pixels of an opaque 8-bit image file, as `read_picture`.

    Parameters
    ----------
    path, max_pixels
        As for `read_picture`.

    Returns
    -------
    np.ndarray
        uint8, (H,W) grey or (H,W,3) RGB; an alpha channel that is opaque is dropped.

    Raises
    ------
    InputError
        As `read_picture`, and also for 16 bits per channel and for transparent pixels.
    """
    picture = read_picture(path, max_pixels)
    if picture.pixels.dtype != np.uint8:
        raise InputError(
            f"{path} has 16 bits per channel, but what is measured or trained on has 8; save it "
            "with 8 bits (cscsr upscale and cscsr.imaging.read_picture take 16)."
        )
    if picture.alpha is not None and picture.alpha.min() < 255:
        raise InputError(
            f"{path} has transparent pixels, but what is measured or trained on has none; save it "
            "without an alpha channel (cscsr upscale and cscsr.imaging.read_picture take it)."
        )
    return np.ascontiguousarray(picture.pixels)


def read_picture(path: str | Path, max_pixels: int | None = None) -> Picture:
    """Read an image file with all its bits, alpha channel, colour profile and resolution.

    The content decides the format, not the suffix. 1-bit images become 8-bit grey; palette
    images become RGB, or grey if all their colours are grey; the EXIF orientation is applied.
    Other metadata (EXIF, XMP, text) is not read.

    Parameters
    ----------
    path
        The file.
    max_pixels
        The most pixels that are decoded (default: `cscsr.limits.pixel_limit`'s).

    Raises
    ------
    InputError
        For a missing file, anything but a complete file of a known format, a file with several
        images, samples of other than 8 or 16 bits (such as floating point), a colour space other
        than grey and RGB, more than `max_pixels` pixels, a side of more than 2²⁰ pixels, data that
        inflate to more than the pixels take, and any other failure of a decoder.
    """
    path = Path(path)
    most = pixel_limit() if max_pixels is None else max_pixels
    try:
        if path.is_dir():
            raise InputError(f"expected an image file, but {path} is a folder.")
        if not path.is_file():
            reason = (
                f"{path} is not a regular file" if path.exists() else f"there is no file {path}"
            )
            raise InputError(f"expected an image file, but {reason}.")
        with path.open("rb") as file:
            start = file.read(2**16)
        tiff = start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        deep = deep_tiff(path, most) if tiff else None
        if isinstance(deep, Picture):
            return deep
        if start[4:8] == b"ftyp" and _avif_bits(start) > 8:
            raise InputError(
                f"{path} has {_avif_bits(start)} bits per channel, of which 8 would be left; save "
                "it as a PNG of 16 bits."
            )
        return _by_pillow(path, 16 if deep or _is_16_bit_png(start) else 8, most, start)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except MemoryError as error:
        raise InputError(f"{path} takes more memory than there is to be read.") from error
    except Exception as error:  # decoders raise all kinds on what is broken
        raise InputError(
            f"{path} is not a complete {_NAMES} image{_other_kind(path, error)}."
        ) from error


def _is_16_bit_png(start: bytes) -> bool:
    """Whether the header of a PNG says 16 bits, which pillow would silently reduce to 8."""
    return start[12:16] == b"IHDR" and start[24] == 16


def _other_kind(path: Path, error: Exception) -> str:
    """The format of a file that cannot be read, or the reason in brackets."""
    try:
        with _quiet_pillow(), Image.open(path) as file:
            if file.format not in FORMATS.values():
                return f", but {file.format}; save it as PNG"
    except Exception:  # pillow cannot read it either
        pass
    try:
        if path.stat().st_size == 0:
            return " (it is empty)"
    except OSError:  # it is gone
        pass
    if isinstance(error, UnidentifiedImageError):
        return ""
    reason = printable(str(error)) or type(error).__name__
    return f" ({reason if len(reason) <= 200 else reason[:199] + '…'})"


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence pillow's warnings and lift its limit of pixels, which `check_size` replaces."""
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _by_pillow(path: Path, bits: int, most: int, start: bytes) -> Picture:
    """Decode a file with pillow.

    Pillow's RGB has 8 bits: 16-bit RGB is decoded twice, for the high bytes in the byte order of
    the file and for the low bytes in the opposite order.
    """
    with _quiet_pillow(), _opened(path, most) as image:
        if image.mode not in (*_GREY, *_COLOUR) or (bits == 8 and image.mode[0] == "I"):
            space = {"F": "floating-point samples", "I": "32-bit samples"}.get(
                image.mode, f"the colour space {image.mode}"
            )
            raise InputError(
                f"{path} has {space}, but it must be grey or RGB with 8 or 16 bits per channel; "
                "convert it."
            )
        icc, dpi, transparent = (image.info.get(k) for k in ("icc_profile", "dpi", "transparency"))
        turned = isinstance(image, TiffImageFile) and image.tag_v2.get(0x0112, 1) in TURNED
        if turned and dpi:  # pillow turns the pixels of a TIFF, and not its resolution
            dpi = dpi[::-1]
        if bits == 8:
            samples = _array(_plain(image))
            palette = image.mode in ("P", "PA") and not icc  # a profile of RGB is not for grey
            if palette and (samples[..., :3] == samples[..., :1]).all():
                samples = samples[..., [0, 3]] if samples.shape[2] == 4 else samples[..., 0]
        elif image.mode[0] == "I":
            samples = _array(image)
        elif image.tile[0][3] == "LA;16B":  # RGBA stands for four bytes per pixel here
            image.tile = [_with_arguments(tile, "RGBA") for tile in image.tile]
            samples = _array(image).view(">u2").astype(np.uint16)
        else:
            samples = _array(image).astype(np.uint16) << 8
            samples |= _low_bytes(path, most)
        orientation = _orientation(image)
        kind = image.format
    if bits == 16 and isinstance(transparent, int | tuple):
        match = samples == np.array(transparent, np.uint16)
        opaque = ~(match if samples.ndim == 2 else match.all(axis=2))
        samples = np.dstack([samples, opaque.astype(np.uint16) * 65535])
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    if kind == "PNG":
        chunks = _png_colour_chunks(path)
    elif kind == "AVIF" and not icc:
        chunks = _avif_colour(start)
    return upright_picture(samples, orientation, icc, dpi, chunks)


def _png_colour_chunks(path: Path) -> tuple[tuple[bytes, bytes], ...]:
    """The first chunk of each kind that says what a PNG's numbers mean, in their order."""
    chunks: dict[bytes, bytes] = {}
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in (b"IDAT", b"IEND"):
                break
            if _COLOUR_CHUNKS.get(kind) == length:
                chunks.setdefault(kind, file.read(length))
                length = 0
            file.seek(length + 4, os.SEEK_CUR)
    return tuple(chunks.items())


def _avif_bits(start: bytes) -> int:
    """Bits per channel of an AVIF file, of which pillow gives 8 (AV1 in ISOBMFF, section 2.3)."""
    _, box, configuration = start.partition(b"av1C")
    flags = configuration[2] if box and len(configuration) > 2 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _avif_colour(start: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The colour primaries and transfer function of an AVIF file as a PNG's cICP, if they are
    stated and not those of sRGB."""
    _, box, numbers = start.partition(b"colrnclx")
    if not box or len(numbers) < 4:
        return ()
    primaries, transfer = struct.unpack(">HH", numbers[:4])
    if 2 in (primaries, transfer) or (primaries, transfer) == (1, 13) or primaries > 255:
        return ()
    return ((b"cICP", bytes([primaries, transfer & 255, 0, 1])),)


def _opened(path: Path, most: int) -> ImageFile:
    """A file opened by pillow, its size checked, not decoded yet."""
    image = Image.open(path, formats=_KINDS)
    # Phones may add a second, smaller JPEG to the file; the first is the photograph.
    images = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
    try:
        check_size(path, *image.size, images, most)
    except BaseException:
        image.close()
        raise
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a decoded image, 1 where the EXIF data are broken."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # pillow raises many kinds of error on broken EXIF data
        return 1


def _low_bytes(path: Path, most: int) -> np.ndarray:
    """The low byte of each sample of a 16-bit RGB or RGBA file."""
    native = {"little": "L", "big": "B"}[sys.byteorder]
    with _opened(path, most) as image:
        tiles = []
        for tile in image.tile:
            raw, *rest = [tile[3]] if isinstance(tile[3], str) else tile[3] or ()
            order = raw[-1].replace("N", native)
            if raw[-3:-1] != "16" or order not in "LB":
                raise ValueError(f"16 bits in the layout {raw}")
            raw = raw[:-1] + {"L": "B", "B": "L"}[order]
            tiles.append(_with_arguments(tile, (raw, *rest) if rest else raw))
        image.tile = tiles
        return _array(image)


def _with_arguments(tile: Any, arguments: Any) -> Any:
    """A tile of pillow, a tuple (a named one in newer versions), with other arguments."""
    changed = (*tile[:3], arguments)
    return tile._make(changed) if hasattr(tile, "_make") else changed


def _plain(image: Image.Image) -> Image.Image:
    """An 8-bit image as mode L, LA, RGB or RGBA: no palette, a transparent colour as alpha."""
    image.load()
    alpha = image.has_transparency_data and image.mode != "1"
    grey = image.mode in ("1", "L", "LA")
    mode = ("L" if grey else "RGB") + ("A" if alpha else "")
    return image if image.mode == mode else image.convert(mode)


def _array(image: Image.Image) -> np.ndarray:
    """The samples of an image, (H,W) or (H,W,C), uint8 or uint16.

    The image is converted in bands, to avoid a third full copy in memory.
    """
    image.load()
    width, height = image.size
    first = np.asarray(image.crop((0, 0, width, 1)))
    dtype = np.uint8 if first.dtype == np.uint8 else np.uint16
    samples = np.empty((height, *first.shape[1:]), dtype)
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        samples[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return samples


def write_image(path: str | Path, image: Any) -> None:
    """Write an array as an image file.

    JPEG and AVIF are written at quality 95 with chroma at full resolution. An existing file is
    replaced only when the new one is complete.

    Parameters
    ----------
    path
        The file; its suffix names the format: PNG, TIFF, BMP, JPEG, WebP or AVIF.
    image
        (H,W) or (H,W,3), numpy or torch; uint8; uint16, which PNG and TIFF hold and other formats
        round to 8 bits; or floating point in [0,1], which is rounded to 8 bits and clipped.

    Raises
    ------
    InputError
        For another suffix or array, values far outside [0,1] (`cscsr.arrays.UNIT_RANGE`), a
        masked array in which anything is masked, and a folder that does not exist or refuses.
    """
    format_of(path)
    _check_shape(image)
    array = to_numpy(plain("an image", image))
    if np.issubdtype(array.dtype, np.floating):
        check_unit_range("an image", array)
        array = to_uint8(array)
    write_picture(path, Picture(array))


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a picture with its bits, alpha channel, colour profile and resolution.

    16 bits are rounded to 8 where the format has no more. What says the colours' meaning is left
    out where the format has no place for it; PNG has one for everything. Quality and replacement
    are those of `write_image`.

    Parameters
    ----------
    path
        The file; its suffix names the format: PNG, TIFF, BMP, JPEG, WebP or AVIF.
    picture
        Its pixels, and alpha if there is any, uint8 or uint16.

    Raises
    ------
    InputError
        For another suffix, arrays that are no picture, an alpha channel in BMP or JPEG, and a
        folder that does not exist or refuses.
    """
    samples = picture.pixels
    _check_shape(samples)
    if samples.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"an image must be uint8, uint16 or floating point in [0,1], got {samples.dtype}."
        )
    if picture.alpha is not None:
        alpha, size = picture.alpha, samples.shape[:2]
        if (alpha.shape, alpha.dtype) != (size, samples.dtype):
            raise InputError(
                f"alpha must be {samples.dtype} of shape {size}, as the pixels are, got "
                f"{alpha.dtype} of shape {alpha.shape}."
            )
        samples = np.dstack([samples, alpha])
    layout = picture.layout
    write_bands(path, layout, [samples.reshape(layout.shape)])


def _check_shape(image: Any) -> None:
    shape: tuple[int, ...] = getattr(image, "shape", ())
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise InputError(f"an image must have shape (H, W) or (H, W, 3), got {tuple(shape)}.")
