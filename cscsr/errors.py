"""The one exception that a person's input can cause.

Everything a user can get wrong (a missing folder, a NaN, an unknown name) ends
in an `InputError` whose text is one sentence: what was expected, what came, and
where it helps, the remedy. Commands print that sentence and exit with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, described in one sentence for the person who gave it."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list, with the nearest names that are.

    `kind` is what the name should have named ("solver", "data set").
    """
    spelled = {entry.lower(): entry for entry in sorted(known)}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.5)
    choice = " or ".join(spelled[entry] for entry in near)
    hint = f"did you mean {choice}?" if near else f"known are {', '.join(spelled.values())}."
    return InputError(f"unknown {kind} {name!r}: {hint}")
