"""Curves as CSV files that say in every row what they were made with.

A figure is drawn from such a file, and made again only when its settings change.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cscsr.errors import InputError


def write_curves(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` under the heads `columns`; a value that a row lacks is left empty. A file
    that was there is replaced only when the new one is complete."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a file that `write_curves` has written; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def made_with(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `path` is a file of curves that was made with `settings`."""
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file), {})
    return all(first.get(name) == str(value) for name, value in settings.items())


def make_folder(out: str | Path) -> Path:
    """The folder `out`, made if need be. Raises InputError where it cannot be."""
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write into the folder {out}: {error.strerror}.") from error
    return out


def run_command(figure: Callable[..., list[Path]], options: dict[str, Any]) -> int:
    """Make a figure with a bar that says what is being done, and print its files.

    figure: called with `options` and ``report(what, done, total)``. Returns the exit code.
    """
    from tqdm import tqdm

    bar = tqdm(bar_format="{desc} {bar} {n_fmt}/{total_fmt} [{elapsed}]", leave=False)

    def report(what: str, done: int, total: int) -> None:
        bar.total, bar.n = total, done
        bar.set_description_str(what)

    try:
        paths = figure(**options, report=report)
    except InputError as error:
        bar.close()
        print(error, file=sys.stderr)
        return 2
    bar.close()
    for path in paths:
        print(path)
    return 0
