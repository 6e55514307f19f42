"""Read models fed by the log: a table, the events it handles, and a pure fold of one row.

A projection is batch-first: the rows of a batch are loaded in one query, folded in memory in
log order, and written in one bulk upsert. Rows of different keys never depend on each other;
joins happen when somebody reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from casebook.events.event import Event
from casebook.kit.decider import Fact
from casebook.kit.postgres.database import Connection

Row = dict[str, Any]

_SQL_TYPES: tuple[tuple[type[Any], str], ...] = (
    (JSONB, "jsonb"),
    (Uuid, "uuid"),
    (BigInteger, "bigint"),
    (Integer, "integer"),
    (Boolean, "boolean"),
    (DateTime, "timestamptz"),
    (Text, "text"),
)


class Projection(ABC):
    """One read model. Subclasses declare the class attributes and the fold.

    ``table`` is how queries see it: a view over the table of the active generation. Its first
    column is the key. ``indexes`` are column lists such as ``"team, status"``.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    table: ClassVar[Table]
    handles: ClassVar[tuple[type[Event], ...]]
    indexes: ClassVar[tuple[str, ...]] = ()

    def key(self, fact: Fact) -> Any | None:
        """Return the key of the row that a fact belongs to; ``None`` to ignore the fact."""
        column = next(iter(self.table.columns))
        return UUID(fact.case) if isinstance(column.type, Uuid) else fact.case

    @abstractmethod
    def fold(self, row: Row | None, fact: Fact) -> Row | None:
        """Return the row after ``fact``; ``None`` leaves no row. Pure, and total.

        ``row`` is ``None`` when there is none yet. The returned dict has every column.
        """

    def physical(self, version: int, generation: int) -> str:
        """Return the name of the table that holds one generation."""
        return f"{self.name}_v{version}_{generation}"


def sql_type(column: "Column[Any]") -> str:
    """Return the PostgreSQL type of a column.

    :raises TypeError: for a type that projections do not use.
    """
    for kind, name in _SQL_TYPES:
        if isinstance(column.type, kind):
            return name
    raise TypeError(f"{column.name}: {column.type!r} is not a projection type")


class ProjectionTable:
    """Loads and writes the rows of one generation of a projection."""

    def __init__(self, projection: Projection, table: str) -> None:
        self.projection = projection
        self.table = table
        columns = list(projection.table.columns)
        self._key = columns[0].name
        self._names = [column.name for column in columns]
        self._json = {column.name for column in columns if sql_type(column) == "jsonb"}
        key_type = sql_type(columns[0])
        quoted = ", ".join(f'"{name}"' for name in self._names)
        self._select = f'SELECT {quoted} FROM "{table}" WHERE "{self._key}" = ANY($1::{key_type}[])'
        self._delete = f'DELETE FROM "{table}" WHERE "{self._key}" = ANY($1::{key_type}[])'
        arrays = ", ".join(
            f"${index}::{_array_type(column)}[]" for index, column in enumerate(columns, 1)
        )
        values = ", ".join(
            f'u."{column.name}"::jsonb' if column.name in self._json else f'u."{column.name}"'
            for column in columns
        )
        updates = ", ".join(f'"{name}" = excluded."{name}"' for name in self._names[1:])
        conflict = f"DO UPDATE SET {updates}" if updates else "DO NOTHING"
        self._upsert = (
            f'INSERT INTO "{table}" ({quoted}) SELECT {values} FROM unnest({arrays}) AS u({quoted})'
            f' ON CONFLICT ("{self._key}") {conflict}'
        )

    async def apply(self, connection: Connection, facts: Sequence[Fact]) -> int:
        """Fold ``facts``, in log order, into their rows; return how many rows changed."""
        keyed = [(self.projection.key(fact), fact) for fact in facts]
        keys = {key for key, _ in keyed if key is not None}
        if not keys:
            return 0
        before = await self.load(connection, keys)
        after: dict[Any, Row | None] = dict(before)
        for key, fact in keyed:
            if key is not None:
                after[key] = self.projection.fold(after.get(key), fact)
        changed = {key: row for key, row in after.items() if row is not before.get(key)}
        await self._write(connection, changed, before)
        return len(changed)

    async def load(self, connection: Connection, keys: Iterable[Any]) -> dict[Any, Row | None]:
        """Return the rows of ``keys`` by key."""
        rows = await connection.fetch(self._select, list(keys))
        return {row[0]: dict(row) for row in rows}

    async def _write(
        self, connection: Connection, changed: Mapping[Any, Row | None], before: Mapping[Any, Any]
    ) -> None:
        """Upsert the changed rows and delete those that the fold dropped."""
        gone = [key for key, row in changed.items() if row is None and before.get(key) is not None]
        if gone:
            await connection.execute(self._delete, gone)
        rows = [row for row in changed.values() if row is not None]
        if rows:
            await connection.execute(
                self._upsert,
                *(
                    [_json(row[name]) for row in rows]
                    if name in self._json
                    else [row[name] for row in rows]
                    for name in self._names
                ),
            )


def _array_type(column: "Column[Any]") -> str:
    """Return the element type of the array that carries a column: JSON travels as text."""
    name = sql_type(column)
    return "text" if name == "jsonb" else name


def _json(value: Any) -> str | None:
    """Return a JSON value as text."""
    return None if value is None else orjson.dumps(value).decode()
