"""How an endpoint reads: always through the scope of its operation (reliability §1.1).

There is no unscoped getter. Lists and counts are filtered in the query; a single read outside
the scope looks exactly like one of something that does not exist.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
from fastapi import Request
from sqlalchemy import ColumnElement
from sqlalchemy.sql import ClauseElement

from casebook.events.catalog import family_of
from casebook.events.decoding import decode
from casebook.events.envelope import Envelope
from casebook.kit import metrics
from casebook.kit.access.belonging import access_of
from casebook.kit.access.identity import Principal
from casebook.kit.access.policy import AccessColumns, concerns
from casebook.kit.bookkeeping.cases import Case, load_case, slot
from casebook.kit.bookkeeping.checkpoints import LIVE
from casebook.kit.bookkeeping.parking import parked_keys
from casebook.kit.decider import Access, SealedText
from casebook.kit.http.problems import Problem, rebuilding
from casebook.kit.postgres.database import SWAPPED, Connection, fetch

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

MINIMUM_VERSION = "casebook-min-version"
Result = TypeVar("Result")
Rows: TypeAlias = Sequence[Mapping[str, Any]]
Fetch: TypeAlias = Callable[[ClauseElement], Awaitable[Rows]]

_VERSION = re.compile(r"([a-z0-9][a-z0-9/-]{0,60}/[^@\s/]{1,200})@([1-9][0-9]{0,8})")
_CASE_OF = "SELECT case_key, state::text FROM streams WHERE stream = $1"
_NOT_FOUND = "there is no such resource, or you may not see it"


class Queries:
    """Reads for one operation of one principal."""

    runtime: "Runtime"
    request: Request
    principal: Principal
    operation: str

    async def fetch(self, statement: ClauseElement) -> Rows:
        """Run a SELECT and return its rows; the caller has put :meth:`scope` into it."""
        return await self._read(lambda connection: fetch(connection, statement))

    async def fetch_at_once(self, read: Callable[[Fetch], Awaitable[Result]]) -> Result:
        """Let ``read`` run several SELECTs that all see the same moment; it may run twice."""

        async def at_once(connection: Connection) -> Result:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await read(partial(fetch, connection))

        return await self._read(at_once)

    async def _read(self, read: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Read with a connection, once more if a rebuild has just swapped a table.

        :raises Problem: 503 while a read model is being rebuilt for a new version.
        """
        async with self.runtime.database.http() as connection:
            try:
                try:
                    return await read(connection)
                except SWAPPED:
                    return await read(connection)
            except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError):
                raise rebuilding("this read model is being made anew") from None

    def scope(self, columns: AccessColumns) -> ColumnElement[bool]:
        """Return the condition that keeps the rows this operation may show to this principal."""
        return self.runtime.service.policy.predicate(self.principal, self.operation, columns)

    async def state(self, stream: str, as_of: datetime | None = None) -> tuple[int, Any]:
        """Return version and state of one of the service's streams, now or at a moment.

        :raises Problem: 404 when there is none, or not yet, or it may not be seen.
        """
        return await self._read(lambda connection: self._state(connection, stream, as_of))

    async def case(self, key: str) -> Case:
        """Return what the log says of a case.

        :raises Problem: 404 when nothing is known of it, or it may not be seen.
        """
        async with self.runtime.database.http() as connection:
            case = await load_case(connection, key)
        if not case.versions:
            raise Problem(404, "not-found", _NOT_FOUND)
        self.check(case.access())
        return case

    def check(self, access: Access) -> None:
        """Check that the operation's scope covers a case.

        :raises Problem: 404 when it may not be seen, 403 when only this may not be read.
        """
        verdict = self.runtime.service.policy.verdict(self.principal, self.operation, access)
        if verdict != "allow":
            metrics.AUTHZ_DENIED.labels(self.runtime.service.name, self.operation).inc()
        if verdict == "hide":
            raise Problem(404, "not-found", _NOT_FOUND)
        if verdict == "forbid":
            raise Problem(403, "forbidden", "you may see this, but not so")

    async def open(self, texts: Sequence[SealedText | None]) -> list[str | None]:
        """Return sealed texts as plain ones; ``None`` for what was erased or is unavailable."""
        return await self.runtime.open_texts(texts)

    async def wait_for_minimum_version(self) -> None:
        """Honour ``Casebook-Min-Version``: wait until this service has applied that version.

        :raises Problem: 400 when malformed, 409 for a parked case, 503 after two seconds.
        """
        match = _VERSION.fullmatch(self.request.headers[MINIMUM_VERSION])
        if match is None:
            raise Problem(400, "minimum-version-malformed", "expected <stream>@<version>")
        stream, version = match[1], int(match[2])
        applied = self.runtime.signals.applied.subscribe()
        try:
            async with asyncio.timeout(self.runtime.settings.minimum_version_seconds_max):
                while not await self._has(stream, version):
                    try:
                        async with asyncio.timeout(0.1):
                            await applied.wait()
                    except TimeoutError:
                        pass
                    applied.clear()
        except TimeoutError:
            raise Problem(
                503, "not-caught-up", "this service has not applied that version yet",
                headers={"Retry-After": "1"},
            ) from None  # fmt: skip
        finally:
            self.runtime.signals.applied.unsubscribe(applied)

    async def _has(self, stream: str, version: int) -> bool:
        """Say whether the reader has applied a version of what the principal may know of."""
        case, access, parked = await self._read(lambda connection: self._case(connection, stream))
        if not self._may_know(stream, access):
            return False
        applied = case.versions.get(slot(stream, case.key))
        if applied is not None and applied[0] >= version:
            return True
        if parked:
            raise Problem(409, "parked", "this case waits for an operator")
        return False

    async def _case(self, connection: Connection, stream: str) -> tuple[Case, Access, bool]:
        """Return the case of a stream, whose the stream is, and whether the case is parked."""
        key, row = stream.rpartition("/")[2], None
        if family_of(stream) in self.runtime.service.by_family:
            row = await connection.fetchrow(_CASE_OF, stream)
            key = key if row is None else row[0]
        case = await load_case(connection, key)
        access = case.access()
        if row is not None:
            state = self.runtime.store.load_state(stream, row[1])
            reading = f"{family_of(stream)}.read"
            access = await self._access(connection, stream, state, case, operation=reading)
        return case, access, bool(await parked_keys(connection, LIVE, [key]))

    async def _access(
        self, connection: Connection, stream: str, state: Any, case: Case, *, operation: str
    ) -> Access:
        """Return whose a stream of this service is, as far as an operation asks."""
        scopes = self.runtime.service.policy.scopes(self.principal, operation)
        return await access_of(self.runtime, connection, stream, state, case, scopes=scopes)

    def _may_know(self, stream: str, access: Access) -> bool:
        """Say whether the principal may learn that a stream exists.

        To whom it may not be shown, it is one that does not exist. A case of theirs may be shown,
        and one of this service to whoever may read its family; the raw log shows everything.
        """
        policy, who = self.runtime.service.policy, self.principal
        return (
            policy.allows(who, f"{family_of(stream)}.read", access)
            or policy.permits(who, "events.read")
            or concerns(who, access)
        )

    async def _state(
        self, connection: Connection, stream: str, as_of: datetime | None
    ) -> tuple[int, Any]:
        """Return version and state of a stream that the operation may show.

        :raises Problem: 404 when there is none, or not yet, or it may not be seen.
        """
        row = await connection.fetchrow(
            "SELECT version, case_key, state::text FROM streams WHERE stream = $1", stream
        )
        if row is None:
            raise Problem(404, "not-found", _NOT_FOUND)
        state = self.runtime.store.load_state(stream, row[2])
        case = await load_case(connection, row[1])
        self.check(await self._access(connection, stream, state, case, operation=self.operation))
        if as_of is None:
            return row[0], state
        return await self._state_at(connection, stream, as_of)

    async def _state_at(
        self, connection: Connection, stream: str, as_of: datetime
    ) -> tuple[int, Any]:
        """Fold the events of a stream that had happened by ``as_of``.

        :raises Problem: 404 when nothing had happened yet.
        """
        family = self.runtime.store.family(stream)
        version, state = 0, family.initial
        for row in await connection.fetch(
            "SELECT record FROM events WHERE stream = $1 ORDER BY version", stream
        ):
            envelope = Envelope.from_record(row[0])
            event = decode(envelope) if envelope.time <= as_of else None
            if event is not None:
                version, state = envelope.streamversion, family.evolve(state, event, envelope)
        if version == 0:
            raise Problem(404, "not-found", "it did not exist at that time")
        return version, state
