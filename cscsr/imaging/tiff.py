"""TIFF files of 16 bits, which pillow reduces to 8, misreads or refuses. Needs tifffile.

The sizes that a file states are checked before anything is decoded: a small file can inflate to
gigabytes.
"""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from cscsr.errors import InputError
from cscsr.imaging.picture import Picture, check_size, upright_picture
from cscsr.limits import MAX_PIXELS_VARIABLE

_MAX_PAGES = 1000
"""Pages of a TIFF file, the smaller copies of its image included, that are looked at."""

_DEFLATE = (1, 8, 32946)
"""Compressions of TIFF that tifffile decodes by itself: none and both names of deflate."""

_SAMPLES = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
"""TIFF's SampleFormat to the kind of sample, for all but unsigned integers."""


def deep_tiff(path: Path, most: int) -> Picture | bool:
    """A TIFF file of 16 bits per sample, of any byte order and arrangement of planes.

    Returns True if it has 16 bits and a compression that pillow must decode, False if it has
    another depth. Raises InputError for samples that pillow would reject, or silently truncate or
    misread.
    """
    import tifffile

    log = logging.getLogger("tifffile")
    disabled, log.disabled = log.disabled, True  # it prints what it also raises
    try:
        with tifffile.TiffFile(path) as file:
            pages: Any = file.pages  # of many kinds by their types, all TiffPage here
            page = pages[0]
            check_size(path, page.imagewidth, page.imagelength, _images_of(pages, path), most)
            if page.is_tiled and page.tilewidth * page.tilelength > max(most, 2**20):
                raise InputError(
                    f"{path} is stored in tiles of {page.tilewidth}x{page.tilelength} pixels, more "
                    f"than the {most} that are read; raise the limit with --max-pixels or "
                    f"{MAX_PIXELS_VARIABLE}."
                )
            if page.sampleformat != 1 or page.bitspersample > 16:
                kind = _SAMPLES.get(page.sampleformat, "unsigned")
                raise InputError(
                    f"{path} has {kind} samples of {page.bitspersample} bits, but it must have "
                    "unsigned ones of 8 or 16 bits; convert it."
                )
            most = {0: 1, 1: 1, 2: 3}.get(page.photometric, 4) + 1
            if page.samplesperpixel > most:
                raise InputError(
                    f"{path} has {page.samplesperpixel} channels, but it must be grey or RGB, "
                    "with or without transparency; convert it."
                )
            if page.bitspersample != 16:
                return False
            if page.photometric not in (0, 1, 2):
                raise InputError(f"{path} must be grey or RGB, not {page.photometric.name}.")
            if page.compression not in _DEFLATE:
                return True
            for counted, start in zip(page.databytecounts, page.dataoffsets, strict=True):
                if start + counted > path.stat().st_size:
                    raise ValueError("it is cut short")
            if page.compression != 1:
                _check_inflated(path, page)
            samples = page.asarray()
            if page.planarconfig == 2 and samples.ndim == 3:
                samples = np.moveaxis(samples, 0, 2)
            if page.photometric == 0:
                samples = 65535 - samples
            dpi = page.get_resolution("inch") if page.resolutionunit > 1 else None
            tags = {code: page.tags.valueof(code) for code in (274, 34675)}
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    finally:
        log.disabled = disabled
    colours = 3 if page.photometric == 2 else 1
    kinds = [int(kind) for kind in page.extrasamples[:1]]
    if samples.ndim == 3:
        samples = samples[..., : colours + (kinds in ([1], [2]))]
    if kinds == [1]:  # colours multiplied by alpha
        alpha = samples[..., -1:].astype(np.uint64)
        plain = (samples[..., :-1] * np.uint64(65535) + alpha // 2) // np.maximum(alpha, 1)
        samples = np.concatenate([plain.clip(0, 65535), alpha], axis=2).astype(np.uint16)
    return upright_picture(samples, tags[274] or 1, tags[34675], dpi)


def _images_of(pages: Any, path: Path) -> int:
    """The images of a TIFF file, apart from smaller copies of one; no more than 2 are counted."""
    images = 0
    for number, page in enumerate(pages):
        if number == _MAX_PAGES:
            raise InputError(f"{path} has more than {_MAX_PAGES} pages; save the one you mean.")
        images += not page.is_reduced
        if images == 2:
            break
    return images


def _check_inflated(path: Path, page: Any) -> None:
    """Refuse a page of TIFF with a strip that inflates to more than its pixels take."""
    room = int(np.prod(page.chunks)) * page.bitspersample // 8
    with path.open("rb") as file:
        for counted, start in zip(page.databytecounts, page.dataoffsets, strict=True):
            file.seek(start)
            inflated = zlib.decompressobj().decompress(file.read(counted), room + 1)
            if len(inflated) > room:
                raise InputError(
                    f"{path} is no sound TIFF image: a part of it inflates to more than the {room} "
                    "bytes that its pixels take."
                )
