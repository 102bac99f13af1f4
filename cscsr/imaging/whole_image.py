"""Encoding by pillow, which takes an image as a whole: its rows wait in a temporary file."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

if TYPE_CHECKING:
    from cscsr.imaging.encoders import Layout


def by_pillow(kind: str, **options: Any) -> Callable[[Path, Layout, Iterable[np.ndarray]], None]:
    """An encoder of pillow, which takes the image as a whole."""

    def write(path: Path, layout: Layout, bands: Iterable[np.ndarray]) -> None:
        from PIL import Image

        height, width, channels = layout.shape
        mode = {1: "L", 2: "RGBA", 3: "RGBX", 4: "RGBA"}[channels]
        profile = {"icc_profile": layout.icc_profile} if layout.icc_profile else {}
        dpi = {"dpi": layout.dpi} if layout.dpi else {}
        with _nameless(path.parent, height * width * len(mode)) as waiting:
            for band in bands:
                waiting.write(_with_samples(band, len(mode)).tobytes())
            waiting.flush()
            # Mapped for reading only: storing into a mapping would end the process, by a signal,
            # where the disk is full.
            rows = np.memmap(waiting, np.uint8, "r", shape=(height, width, len(mode)))
            image = Image.frombuffer(mode, (width, height), rows, "raw", mode, 0, 1)
            if kind != "JPEG" and mode == "RGBX":
                image = image.convert("RGB")
            with path.open("wb") as file:
                image.save(cast("BinaryIO", _Sink(file)), kind, **options, **profile, **dpi)
            del image, rows  # a mapped file cannot be closed everywhere

    return write


class _Sink(io.RawIOBase):
    """A file without a descriptor, through which pillow writes with Python's errors: it reports
    those of a descriptor without their reason."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self.file.write(content)


def _nameless(folder: Path, size: int) -> BinaryIO:
    """A temporary file without a name, for which `size` bytes of the disk are reserved where the
    system can. Raises OSError if there is not so much room."""
    file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (Windows: a wrapper of one)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                file.close()
                raise
    return file


def _with_samples(band: np.ndarray, samples: int) -> np.ndarray:
    """A band (h,W,C) with `samples` per pixel: grey and alpha as RGBA, RGB with a fourth unused."""
    channels = band.shape[2]
    if channels == samples:
        return band
    if channels == 2:
        return band[..., [0, 0, 0, 1]]
    return np.concatenate([band, np.zeros_like(band[..., :1])], axis=2)
