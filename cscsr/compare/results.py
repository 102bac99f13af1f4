"""The results database: every scored image is one row of `results.sqlite`.

A row is found again by what determines its figures (solver, parameters, version and
weights; the input's pixels; scale and protocol), so a result that would come out the same
is never computed twice, and a changed solver is run again. Each row is a transaction of
its own: a run that is killed loses at most the image it was working on. What a run set out
to do is stored too, and so are the showcase pictures and the figures that were drawn beside
the tables, so that every table and the page can be made from this file alone.

The file keeps SQLite's rollback journal rather than a write-ahead log: there is one writer
at a time and few rows a second, and the database stays a single file that can be copied.

Needs the standard library; pandas only to read frames.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cscsr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "results.sqlite"

SCORED = "scored"
UNSUPPORTED = "unsupported"
FAILED = "failed"

_APPLICATION_ID = 0x43534352  # "CSCR": tells this toolkit's databases from others
_SCHEMA_VERSION = 2


def canonical(values: Mapping[str, Any]) -> str:
    """`values` as JSON text that is equal for equal values: keys sorted, other objects by
    their repr."""
    return json.dumps(dict(values), sort_keys=True, default=repr)


@dataclass(frozen=True)
class Key:
    """What determines a result.

    params: the solver's parameters as `canonical` text.
    weights_sha256: "" for a solver without trained parameters.
    input_sha256: of the true image's pixels.
    protocol: the line of the paper's tables that was followed, "y" or "rgb".
    degradation: what was done to the low-resolution image, such as "noise:5"; "" for nothing.
    """

    solver: str
    params: str
    solver_version: str
    weights_sha256: str
    input_sha256: str
    scale: int
    protocol: str
    degradation: str = ""


@dataclass(frozen=True)
class Row:
    """One image, one solver, one scale: the figures and how they came about.

    outcome: `SCORED`; `UNSUPPORTED` or `FAILED`, with the reason in `message` and no
    figures, in which case the next run tries again.
    seconds, prepare_seconds: the solver's own time for this image, and for what it does once.
    status: how the solve ended (`cscsr.Status`).
    operations: multiply-adds of the solve (`cscsr.Solver.operations`).
    memory_mb: the process's peak resident memory during the solve where the system tells,
    on a GPU that of the device.
    run: the number of the run that computed it; its command is `Results.command(run)`.
    """

    key: Key
    dataset: str
    image: str
    outcome: str
    psnr_db: float | None = None
    ssim: float | None = None
    seconds: float | None = None
    prepare_seconds: float | None = None
    iterations: int | None = None
    operations: float | None = None
    status: str = ""
    message: str = ""
    device: str = ""
    threads: int | None = None
    precision: str = ""
    memory_mb: float | None = None
    machine: str = ""
    code_version: str = ""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    run: int | None = None


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn beside the tables, as it is kept with them.

    name: its files' without the suffix, such as "fig5". png: the picture. csv: the numbers it
    was drawn from, or "". origin: where the files came from, if not from the run.
    """

    name: str
    png: bytes
    csv: str = ""
    origin: str = ""


Box = tuple[int, int, int, int]
"""Part of an image: top row, left column, height, width, in pixels."""


def truth_key(input_sha256: str, scale: int) -> Key:
    """The key under which the true luma of an image is kept beside its estimates."""
    return Key("truth", "", "", "", input_sha256, scale, "")


