"""The results database: every scored image is one row of `results.sqlite`.

A `Key` determines a result: solver, parameters, version and weights; the input's pixels; scale,
line and degradation. A result with a known key is never computed again, and a changed solver has
another key. Each row, with its scores, is one transaction, so that a killed run loses at most the
image it was working on. The database also holds the plan of each run, the showcase pictures, and
the figures drawn beside the tables: all tables and the page can be made from this file alone.

The file keeps SQLite's rollback journal rather than a write-ahead log: there are few writers with
few rows per second, and the database stays a single file that can be copied. Several runs may
write to it at the same time and share the work (`cscsr.compare.claims`).

Needs the standard library; pandas only to read frames.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cscsr.compare.database import (
    APPLICATION_ID,
    CLAIMS,
    IN_WORDS,
    INSERT_PICTURE,
    INSERT_ROW,
    INSERT_SCORE,
    IS_KEY,
    KEY_FIELDS,
    LATER_COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    STORED_AS,
    VALUES,
    column_types,
    insert,
)
from cscsr.compare.records import SCORED, Box, Figure, Key, Row
from cscsr.errors import InputError, one_line
from cscsr.imaging.metrics import DEFAULT_METRICS, METRICS
from cscsr.schema import shown

if TYPE_CHECKING:
    import pandas as pd


_NUMBERS = [
    "seconds",
    "prepare_seconds",
    "processor_seconds",
    "load",
    "busy",
    "iterations",
    "operations",
    "threads",
    "memory_mb",
    "run",
]


def storable(value: Any) -> Any:
    """`value` without what SQLite refuses in a text: bytes of a file name that is not UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


