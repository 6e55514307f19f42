"""Many open requests for a list, appended as submissions are; and the query that lists them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casebook.intake.api import statements
from casebook.intake.domain import lifecycle
from casebook.intake.policy import POLICY, READ
from casebook.intake.service import SERVICE
from casebook.kit.access.identity import Principal
from casebook.kit.clock import SystemClock
from casebook.kit.ids import new_id
from casebook.kit.keys import KeyRing
from casebook.kit.postgres.database import Database, compiled
from casebook.kit.store.store import Cause, Store

REQUESTS_A_TRANSACTION = 100


async def fill(dsn: str, master_key: Path, count: int, submission: Mapping[str, Any]) -> None:
    """Append so many submissions to the store of intake."""
    database = Database(dsn, SERVICE.name, http=1, background=1)
    store = Store(SERVICE, SystemClock(), KeyRing(SERVICE.name, master_key))
    await database.open()
    try:
        for first in range(0, count, REQUESTS_A_TRANSACTION):
            numbers = range(first, min(first + REQUESTS_A_TRANSACTION, count))
            await _submit(database, store, numbers, submission)
    finally:
        await database.close()


async def _submit(
    database: Database, store: Store, numbers: range, submission: Mapping[str, Any]
) -> None:
    """Append some submissions in one transaction."""
    cases = {str(new_id()): number for number in numbers}
    async with database.transaction() as connection:
        await store.keys.ensure(connection, cases)
        work = store.begin(connection)
        await work.lock([f"request/{case}" for case in cases])
        for case, number in cases.items():
            stream = f"request/{case}"
            events = lifecycle.submit(
                work.head(stream).state,
                number=f"BENCH{number:07d}", requester="bench", organisation="acme", **submission,
            )  # fmt: skip
            await work.append(stream, case, events, Cause(actor="user:bench"))
        await work.flush()


def list_query(limit: int) -> dict[str, Any]:
    """Return the statement of the first page of open requests as an administrator sees it."""
    who = Principal("bench", frozenset({"admin"}), "acme")
    filters = {"status": "open", "priority": None, "kind": None, "organisation": None}
    sql, arguments = compiled(
        statements.requests(
            POLICY.predicate(who, READ, statements.ACCESS),
            filters=filters, team=None, after=None, limit=limit + 1,
        )
    )  # fmt: skip
    return {"sql": sql, "arguments": arguments}
