"""The one exception that a user's input can cause.

Everything a user can get wrong (a missing folder, a NaN, an unknown name) raises an `InputError`
whose text is one sentence: what was expected, what came, and where it helps, the remedy. Commands
print that sentence and exit with code 2. A `SolverError` is the same for a solver, anyone's, that
cannot be made, fails, or returns something other than a solution.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that end a line or command a terminal."""


def without_controls(text: str) -> str:
    r"""Return a text on one line, without commands to a terminal: such characters are shown as
    ``\n`` and ``\x1b``."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class InputError(ValueError):
    """Bad input, described in one sentence for the user.

    The sentence may quote what a file or a file name holds: it stays one line in any case
    (`without_controls`).
    """

    def __init__(self, *sentence: object) -> None:
        super().__init__(*(without_controls(str(part)) for part in sentence))


class SolverError(InputError):
    """A solver that cannot be used, and why, in one sentence."""


LONGEST_MESSAGE = 500
"""Characters of another package's message that are shown."""


def one_line(text: str) -> str:
    """Return a text on one line that every file and database can hold: white space becomes single
    spaces, and what cannot be printed (control characters, lone surrogates) an escape sequence;
    cut off after `LONGEST_MESSAGE` characters."""
    line = " ".join(text.split())
    if len(line) > LONGEST_MESSAGE:
        line = line[:LONGEST_MESSAGE] + "…"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in line
    )


def described(error: BaseException) -> str:
    """Return the type and the text of an exception on one line, whatever its `str` does."""
    try:
        text = str(error)
    except Exception:
        text = ""
    kind = type(error).__name__
    return one_line(f"{kind}: {text}" if text else kind)


@contextmanager
def failures_of(who: str) -> Iterator[None]:
    """Turn whatever another's code raises inside the block into a `SolverError`.

    KeyboardInterrupt and MemoryError pass, and so does an `InputError`, its text on one line.
    SystemExit does not: no solver ends the program.

    Parameters
    ----------
    who
        The beginning of the sentence, such as "ista failed".
    """
    try:
        yield
    except (KeyboardInterrupt, MemoryError):
        raise
    except InputError as error:
        line = one_line(str(error))
        if line == str(error):
            raise
        raise type(error)(line) from error
    except BaseException as error:
        raise SolverError(f"{who}: {described(error).removesuffix('.')}.") from error


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the nearest known names.

    Parameters
    ----------
    kind
        What the name should stand for, such as "solver" or "data set".
    name
        The unknown name.
    known
        All names that exist.
    """
    spelled = {entry.lower(): entry for entry in sorted(known)}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.5)
    choice = " or ".join(spelled[entry] for entry in near)
    hint = f"did you mean {choice}?" if near else f"known are {', '.join(spelled.values())}."
    return InputError(f"unknown {kind} {name!r}: {hint}")
