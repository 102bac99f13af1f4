"""Interrupts of a command: Ctrl-C and SIGTERM end it in a sentence, without a traceback."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """A SIGTERM, which is handled like a Ctrl-C but has an exit code of its own."""


_arrived: list[int] = []
"""The signals that have come inside `raised`, the latest last."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Inside the block, SIGTERM raises `Terminated` and SIGINT KeyboardInterrupt.

    A signal that is ignored, or handled by somebody else, stays so. Outside of the main thread,
    where handlers cannot be set, nothing changes.
    """
    before: dict[int, Any] = {}
    _arrived.clear()
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
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, frame: object) -> NoReturn:
    _arrived.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _raise_again(unraisable: Any) -> None:
    """An interrupt that fell into code where nothing can be raised comes again soon after."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt) and _arrived:
        threading.Timer(0.05, _send, [_arrived[-1]]).start()
    else:
        sys.__unraisablehook__(unraisable)


def _send(number: int) -> None:
    """Send a signal to the main thread, also where it waits for something."""
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
