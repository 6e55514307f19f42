"""What a row of the audit log tells: one rule for each event, in the order inside a row.

A rule compares a row with the one before it in the same request and returns the data of its
event, or ``None``. The numbers are those of the mapping table; 15b is ours. Where the source has
no row before, a rule is given :data:`NOTHING`. No rule looks at what the source filled in later.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from casebook.console.importing.audit_rows import COLUMNS, Row
from casebook.events import quality as links
from casebook.events import request, service_level
from casebook.events import work_order as work
from casebook.events.catalog import owner
from casebook.events.event import Event

Data = dict[str, Any]
Rule = Callable[[Row, Row], Data | None]

NOTHING = Row(*(None for _ in COLUMNS))  # type: ignore[arg-type]
"""Before the first row."""

NEW, ACTIVE, RESOLVED, CLOSED, AWAITING = "New", "Active", "Resolved", "Closed", "Awaiting"
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "Awaiting User Info": "customer",
        "Awaiting Vendor": "supplier",
        "Awaiting Problem": "problem",
        "Awaiting Evidence": "evidence",
    }
)
"""What work waits for; of a state unknown to us that begins like these, the rest of its name."""

STATES = frozenset({NEW, ACTIVE, RESOLVED, CLOSED, *REASONS})
PROBLEM_TYPE = "other"
"""Assumption: the source does not say which of the handbook's kinds of service it is about."""

YES, NO = "true", "false"
_SLUG = re.compile(r"[^\w]+")


# --- the request: intake ------------------------------------------------------------------------


def _submitted(before: Row, row: Row) -> Data | None:
    """1. The first row; it happened at ``opened_at``."""
    if before is not NOTHING:
        return None
    return _present(
        number=row.number,
        kind="incident",
        requester=row.requester or "unknown",
        channel=row.channel,
        location=row.location,
        opened_by=row.opened_by,
    )


def _classified(before: Row, row: Row) -> Data | None:
    """2. A category, where there was none."""
    return _classification(row) if row.category and not before.category else None


def _reclassified(before: Row, row: Row) -> Data | None:
    """3. Another category, subcategory or symptom, where rule 2 says nothing."""
    same = (
        row.category == before.category
        and row.subcategory == before.subcategory
        and row.symptom == before.symptom
    )
    if same or before is NOTHING or (row.category and not before.category):
        return None
    return _classification(row)


def _prioritised(before: Row, row: Row) -> Data | None:
    """4. The first row."""
    return _assessment(row) if before is NOTHING else None


def _reprioritised(before: Row, row: Row) -> Data | None:
    """5. Another impact, urgency or priority."""
    same = (
        row.priority == before.priority
        and row.impact == before.impact
        and row.urgency == before.urgency
    )
    return None if same or before is NOTHING else _assessment(row)


def _priority_confirmed(before: Row, row: Row) -> Data | None:
    """6. The priority counts as confirmed from here on."""
    return {} if row.priority_confirmed == YES != before.priority_confirmed else None


def _reopened(before: Row, row: Row) -> Data | None:
    """16. The source counted a reopening."""
    if row.reopen_count == before.reopen_count or before is NOTHING:
        return None
    return {} if int(row.reopen_count or 0) > int(before.reopen_count or 0) else None


def _closed(before: Row, row: Row) -> Data | None:
    """17. Enters Closed."""
    if row.state != CLOSED or before.state == CLOSED:
        return None
    return _present(basis="observed", code=row.closed_code)


def _configuration_item(before: Row, row: Row) -> Data | None:
    """20. Another configuration item."""
    item = row.configuration_item
    return {"configuration_item": item} if item and item != before.configuration_item else None


# --- the work: dispatch -------------------------------------------------------------------------


def _assigned_to_team(before: Row, row: Row) -> Data | None:
    """7. A team, where there was none; ``initial`` on the first row."""
    if not row.team or before.team:
        return None
    return {"team": row.team, "initial": before is NOTHING}


