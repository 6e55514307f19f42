"""How a command runs over HTTP: one transaction from the idempotency key to the stored answer.

The order is that of ADR 0068: authentication, limits and role came before; here follow the
idempotency replay, scope, ``If-Match``, and the rule itself. Everything commits together
or not at all, so a retry finds either nothing or the whole result.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from casebook.kit import metrics
from casebook.kit.access.belonging import access_of
from casebook.kit.access.identity import Principal
from casebook.kit.bookkeeping.cases import load_case
from casebook.kit.decider import Access, Refused
from casebook.kit.failpoints import reach
from casebook.kit.http.idempotency import Idempotency
from casebook.kit.http.problems import Problem, rebuilding
from casebook.kit.ids import new_id
from casebook.kit.postgres.database import RACES, REBUILDING, Connection
from casebook.kit.store.store import Cause, Head, UnitOfWork
from casebook.kit.tracing import current_traceparent

if TYPE_CHECKING:
    from casebook.events.event import Event
    from casebook.kit.runtime import Runtime

Decide = Callable[[Any, datetime], list[Any]]
Respond = Callable[[str, int, Any], "BaseModel | Mapping[str, Any] | None"]
IF_MATCH = "if-match"
RETRIES_MAX = 3
ACT_SECONDS_MAX = 30


class Commands:
    """Runs commands of one operation for one principal."""

    def __init__(
        self, runtime: "Runtime", request: Request, principal: Principal, operation: str
    ) -> None:
        self.runtime = runtime
        self.request = request
        self.principal = principal
        self.operation = operation
        self.now = runtime.clock.now()

    def new_id(self) -> UUID:
        """Return an id for something new."""
        return new_id()

    async def next_number(self) -> int:
        """Return the next number of this service; numbers may have gaps, and never repeat."""
        async with self.runtime.database.http() as connection:
            return int(await connection.fetchval("SELECT nextval('numbers')"))

    async def run(
        self,
        stream: str,
        decide: Decide,
        *,
        respond: Respond | None = None,
        status: int = 200,
        creates: bool = False,
        replaces: bool = False,
        conditional: bool = True,
        case_key: str | None = None,
        access: Access | None = None,
    ) -> Response:
        """Decide about one stream and answer with its new version.

        ``creates`` allows a stream that does not exist yet and asks for no ``If-Match``; with
        ``replaces`` it asks for one to change a stream that does exist;
        ``conditional`` is False for commands that do not depend on what was seen (comments).
        ``access`` says who a new case belongs to. ``case_key`` is the log key where it is not
        the last part of the stream's name.

        :raises Problem: 404, 403, 412, 428, 409 with the rule's code, 422 for a reused key,
            503 while others hold the stream for long.
        """
        idempotency = await Idempotency.of(self.runtime, self.request, self.principal)
        for attempt in range(RETRIES_MAX + 1):
            try:
                return await self._attempt(
                    idempotency, stream, decide, respond, status,
                    creates=creates, replaces=replaces, conditional=conditional,
                    case_key=case_key or stream.rpartition("/")[2], access=access,
                )  # fmt: skip
            except asyncpg.LockNotAvailableError:
                raise Problem(
                    503, "busy", "others are changing this; try again", headers={"Retry-After": "1"}
                ) from None
            except REBUILDING:
                raise rebuilding("a read model is being made anew") from None
            except RACES:
                if attempt == RETRIES_MAX:
                    raise Problem(
                        409, "concurrent-change", "others were first; try again"
                    ) from None
        raise AssertionError("unreachable")

    async def act(self, work: Callable[[Connection], Awaitable[BaseModel]]) -> Response:
        """Do what is no command on a stream, once for an idempotency key, in one transaction.

        What ``work`` does outside of the transaction must be harmless when it is done again.

        :raises Problem: 409 while the first request is in flight, 422 for a reused key, 503 while
            others are in the way for long.
        """
        idempotency = await Idempotency.of(self.runtime, self.request, self.principal)
        try:
            async with self.runtime.database.http() as connection, connection.transaction():
                stored = await idempotency.begin(connection)
                if stored is not None:
                    return stored
                await connection.execute(f"SET LOCAL lock_timeout = '{ACT_SECONDS_MAX}s'")
                body = (await work(connection)).model_dump_json()
                response = Response(body, media_type="application/json")
                await idempotency.complete(connection, response)
        except RACES:
            raise Problem(
                503, "busy", "others are changing this; try again", headers={"Retry-After": "1"}
            ) from None
        return response

    async def _attempt(
        self,
        idempotency: Idempotency,
        stream: str,
        decide: Decide,
        respond: Respond | None,
        status: int,
        *,
        creates: bool,
        replaces: bool,
        conditional: bool,
        case_key: str,
        access: Access | None,
    ) -> Response:
        """Run the whole pipeline once, in one transaction."""
        async with self.runtime.database.http() as connection, connection.transaction():
            stored = await idempotency.begin(connection)
            if stored is not None:
                return stored
            work = self.runtime.store.begin(connection)
            await work.lock([stream])
            head = work.head(stream)
            await self._authorise(connection, head, head.case_key or case_key, access)
            if head.version == 0 and not creates:
                raise Problem(404, "not-found", "there is no such resource, or you may not see it")
            if (conditional and not creates) or (replaces and IF_MATCH in self.request.headers):
                self._check_if_match(head.version)
            await self._decide(work, head, decide, case_key, replaces=replaces)
            response = answer(head, respond, status)
            await idempotency.complete(connection, response)
        reach("after-commit")
        self.runtime.signals.outbox.set()
        self.runtime.signals.applied.set()
        return response

    async def _decide(
        self, work: UnitOfWork, head: Head, decide: Decide, case_key: str, *, replaces: bool
    ) -> None:
        """Apply the rule and append what it decides.

        :raises Problem: 409 with the rule's code, 428 for a replacement of what was not seen.
        """
        try:
            events: list[Event] = decide(head.state, self.now)
            if events:
                if replaces and head.version:
                    self._check_if_match(head.version)
                cause = Cause(
                    actor=f"user:{self.principal.subject}",
                    traceparent=current_traceparent(),
                    time=self.now,
                )
                await work.append(head.stream, case_key, events, cause)
        except Refused as refused:
            raise Problem(409, refused.code, refused.detail) from refused
        await work.flush()

    async def _authorise(
        self, connection: Connection, head: Head, case_key: str, given: Access | None
    ) -> None:
        """Check the policy with all that is known about the case.

        :raises Problem: 404 when it may not be seen, 403 when it may, but not changed so.
        """
        policy = self.runtime.service.policy
        if given is not None and head.version == 0:
            access = given
        else:
            access = await access_of(
                self.runtime,
                connection,
                head.stream,
                head.state,
                await load_case(connection, case_key),
                scopes=policy.scopes(self.principal, self.operation),
            )
        verdict = policy.verdict(self.principal, self.operation, access)
        if verdict != "allow":
            metrics.AUTHZ_DENIED.labels(self.runtime.service.name, self.operation).inc()
        if verdict == "forbid":
            raise Problem(403, "forbidden", "you may see this, but not change it so")
        if verdict == "hide":
            raise Problem(404, "not-found", "there is no such resource, or you may not see it")

    def _check_if_match(self, version: int) -> None:
        """Compare ``If-Match`` with the stream's version.

        :raises Problem: 428 when it is missing, 412 when the resource has changed since.
        """
        condition = self.request.headers.get(IF_MATCH)
        if condition is None:
            raise Problem(428, "if-match-required", "send If-Match with the ETag you have seen")
        if condition.strip() not in {f'"{version}"', "*"}:
            raise Problem(412, "version-mismatch", "the resource has changed; read it again")


def version_headers(stream: str, version: int) -> dict[str, str]:
    """Return what says which version of a stream an answer shows: to change it, and to wait for."""
    return {"ETag": f'"{version}"', "Casebook-Version": f"{stream}@{version}"}


def answer(head: Head, respond: Respond | None, status: int) -> Response:
    """Return the response to a command: the new state, its ETag, and the version to wait for."""
    headers = version_headers(head.stream, head.version)
    body = None if respond is None else respond(head.stream, head.version, head.state)
    if body is None:
        return Response(status_code=204, headers=headers)
    data = body.model_dump(mode="json") if isinstance(body, BaseModel) else dict(body)
    return Response(
        orjson.dumps(data), status_code=status, headers=headers, media_type="application/json"
    )
