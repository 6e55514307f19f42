"""Who may do what with risks (handbook 5).

Assumption: the handbook gives no table of rights. Staff and other systems report risks; staff see
what they reported, and a lead those that somebody of their team answers for (ADR 0071). Risk
managers work on all of them, and auditors read all.
"""

from collections.abc import Mapping

from casebook.kit.access.policy import Grant, Operation, Policy

_MANAGEMENT: Mapping[str, Grant] = {"risk-manager": "all"}
_INSIGHT: Mapping[str, Grant] = {"risk-manager": "all", "auditor": "all"}

POLICY = Policy(
    Operation("risk.read", {**_INSIGHT, "agent": "own", "lead": ("own", "team")}),
    Operation("risk.read-evidence", _INSIGHT, visible="risk.read"),
    Operation("risk.read-heatmap", _INSIGHT),
    Operation("risk.register", {**_MANAGEMENT, "agent": "all", "lead": "all", "publisher": "all"}),
    Operation("risk.assess", _MANAGEMENT, visible="risk.read"),
    Operation("risk.treat", _MANAGEMENT, visible="risk.read"),
    Operation("risk.close", _MANAGEMENT, visible="risk.read"),
)
