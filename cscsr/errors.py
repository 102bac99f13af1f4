"""The one exception that a user's input can cause.

Everything a user can get wrong (a missing folder, a NaN, an unknown name) raises an `InputError`
whose text is one sentence: the expected input, the actual input and, where it helps, a remedy.
Commands print that sentence and exit with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, described in one sentence for the user."""


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
