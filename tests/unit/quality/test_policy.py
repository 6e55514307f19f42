"""Who may do what, spelled out: a change of the table is a change here too."""

import pytest

from casebook.kit.access.identity import ROLES, Principal
from casebook.kit.decider import Access
from casebook.quality.policy import POLICY

OWN = Access(requester="wang.fang", organisation="青岛分公司", team="mail", assignee="li.na")
COLLEAGUES = Access(requester="zhao.min", organisation="青岛分公司", team="mail")
FOREIGN = Access(requester="sun.li", organisation="others", team="network")
READING = {
    "survey.read",
    "survey.read-results",
    "control.read",
    "nonconformity.read",
    "request-link.read",
}


def allowed(role: str, subject: str, access: Access) -> set[str]:
    principal = Principal(
        subject=subject,
        roles=frozenset({role}),
        organisation="青岛分公司" if role == "requester" else None,
        teams=frozenset({"mail"}) if role in {"agent", "lead"} else frozenset(),
    )
    return {name for name in POLICY.operations if POLICY.allows(principal, name, access)}


def test_a_requester_has_their_own_surveys_and_no_others() -> None:
    assert allowed("requester", "wang.fang", OWN) == {"survey.read", "survey.answer"}
    assert allowed("requester", "wang.fang", COLLEAGUES) == set()
    assert allowed("requester", "wang.fang", FOREIGN) == set()


@pytest.mark.parametrize("role", sorted(ROLES - {"requester"}))
def test_nobody_answers_for_the_requester(role: str) -> None:
    for access in (OWN, COLLEAGUES, FOREIGN):
        assert "survey.answer" not in allowed(role, "wang.fang", access)


def test_a_team_reads_what_lies_with_it() -> None:
    assert allowed("agent", "li.na", OWN) == READING - {"control.read", "nonconformity.read"}
    assert allowed("lead", "he.jun", OWN) == READING
    assert allowed("agent", "li.na", FOREIGN) == allowed("lead", "he.jun", FOREIGN) == set()


@pytest.mark.parametrize("access", [OWN, FOREIGN])
def test_oversight_reads_everything(access: Access) -> None:
    assert allowed("auditor", "qian.yu", access) == allowed("admin", "admin", access) == READING
    assert allowed("risk-manager", "he.jun", access) == {
        "survey.read-results",
        "control.read",
        "nonconformity.read",
    }
    assert allowed("operator", "ops", access) == {"survey.read-results"}
    assert allowed("publisher", "bot", access) == set()
