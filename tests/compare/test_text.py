"""Numbers as the tables print them."""

import pytest

from cscsr.compare.text import (
    csv_text,
    decibels,
    engineering,
    enumeration,
    latex_text,
    markdown_code,
    markdown_rows,
    markdown_text,
    two_digits,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.003142, "0.0031"),
        (0.0995, "0.10"),
        (0.1, "0.10"),
        (0.996, "1.0"),
        (4.449, "4.4"),
        (9.96, "10"),
        (12.3, "12"),
        (127.0, "130"),
        (0.0, "0"),
        (float("nan"), "–"),
    ],
)
def test_durations_have_two_significant_digits(seconds, text):
    assert two_digits(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(350_123, "350 k"), (7.6e9, "7.6 G"), (9.96e8, "1.0 G"), (12, "12"), (float("nan"), "–")],
)
def test_counts_have_a_prefix(value, text):
    assert engineering(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.214, "+0.21"),
        (-0.0999, "−0.10"),
        (-0.0312, "−0.031"),
        (0.0004, "+0.0004"),
        (0, "±0.0000"),
    ],
)
def test_small_differences_have_more_digits(value, text):
    assert decibels(value) == text


def test_words_in_a_row():
    assert [enumeration(list(words)) for words in ("a", "ab", "abc")] == [
        "a",
        "a and b",
        "a, b and c",
    ]


def test_signs_of_latex_are_escaped():
    assert latex_text("a_b & 50 % [×]") == r"a\_b \& 50 \% {[}$\times${]}"


def test_csv_has_six_digits_and_empty_cells():
    rows = [{"a": 1 / 3, "b": float("nan"), "c": 5}, {"a": None, "c": "x, y"}]
    assert csv_text(["a", "b", "c"], rows) == 'a,b,c\n0.333333,,5\n,,"x, y"\n'


def test_text_in_latex_is_one_line_without_markup():
    assert latex_text("a|b\nc <d>") == r"a\textbar{}b c \textless{}d\textgreater{}"


def test_text_in_markdown_is_one_line_without_markup():
    assert markdown_text("a|b\n<script> & *c* _d_ `e` \\") == (
        r"a\|b &lt;script> &amp; \*c\* \_d\_ \`e\` \\"
    )
    assert markdown_text("csc-sr[admm] ×2") == "csc-sr[admm] ×2"
    assert markdown_text("[a](b)") == r"[a\](b)"


def test_a_name_makes_no_further_cell_or_row():
    lines = markdown_rows([markdown_text("so|lver")], [("B|1\n00 ×2", ["1"])])
    assert [line.replace(r"\|", "").count("|") for line in lines] == [3, 3, 3]


def test_a_code_block_ends_where_it_should():
    fence, text, end = markdown_code("x ``` y\n````\nz")
    assert fence == end == "`````"
    assert text == "x ``` y\n````\nz"
    assert markdown_code("x")[0] == "```"


def test_csv_holds_no_formula_and_numbers_stay_numbers():
    rows = [{"a": "=1+1", "b": -0.5, "c": "-x"}, {"a": "@SUM", "b": -3, "c": " +2"}]
    assert csv_text(["a", "b", "c"], rows) == "a,b,c\n'=1+1,-0.5,'-x\n'@SUM,-3,' +2\n"
