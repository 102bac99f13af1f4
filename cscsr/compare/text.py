"""The formats of numbers in tables, and shared pieces of Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def signed(value: float, digits: int) -> str:
    """Return a number with its sign: +0.12, −0.03, ±0.00."""
    value = round(value, digits)
    return f"{'±' if value == 0 else '+' if value > 0 else '−'}{abs(value):.{digits}f}"


def decibels(value: float) -> str:
    """Return a difference in dB with two decimals, small ones with three or four."""
    digits = 2 if abs(value) >= 0.0995 else 3 if abs(value) >= 0.00095 else 4
    return signed(value, digits)


def difference_text(ours: float, published: float, digits: int) -> str:
    """Return ours minus the published figure, both as they are printed."""
    return signed(round(round(ours, digits) - published, digits), digits)


def two_digits(seconds: float) -> str:
    """Return a duration with two significant digits and no exponent: 0.0031, 0.12, 4.5, 130."""
    if not seconds or not math.isfinite(seconds):
        return "0" if seconds == 0 else "–"
    decimals = 1 - math.floor(math.log10(abs(seconds)))
    rounded = round(seconds, decimals)
    decimals = 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(decimals, 0)}f}"


def duration(seconds: float) -> str:
    """Return a duration in words, with the precision of an estimate: 40 s, 12 min, 1 h 30 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def engineering(value: float) -> str:
    """Return a count with two digits and a prefix: 1.2 G, 340 M."""
    if not math.isfinite(value):
        return "–"
    for unit, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.995 * unit:
            return two_digits(value / unit) + prefix
    return two_digits(value)


def enumeration(words: Sequence[str]) -> str:
    """Return words as an enumeration: a; a and b; a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def markdown_text(text: str) -> str:
    """`text` as Markdown shows it, on one line: what would be markup, a cell's end or HTML is
    escaped."""
    line = " ".join(text.split("\n")).replace("\r", " ")
    line = re.sub(r"[\\`*_|]|\](?=\()", r"\\\g<0>", line)
    return line.replace("&", "&amp;").replace("<", "&lt;")


def markdown_code(text: str) -> list[str]:
    """The lines of a code block, whatever backticks `text` holds."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]


def markdown_rows(heads: Iterable[str], rows: Iterable[tuple[Any, Iterable[str]]]) -> list[str]:
    """Return the lines of a Markdown table.

    Parameters
    ----------
    heads
        The headings of all columns but the first, as Markdown.
    rows
        Each row's first cell, a text whose spaces become no-break spaces, and its other cells, as
        Markdown.
    """
    heads = list(heads)
    lines = [f"| | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    for first, cells in rows:
        nowrap = markdown_text(str(first)).replace(" ", "\u00a0")
        lines.append(f"| {nowrap} | {' | '.join(cells)} |")
    return lines


_FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet takes for a formula."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a CSV file; floats have six significant digits, missing values and NaN are empty.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """

    def text(value: Any) -> Any:
        if isinstance(value, float):
            return "" if math.isnan(value) else f"{value:.6g}"
        if isinstance(value, str) and value.lstrip().startswith(_FORMULA):
            return f"'{value}"
        return value

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([text(row.get(column)) for column in columns] for row in rows)
    return file.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "×": r"$\times$",
    "−": "$-$",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "[": "{[}",
    "]": "{]}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "\r": " ",
}


def latex_text(text: str) -> str:
    """Return `text` with the special characters of LaTeX escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex_table(caption: str, label: str, columns: str, body: Sequence[str], note: str = "") -> str:
    """Return a LaTeX table with the rules of `booktabs`.

    Parameters
    ----------
    caption, note
        LaTeX; the note goes below the table.
    label
        The part of the label after "tab:".
    columns
        The argument of `tabular`.
    body
        The lines between the top and the bottom rule.
    """
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *([note] if note else []),
            r"\end{table}",
            "",
        ]
    )
