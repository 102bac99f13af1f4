"""Values against annotations: every kind of annotation, bound and wrong value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cscsr import InputError
from cscsr.schema import LONGEST_SHOWN, Distinct, Range, check, check_arguments, check_table

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@dataclass(frozen=True)
class Inner:
    side: Annotated[int, Range(1, 31, odd=True)]


@dataclass(frozen=True)
class Outer:
    name: Literal["one", "two"]
    rate: Annotated[float, Range(0, math.inf, open_low=True, open_high=True)]
    inner: Inner
    scales: Annotated[list[int], Distinct()] = field(default_factory=lambda: [2])
    more: dict[str, float] | None = None
    flag: bool = False


GOOD: dict[str, Any] = {"name": "one", "rate": 1, "inner": {"side": 3}}


def test_a_table_becomes_its_dataclass():
    outer = check_table(Outer, {**GOOD, "more": {"a": 2}}, "the file")
    assert outer == Outer("one", 1.0, Inner(3), [2], {"a": 2.0})
    assert isinstance(outer.rate, float)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "on"}, "unknown name 'on': did you mean one"),
        ({"name": 3}, "unknown name '3'"),
        ({"rate": 0}, "rate should be positive and finite, got 0"),
        ({"rate": math.nan}, "rate should be positive and finite, got nan"),
        ({"rate": math.inf}, "rate should be positive and finite, got inf"),
        ({"rate": 10**400}, "rate should be a number, got 10000"),
        ({"rate": 10**5000}, "rate should be a number, got a number of very many digits"),
        ({"rate": "1"}, "rate should be a number, got '1'"),
        ({"rate": True}, "rate should be a number, got True"),
        ({"rate": None}, "rate should be a number, got None"),
        ({"inner": {"side": 4}}, r"side should be odd and in \[1, 31\], got 4"),
        ({"inner": {"side": 3.0}}, "side should be a whole number, got 3.0"),
        ({"inner": {}}, r"\[inner\] lacks the key side"),
        ({"inner": []}, r"\[inner\] should be a table, got \[\]"),
        ({"scales": [2, 2]}, "scales should be a list without repetitions"),
        ({"scales": []}, "scales should be a list of at least one item"),
        ({"scales": "23"}, "scales should be a list, got '23'"),
        ({"scales": [2, "3"]}, "each of scales should be a whole number"),
        ({"more": {"a": []}}, r"more.a should be a number, got \[\]"),
        ({"more": {1: 2}}, "more should be a table"),
        ({"flag": 1}, "flag should be true or false, got 1"),
        ({"flga": True}, "unknown key of the file 'flga': did you mean flag"),
    ],
)
def test_what_does_not_fit_is_named(change, reason):
    with pytest.raises(InputError, match=reason) as raised:
        check_table(Outer, {**GOOD, **change}, "the file")
    assert len(str(raised.value)) < LONGEST_SHOWN + 100
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@given(JSON)
def test_any_value_at_any_place_gives_a_dataclass_or_one_sentence(value):
    for table in (value, *({**GOOD, key: value} for key in (*GOOD, "scales", "more", "x"))):
        try:
            assert isinstance(check_table(Outer, table, "the file"), Outer)
        except InputError as error:
            assert str(error).endswith((".", "?"))


@given(st.floats(), st.floats(), st.floats(), st.booleans(), st.booleans())
def test_a_range_holds_what_lies_between_its_bounds(low, high, value, open_low, open_high):
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    assert (Range(low, high, open_low, open_high).fault(value) is None) == (above and below)


def test_arguments_are_checked_against_a_signature():
    def function(scales: Sequence[int], *, width: Annotated[int, Range(1)] = 3, free=None):
        return scales

    assert check_arguments(function, {"scales": (2, 3)}, "f") == {"scales": [2, 3]}
    assert check_arguments(function, {"scales": [2], "free": "x"}, "f")["free"] == "x"
    for arguments, reason in (
        ({}, "f lacks the argument scales"),
        ({"scales": 2}, "scales should be a list"),
        ({"scales": [2], "width": 0}, "width should be at least 1, got 0"),
        ({"scales": [2], "widht": 1}, "unknown argument of f 'widht': did you mean width"),
    ):
        with pytest.raises(InputError, match=reason):
            check_arguments(function, arguments, "f")


def test_other_annotations_take_any_value():
    value = object()
    assert check(Any, value, "x") is value
    assert check(int | str | None, value, "x") is value
