"""Whose a stream is: what it says itself, what the log says of its case, what read models add.

Lists ask for all three in one statement. A single read or a command asks here, and for what read
models add only where the scope of somebody depends on it.
"""

from typing import TYPE_CHECKING, Any

from casebook.kit.access.policy import Scope
from casebook.kit.bookkeeping.cases import Case
from casebook.kit.decider import Access
from casebook.kit.postgres.database import Connection, fetch

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime


async def access_of(
    runtime: "Runtime",
    connection: Connection,
    stream: str,
    state: Any,
    case: Case,
    *,
    scopes: frozenset[Scope],
) -> Access:
    """Return who one of the service's streams belongs to, as far as these scopes ask."""
    family = runtime.store.family(stream)
    access = _overlay(family.access(state), case.access())
    more = runtime.service.belongings.get(family.name)
    if more is None or not more.scopes & scopes:
        return access
    rows = await fetch(connection, more.statement(stream))
    return _overlay(access, Access(**rows[0])) if rows else access


def _overlay(own: Access, more: Access) -> Access:
    """Return what is known already, completed by what else is."""
    return Access(
        own.requester or more.requester,
        own.organisation or more.organisation,
        own.team or more.team,
        own.assignee or more.assignee,
        own.source or more.source,
        own.linked or more.linked,
    )
