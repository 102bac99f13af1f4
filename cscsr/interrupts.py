"""Interrupts of a command: Ctrl-C and SIGTERM end it in a sentence, without a traceback."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """A SIGTERM, which is handled like a Ctrl-C but has an exit code of its own."""


IMPORT_SECONDS = 10.0
"""How long an interrupt waits for the end of an import, which may itself be stuck."""

_AGAIN_SECONDS = 0.05

_arrived: list[int] = []
"""The signals that have come inside `raised`, the latest last."""

_waits_since: float | None = None
"""When the first of those came that wait to be raised (`time.monotonic`); None without any."""

_postponed_seconds = 0.0
"""How long an interrupt waits, inside `postponed`."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Inside the block, SIGTERM raises `Terminated` and SIGINT KeyboardInterrupt.

    One that comes while a module is imported is raised when the import is over, or after
    `IMPORT_SECONDS`: an extension module whose initialisation is cut short may crash the process.
    One that still waits at the end of the block is raised there, so that none is lost. A signal
    that is ignored, or handled by somebody else, stays so. Outside of the main thread, where
    handlers cannot be set, nothing changes.
    """
    global _waits_since
    before: dict[int, Any] = {}
    if _raise not in map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)):  # not in another block
        _arrived.clear()
        _waits_since = None
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    if threading.current_thread() is threading.main_thread():
        usual: dict[int, Any] = {
            signal.SIGINT: signal.default_int_handler,
            signal.SIGTERM: signal.SIG_DFL,
        }
        for number, handler in usual.items():
            if signal.getsignal(number) == handler:
                before[number] = signal.signal(number, _raise)
    try:
        yield
        if _waits_since is not None:
            _raise_last()
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def postponed(seconds: float) -> Iterator[None]:
    """Inside the block, which must not be left half done, `raised` raises nothing: what comes is
    raised soon after its end, or after so many seconds."""
    global _postponed_seconds
    before, _postponed_seconds = _postponed_seconds, seconds
    try:
        yield
    finally:
        _postponed_seconds = before


def raise_waiting() -> None:
    """Raise an interrupt that waits for the end of an import, so that what comes next is not done.

    Nothing is raised inside `postponed`, nor outside of the main thread.
    """
    own = threading.current_thread() is threading.main_thread()
    if own and _waits_since is not None and not _postponed_seconds:
        _raise_last()


def ended(command: Callable[[], int | None]) -> int:
    """Run a command inside `raised`, and return its exit code (None is 0) or, after an interrupt
    and its sentence, that of `exit_code`."""
    try:
        with raised():
            return command() or 0
    except (Exception, KeyboardInterrupt) as error:
        if not caused(error):
            raise
        say()
        return exit_code(error)


def _raise(number: int, frame: FrameType | None) -> None:
    global _waits_since
    _arrived.append(number)
    now = time.monotonic()
    if _waits_since is None:
        _waits_since = now
    most = max(_postponed_seconds, IMPORT_SECONDS if _is_importing(frame) else 0.0)
    if now - _waits_since < most:
        _send_again(number)
        return
    _raise_last()


def _raise_last() -> NoReturn:
    global _waits_since
    _waits_since = None
    raise Terminated if _arrived[-1] == signal.SIGTERM else KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a frame, or one that it was called from, belongs to the import system."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _raise_again(unraisable: Any) -> None:
    """An interrupt that fell into code where nothing can be raised comes again soon after."""
    global _waits_since
    if issubclass(unraisable.exc_type, KeyboardInterrupt) and _arrived:
        _waits_since = time.monotonic()
        _send_again(_arrived[-1])
    else:
        sys.__unraisablehook__(unraisable)


def _send_again(number: int) -> None:
    """Send a signal to the main thread soon, unless it has been raised or `raised` has ended.

    `threading.Timer` would take a lock that the interrupted code may hold.
    """
    _thread.start_new_thread(_send_soon, (number, _waits_since))


def _send_soon(number: int, since: float | None) -> None:
    """Send a signal that waits since then to the main thread, also where that waits itself."""
    time.sleep(_AGAIN_SECONDS)
    if signal.getsignal(number) is not _raise or _waits_since != since:
        return
    thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and thread is not None:
        signal.pthread_kill(thread, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


def caused(error: BaseException) -> bool:
    """Whether an exception comes from a signal: some modules turn an interrupt of their import
    into an error of another kind."""
    return isinstance(error, KeyboardInterrupt) or bool(_arrived)


def exit_code(error: BaseException) -> int:
    """The exit code of an interrupted command: 143 after SIGTERM, 130 otherwise."""
    terminated = isinstance(error, Terminated) or _arrived[-1:] == [signal.SIGTERM]
    return 128 + (signal.SIGTERM if terminated else signal.SIGINT)


def say() -> None:
    """Tell the user that the command was interrupted."""
    with contextlib.suppress(OSError):
        print("cscsr: interrupted.", file=sys.stderr)
