"""Pieces of HTML that several sections of the page share.

Text from outside (names, messages, commands) is escaped with `escaped`.
"""

from __future__ import annotations

import base64
import html
import math
from typing import Any

from cscsr.compare.page.sources import Sources
from cscsr.compare.summary import Mean, Place


def escaped(text: Any) -> str:
    """Return `text` escaped for HTML."""
    return html.escape(str(text))


def place_id(place: Place) -> str:
    """Return the identifier of a place in the page and in its URL."""
    return "/".join(map(str, place)).rstrip("/")


def source_button(sources: Sources, mean: Mean, text: str, kind: str = "cell") -> str:
    """Return a button that shows where a mean came from."""
    return (
        f'<button type="button" class="{kind}" data-source="{sources.number(mean)}" '
        f'aria-haspopup="dialog">{text}</button>'
    )


def sortable_head(text: str, column: int, kind: str = "number", pressed: str = "none") -> str:
    """Return a heading that sorts its table by a column of numbers or texts."""
    return (
        f'<th scope="col" aria-sort="{pressed}"><button type="button" class="sort" '
        f'data-column="{column}" data-kind="{kind}">{text}</button></th>'
    )


def number_cell(value: float | None, text: str, attributes: str = "") -> str:
    """Return a table cell that sorts by a number."""
    shown = "" if value is None or not math.isfinite(value) else f"{value:.6g}"
    return f'<td data-value="{shown}"{attributes}>{text}</td>'


def data_address(media_type: str, content: bytes) -> str:
    """Return content as a data URL, so that the page needs no other file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
