"""Idempotency keys: the first committed answer is the answer for seven days (decisions 3.9).

The row is written in the command's own transaction. A second request with the same key waits for
the first; after two seconds it is told that the first is still in flight. Stored answers are
sealed, because they may hold text.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from fastapi import Request, Response

from casebook.kit.http.problems import Problem
from casebook.kit.ids import named_id
from casebook.kit.keys import DataKey, open_bytes, seal_bytes
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Connection

if TYPE_CHECKING:
    from casebook.kit.access.identity import Principal
    from casebook.kit.runtime import Runtime

KEPT = timedelta(days=7)
TIDY_SECONDS = 3600.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NAMESPACE = UUID("0f0a7f0e-9d0c-4f1e-8c55-5c9f6f2f7a10")
_KEEP = ("etag", "casebook-version", "content-type", "location")
_CLAIM = """
WITH claimed AS (
    INSERT INTO idempotency (principal, route, key, fingerprint, created_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING true
)
SELECT (SELECT true FROM claimed) AS claimed, k.key_id, k.wrapped
FROM (VALUES ($6::text)) AS own (case_key) LEFT JOIN data_keys k USING (case_key)
"""
_SELECT = """
SELECT fingerprint, status, headers, body FROM idempotency
WHERE principal = $1 AND route = $2 AND key = $3
"""
_COMPLETE = """
UPDATE idempotency SET status = $4, headers = $5, body = $6
WHERE principal = $1 AND route = $2 AND key = $3
"""
_LOG = get_logger("idempotency")


@dataclass(slots=True)
class Idempotency:
    """The idempotency key of one command; ``data_key`` is what its answer is sealed with."""

    runtime: "Runtime"
    principal: str
    route: str
    key: str
    fingerprint: bytes
    data_key: DataKey | None = None

    @classmethod
    async def of(
        cls, runtime: "Runtime", request: Request, principal: "Principal"
    ) -> "Idempotency":
        """Read the key of a request.

        :raises Problem: 400 when it is missing or malformed.
        """
        key = request.headers.get("idempotency-key")
        if key is None:
            raise Problem(400, "idempotency-key-required", "send an Idempotency-Key of your own")
        if _KEY.fullmatch(key) is None:
            raise Problem(400, "idempotency-key-malformed", "1 to 255 visible ASCII characters")
        content = b"\n".join(
            (
                request.headers.get("if-match", "").encode(),
                request.url.query.encode(),
                await request.body(),
            )
        )
        route = f"{request.method} {request.url.path}"
        return cls(runtime, principal.subject, route, key, hashlib.sha256(content).digest())

    async def begin(self, connection: Connection) -> Response | None:
        """Claim the key in this transaction, or return the answer that was given before.

        :raises Problem: 409 while the first request is in flight, 422 for another body.
        """
        name = (self.principal, self.route, self.key)
        try:
            [[claimed, key_id, wrapped]] = await connection.fetch(
                _CLAIM, *name, self.fingerprint, self.runtime.clock.now(), self._sealing_group
            )
        except asyncpg.LockNotAvailableError:
            raise Problem(
                409, "idempotency-key-in-flight", "the first request is still running",
                headers={"Retry-After": "1"},
            ) from None  # fmt: skip
        # Not what an attempt before this one has made: it was rolled back with that.
        self.data_key = None if key_id is None else self.runtime.keys.unwrap(key_id, wrapped)
        if claimed:
            return None
        row = await connection.fetchrow(_SELECT, *name)
        if row is None or row["fingerprint"] != self.fingerprint:
            raise Problem(422, "idempotency-key-reused", "this key was used for another request")
        key = await self._data_key(connection)
        body = open_bytes(key, self._body_id(), row["body"])
        return Response(body, status_code=row["status"], headers=row["headers"])

    async def complete(self, connection: Connection, response: Response) -> None:
        """Store the answer in the command's transaction."""
        key = await self._data_key(connection)
        headers = {name: response.headers[name] for name in _KEEP if name in response.headers}
        await connection.execute(
            _COMPLETE,
            self.principal,
            self.route,
            self.key,
            response.status_code,
            headers,
            seal_bytes(key, self._body_id(), bytes(response.body)),
        )

    async def _data_key(self, connection: Connection) -> DataKey:
        """Return the data key that stored answers are sealed with."""
        if self.data_key is None:  # the first command of this service
            group = self._sealing_group
            self.data_key = (await self.runtime.keys.ensure(connection, [group]))[group]
        return self.data_key

    @property
    def _sealing_group(self) -> str:
        """Return what the data key of all stored answers is kept under."""
        return f"idempotency/{self.runtime.service.name}"

    def _body_id(self) -> UUID:
        """Return what binds a stored answer to its key."""
        return named_id(_NAMESPACE, f"{self.principal}\n{self.route}\n{self.key}")


async def forget_old_answers(runtime: "Runtime") -> None:
    """Delete the answers that are over seven days old, now and then, until cancelled."""
    while True:
        try:
            async with runtime.database.background() as connection:
                await connection.execute(
                    "DELETE FROM idempotency WHERE created_at < $1", runtime.clock.now() - KEPT
                )
        except INFRASTRUCTURE_ERRORS as error:
            _LOG.warning("idempotency.retrying", error=repr(error))
        await asyncio.sleep(TIDY_SECONDS)
