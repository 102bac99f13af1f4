"""Writing image files band by band, so that an image can be larger than memory.

`write_bands` takes the rows of an image as they come. PNG, TIFF and BMP files grow with them.
The encoders of JPEG, WebP and AVIF need all rows at once: they wait in a temporary file, for which
space is reserved first. A file appears under its name only when it is complete.

PNG is encoded here, because no library among the dependencies writes 16-bit RGB. Needs
numpy; pillow for JPEG, WebP and AVIF, and tifffile (which comes with scikit-image) for TIFF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import features

from cscsr.errors import InputError
from cscsr.imaging.whole_image import by_pillow
from cscsr.output import replacing

_OF_PILLOW = set(features.get_supported())

SUFFIXES = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    **({".webp": "WEBP"} if "webp" in _OF_PILLOW else {}),
    **({".avif": "AVIF"} if "avif" in _OF_PILLOW else {}),
}
"""Suffix to pillow's name of the format, for reading and for writing; WebP and AVIF where pillow
has them."""

_DEEP = ("PNG", "TIFF")
"""The formats that hold 16 bits per sample."""

_WITH_ALPHA = (*_DEEP, "WEBP", "AVIF")
"""The formats that hold an alpha channel."""

_ONLY_COLOUR = ("WEBP", "AVIF")
"""The formats in which grey is written as three equal channels, which no profile of grey fits."""

_WITH_QUALITY = ("JPEG", "WEBP", "AVIF")
"""The formats whose files are smaller at a lower quality."""

_LONGEST = {
    "PNG": 2**31 - 1,
    "TIFF": 2**31 - 1,
    "BMP": 2**31 - 1,
    "JPEG": 65_500,
    "WEBP": 16_383,
    "AVIF": 65_536,
}
"""The longest side in pixels."""

_AS_USUAL = {
    b"sRGB": None,
    b"gAMA": (struct.pack(">I", 45455),),
    b"cHRM": (struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),),
    b"cICP": (bytes([1, 13, 0, 1]),),
}
"""What the chunks of a PNG hold, of any sRGB where None, that say what holds without them."""

_STRIP = 64
"""Rows per compressed strip."""

_METRES_AN_INCH = 0.0254


@dataclass(frozen=True)
class Layout:
    """The properties of an image file, apart from its pixels.

    Attributes
    ----------
    shape
        (H,W,C), where C is 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGB and alpha.
    dtype
        uint8 or uint16.
    icc_profile
        The colour profile, or None.
    dpi
        Pixels per inch (across, down), or None.
    colour_chunks
        The chunks of a PNG, (kind, body), that say what its numbers mean, such as gAMA and cICP.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour_chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel."""
        return self.shape[2] in (2, 4)

    def enlarged(self, scale: int) -> Layout:
        """Return the layout of an image `scale` times as high and wide."""
        height, width, channels = self.shape
        return replace(self, shape=(scale * height, scale * width, channels))


def format_of(path: str | Path) -> str:
    """Return the format of a file name by its suffix: a value of `SUFFIXES`.

    Raises
    ------
    InputError
        For an unknown suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"the name of an image file must end in {', '.join(SUFFIXES)}, got {path.name!r}."
        )
    return SUFFIXES[path.suffix.lower()]


def check_layout(path: str | Path, layout: Layout) -> None:
    """Check that the format of a file can hold an image, after rounding to 8 bits if need be.

    Raises
    ------
    InputError
        For an unknown suffix, an alpha channel in a format without one, and sides too long for the
        format.
    """
    kind = format_of(path)
    if layout.has_alpha and kind not in _WITH_ALPHA:
        raise InputError(
            f"{Path(path).name} cannot hold the image's transparency, which {kind} lacks; "
            "write a .png or .tif file."
        )
    if max(layout.shape[:2]) > _LONGEST[kind]:
        height, width = layout.shape[:2]
        longest = max(_LONGEST.values())
        remedy = "enlarge it less" if max(height, width) > longest else "write a .png or .tif file"
        raise InputError(
            f"{Path(path).name} would have {width}x{height} pixels, but a {kind} image has at most "
            f"{_LONGEST[kind]} per side; {remedy}."
        )


