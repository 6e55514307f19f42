import pytest

from casebook.kit.access.identity import Principal
from casebook.kit.access.policy import Operation, Policy
from casebook.kit.decider import Access

READ = Operation("request.read", {"requester": "organisation", "agent": "team", "admin": "all"})
CONFIRM = Operation("request.confirm", {"requester": "own"}, visible="request.read")
START = Operation("work-order.start", {"agent": "assigned", "lead": "team"})
KPI = Operation("kpi.personal", {"agent": "self"})
SEVERAL = Operation("risk.read", {"lead": ("own", "team"), "risk-manager": "linked"})
LOCKED = Operation("request.erase")
POLICY = Policy(READ, CONFIRM, START, KPI, SEVERAL, LOCKED)

ANN = Principal("ann", frozenset({"requester"}), organisation="acme")
BEN = Principal("ben", frozenset({"agent"}), teams=frozenset({"mail"}))
BOTH = Principal("ben", frozenset({"agent", "requester"}), "acme", teams=frozenset({"mail"}))
NOBODY = Principal("ann")

OWN = Access(requester="ann", organisation="acme", team="mail", assignee="ben")
COLLEAGUES = Access(requester="eve", organisation="acme", team="mail")
FOREIGN = Access(requester="sam", organisation="other", team="network", assignee="kim")
UNKNOWN = Access()


@pytest.mark.parametrize(
    ("principal", "operation", "allowed"),
    [
        (ANN, "request.read", {OWN, COLLEAGUES}),
        (ANN, "request.confirm", {OWN}),
        (ANN, "work-order.start", set[Access]()),
        (BEN, "request.read", {OWN, COLLEAGUES}),
        (BEN, "work-order.start", {OWN}),
        (BEN, "kpi.personal", {OWN}),
        (BEN, "request.confirm", set[Access]()),
        (BOTH, "request.read", {OWN, COLLEAGUES}),
        (BOTH, "work-order.start", {OWN}),
        (Principal("ann", frozenset({"lead"})), "risk.read", {OWN}),
        (
            Principal("sam", frozenset({"lead"}), teams=frozenset({"mail"})),
            "risk.read",
            {OWN, COLLEAGUES, FOREIGN},
        ),
        (NOBODY, "request.read", set[Access]()),
        (Principal("x", frozenset({"admin"})), "request.read", {OWN, COLLEAGUES, FOREIGN, UNKNOWN}),
        (Principal("x", frozenset({"admin"})), "request.erase", set[Access]()),
        (Principal("x", frozenset({"admin"})), "no.such-operation", set[Access]()),
    ],
)
def test_the_guard(principal: Principal, operation: str, allowed: set[Access]) -> None:
    cases = (OWN, COLLEAGUES, FOREIGN, UNKNOWN)
    assert {case for case in cases if POLICY.allows(principal, operation, case)} == allowed


def test_nobody_without_an_organisation_shares_the_lack_of_one() -> None:
    alone = Principal("ann", frozenset({"requester"}))
    assert not POLICY.allows(alone, "request.read", Access(requester="eve"))
    assert not POLICY.allows(ANN, "request.read", Access(requester="eve"))


def test_what_may_be_seen_is_forbidden_and_the_rest_hidden() -> None:
    assert POLICY.verdict(ANN, "request.confirm", OWN) == "allow"
    assert POLICY.verdict(ANN, "request.confirm", COLLEAGUES) == "forbid"
    assert POLICY.verdict(ANN, "request.confirm", FOREIGN) == "hide"
    assert POLICY.verdict(BEN, "work-order.start", FOREIGN) == "hide"
    assert POLICY.verdict(BEN, "no.such-operation", OWN) == "hide"


def test_who_could_do_it_at_all() -> None:
    assert POLICY.permits(ANN, "request.confirm")
    assert not POLICY.permits(BEN, "request.confirm")
    assert not POLICY.permits(ANN, "no.such-operation")


@pytest.mark.parametrize(
    "operations",
    [
        (READ, READ),
        (Operation("a", {"root": "all"}),),
        (Operation("a", {"agent": ("own", "everything")}),),  # pyright: ignore[reportArgumentType]
        (Operation("a", {"agent": "everything"}),),  # pyright: ignore[reportArgumentType]
        (Operation("a", {"agent": "all"}, visible="b"),),
    ],
    ids=["twice", "unknown role", "unknown scopes", "unknown scope", "unknown operation"],
)
def test_a_table_that_names_what_does_not_exist_is_refused(
    operations: tuple[Operation, ...],
) -> None:
    with pytest.raises(ValueError, match=r"twice|unknown|no operation"):
        Policy(*operations)
