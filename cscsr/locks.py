"""A lock on a folder, so that no two processes write their results into it at once.

The lock is a file in the folder that the system locks for the owner's process: it is free again as
soon as that process ends, in whatever way. The file says who the owner is. Needs the standard
library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cscsr.errors import InputError
from cscsr.output import make_folder, unwritable

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".cscsr-lock"
"""The lock's name in its folder."""

LONGEST = 4096
"""Bytes of a lock file that are read."""

_SYNCHRONIZE, _ACCESS_DENIED, _WAIT_TIMEOUT = 0x100000, 5, 0x102
"""Windows: the right to wait for a process, an error, and the answer that it has not ended."""

_FAR = 2**30
"""Windows locks bytes, and bars others from reading them: this one is behind the text."""


@contextlib.contextmanager
def folder_lock(folder: str | Path, doing: str) -> Iterator[None]:
    """Hold the lock of a folder for the length of the block.

    A folder that is missing is made, and removed again if the block leaves nothing in it.

    The lock of a process that has ended, killed or not, is taken over. One that a process on
    another machine left behind is not, as its end cannot be seen from here: the file has to be
    removed.

    Parameters
    ----------
    folder
    doing
        What the owner does in the folder, for the sentence of others: "trains".

    Raises
    ------
    InputError
        If another process holds the lock, and if the folder cannot be written to.
    """
    missing = not os.path.exists(folder)
    path = make_folder(folder) / NAME
    try:
        descriptor = _locked(path)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        _take(path, descriptor, doing)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the block's results are what matters
                path.unlink()
                if missing:
                    path.parent.rmdir()
    finally:
        os.close(descriptor)


def _take(path: Path, descriptor: int, doing: str) -> None:
    """Write into a lock file whose it is. Raises InputError if its last owner may still run."""
    owner = _owner(os.read(descriptor, LONGEST))
    if owner and owner["host"] != socket.gethostname():
        raise InputError(
            f"{path.parent} was locked by process {owner['pid']} on {owner['host']}, which may "
            f"still write into it; if it has ended, remove {path}."
        )
    content = {"pid": os.getpid(), "host": socket.gethostname(), "doing": doing}
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(content).encode())
    except OSError as error:
        raise unwritable(path, error) from error


def _locked(path: Path) -> int:
    """A descriptor of the lock file, which it locks. Raises InputError if another one does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            owner = _owner(_content(path))
            os.close(descriptor)
            raise _taken(path, owner) from None
        except OSError:  # a file system without locks: all there is is what the file says
            owner = _owner(_content(path))
            if owner and owner["host"] == socket.gethostname() and runs(owner["pid"]):
                os.close(descriptor)
                raise _taken(path, owner) from None
        # The owner before removes the file when it ends: a lock on a removed file is none.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _content(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()[:LONGEST]
    return b""


def _owner(content: bytes) -> dict[str, Any]:
    """Who the content of a lock file names; empty where it names nobody."""
    try:
        owner = json.loads(content)
        return {"pid": int(owner["pid"]), "host": str(owner["host"]), "doing": str(owner["doing"])}
    except (ValueError, TypeError, KeyError):
        return {}


def runs(pid: int) -> bool:
    """Return whether a process of this machine runs, also one of another user."""
    if sys.platform == "win32":  # where os.kill(pid, 0) sends a Ctrl-C
        return _runs_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _runs_on_windows(pid: int) -> bool:
    import ctypes

    kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
    if not handle:
        code = ctypes.get_last_error()  # type: ignore[attr-defined,unused-ignore]
        return bool(code == _ACCESS_DENIED)
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == _WAIT_TIMEOUT)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def _taken(path: Path, owner: dict[str, Any]) -> InputError:
    who = (
        f"process {owner['pid']} on {owner['host']} {owner['doing']}"
        if owner
        else "another process works"
    )
    return InputError(f"{who} in {path.parent}: wait for its end, or give another folder.")