def check_quality(path: str | Path, quality: int) -> None:
    """Check that files of a format have a quality, from 1 to 100.

    Raises
    ------
    InputError
        For an unknown suffix, a format without loss, and another number.
    """
    kind = format_of(path)
    if kind not in _WITH_QUALITY:
        raise InputError(
            f"{kind} files are written without loss and have no quality; write .jpg, .webp or "
            ".avif, or leave the quality out."
        )
    if not 1 <= quality <= 100:
        raise InputError(f"the quality must be a whole number from 1 to 100, got {quality!r}.")


def lost_colour(path: str | Path, layout: Layout) -> list[str]:
    """Name what says the meaning of the colours and has no place in the format of a file.

    Returns
    -------
    list of str
        Such as "gAMA" or "the colour profile"; nothing that only says that the image is sRGB,
        which holds where nothing is said.
    """
    kind = format_of(path)
    lost = []
    profile = _profile_in(kind, layout)
    if layout.icc_profile and not profile:
        lost.append("the colour profile")
    if kind != "PNG":
        for name, body in layout.colour_chunks:
            usual = _AS_USUAL.get(name, ())
            in_profile = profile and name != b"cICP"
            if usual is not None and body not in usual and not in_profile:
                lost.append(name.decode())
    return lost


def _profile_in(kind: str, layout: Layout) -> bytes | None:
    """The colour profile where a format can hold it. Its bytes 16 to 19 name its colour space."""
    profile = layout.icc_profile
    of_grey = profile is not None and profile[16:20] == b"GRAY"
    return None if kind == "BMP" or (of_grey and kind in _ONLY_COLOUR) else profile


def write_bands(
    path: str | Path,
    layout: Layout,
    bands: Iterable[np.ndarray],
    quality: int | None = None,
) -> None:
    """Write an image whose rows come in bands.

    PNG, TIFF and WebP are compressed without loss; JPEG and AVIF are written at quality 95 with
    colour at full resolution. The rows go to a temporary name in the same folder, which is renamed
    after the last one. When `bands` or the disk fails, it is removed, and an earlier file at `path`
    stays.

    Parameters
    ----------
    path
        The file; its suffix names the format.
    layout
        The shape, the dtype and the properties of the file.
    bands
        Arrays (h,W,C) of any height, top first, of `layout`'s dtype.
    quality
        From 1 to 100, for JPEG, AVIF and WebP, which is then written with loss.

    Raises
    ------
    InputError
        For a quality that `check_quality` refuses, an image that the format cannot hold, a missing
        folder, and a failure of the disk.
    """
    path = Path(path)
    check_layout(path, layout)
    layout = replace(layout, icc_profile=_profile_in(format_of(path), layout))
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path.name}: there is no folder {path.parent}.")
    encode = _ENCODERS[format_of(path)]
    if quality is not None:
        check_quality(path, quality)
        encode = _with_quality(format_of(path), quality)
    if layout.dtype != np.uint8 and format_of(path) not in _DEEP:
        bands = (_to_8_bits(band) for band in bands)
    with replacing(path) as partial:
        encode(partial, layout, bands)


