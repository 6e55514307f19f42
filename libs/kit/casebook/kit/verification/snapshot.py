"""How a verification reads tables: exactly what stands there, whatever a hand put in.

JSON columns come as canonical bytes, because in Python 1, 1.0 and true are equal; moments that
no calendar has come as numbers instead of an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from casebook.kit.verification.progress import Progress

if TYPE_CHECKING:
    import asyncpg

Snapshot: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Values: TypeAlias = tuple[Any, ...]

ROWS_AT_A_TIME = 5_000
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


async def prepare(snapshot: Snapshot) -> None:
    """Let the connection read exact values."""
    await snapshot.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=_stored_json)
    await snapshot.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=tuple, decoder=_stored_moment
    )


def canonical(value: object) -> bytes | None:
    """Return a JSON value as bytes that are equal only for the same value."""
    return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _stored_json(text: str) -> bytes:
    """Return a JSON column as :func:`canonical` does."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    except ValueError:  # a number or a depth that only PostgreSQL can hold
        return text.encode()


def _stored_moment(stored: tuple[int]) -> datetime | int:
    """Return a moment; of one beyond the calendar the microseconds since 2000."""
    try:
        return _EPOCH + timedelta(microseconds=stored[0])
    except OverflowError:
        return stored[0]


class Feed:
    """The rows of a statement in the order of their column ``partition``, part by part."""

    def __init__(self, snapshot: Snapshot, statement: str, progress: Progress) -> None:
        self._snapshot = snapshot
        self._statement = statement
        self._progress = progress
        self._cursor: Any = None
        self._ahead: list[Any] = []

    async def take(self, partition: int | None) -> list[Any]:
        """Return the rows up to the end of a partition; with ``None`` all that are left."""
        if self._cursor is None:
            self._cursor = await self._snapshot.cursor(self._statement)
        taken: list[Any] = []
        while True:
            if not self._ahead:
                self._ahead = await self._cursor.fetch(ROWS_AT_A_TIME)
                self._progress.done(len(self._ahead))
            if not self._ahead:
                return taken
            end = len(self._ahead)
            if partition is not None and self._ahead[-1]["partition"] > partition:
                end = next(i for i, r in enumerate(self._ahead) if r["partition"] > partition)
            taken += self._ahead[:end]
            self._ahead = self._ahead[end:]
            if self._ahead:
                return taken


def differences(
    columns: Sequence[str], found: Mapping[Any, Values], wanted: Mapping[Any, Values]
) -> Iterable[tuple[Any, str, str]]:
    """Yield key, column and reason of every difference between two tables."""
    for key, values in found.items():
        if key not in wanted:
            yield key, "", "the row does not follow from the log"
        elif values != wanted[key]:
            for column, value, right in zip(columns, values, wanted[key], strict=True):
                if value != right:
                    yield key, column, "differs from the fold of the log"
    for key in wanted:
        if key not in found:
            yield key, "", "the row is missing"
