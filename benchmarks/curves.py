"""Curves as CSV files that say in every row what they were made with.

A figure is drawn from such a file, and made again only when its settings change.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_curves(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` under the heads `columns`; a value that a row lacks is left empty. A file
    that was there is replaced only when the new one is complete."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def made_with(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `path` is a file of curves that was made with `settings`."""
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file), {})
    return all(first.get(name) == str(value) for name, value in settings.items())
