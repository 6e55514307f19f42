"""Who may do what, spelled out: a change of the table is a change here too."""

import pytest

from casebook.dispatch.policy import POLICY
from casebook.kit.access.identity import ROLES, Principal
from casebook.kit.decider import Access

MINE = Access(team="mail", assignee="li.na")
TEAMS = Access(team="mail", assignee="zhao.min")
FOREIGN = Access(team="network", assignee="sun.li")
HANDLING = {
    f"work-order.{name}" for name in ("accept", "start", "wait", "resume", "release", "resolve")
} | {"work-order.note"}
READING = {"work-order.read", "queue.read", "team.read", "agent.read", "agent.load"}


def allowed(role: str, access: Access) -> set[str]:
    principal = Principal(
        subject="li.na",
        roles=frozenset({role}),
        teams=frozenset({"mail"}) if role in {"agent", "lead"} else frozenset(),
    )
    return {name for name in POLICY.operations if POLICY.allows(principal, name, access)}


def test_an_agent_does_their_own_work_and_takes_and_notes_that_of_the_team() -> None:
    reading = {"work-order.read", "queue.read", "team.read", "agent.read"}
    assert allowed("agent", MINE) - {"agent.load"} == reading | HANDLING
    taking = {"work-order.accept", "work-order.note"}
    assert allowed("agent", TEAMS) - {"agent.load"} == reading | taking
    assert allowed("agent", FOREIGN) - {"agent.load"} == {"team.read"}


def test_a_lead_does_all_the_work_of_the_team_and_reassigns_it() -> None:
    for access in (MINE, TEAMS):
        assert allowed("lead", access) == READING | HANDLING | {"work-order.reassign"}
    assert allowed("lead", FOREIGN) == {"team.read"}


@pytest.mark.parametrize("access", [MINE, FOREIGN])
def test_an_admin_arranges_and_an_auditor_looks(access: Access) -> None:
    arranging = {"work-order.reassign", "team.create", "agent.register", "agent.change"}
    assert allowed("admin", access) == READING | arranging
    assert allowed("auditor", access) == READING


def test_a_risk_manager_sees_what_lies_with_every_team() -> None:
    for access in (MINE, TEAMS, FOREIGN):
        assert allowed("risk-manager", access) == {"queue.read"}


@pytest.mark.parametrize(
    "role", sorted(ROLES - {"agent", "lead", "admin", "auditor", "risk-manager"})
)
def test_nobody_else_has_a_part_in_it(role: str) -> None:
    assert allowed(role, MINE) == set()
