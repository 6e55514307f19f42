"""Who may do what: one table of operation × role × scope per service, default deny.

The same table answers as a guard about one case (:meth:`Policy.allows`) and as a predicate in a
query (:meth:`Policy.predicate`), so that a list never shows what a single read would hide. The
two are compared over the whole product of scopes and cases by a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import ColumnElement, and_, false, or_, true

from casebook.kit.access.identity import ROLES, Principal
from casebook.kit.decider import Access

Scope = Literal["all", "own", "organisation", "team", "assigned", "self", "sources", "linked"]
"""How far a role reaches.

``own``: what the person asked for; ``organisation``: that, and what colleagues asked for;
``team``: what lies with a team of theirs; ``assigned``: what lies with them; ``self``: records
about them, whose row names the person as assignee; ``sources``: what a source published that
their token names; ``linked``: what is evidence of a risk.
"""

Grant: TypeAlias = Scope | tuple[Scope, ...]
"""How far one role reaches; several scopes add up."""

Verdict = Literal["allow", "forbid", "hide"]
"""``forbid`` is answered with 403, ``hide`` with 404 as if there were nothing."""

SCOPES: frozenset[str] = frozenset(get_args(Scope))
_NOTHING: Mapping[str, Grant] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table: what it is called, and how far each role reaches with it.

    ``visible`` names the operation that decides whether the case may be seen at all; without
    one, the operation itself decides.
    """

    name: str
    grants: Mapping[str, Grant] = field(default_factory=lambda: _NOTHING)
    visible: str | None = None

    def scopes(self, principal: Principal) -> frozenset[Scope]:
        """Return how far the principal reaches; several roles add up."""
        return frozenset(
            scope
            for role in principal.roles
            if role in self.grants
            for scope in _scopes(self.grants[role])
        )


@dataclass(frozen=True, slots=True)
class AccessColumns:
    """The columns of a query that say who a row belongs to; one that is missing grants nothing."""

    requester: ColumnElement[Any] | None = None
    organisation: ColumnElement[Any] | None = None
    team: ColumnElement[Any] | None = None
    assignee: ColumnElement[Any] | None = None
    source: ColumnElement[Any] | None = None
    linked: ColumnElement[bool] | None = None


class Policy:
    """The table of one service.

    :raises ValueError: for a name twice, an unknown role or scope, or an unknown ``visible``.
    """

    def __init__(self, *operations: Operation) -> None:
        self.operations: Mapping[str, Operation] = MappingProxyType(
            {operation.name: operation for operation in operations}
        )
        if len(self.operations) != len(operations):
            raise ValueError("an operation stands twice in the policy")
        for operation in operations:
            self._check(operation)

    def allows(self, principal: Principal, operation: str, access: Access) -> bool:
        """Say whether the principal may do ``operation`` to a case with this access."""
        row = self.operations.get(operation)
        return row is not None and any(
            _reaches(scope, principal, access) for scope in row.scopes(principal)
        )

    def verdict(self, principal: Principal, operation: str, access: Access) -> Verdict:
        """Return whether to allow, to forbid what can be seen, or to hide the case."""
        if self.allows(principal, operation, access):
            return "allow"
        row = self.operations.get(operation)
        seen_by = None if row is None else row.visible
        if seen_by is not None and self.allows(principal, seen_by, access):
            return "forbid"
        return "hide"

    def permits(self, principal: Principal, operation: str) -> bool:
        """Say whether the principal could do ``operation`` to any case at all."""
        row = self.operations.get(operation)
        return row is not None and bool(row.scopes(principal))

    def scopes(self, principal: Principal, operation: str) -> frozenset[Scope]:
        """Return the scopes that decide about an operation, and about seeing what it is on."""
        row = self.operations.get(operation)
        if row is None:
            return frozenset()
        seen_by = self.operations.get(row.visible or "")
        seen = frozenset[Scope]() if seen_by is None else seen_by.scopes(principal)
        return row.scopes(principal) | seen

    def predicate(
        self, principal: Principal, operation: str, columns: AccessColumns
    ) -> ColumnElement[bool]:
        """Return the condition that keeps exactly the rows that :meth:`allows` would allow."""
        row = self.operations.get(operation)
        scopes = frozenset[Scope]() if row is None else row.scopes(principal)
        if "all" in scopes:
            return true()
        conditions = [_condition(scope, principal, columns) for scope in sorted(scopes)]
        return or_(*conditions) if conditions else false()

    def _check(self, operation: Operation) -> None:
        """Refuse a row that names what does not exist."""
        scopes = {scope for grant in operation.grants.values() for scope in _scopes(grant)}
        unknown = (operation.grants.keys() - ROLES) | (scopes - SCOPES)
        if unknown:
            raise ValueError(f"{operation.name}: unknown {sorted(unknown)}")
        if operation.visible is not None and operation.visible not in self.operations:
            raise ValueError(f"{operation.name}: {operation.visible} is no operation")


def concerns(principal: Principal, access: Access) -> bool:
    """Say whether a case is the principal's own, a colleague's, or lies with them or their team."""
    scopes: tuple[Scope, ...] = ("organisation", "team", "assigned")
    return any(_reaches(scope, principal, access) for scope in scopes)


def _scopes(grant: Grant) -> tuple[Scope, ...]:
    """Return the scopes of a grant."""
    return grant if isinstance(grant, tuple) else (grant,)


def _reaches(scope: Scope, principal: Principal, access: Access) -> bool:
    """Say whether a scope of the principal covers the case."""
    match scope:
        case "all" | "linked":
            return scope == "all" or access.linked
        case "own":
            return access.requester == principal.subject
        case "organisation":
            return access.requester == principal.subject or (
                principal.organisation is not None and access.organisation == principal.organisation
            )
        case "team":
            return access.team in principal.teams
        case "assigned" | "self":
            return access.assignee == principal.subject
        case "sources":
            return access.source in principal.sources


def _condition(scope: Scope, principal: Principal, columns: AccessColumns) -> ColumnElement[bool]:
    """Return the condition of a scope: :func:`_reaches` in SQL."""
    match scope:
        case "all" | "linked":
            return true() if scope == "all" else _holds(columns.linked)
        case "own":
            return _equals(columns.requester, principal.subject)
        case "organisation":
            return or_(
                _equals(columns.requester, principal.subject),
                _equals(columns.organisation, principal.organisation),
            )
        case "team":
            return _among(columns.team, principal.teams)
        case "assigned" | "self":
            return _equals(columns.assignee, principal.subject)
        case "sources":
            return _among(columns.source, principal.sources)


def _holds(column: ColumnElement[bool] | None) -> ColumnElement[bool]:
    """Return a condition that is never null: false where the column or its value is missing."""
    return false() if column is None else column.is_(true())


def _among(column: ColumnElement[Any] | None, values: frozenset[str]) -> ColumnElement[bool]:
    """Return a condition that is never null: false where the column or the value is missing."""
    if column is None or not values:
        return false()
    return and_(column.is_not(None), column.in_(sorted(values)))


def _equals(column: ColumnElement[Any] | None, value: str | None) -> ColumnElement[bool]:
    """Return a condition that is never null: false where the column or the value is missing."""
    if column is None or value is None:
        return false()
    return and_(column.is_not(None), column == value)
