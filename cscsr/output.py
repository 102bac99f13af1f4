"""What the toolkit writes: files that appear whole or not at all, and text that nothing refuses.

Every file of the project is written by `replacing`, `write_bytes` or `write_text`, so that a full
disk, a quota and a read-only folder end in one sentence and leave what was there. Needs the
standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cscsr import interrupts
from cscsr.errors import InputError, without_controls

if sys.platform != "win32":  # which does not remove a file that is open
    import fcntl

_PARTIAL = re.compile(r"\..{0,40}\.[0-9a-f]{8}\.partial", re.DOTALL)
"""The names of files that are being written."""

_swept: set[Path] = set()
"""The folders from which this process has removed what killed ones left."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name in its folder; at the end of the block it gets its own.

    If the block or the disk fails, or an interrupt waits (`interrupts.raise_waiting`), the
    temporary file is removed and an earlier file at `path` stays. The data are on the disk before
    the name is. The temporary file is locked while it is written: those that nobody has locked were
    left by processes that were killed, and the first call for a folder removes them.

    Parameters
    ----------
    path
        The file; its folder must exist.

    Yields
    ------
    Path
        The empty temporary file, to be opened and written in the block.

    Raises
    ------
    InputError
        For an OSError in the block or at the renaming, in one sentence about `path`.
    """
    path = Path(path)
    partial, lock = None, None
    try:
        if sys.platform != "win32":  # where nobody would see that one is still written
            _remove_orphans(path.parent)
        partial, lock = _locked_file(path)
        yield partial
        with partial.open("rb+") as file:  # a disk over a network may say only now that it is full
            os.fsync(file.fileno())
        if sys.platform == "win32":
            os.close(lock)
            lock = None
        interrupts.raise_waiting()
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if lock is not None:
            os.close(lock)
        if partial is not None:
            partial.unlink(missing_ok=True)


def unwritable(path: str | Path, error: OSError) -> InputError:
    """Return the sentence on a file that cannot be written."""
    return InputError(f"{path} cannot be written: {error.strerror or error}.")


def write_bytes(path: str | Path, content: bytes | memoryview) -> Path:
    """Write a file as `replacing` does; returns its path."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    r"""Write a text file in UTF-8 as `replacing` does; returns its path.

    What UTF-8 cannot hold, such as the bytes of a file name that is not UTF-8, is written as
    ``\udcff``.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def make_folder(path: str | Path) -> Path:
    """Make a folder and those above it; returns its path. Raises InputError where it cannot."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into the folder {path}: {error.strerror}.") from error
    return path


def check_folder(path: str | Path) -> None:
    """Check before any work is done that files can be written into a folder, which may have to be
    made; it is not made here.

    Raises
    ------
    InputError
        If it, or one above it, is a file, read-only or closed to the user.
    """
    folder = Path(path)
    try:
        while not (folder.exists() or folder.is_symlink()) and folder != folder.parent:
            folder = folder.parent
    except PermissionError as error:
        raise InputError(f"cannot write into the folder {path}: {error.strerror}.") from error
    if not folder.is_dir():
        raise InputError(f"cannot write into the folder {path}: {folder} is no folder.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write into the folder {path}: {folder} is read-only.")


def printable(text: str) -> str:
    r"""`text` on one line, without what UTF-8 cannot hold and without commands to a terminal.

    Such characters, which a file name or a server's answer may have, are shown as ``\x1b`` and
    ``\udcff``.
    """
    return without_controls(text.encode("utf-8", "backslashreplace").decode())


def print_any_name() -> None:
    r"""From now on standard output and error show as ``\u65e5`` what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _locked_file(path: Path) -> tuple[Path, int]:
    """A new temporary file for `path`, locked, and its descriptor, which holds the lock."""
    while True:
        # Short, so that the longest name that the disk takes can be written.
        partial = path.with_name(f".{path.name[:40]}.{os.urandom(4).hex()}.partial")
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # of a file system that knows no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another process may have taken it for an orphan before it was locked.
        if partial.exists():
            return partial, descriptor
        os.close(descriptor)


def _remove_orphans(folder: Path) -> None:
    """Remove the temporary files in `folder` that no process has locked, once in a process."""
    folder = folder.resolve()
    if folder in _swept:
        return
    _swept.add(folder)
    try:
        entries = list(os.scandir(folder))
    except OSError:  # a folder can be written to and not be listed
        return
    for entry in entries:
        if not (_PARTIAL.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDWR)
            try:
                if sys.platform != "win32":
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)
            finally:
                os.close(descriptor)
