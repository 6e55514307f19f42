"""PostgreSQL's promises in memory: tables, transactions, row locks, savepoints, unique keys.

Isolation is READ COMMITTED: a statement sees what is committed and what its own transaction wrote.
A writer holds the lock of a row until its transaction ends; who wants the same row waits, and a
circle of waiters is a deadlock. What a statement means is in :mod:`tests.simulation.statements`.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    import asyncio

Key = Any
Row = Mapping[str, Any]
Waiting = Generator["Transaction", None, None]
"""A step that yields whom it waits for."""


class Layer:
    """What a transaction, or a savepoint in it, wrote and locked."""

    __slots__ = ("locks", "writes")

    def __init__(self) -> None:
        self.writes: dict[str, dict[Key, Any]] = {}
        self.locks: list[tuple[str, Key]] = []


class Schema:
    """The committed tables of one service."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tables: dict[str, dict[Key, Any]] = {}
        self.sequences: dict[str, int] = {}
        self.locks: dict[tuple[str, Key], Transaction] = {}
        self.commits = 0

    def copy(self) -> "Schema":
        """Return the same committed rows, without transactions; rows are never changed in place."""
        other = Schema(self.name)
        other.tables = {name: dict(rows) for name, rows in self.tables.items()}
        other.sequences = dict(self.sequences)
        return other

    def table(self, name: str) -> dict[Key, Any]:
        """Return the committed rows of a table."""
        rows = self.tables.get(name)
        if rows is None:
            rows = self.tables[name] = {}
        return rows

    def next(self, sequence: str) -> int:
        """Return the next value of a sequence; like PostgreSQL's, it never goes back."""
        value = self.sequences[sequence] = self.sequences.get(sequence, 0) + 1
        return value


class Transaction:
    """One transaction; ``layers`` are its own writes and those of its savepoints."""

    __slots__ = ("failed", "layers", "lock_timeout", "now", "over", "schema", "waiters", "waits")

    def __init__(self, schema: Schema, now: Any) -> None:
        self.schema = schema
        self.now = now
        self.layers = [Layer()]
        self.failed = False
        self.over = False
        self.lock_timeout: float | None = None
        self.waits: Transaction | None = None
        self.waiters: list[asyncio.Future[None]] = []

    # --- reading ----------------------------------------------------------------------------

    def get(self, table: str, key: Key) -> Any:
        """Return a row as this transaction sees it; ``None`` where there is none."""
        for layer in reversed(self.layers):
            written = layer.writes.get(table)
            if written is not None and key in written:
                return written[key]
        return self.schema.table(table).get(key)

    def rows(self, table: str) -> dict[Key, Any]:
        """Return all rows of a table as this transaction sees them."""
        base = self.schema.table(table)
        written = [layer.writes[table] for layer in self.layers if table in layer.writes]
        if not written:
            return base
        merged = dict(base)
        for writes in written:
            merged.update(writes)
        return {key: row for key, row in merged.items() if row is not None}

    def values(self, table: str) -> Iterator[Any]:
        """Return the rows without their keys."""
        return iter(self.rows(table).values())

    # --- writing ----------------------------------------------------------------------------

    def put(self, table: str, key: Key, row: Any) -> None:
        """Write a row whose lock is held; ``None`` deletes it."""
        writes = self.layers[-1].writes
        written = writes.get(table)
        if written is None:
            written = writes[table] = {}
        written[key] = row

    def hold(self, table: str, key: Key) -> Waiting:
        """Wait for the lock of a row, or of the place of a new one, and take it."""
        place = (table, key)
        locks = self.schema.locks
        while (owner := locks.get(place)) is not None and owner is not self:
            yield owner
        if owner is None:
            self.take(place)

    def take(self, place: tuple[str, Key]) -> None:
        """Take a lock that is free."""
        self.schema.locks[place] = self
        self.layers[-1].locks.append(place)

    def try_hold(self, table: str, key: Key) -> bool:
        """Take a lock if it is free; say whether it is held now."""
        owner = self.schema.locks.get((table, key))
        if owner is None:
            self.take((table, key))
        return owner is None or owner is self

    def claim(self, table: str, key: Key) -> Generator["Transaction", None, bool]:
        """Wait for whoever inserts the same key; say whether it can be inserted here."""
        if self.get(table, key) is not None:
            return False
        yield from self.hold(table, key)
        return self.get(table, key) is None

    def insert(self, table: str, key: Key, row: Any, constraint: str) -> Waiting:
        """Insert a row.

        :raises asyncpg.UniqueViolationError: where there is one already.
        """
        if not (yield from self.claim(table, key)):
            error = asyncpg.UniqueViolationError(f'duplicate key violates "{constraint}"')
            error.constraint_name = constraint
            raise error
        self.put(table, key, row)

    # --- ending -----------------------------------------------------------------------------

    def savepoint(self) -> None:
        """Begin a savepoint."""
        self.layers.append(Layer())

    def release(self) -> None:
        """Keep what was written since the last savepoint."""
        layer = self.layers.pop()
        outer = self.layers[-1]
        for table, writes in layer.writes.items():
            outer.writes.setdefault(table, {}).update(writes)
        outer.locks.extend(layer.locks)

    def rollback_to(self) -> None:
        """Undo what was written since the last savepoint, and free its locks."""
        self._free(self.layers.pop())
        self.failed = False

    def commit(self) -> None:
        """Make everything visible at once; an aborted transaction is rolled back, silently."""
        if self.over:
            return
        if not self.failed:
            schema = self.schema
            schema.commits += 1
            for layer in self.layers:
                for table, writes in layer.writes.items():
                    rows = schema.table(table)
                    for key, row in writes.items():
                        if row is None:
                            rows.pop(key, None)
                        else:
                            rows[key] = row
        self.rollback()

    def rollback(self) -> None:
        """End the transaction, and wake who waits for it."""
        if self.over:
            return
        self.over = True
        for layer in self.layers:
            self._free(layer)

    def _free(self, layer: Layer) -> None:
        locks = self.schema.locks
        for place in layer.locks:
            del locks[place]
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def deadlocked_by(self, owner: "Transaction") -> bool:
        """Say whether waiting for ``owner`` closes a circle."""
        seen: Transaction | None = owner
        while seen is not None:
            if seen is self:
                return True
            seen = seen.waits
        return False
