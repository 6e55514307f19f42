"""Changes that a hand could make in any table: a value, a row too few, a row too many.

Rows are read and written as JSON, so that this needs to know nothing of the tables.
"""

import json
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

KEYS = {
    "records": ("partition", "offset"),
    "partitions": ("partition",),
    "events": ("stream", "version"),
    "streams": ("stream",),
    "outbox": ("position",),
    "checkpoints": ("subscription", "partition"),
    "cases": ("key",),
    "members": ("agent",),
    "sources": ("source",),
    "projections": ("name",),
    "agent_load": ("agent",),
}

Row = dict[str, Any]
_FIRST = {"text": "无", "timestamptz": "infinity", "bool": True, "uuid": str(UUID(int=1))}
_TRIES_MAX = 40
_REFUSED = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)


class Table:
    """One table, inside a transaction that will be rolled back."""

    def __init__(self, connection: Any, name: str, columns: dict[str, tuple[str, bool]]) -> None:
        self._connection = connection
        self.name = name
        self.columns = columns
        self.service, _, self.short_name = name.partition(".")
        self.key = KEYS.get(self.short_name, (next(iter(columns)),))

    @classmethod
    async def of(cls, connection: Any, name: str) -> "Table":
        """Return a table with the types of its columns, and which may be null."""
        rows = await connection.fetch(
            """SELECT attname, typname, NOT attnotnull FROM pg_attribute
            JOIN pg_type t ON t.oid = atttypid
            WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
            name,
        )
        return cls(connection, name, {row[0]: (row[1], row[2]) for row in rows})

    def name_of(self, row: Row) -> str:
        """Return what a report calls a row."""
        separator = "@" if self.short_name == "events" else "/"
        return separator.join(str(row[column]) for column in self.key)

    async def rows(self) -> list[Row]:
        """Return all rows; under an empty name where each of them lies."""
        found = await self._connection.fetch(
            f"SELECT ctid::text, to_jsonb(t)::text FROM {self.name} t ORDER BY t"
        )
        return [{**json.loads(row[1]), "": row[0]} for row in found]

    async def delete(self, row: Row) -> None:
        """Delete a row."""
        await self._connection.execute(f"DELETE FROM {self.name} WHERE ctid = '{row['']}'")

    async def insert(self, row: Row) -> None:
        """Insert a row."""
        await self._connection.execute(
            f"INSERT INTO {self.name} OVERRIDING SYSTEM VALUE "
            f"SELECT (jsonb_populate_record(NULL::{self.name}, $1::text::jsonb)).*",
            json.dumps(row),
        )

    async def change(self, column: str, chance: random.Random) -> tuple[Row, Row]:
        """Change one column of a random row; return the row before and after."""
        kind, nullable = self.columns[column]
        rows = await self.rows()
        values = [row[column] for row in rows]
        for _ in range(_TRIES_MAX):
            row = chance.choice(rows)
            value = other(kind, row[column], values, chance)
            if nullable and row[column] is not None and chance.random() < 0.2:
                value = None
            changed = row | {column: value}
            try:
                async with self._connection.transaction():
                    await self.delete(row)
                    await self.insert(changed)
            except _REFUSED:
                continue
            return row, changed
        raise AssertionError(f"no other value for {self.name}.{column}")

    async def add(self, row: Row, chance: random.Random) -> Row:
        """Add a copy of a row under another key, and return it."""
        unique = ("id", "position") if self.short_name == "events" else ()
        for attempt in range(_TRIES_MAX):
            copy = dict(row)
            for column in (chance.choice(self.key), *unique):
                for _ in range(1 + attempt):
                    copy[column] = other(self.columns[column][0], copy[column], [], chance)
            try:
                async with self._connection.transaction():
                    await self.insert(copy)
            except _REFUSED:
                continue
            return copy
        raise AssertionError(f"no other key for {self.name}")


def other(kind: str, value: Any, others: list[Any], chance: random.Random) -> Any:
    """Return another value of a column's type: one of another row, or a near one."""
    candidates = [other for other in others if other is not None and other != value]
    if candidates and (value is None or chance.random() < 0.4):
        return chance.choice(candidates)
    if value is None:
        return _FIRST.get(kind, 0)
    match kind:
        case "uuid":
            value = str(UUID(int=chance.getrandbits(128)))
        case "bytea":
            value = "\\x" + bytes([int(value[2:4], 16) ^ 1]).hex() + value[4:]
        case "timestamptz":
            step = chance.choice((timedelta(microseconds=1), timedelta(days=-400)))
            value = str(datetime.fromisoformat(value) + step)
        case "bool":
            value = not value
        case "int2" | "int4" | "int8":
            value += chance.choice((-1, 1, 2, 1000))
        case _:
            value = altered(value, chance)
    return value


def altered(value: Any, chance: random.Random) -> Any:
    """Return another JSON value: something in it changed, its type too, or something added."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return chance.choice((value + 1, float(value)))
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(sorted(value))
        return value | {name: altered(value[name], chance)}
    if isinstance(value, dict):
        return value | {"x": None}
    if isinstance(value, list):
        return [*value, None]
    return 0 if value is None else f"{value}x"
