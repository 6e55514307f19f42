"""Who may do what with surveys, controls and links (handbook 1.3, 3.4).

Assumption: the handbook gives no table of rights. Only the requester answers; whoever audits
reads everything and touches nothing.
"""

from collections.abc import Mapping

from casebook.kit.access.policy import Grant, Operation, Policy

_OVERSIGHT: Mapping[str, Grant] = {
    "lead": "team",
    "auditor": "all",
    "risk-manager": "all",
    "admin": "all",
}

POLICY = Policy(
    Operation(
        "survey.read",
        {
            "requester": "own",
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "admin": "all",
        },
    ),
    Operation("survey.answer", {"requester": "own"}, visible="survey.read"),
    Operation(
        "survey.read-results",
        {
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "risk-manager": "all",
            "admin": "all",
            "operator": "all",
        },
    ),
    Operation("control.read", _OVERSIGHT),
    Operation("nonconformity.read", _OVERSIGHT),
    Operation(
        "request-link.read", {"agent": "team", "lead": "team", "auditor": "all", "admin": "all"}
    ),
)