def _to_8_bits(band: np.ndarray) -> np.ndarray:
    return ((band.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _strips(bands: Iterable[np.ndarray], rows: int = _STRIP) -> Iterator[np.ndarray]:
    """The same rows in bands of `rows` rows; the last band may have fewer."""
    waiting: list[np.ndarray] = []
    count = 0
    for band in bands:
        while len(band):
            piece = band[: rows - count]
            waiting.append(piece)
            count += len(piece)
            band = band[len(piece) :]
            if count == rows:
                yield np.concatenate(waiting)
                waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


# PNG (ISO/IEC 15948) -----------------------------------------------------------------


def _write_png(path: Path, layout: Layout, bands: Iterable[np.ndarray]) -> None:
    height, width, channels = layout.shape
    depth = 8 * layout.dtype.itemsize
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
        _chunk(file, b"IHDR", header)
        for kind, content in layout.colour_chunks:
            _chunk(file, kind, content)
        if layout.icc_profile:
            _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(layout.icc_profile))
        if layout.dpi:
            density = (round(dots / _METRES_AN_INCH) for dots in layout.dpi)
            _chunk(file, b"pHYs", struct.pack(">IIB", *density, 1))
        deflate = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
        above = np.zeros((1, width * channels * layout.dtype.itemsize), np.uint8)
        for strip in _strips(bands):
            samples = np.ascontiguousarray(strip, strip.dtype.newbyteorder(">"))
            rows = samples.view(np.uint8).reshape(len(strip), -1)
            body = _filtered(rows, above, channels * layout.dtype.itemsize)
            _chunk(file, b"IDAT", deflate.compress(body.tobytes()))
            above = rows[-1:]
        _chunk(file, b"IDAT", deflate.flush())
        _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    if body or kind == b"IEND":
        check = zlib.crc32(body, zlib.crc32(kind))
        file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Rows of bytes (h,n) as filter numbers and filtered bytes, (h,1+n).

    `above` is the row before the first, `step` the bytes per pixel. The filters are Sub, Up and
    Paeth (sections 9.2 to 9.4); each row gets the filter whose result, as signed bytes, has the
    least sum of magnitudes (section 12.8).
    """
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    a, b, c = (array.astype(np.int16) for array in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
    best, least = np.empty((len(rows), 1 + rows.shape[1]), np.uint8), None
    for number, prediction in ((1, left), (2, up), (4, paeth)):
        rest = rows - prediction
        cost = np.minimum(rest, 0 - rest).sum(axis=1, dtype=np.int64)
        better = np.full(len(rows), True) if least is None else cost < least
        best[better, 0] = number
        best[better, 1:] = rest[better]
        least = cost if least is None else np.minimum(cost, least)
    return best


# TIFF ---------------------------------------------------------------------------------


def _write_tiff(path: Path, layout: Layout, bands: Iterable[np.ndarray]) -> None:
    import tifffile

    height, width, channels = layout.shape
    little = layout.dtype.newbyteorder("<")

    def compressed() -> Iterator[bytes]:
        for strip in _strips(bands):
            rest = strip.astype(little)  # predictor 2: each sample less the one to its left
            rest[:, 1:] -= strip[:, :-1]
            yield zlib.compress(rest.tobytes(), 6)

    size = height * width * channels * layout.dtype.itemsize
    with tifffile.TiffWriter(path, byteorder="<", bigtiff=size > 2**32 - 2**24) as tiff:
        tiff.write(
            compressed(),
            shape=(height, width) if channels == 1 else layout.shape,
            dtype=little,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if layout.has_alpha else None,
            compression="adobe_deflate",
            predictor=True,
            rowsperstrip=_STRIP,
            resolution=layout.dpi,
            resolutionunit="inch" if layout.dpi else None,
            iccprofile=layout.icc_profile,
            software=False,
            metadata=None,
        )


# BMP ----------------------------------------------------------------------------------


def _write_bmp(path: Path, layout: Layout, bands: Iterable[np.ndarray]) -> None:
    height, width, channels = layout.shape
    palette = b"" if channels == 3 else bytes(n for g in range(256) for n in (g, g, g, 0))
    stride = (width * channels + 3) // 4 * 4
    start, size = 54 + len(palette), height * stride
    if start + size >= 2**32:
        raise InputError(
            f"an image of {width}x{height} pixels exceeds the 4 GiB of a BMP file; "
            "write a .png or .tif file."
        )
    density = [round(dots / _METRES_AN_INCH) for dots in layout.dpi or (0, 0)]
    with path.open("wb") as file:
        file.write(struct.pack("<2sIHHI", b"BM", start + size, 0, 0, start))
        header = (40, width, height, 1, 8 * channels, 0, size, *density, len(palette) // 4, 0)
        file.write(struct.pack("<IiiHHIIiiII", *header) + palette)
        row = height  # the last row of the image is the first of the file
        file.truncate(start + size)
        for strip in _strips(bands):
            row -= len(strip)
            padded = np.zeros((len(strip), stride), np.uint8)
            padded[:, : width * channels] = strip[::-1, :, ::-1].reshape(len(strip), -1)
            file.seek(start + row * stride)
            file.write(padded.tobytes())


# JPEG, WebP, AVIF ----------------------------------------------------------------------


_Encoder = Callable[[Path, Layout, Iterable[np.ndarray]], None]


def _with_quality(kind: str, quality: int) -> _Encoder:
    """An encoder with loss, of colour at full resolution where the format has it."""
    if kind == "WEBP":
        return by_pillow(kind, quality=quality, exact=True)
    return by_pillow(kind, quality=quality, subsampling=0 if kind == "JPEG" else "4:4:4")


_ENCODERS: dict[str, _Encoder] = {
    "PNG": _write_png,
    "TIFF": _write_tiff,
    "BMP": _write_bmp,
    "JPEG": _with_quality("JPEG", 95),
    "WEBP": by_pillow("WEBP", lossless=True, exact=True),
    "AVIF": _with_quality("AVIF", 95),
}
