"""The curve of a training run: a CSV file with a row for each evaluation, whole at any time."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from cscsr.errors import InputError
from cscsr.output import write_text
from cscsr.training.pace import Progress


def add_row(
    path: Path,
    progress: Progress,
    rate: float,
    losses: list[float],
    psnr: dict[str, dict[int, float]],
) -> None:
    """Add a row to the curve, which is whole at any time; in a column that earlier rows lack, these
    are empty."""
    row = {
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "done": round(progress.done, 5),
        "learning_rate": f"{rate:.3e}",
        "loss": f"{np.mean(losses):.6f}" if losses else "",
        **{
            f"{images}_psnr_db_x{scale}": f"{value:.4f}"
            for images, values in psnr.items()
            for scale, value in values.items()
        },
    }
    header, *earlier = read_rows(path) or [list(row)]
    new = [column for column in row if column not in header]
    columns = [*header, *new]
    rows = [[*values, *[""] * len(new)] for values in earlier]
    write_rows(path, [columns, *rows, [row.get(column, "") for column in columns]])


def cut(path: Path, step: int) -> None:
    """Remove the rows of a curve after `step`: a run killed between a row and its checkpoint writes
    that row again."""
    rows = read_rows(path)
    if not rows:
        return
    earlier = [row for row in rows[1:] if int(row[0]) <= step]
    if not earlier:
        path.unlink()
        return
    write_rows(path, [rows[0], *earlier])


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a curve, none if there is no file; a last one that was cut short is left out.

    Raises
    ------
    InputError
        For a file that cannot be read or is no curve.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"the curve {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_curve(path, "it is no CSV file") from error
    if not rows:
        return []
    if rows[0][:1] != ["step"]:
        raise _no_curve(path, "its first column is not step")
    if len(rows[-1]) != len(rows[0]):
        rows.pop()
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]) or not (row[0].isdecimal() and len(row[0]) < 16):
            raise _no_curve(path, f"line {number} is not like its first one")
    return rows


def _no_curve(path: Path, reason: str) -> InputError:
    return InputError(f"{path} should be the curve of a run, but {reason}: move it away.")


def write_rows(path: Path, rows: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())