def _reassigned_to_team(before: Row, row: Row) -> Data | None:
    """8. From one team to another."""
    moved = row.team and before.team and row.team != before.team
    return {"team": row.team} if moved else None


def _returned_to_queue(before: Row, row: Row) -> Data | None:
    """9. No team any more."""
    return {} if before.team and not row.team else None


def _assigned_to_agent(before: Row, row: Row) -> Data | None:
    """10. An agent, where there was none."""
    return {"agent": row.agent} if row.agent and not before.agent else None


def _reassigned_to_agent(before: Row, row: Row) -> Data | None:
    """11. From one agent to another."""
    moved = row.agent and before.agent and row.agent != before.agent
    return {"agent": row.agent} if moved else None


def _released(before: Row, row: Row) -> Data | None:
    """11. No agent any more."""
    return {} if before.agent and not row.agent else None


def _waiting_ended(before: Row, row: Row) -> Data | None:
    """14. Leaves a state of waiting, for another one too."""
    return {} if is_waiting(before.state) and row.state != before.state else None


def _resumed(before: Row, row: Row) -> Data | None:
    """14. From waiting to Active."""
    return {} if row.state == ACTIVE and is_waiting(before.state) else None


def _started(before: Row, row: Row) -> Data | None:
    """12. Active, from New or at once."""
    began = row.state == ACTIVE and (before is NOTHING or before.state == NEW)
    return {} if began else None


def _waiting_started(before: Row, row: Row) -> Data | None:
    """13. Enters a state of waiting."""
    if row.state == before.state or not is_waiting(row.state):
        return None
    return {"reason": _reason(row.state or "")}


def _resolved(before: Row, row: Row) -> Data | None:
    """15. Enters Resolved."""
    return {} if row.state == RESOLVED != before.state else None


def _resolution_amended(before: Row, row: Row) -> Data | None:
    """15b. Resolved again."""
    return {} if row.state == RESOLVED == before.state else None


def _change(before: Row, row: Row) -> Data | None:
    """20. Another change that the work depends on."""
    return {"change": row.change} if row.change and row.change != before.change else None


def _vendor(before: Row, row: Row) -> Data | None:
    """20. Another supplier."""
    return {"vendor": row.vendor} if row.vendor and row.vendor != before.vendor else None


def _causing_change(before: Row, row: Row) -> Data | None:
    """20. Another change that is said to have caused it."""
    change = row.causing_change
    return {"change": change} if change and change != before.causing_change else None


# --- what the source says of itself: monitoring, quality ----------------------------------------


def _source_result(before: Row, row: Row) -> Data | None:
    """18. With the last row: met where that is Closed and in time, missed where it is late."""
    if not row.last:
        return None
    if row.made_sla == NO:
        return {"result": "missed"}
    return {"result": "met"} if row.made_sla == YES and row.state == CLOSED else None


def _knowledge_linked(before: Row, row: Row) -> Data | None:
    """19. A knowledge article is said to be used."""
    return {} if row.knowledge == YES != before.knowledge else None


def _knowledge_unlinked(before: Row, row: Row) -> Data | None:
    """19. It no longer is."""
    return {} if row.knowledge == NO and before.knowledge == YES else None


def _problem(before: Row, row: Row) -> Data | None:
    """20. Another problem."""
    return {"problem": row.problem} if row.problem and row.problem != before.problem else None


def _noted(before: Row, row: Row, found: bool) -> Data | None:
    """21. A row that gives no other event is not dropped.

    Assumption: entering a state that we have no word for is always noted, with its name.
    """
    unknown = row.state not in STATES and not is_waiting(row.state)
    if unknown and row.state is not None and row.state != before.state:
        return {"state": row.state}
    return None if found else {}


# --- the table ----------------------------------------------------------------------------------


def _line(event: type[Event], rule: Rule) -> tuple[str, str, Rule]:
    return event.type, owner(event.type) or "", rule