class Results:
    """An open results database, to be used in a `with` statement.

    Parameters
    ----------
    path
        The file, which is created if it does not exist.
    create
        False: open an existing database, read-only.

    Raises
    ------
    InputError
        If the file is not a results database of this version, is damaged, or cannot be used. The
        file stays unchanged.
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
        self._lacking: frozenset[str] = frozenset()
        if not create and not self.path.is_file():
            raise InputError(
                f"expected a results database at {self.path}, but there is no such file."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"expected a folder to write in at {self.path.parent}: {error.strerror}."
            ) from None
        is_new = not self.path.exists()
        with self._explained():
            self._connection = sqlite3.connect(self.path, timeout=30)
        try:
            self._check(create)
        except InputError:
            self.close()
            if is_new and self.path.is_file() and self.path.stat().st_size == 0:
                self.path.unlink()
            raise

    def _check(self, create: bool) -> None:
        """Create the tables of a new file; refuse any file but a sound database of this kind."""
        with self._explained():
            if not create:
                # Unlike a read-only connection, this one undoes what a killed run left half done.
                self._connection.execute("PRAGMA query_only = ON")
            if self._fetch("SELECT count(*) FROM sqlite_master")[0][0] == 0:
                if not create:
                    raise InputError(f"the results database {self.path} holds no run yet.")
                self._create_tables()
            application = self._fetch("PRAGMA application_id")[0][0]
            damage = self._fetch("PRAGMA quick_check(1)")[0][0]
            version = self._fetch("PRAGMA user_version")[0][0]
        if application != APPLICATION_ID:
            raise InputError(
                f"expected a results database of this toolkit at {self.path}, but the file is "
                "another program's database; it was not changed, so name another folder."
            )
        if version != SCHEMA_VERSION:
            raise InputError(
                f"expected a results database of version {SCHEMA_VERSION} at {self.path}, got "
                f"version {version}; it was not changed, so name another folder."
            )
        if damage == "ok":
            self._lacking = self._lacking_columns()
            if create and self._lacking:
                self._add_columns()
            self._check_types()
            if create:
                with self._explained():
                    self._connection.executescript(f"BEGIN IMMEDIATE; {CLAIMS} COMMIT;")
        else:
            raise InputError(
                f"the results database {self.path} is damaged "
                f"({one_line(str(damage))}); it was not changed, so move it away or name another "
                "folder."
            )

    def _create_tables(self) -> None:
        """Create the tables, unless another run that started at the same time has done so."""
        with self.exclusive() as connection:
            if self._fetch("SELECT count(*) FROM sqlite_master")[0][0] == 0:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    connection.execute(statement)

    def _lacking_columns(self) -> frozenset[str]:
        """The columns that this file of an earlier release lacks."""
        present = {row[1] for row in self._fetch("PRAGMA table_info(results)")}
        return frozenset(LATER_COLUMNS) - present

    def _add_columns(self) -> None:
        """Add the columns that an earlier release did not have, unless another run has done so."""
        types = column_types()["results"]
        with self.exclusive() as connection:
            for name in sorted(self._lacking_columns()):
                connection.execute(f"ALTER TABLE results ADD COLUMN {name} {types[name]}")
        self._lacking = frozenset()

    def _values(self) -> str:
        """The columns of a row for a SELECT; those that the file lacks are null."""
        return ", ".join(f"NULL AS {name}" if name in self._lacking else name for name in VALUES)

    def _check_types(self) -> None:
        """Refuse a database with text where numbers belong, or the like: SQLite takes both."""
        for table, types in column_types().items():
            columns = {name: kind for name, kind in types.items() if name not in self._lacking}
            wrong = " OR ".join(
                f"typeof({name}) NOT IN {STORED_AS[kind]}" for name, kind in columns.items()
            )
            names = ", ".join(f"typeof({name}), {name}" for name in columns)
            rows = self._fetch(f"SELECT {names} FROM {table} WHERE {wrong} LIMIT 1")
            if rows:
                pairs = zip(columns.items(), rows[0][::2], rows[0][1::2], strict=True)
                (name, kind), value = next(
                    (column, value)
                    for column, stored, value in pairs
                    if f"'{stored}'" not in STORED_AS[column[1]]
                )
                raise InputError(
                    f"expected {IN_WORDS[kind]} as {name} in the results database {self.path}, "
                    f"got {shown(value)}; it was left as it is, so move it away or name another "
                    "folder."
                )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors about the file into sentences."""
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # a text, or an error's own
            code = getattr(error, "sqlite_errorcode", None)  # none of an error of Python's
            reason = one_line(str(error))
            if isinstance(error, sqlite3.OperationalError) and code is not None:
                if code == sqlite3.SQLITE_FULL:
                    advice = "the disk is full, and what was stored before is kept."
                else:
                    advice = "is another run writing to it, or the folder read-only or full?"
                raise InputError(
                    f"the results database {self.path} cannot be used ({reason}); {advice}"
                ) from None
            raise InputError(
                f"expected a results database at {self.path}, but it cannot be read ({reason}); it "
                "was not changed, so move it away or name another folder."
            ) from None

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which no other process writes."""
        with self._explained(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._explained():
            return self._connection.execute(query, [storable(v) for v in values]).fetchall()

    def _write(self, *statements: tuple[str, Sequence[Any]]) -> int:
        """Execute statements in one transaction; return the number of the last inserted row."""
        number = 0
        with self._explained(), self._connection:
            for statement, values in statements:
                texts = [storable(value) for value in values]
                number = self._connection.execute(statement, texts).lastrowid or 0
        return number

    def find(self, key: Key, dataset: str, image: str) -> Row | None:
        """Look up a scored row, without writing anything.

        Returns
        -------
        Row or None
            The row of `key` under this data set's and image's name; where there is none, a row of
            the same pixels under another name, with that name; None if there is neither.
        """
        rows = self._fetch(
            f"SELECT {self._values()} FROM results WHERE {IS_KEY} AND outcome = ? "
            "ORDER BY dataset = ? AND image = ? DESC LIMIT 1",
            (*astuple(key), SCORED, dataset, image),
        )
        if not rows:
            return None
        scores = self._fetch(f"SELECT metric, value FROM scores WHERE {IS_KEY}", astuple(key))
        return Row(key, scores=dict(scores), **dict(zip(VALUES, rows[0], strict=True)))

    def failure(self, key: Key, dataset: str, image: str) -> tuple[str, int | None] | None:
        """The message of a row that is not scored, and the run that it is of; None without one."""
        rows = self._fetch(
            f"SELECT message, run FROM results WHERE {IS_KEY} AND dataset = ? AND image = ? "
            "AND outcome != ?",
            (*astuple(key), dataset, image, SCORED),
        )
        return rows[0] if rows else None

    def add(self, row: Row) -> None:
        """Store a row and its scores in one transaction.

        The row replaces an earlier one with the same key and names, unless the earlier row is
        scored and this one is not. Stored scores by metrics that this row lacks stay.
        """
        key = astuple(row.key)
        scores = [(INSERT_SCORE, (*key, *score)) for score in row.scores.items()]
        self._write((INSERT_ROW, (*key, *(getattr(row, name) for name in VALUES))), *scores)

    def add_picture(self, key: Key, box: Box, png: bytes) -> None:
        """Store a part of an image, or replace an earlier one.

        Parameters
        ----------
        key
            The key of an estimate's luma or of the true luma (`truth_key`), or that of the colours
            beside it (`colour_key`).
        box, png
            The position of the part, and its pixels as a PNG file (colours: JPEG).
        """
        self._write((INSERT_PICTURE, (*astuple(key), json.dumps(box), png)))

    def picture(self, key: Key, box: Sequence[int]) -> bytes | None:
        """Return the stored PNG of `key` and `box`, or None."""
        rows = self._fetch(
            f"SELECT png FROM pictures WHERE {IS_KEY} AND box = ?",
            (*astuple(key), json.dumps(box)),
        )
        return rows[0][0] if rows else None

    def add_figure(self, figure: Figure) -> None:
        """Store a figure, or replace the figure of that name."""
        self._write((insert("figures", ["name", "png", "csv", "origin"]), astuple(figure)))

    def figures(self) -> dict[str, Figure]:
        """Return the stored figures by name."""
        rows = self._fetch("SELECT name, png, csv, origin FROM figures ORDER BY name")
        return {row[0]: Figure(*row) for row in rows}

    def start_run(self, command: str, machine: Mapping[str, Any], plan: Mapping[str, Any]) -> int:
        """Record the start of a run with its plan, and return its number."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        statement = "INSERT INTO runs (command, machine, plan, started) VALUES (?, ?, ?, ?)"
        return self._write((statement, (command, json.dumps(machine), json.dumps(plan), started)))

    def finish_run(self, run: int) -> None:
        """Record that the run is complete."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(("UPDATE runs SET finished = ? WHERE run = ?", (finished, run)))

    def commands(self) -> dict[int, str]:
        """Return the command of each run, by run number."""
        return dict(self._fetch("SELECT run, command FROM runs"))

    def latest_run(self) -> dict[str, Any]:
        """Return the newest run.

        Returns
        -------
        dict
            `run`, `command`, `machine`, `plan`, `started`, and `finished` (None if it was cut
            off).

        Raises
        ------
        InputError
            If the database holds no run.
        """
        names = ["run", "command", "machine", "plan", "started", "finished"]
        rows = self._fetch(f"SELECT {', '.join(names)} FROM runs ORDER BY run DESC LIMIT 1")
        if not rows:
            raise InputError(f"the results database {self.path} holds no run yet.")
        run = dict(zip(names, rows[0], strict=True))
        try:
            machine, plan = json.loads(run["machine"]), json.loads(run["plan"])
        except (TypeError, ValueError):
            machine = plan = None
        if not isinstance(machine, dict) or not isinstance(plan, dict):
            raise self._strange_run(run["run"])
        return {**run, "machine": machine, "plan": plan}

    def plans(self) -> dict[int, Any]:
        """Return the plan of each run by its number, the latest first; those that are no JSON are
        left out."""
        plans = {}
        for number, text in self._fetch("SELECT run, plan FROM runs ORDER BY run DESC"):
            with suppress(TypeError, ValueError):
                plans[number] = json.loads(text)
        return plans

    def _strange_run(self, number: int) -> InputError:
        """The error for a run whose record is none."""
        return InputError(
            f"the record of run {number} in the results database {self.path} cannot be read; the "
            "same command as before makes a new one."
        )

    def frame(self) -> pd.DataFrame:
        """Return all rows as a DataFrame.

        Returns
        -------
        pandas.DataFrame
            The columns of `Key`, then those of `Row`, with one column per metric instead of
            `scores`: first `DEFAULT_METRICS`, then all others in the database.
        """
        import pandas as pd

        frame = pd.DataFrame(
            self._fetch(
                f"SELECT {', '.join(KEY_FIELDS)}, {self._values()} FROM results ORDER BY rowid"
            ),
            columns=[*KEY_FIELDS, *VALUES],
        )
        scores: dict[str, dict[tuple[Any, ...], float]] = {name: {} for name in DEFAULT_METRICS}
        for *key, metric, value in self._fetch(
            f"SELECT {', '.join(KEY_FIELDS)}, metric, value FROM scores"
        ):
            scores.setdefault(metric, {})[tuple(key)] = value
        keys = list(frame[KEY_FIELDS].itertuples(index=False, name=None))
        scored = frame.outcome == SCORED
        for metric, values in scores.items():
            column = METRICS[metric].column if metric in METRICS else metric
            frame[column] = pd.Series(list(map(values.get, keys)), frame.index, float).where(scored)
        return frame.astype({"scale": int} | dict.fromkeys(_NUMBERS, float))


def read_results(path: str | Path) -> pd.DataFrame:
    """Return the rows of a results database, as `Results.frame` gives them.

    Raises
    ------
    InputError
        If there is no such file or it is not a results database.
    """
    with Results(path, create=False) as results:
        return results.frame()
