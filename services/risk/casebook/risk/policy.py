"""Who may do what with risks (handbook 5).

Assumption: the handbook gives no table of rights. Staff report risks and see what they reported;
risk managers work on all of them, and auditors read all.
"""

from collections.abc import Mapping

from casebook.kit.policy import Operation, Policy, Scope

_MANAGEMENT: Mapping[str, Scope] = {"risk-manager": "all"}
_INSIGHT: Mapping[str, Scope] = {"risk-manager": "all", "auditor": "all"}

POLICY = Policy(
    Operation("risk.read", {**_INSIGHT, "agent": "own", "lead": "own"}),
    Operation("risk.read-evidence", _INSIGHT, visible="risk.read"),
    Operation("risk.read-heatmap", _INSIGHT),
    Operation("risk.register", {**_MANAGEMENT, "agent": "all", "lead": "all"}),
    Operation("risk.assess", _MANAGEMENT, visible="risk.read"),
    Operation("risk.treat", _MANAGEMENT, visible="risk.read"),
    Operation("risk.close", _MANAGEMENT, visible="risk.read"),
)
