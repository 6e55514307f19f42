"""Who may do what, spelled out: a change of the table is a change here too."""

import pytest

from casebook.intake.policy import POLICY
from casebook.kit.access.identity import ROLES, Principal
from casebook.kit.decider import Access

COMMANDS = {
    "request.classify",
    "request.prioritise",
    "request.comment",
    "request.comment-internally",
    "request.confirm",
    "request.reopen",
    "request.cancel",
    "request.close",
}
OWN = Access(requester="wang.fang", organisation="青岛分公司", team="mail", assignee="li.na")
COLLEAGUES = Access(requester="zhao.min", organisation="青岛分公司", team="mail")
FOREIGN = Access(requester="sun.li", organisation="others", team="network")


def allowed(role: str, subject: str, access: Access) -> set[str]:
    principal = Principal(
        subject=subject,
        roles=frozenset({role}),
        organisation="青岛分公司" if role == "requester" else None,
        teams=frozenset({"mail"}) if role in {"agent", "lead"} else frozenset(),
    )
    return {name for name in POLICY.operations if POLICY.allows(principal, name, access)}


def test_a_requester_acts_on_their_own_request() -> None:
    assert allowed("requester", "wang.fang", OWN) == {
        "request.read",
        "request.submit",
        "request.comment",
        "request.confirm",
        "request.reopen",
        "request.cancel",
    }


def test_a_requester_reads_what_colleagues_asked_for() -> None:
    assert allowed("requester", "wang.fang", COLLEAGUES) == {"request.read", "request.submit"}


def test_a_requester_sees_nothing_of_others() -> None:
    assert allowed("requester", "wang.fang", FOREIGN) == {"request.submit"}


def test_an_agent_handles_what_lies_with_their_team_and_never_answers_for_the_requester() -> None:
    assert allowed("agent", "li.na", OWN) == {
        "request.read",
        "request.read-staff",
        "request.submit",
        "request.submit-on-behalf",
        "request.classify",
        "request.prioritise",
        "request.comment",
        "request.comment-internally",
        "request.cancel",
    }
    assert allowed("agent", "li.na", FOREIGN) == {"request.submit", "request.submit-on-behalf"}


def test_a_lead_may_also_close() -> None:
    assert allowed("lead", "he.jun", OWN) - allowed("agent", "li.na", OWN) == {"request.close"}
    assert "request.close" not in allowed("lead", "he.jun", FOREIGN)


@pytest.mark.parametrize("role", ["auditor", "admin", "risk-manager", "operator", "publisher"])
def test_nobody_else_acts_on_requests(role: str) -> None:
    for access in (OWN, FOREIGN):
        assert not allowed(role, "wang.fang", access) & (COMMANDS | {"request.submit"})


def test_an_auditor_reads_everything() -> None:
    reading = {"request.read", "request.read-staff", "request.read-restricted", "source.read"}
    assert allowed("auditor", "qian.yu", FOREIGN) == reading


def test_a_risk_manager_reads_what_is_evidence_of_a_risk_and_a_publisher_what_they_told() -> None:
    manager = Principal("zhao.min", frozenset({"risk-manager"}))
    publisher = Principal("monitor", frozenset({"publisher"}), sources=frozenset({"shop"}))
    for access, who, expected in (
        (FOREIGN, manager, set[str]()),
        (Access(linked=True), manager, {"request.read", "request.read-staff"}),
        (Access(source="shop", linked=True), publisher, {"request.read"}),
        (Access(source="other", linked=True), publisher, set[str]()),
        (FOREIGN, publisher, set[str]()),
    ):
        assert {name for name in POLICY.operations if POLICY.allows(who, name, access)} == expected


def test_only_an_admin_registers_sources() -> None:
    holders = {role for role in ROLES if "source.register" in allowed(role, "admin", OWN)}
    assert holders == {"admin"}
