"""Values from files, checked against types and bounds that stand where the values are declared.

A dataclass field or a parameter of a constructor says all of it in its annotation, such as
``Annotated[int, Range(1, 4096)]``. `check_table` and `check_arguments` compare what a file holds
with the annotations. Needs the standard library only.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cscsr.errors import InputError, unknown_name

LONGEST_SHOWN = 60
"""Characters of a wrong value that a sentence shows."""

LARGEST_SCALE = 16
"""The largest scale that a weight file may name."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; NaN is never one of them.

    Parameters
    ----------
    low, high
        The bounds, which belong to the range unless they are open.
    open_low, open_high
        Whether a bound does not belong to the range.
    odd
        Whether the numbers are odd.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    odd: bool = False

    def fault(self, value: float) -> str | None:
        """Return None, or what `value` should be."""
        above = self.low < value if self.open_low else self.low <= value
        below = value < self.high if self.open_high else value <= self.high
        return None if above and below and (not self.odd or value % 2 == 1) else str(self)

    def __str__(self) -> str:
        if self.high == math.inf:
            text = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
            text = "positive" if (self.low, self.open_low) == (0, True) else text
            return f"{text} and finite" if self.open_high else text
        left, right = "(["[not self.open_low], ")]"[not self.open_high]
        return f"{'odd and ' * self.odd}in {left}{self.low:.15g}, {self.high:.15g}{right}"


@dataclass(frozen=True)
class Distinct:
    """Lists of different items, and of at least one unless `empty` allows none."""

    empty: bool = False

    def fault(self, value: Sequence[Any]) -> str | None:
        """Return None, or what `value` should be."""
        if not value and not self.empty:
            return "a list of at least one item"
        return None if len(set(value)) == len(value) else "a list without repetitions"


Seed = Annotated[int, Range(0, 2**32 - 1)]
"""A seed of random numbers, as every generator takes it."""

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def check(kind: Any, value: Any, where: str) -> Any:
    """Check a value against an annotation.

    Parameters
    ----------
    kind
        str, int, float, bool, None, a dataclass, a list, Sequence, dict or Mapping of these, a
        Literal of texts, a union with None, `Annotated` with a `Range` or `Distinct`, or Any.
    value
        As JSON, TOML or a caller has it. A float may be written as a whole number.
    where
        The name of the value in the sentence.

    Returns
    -------
    The value; a number as the type that the annotation asks for, a table as its dataclass.

    Raises
    ------
    InputError
        For a value of another type, or out of its bounds.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = check(arguments[0], value, where)
        for bound in arguments[1:]:
            fault = None if value is None else bound.fault(value)
            if fault is not None:
                raise InputError(f"{where} should be {fault}, got {shown(value)}.")
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        inner = [part for part in arguments if part is not NoneType]
        return check(inner[0], value, where) if len(inner) == 1 else value
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise unknown_name(where, value if isinstance(value, str) else shown(value), arguments)
        return value
    if origin in (list, Sequence):
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} should be a list, got {shown(value)}.")
        return [check(arguments[0], item, f"each of {where}") for item in value]
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InputError(f"{where} should be a table, got {shown(value)}.")
        return {key: check(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return value if type(value) is kind else check_table(kind, value, f"[{where}]")
    if kind in _WORDS:
        return _checked_plain(kind, value, where)
    return value


def _checked_plain(kind: type, value: Any, where: str) -> Any:
    """A text, a number or a truth value. Raises InputError for anything else."""
    wrong = InputError(f"{where} should be {_WORDS[kind]}, got {shown(value)}.")
    if kind in (str, bool):
        if type(value) is not kind:
            raise wrong
        return value
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        raise wrong
    try:
        return kind(value)
    except OverflowError:
        raise wrong from None


def check_table(kind: type, table: Any, where: str) -> Any:
    """Return a dataclass made from a dictionary.

    Raises
    ------
    InputError
        For something that is no dictionary, keys that are unknown or missing, and values that
        do not fit the annotations of the dataclass.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where} should be a table, got {shown(table)}.")
    hints = _hints(kind)
    required = [
        each.name
        for each in fields(kind)
        if each.default is MISSING and each.default_factory is MISSING
    ]
    _check_names(f"key of {where}", table, [each.name for each in fields(kind)])
    for name in required:
        if name not in table:
            raise InputError(f"{where} lacks the key {name}.")
    return kind(**{key: check(hints[key], value, key) for key, value in table.items()})


def check_fields(instance: Any) -> None:
    """Check the values of a dataclass against its annotations; to be called after it is made.

    Raises
    ------
    InputError
        For a value that does not fit.
    """
    hints = _hints(instance.__class__)
    for each in fields(instance):
        check(hints[each.name], getattr(instance, each.name), each.name)


def check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Check the arguments of a call, by name, against the annotations of a function or class.

    Parameters
    ----------
    function
        A parameter without an annotation may have any value.
    arguments
    where
        What has the arguments, such as "crnet-a".

    Returns
    -------
    The arguments, numbers as the annotated types.

    Raises
    ------
    InputError
        For arguments that are unknown or missing, and values that do not fit.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    _check_names(f"argument of {where}", arguments, parameters)
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise InputError(f"{where} lacks the argument {name}.")
    return {
        name: check(_annotation(parameters[name]), value, name) for name, value in arguments.items()
    }


def _annotation(parameter: inspect.Parameter) -> Any:
    known = parameter.annotation is not inspect.Parameter.empty
    return parameter.annotation if known else Any


def _check_names(kind: str, names: Iterable[Any], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise unknown_name(kind, str(name), known)


@cache
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def shown(value: Any) -> str:
    """Return a value as it stands in a sentence: short, and on one line."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number of very many digits"
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def scale_of_key(text: str) -> int:
    """Return the scale that a key of a weight file's metadata names.

    Raises
    ------
    InputError
        For another key.
    """
    if text not in map(str, range(1, LARGEST_SCALE + 1)):
        raise InputError(
            f"each key of scales should be a whole number from 1 to {LARGEST_SCALE}, "
            f"got {shown(text)}."
        )
    return int(text)
