"""Completes a principal with the teams that dispatch's membership facts put them in."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from casebook.kit.access.identity import Principal

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

MEMBERSHIP_AGE_MAX = timedelta(seconds=60)
"""When the reader is further behind than this, team scope is denied (decisions 3.10)."""


async def with_teams(
    runtime: "Runtime", principal: Principal, operation: str, *, always: bool = False
) -> Principal:
    """Return the principal with their teams, if the operation's scope for them needs teams."""
    row = runtime.service.policy.operations.get(operation)
    if row is None:
        return principal
    scopes = runtime.service.policy.scopes(principal, operation)
    if not always and ("team" not in scopes or "all" in row.scopes(principal)):
        return principal
    caught_up_at = runtime.reader.caught_up_at
    if caught_up_at is None or runtime.clock.now() - caught_up_at > MEMBERSHIP_AGE_MAX:
        return principal
    async with runtime.database.http() as connection:
        rows = await connection.fetch(
            "SELECT team FROM members WHERE agent = $1", principal.subject
        )
    return replace(principal, teams=frozenset(row[0] for row in rows))
