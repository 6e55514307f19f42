"""Who may read what, spelled out: a change of the table is a change here too."""

import pytest

from casebook.kit.access.identity import ROLES, Principal
from casebook.kit.decider import Access
from casebook.monitoring.policy import POLICY

OWN = Access(requester="wang.fang", organisation="青岛分公司", team="mail", assignee="li.na")
COLLEAGUES = Access(requester="zhao.min", organisation="青岛分公司", team="mail")
FOREIGN = Access(requester="sun.li", organisation="others", team="network")
EVERYBODY = {"definition.read"}
EVERYTHING = {"definition.read", "kpi.read", "service-level.read"}


def allowed(role: str, subject: str, access: Access) -> set[str]:
    principal = Principal(
        subject=subject,
        roles=frozenset({role}),
        organisation="青岛分公司" if role == "requester" else None,
        teams=frozenset({"mail"}) if role in {"agent", "lead"} else frozenset(),
    )
    return {name for name in POLICY.operations if POLICY.allows(principal, name, access)}


def test_a_requester_reads_the_clocks_of_their_own_request_only() -> None:
    assert allowed("requester", "wang.fang", OWN) == EVERYBODY | {"service-level.read"}
    assert allowed("requester", "wang.fang", COLLEAGUES) == EVERYBODY


@pytest.mark.parametrize("role", ["agent", "lead"])
def test_staff_read_what_lies_with_their_team(role: str) -> None:
    assert allowed(role, "li.na", OWN) == EVERYTHING
    assert allowed(role, "li.na", FOREIGN) == EVERYBODY


@pytest.mark.parametrize("role", ["admin", "auditor", "risk-manager"])
def test_who_oversees_reads_everything(role: str) -> None:
    assert allowed(role, "chen.jing", FOREIGN) == EVERYTHING


def test_an_operator_reads_figures_and_no_request() -> None:
    assert allowed("operator", "ops", FOREIGN) == {"definition.read", "kpi.read"}


@pytest.mark.parametrize("role", ["publisher", "service"])
def test_nobody_else_reads_anything(role: str) -> None:
    assert allowed(role, "uci498", OWN) == set()


def test_the_roles_above_are_all_there_are() -> None:
    named = {"requester", "agent", "lead", "admin", "auditor", "risk-manager", "operator"}
    assert named | {"publisher", "service"} == ROLES
