"""The tables of the results database, their types, and the statements that write their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from functools import cache

from cscsr.compare.records import SCORED, Key, Row

APPLICATION_ID = 0x43534352  # "CSCR": tells this toolkit's databases from others

SCHEMA_VERSION = 3

KEY_FIELDS = [f.name for f in fields(Key)]

VALUES = [f.name for f in fields(Row) if f.name not in ("key", "scores")]

IS_KEY = " AND ".join(f"{name} = ?" for name in KEY_FIELDS)

_KEY_COLUMNS = """
    solver TEXT NOT NULL,
    params TEXT NOT NULL,
    solver_version TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    input_sha256 TEXT NOT NULL,
    scale INTEGER NOT NULL,
    line TEXT NOT NULL,
    degradation TEXT NOT NULL"""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS results ({_KEY_COLUMNS},
    dataset TEXT NOT NULL,
    image TEXT NOT NULL,
    outcome TEXT NOT NULL,
    seconds REAL,
    prepare_seconds REAL,
    processor_seconds REAL,
    load REAL,
    busy INTEGER,
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
    PRIMARY KEY ({", ".join(KEY_FIELDS)}, dataset, image)
);
CREATE TABLE IF NOT EXISTS scores ({_KEY_COLUMNS},
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY ({", ".join(KEY_FIELDS)}, metric)
);
CREATE TABLE IF NOT EXISTS pictures ({_KEY_COLUMNS},
    box TEXT NOT NULL,
    png BLOB NOT NULL,
    PRIMARY KEY ({", ".join(KEY_FIELDS)})
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
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
"""What a new file gets. Two runs may both find it new: the second finds the tables of the first."""

CLAIMS = f"""
CREATE TABLE IF NOT EXISTS claims ({_KEY_COLUMNS},
    run INTEGER NOT NULL,
    PRIMARY KEY ({", ".join(KEY_FIELDS)})
);
CREATE TABLE IF NOT EXISTS owners (
    run INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    heartbeat REAL NOT NULL
);
"""
"""Tables of the runs that are at work (`cscsr.compare.claims`). They hold no results, and are made
where an earlier release has not."""

LATER_COLUMNS = ("processor_seconds", "load", "busy")
"""Columns of `results` that files of earlier releases lack. A run adds them; for a reader their
values are missing."""

STORED_AS = {
    "TEXT": "('text', 'null')",
    "BLOB": "('blob', 'null')",
    "INTEGER": "('integer', 'real', 'null')",
    "REAL": "('integer', 'real', 'null')",
}
"""The types of the values that a column of each declared type may hold."""

IN_WORDS = {"TEXT": "text", "BLOB": "bytes", "INTEGER": "numbers", "REAL": "numbers"}


@cache
def column_types() -> dict[str, dict[str, str]]:
    """The declared types of the columns of each table."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            table: {
                column[1]: column[2]
                for column in connection.execute(f"PRAGMA table_info({table})").fetchall()
            }
            for (table,) in tables.fetchall()
        }


def insert(table: str, columns: Sequence[str]) -> str:
    """The statement that inserts a row into a table, or replaces the row with its key."""
    marks = ", ".join("?" * len(columns))
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})"


INSERT_ROW = (
    insert("results", [*KEY_FIELDS, *VALUES]).replace(" OR REPLACE", "")
    + f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in VALUES)} "
    + f"WHERE excluded.outcome = '{SCORED}' OR results.outcome != '{SCORED}'"
)

INSERT_SCORE = insert("scores", [*KEY_FIELDS, "metric", "value"])

INSERT_PICTURE = insert("pictures", [*KEY_FIELDS, "box", "png"])