RULES: tuple[tuple[str, str, Rule], ...] = (
    _line(request.RequestSubmitted, _submitted),
    _line(request.RequestClassified, _classified),
    _line(request.RequestReclassified, _reclassified),
    _line(request.RequestPrioritised, _prioritised),
    _line(request.RequestReprioritised, _reprioritised),
    _line(request.RequestPriorityConfirmed, _priority_confirmed),
    _line(work.WorkOrderAssignedToTeam, _assigned_to_team),
    _line(work.WorkOrderReassignedToTeam, _reassigned_to_team),
    _line(work.WorkOrderReturnedToQueue, _returned_to_queue),
    _line(work.WorkOrderAssignedToAgent, _assigned_to_agent),
    _line(work.WorkOrderReassignedToAgent, _reassigned_to_agent),
    _line(work.WorkOrderReleased, _released),
    _line(request.RequestReopened, _reopened),
    _line(work.WorkOrderWaitingEnded, _waiting_ended),
    _line(work.WorkOrderResumed, _resumed),
    _line(work.WorkOrderStarted, _started),
    _line(work.WorkOrderWaitingStarted, _waiting_started),
    _line(work.WorkOrderResolved, _resolved),
    _line(work.WorkOrderResolutionAmended, _resolution_amended),
    _line(request.RequestClosed, _closed),
    _line(service_level.ServiceLevelSourceResultRecorded, _source_result),
    _line(links.RequestLinkKnowledgeLinked, _knowledge_linked),
    _line(links.RequestLinkKnowledgeUnlinked, _knowledge_unlinked),
    _line(links.RequestLinkProblemLinked, _problem),
    _line(work.WorkOrderChangeLinked, _change),
    _line(work.WorkOrderVendorInvolved, _vendor),
    _line(request.RequestConfigurationItemLinked, _configuration_item),
    _line(work.WorkOrderCausingChangeLinked, _causing_change),
)
"""Type, owner and rule, in the order inside a row; 21 comes after all of them."""

SUBMITTED = request.RequestSubmitted.type
NOTED = work.WorkOrderNoted.type
NOTED_BY = owner(NOTED) or ""
REJECTED = request.ImportRowRejected.type
REJECTED_BY = owner(REJECTED) or ""
TYPES: tuple[str, ...] = tuple(sorted({line[0] for line in RULES} | {NOTED, REJECTED}))
"""Every event type that an import publishes."""


def told(before: Row, row: Row) -> list[tuple[str, str, Data]]:
    """Return what a row tells: type, owner and data of its events, in order; at least one."""
    found = [
        (type_, service, data)
        for type_, service, rule in RULES
        if (data := rule(before, row)) is not None
    ]
    noted = _noted(before, row, bool(found))
    if noted is not None:
        found.append((NOTED, NOTED_BY, noted))
    return found


@lru_cache(maxsize=1024)
def scale(text: str | None, top: int) -> int | None:
    """Return the number that ``3 - Moderate`` begins with, if it is from 1 to ``top``."""
    digits = (text or "").partition(" ")[0]
    found = int(digits) if digits.isascii() and digits.isdigit() and len(digits) == 1 else 0
    return found if 1 <= found <= top else None


def is_waiting(state: str | None) -> bool:
    """Say whether the work rests, for whatever reason."""
    return state is not None and state.startswith(AWAITING)


@lru_cache(maxsize=1024)
def _reason(state: str) -> str:
    rest = _SLUG.sub("-", state.removeprefix(AWAITING).lower()).strip("-")
    return REASONS.get(state) or rest or "unspecified"


def _classification(row: Row) -> Data:
    return _present(
        problem_type=PROBLEM_TYPE,
        category=row.category,
        subcategory=row.subcategory,
        symptom=row.symptom,
    )


def _assessment(row: Row) -> Data:
    return _present(
        impact=scale(row.impact, 3), urgency=scale(row.urgency, 3), priority=scale(row.priority, 4)
    )


def _present(**fields: Any) -> Data:
    return {name: value for name, value in fields.items() if value is not None}
