"""Curves as CSV files that say in every row what they were made with.

A figure is drawn from such a file, and the file is made again only when its settings change.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cscsr.errors import InputError
from cscsr.output import write_bytes


def write_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows`, with the columns in the order in which rows first name them.

    A value that a row lacks is left empty. A path that ends in ``.gz`` is compressed. An existing
    file is replaced only when the new one is complete.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, compressed or not; none if there is no file.

    Raises InputError for a file of another kind, and for a folder.
    """
    if not path.exists():
        return []
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}.") from error


def digest(value: Mapping[str, Any]) -> str:
    """A digest of settings that JSON can hold, by which rows of other settings are told apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def made_with(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `path` is a file of curves that was made with `settings`."""
    rows = read_curves(path)
    return bool(rows) and all(rows[0].get(name) == str(value) for name, value in settings.items())
