"""Memory that a training frees stays with its process, so that the next step need not fetch it
anew."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Of mallopt: when the end of the heap goes back to the system, and how many blocks may lie outside
the heap, which go back as soon as they are freed."""


def keep_freed_memory() -> bool:
    """Have glibc's malloc keep freed memory, in the whole process and to its end.

    By default, glibc returns each block of more than 32 MiB to the system. A training step
    allocates many of these, and the system fills each page with zeros when it is touched again.

    Returns
    -------
    bool
        Whether the C library has these options; others are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS; Windows takes no None
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
