"""Who may do what, spelled out: a change of the table is a change here too."""

import pytest

from casebook.kit.access.identity import ROLES, Principal
from casebook.kit.decider import Access
from casebook.risk.policy import POLICY

MINE = Access(requester="li.na")
FOREIGN = Access(requester="he.jun", team="network")
TEAMS = Access(requester="he.jun", team="mail")
COMMANDS = {"risk.assess", "risk.treat", "risk.close"}
READING = {"risk.read", "risk.read-evidence", "risk.read-heatmap"}


def allowed(role: str, access: Access) -> set[str]:
    principal = Principal("li.na", frozenset({role}), teams=frozenset({"mail"}))
    return {name for name in POLICY.operations if POLICY.allows(principal, name, access)}


@pytest.mark.parametrize("access", [MINE, FOREIGN])
def test_risk_managers_do_everything_and_auditors_read_everything(access: Access) -> None:
    assert allowed("risk-manager", access) == READING | COMMANDS | {"risk.register"}
    assert allowed("auditor", access) == READING


@pytest.mark.parametrize("role", ["agent", "lead"])
def test_staff_report_risks_and_see_their_own(role: str) -> None:
    assert allowed(role, MINE) == {"risk.register", "risk.read"}
    assert allowed(role, FOREIGN) == {"risk.register"}


def test_a_lead_sees_what_their_team_answers_for() -> None:
    assert allowed("lead", TEAMS) == {"risk.register", "risk.read"}
    assert allowed("agent", TEAMS) == {"risk.register"}


def test_a_publisher_reports_and_sees_nothing() -> None:
    for access in (MINE, TEAMS, FOREIGN):
        assert allowed("publisher", access) == {"risk.register"}


@pytest.mark.parametrize(
    "role", sorted(ROLES - {"risk-manager", "auditor", "agent", "lead", "publisher"})
)
def test_nobody_else_has_a_part_in_it(role: str) -> None:
    assert allowed(role, MINE) == set()