_KEY = [f.name for f in fields(Key)]
_VALUES = [f.name for f in fields(Row) if f.name != "key"]
_COLUMNS = [*_KEY, *_VALUES]
_NUMBERS = ["psnr_db", "ssim", "seconds", "prepare_seconds", "iterations", "operations"]
_NUMBERS += ["threads", "memory_mb", "run"]

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS results (
    solver TEXT NOT NULL,
    params TEXT NOT NULL,
    solver_version TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    input_sha256 TEXT NOT NULL,
    scale INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    degradation TEXT NOT NULL DEFAULT '',
    dataset TEXT NOT NULL,
    image TEXT NOT NULL,
    outcome TEXT NOT NULL,
    psnr_db REAL,
    ssim REAL,
    seconds REAL,
    prepare_seconds REAL,
    iterations INTEGER,
    operations REAL,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    device TEXT NOT NULL,
    threads INTEGER,
    precision TEXT NOT NULL,
    memory_mb REAL,
    machine TEXT NOT NULL,
    code_version TEXT NOT NULL,
    time TEXT NOT NULL,
    run INTEGER,
    PRIMARY KEY ({", ".join(_KEY)}, dataset, image)
);
CREATE TABLE IF NOT EXISTS pictures (
    solver TEXT NOT NULL,
    params TEXT NOT NULL,
    solver_version TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    input_sha256 TEXT NOT NULL,
    scale INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    degradation TEXT NOT NULL,
    box TEXT NOT NULL,
    png BLOB NOT NULL,
    PRIMARY KEY ({", ".join(_KEY)})
);
CREATE TABLE IF NOT EXISTS figures (
    name TEXT PRIMARY KEY,
    png BLOB NOT NULL,
    csv TEXT NOT NULL,
    origin TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    machine TEXT NOT NULL,
    plan TEXT NOT NULL,
    started TEXT NOT NULL,
    finished TEXT
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""


class Results:
    """An open results database, to be used in a `with` statement.

    path: the file; made when it is not there. create: False to read only: there must be a
    database then, whose contents cannot be changed, and one of an earlier version is brought up
    to date in memory. A file that is not a results database, or is damaged, is refused with an
    InputError and left as it is.
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
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
        with self._explained():
            self._connection = sqlite3.connect(self.path, timeout=30)
        try:
            self._check(create)
        except InputError:
            self.close()
            raise

    def _check(self, create: bool) -> None:
        """Raise InputError unless the file is a sound results database; make one in an empty file.

        Where a database is only to be read, SQLite refuses to write, save to undo what a run that
        was killed left half done.
        """
        with self._explained():
            if not create:
                self._connection.execute("PRAGMA query_only = ON")
            tables = self._fetch("SELECT count(*) FROM sqlite_master")[0][0]
            if tables == 0 and not create:
                raise InputError(f"the results database {self.path} holds no run yet.")
            if tables == 0:
                self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            application = self._fetch("PRAGMA application_id")[0][0]
            damage = self._fetch("PRAGMA quick_check(1)")[0][0]
            version = self._fetch("PRAGMA user_version")[0][0]
        if application != _APPLICATION_ID:
            raise InputError(
                f"expected a results database of this toolkit at {self.path}, but the file is "
                "another program's database; it was left as it is, so name another folder."
            )
        if version != _SCHEMA_VERSION:
            raise InputError(
                f"expected a results database of version {_SCHEMA_VERSION} at {self.path}, got "
                f"version {version}; it was left as it is, so name another folder."
            )
        if damage != "ok":
            raise InputError(
                f"the results database {self.path} is damaged ({damage}); it was left as it is, "
                "so move it away or name another folder."
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors about the file become sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(
                f"the results database {self.path} cannot be used ({error}); "
                "is another run writing to it, or the folder read-only?"
            ) from None
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"expected a results database at {self.path}, but it cannot be read ({error}); "
                "it was left as it is, so move it away or name another folder."
            ) from None

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def _fetch(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _write(self, query: str, values: tuple[Any, ...]) -> int:
        with self._explained(), self._connection:
            return self._connection.execute(query, values).lastrowid or 0

    def find(self, key: Key, dataset: str, image: str) -> Row | None:
        """The scored row of `key`, or None if it has yet to be computed.

        A result of the same pixels under another data set's or image's name is returned as it is
        stored, with that name, where there is none under this one. Nothing is written.
        """
        condition = " AND ".join(f"{name} = ?" for name in _KEY)
        with self._explained():
            rows = self._fetch(
                f"SELECT {', '.join(_VALUES)} FROM results WHERE {condition} AND outcome = ? "
                "ORDER BY dataset = ? AND image = ? DESC LIMIT 1",
                (*astuple(key), SCORED, dataset, image),
            )
        return Row(key, **dict(zip(_VALUES, rows[0], strict=True))) if rows else None

    def add(self, row: Row) -> None:
        """Store `row` in a transaction of its own, in the place of an earlier one of its key."""
        values = {**asdict(row.key), **{name: getattr(row, name) for name in _VALUES}}
        self._write(
            f"INSERT OR REPLACE INTO results ({', '.join(_COLUMNS)}) "
            f"VALUES ({', '.join('?' * len(_COLUMNS))})",
            tuple(values[name] for name in _COLUMNS),
        )

    def add_picture(self, key: Key, box: Box, png: bytes) -> None:
        """Keep the part `box` of what `key` describes: of an estimate's luma, or of the truth's
        (`truth_key`). It takes the place of an earlier one."""
        self._write(
            f"INSERT OR REPLACE INTO pictures ({', '.join(_KEY)}, box, png) "
            f"VALUES ({', '.join('?' * len(_KEY))}, ?, ?)",
            (*astuple(key), json.dumps(box), png),
        )

    def picture(self, key: Key, box: Box) -> bytes | None:
        """The PNG of `key` and `box`, or None if it has yet to be made."""
        condition = " AND ".join(f"{name} = ?" for name in _KEY)
        with self._explained():
            found = self._fetch(
                f"SELECT png FROM pictures WHERE {condition} AND box = ?",
                (*astuple(key), json.dumps(box)),
            )
        return found[0][0] if found else None

    def add_figure(self, figure: Figure) -> None:
        """Keep a figure, in the place of an earlier one of its name."""
        self._write(
            "INSERT OR REPLACE INTO figures (name, png, csv, origin) VALUES (?, ?, ?, ?)",
            astuple(figure),
        )

    def figures(self) -> dict[str, Figure]:
        """The figures that are kept, by name."""
        with self._explained():
            rows = self._fetch("SELECT name, png, csv, origin FROM figures ORDER BY name")
        return {row[0]: Figure(*row) for row in rows}

    def start_run(self, command: str, machine: Mapping[str, Any], plan: Mapping[str, Any]) -> int:
        """Record what a run sets out to do; returns its number."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return self._write(
            "INSERT INTO runs (command, machine, plan, started) VALUES (?, ?, ?, ?)",
            (command, json.dumps(machine), json.dumps(plan), started),
        )

    def finish_run(self, run: int) -> None:
        """Note that the run came to its end."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self._write("UPDATE runs SET finished = ? WHERE run = ?", (finished, run))

    def commands(self) -> dict[int, str]:
        """The command of each run, by its number."""
        with self._explained():
            return dict(self._fetch("SELECT run, command FROM runs"))

    def latest_run(self) -> dict[str, Any]:
        """The newest run: `run`, `command`, `machine`, `plan`, `started`, `finished` (None if
        it was cut off). Raises InputError if there is none."""
        names = ["run", "command", "machine", "plan", "started", "finished"]
        with self._explained():
            found = self._fetch(f"SELECT {', '.join(names)} FROM runs ORDER BY run DESC LIMIT 1")
        if not found:
            raise InputError(f"the results database {self.path} holds no run yet.")
        run = dict(zip(names, found[0], strict=True))
        return {**run, "machine": json.loads(run["machine"]), "plan": json.loads(run["plan"])}

    def frame(self) -> pd.DataFrame:
        """All rows as a DataFrame: the columns of `Key`, then those of `Row`."""
        import pandas as pd

        with self._explained():
            rows = self._fetch(f"SELECT {', '.join(_COLUMNS)} FROM results ORDER BY rowid")
        frame = pd.DataFrame(rows, columns=_COLUMNS)
        return frame.astype({"scale": int} | dict.fromkeys(_NUMBERS, float))


def read_results(path: str | Path) -> pd.DataFrame:
    """The rows of the results database at `path` as a DataFrame. Raises InputError if there
    is no such file or it is no results database."""
    with Results(path, create=False) as results:
        return results.frame()
