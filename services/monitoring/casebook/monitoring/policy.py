"""Who may read what monitoring knows (handbook 2.3, 6.1; reliability 1.3).

Assumption: the handbook wants process and results open to the customer (1.3, transparency) and
gives no table of rights. Nobody may change a clock: they follow from facts.
"""

from casebook.kit.access.policy import Operation, Policy

POLICY = Policy(
    Operation(
        "service-level.read",
        {
            "requester": "own",
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "risk-manager": "all",
            "admin": "all",
        },
    ),
    Operation(
        "kpi.read",
        {
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "risk-manager": "all",
            "admin": "all",
            "operator": "all",
        },
    ),
    # What is promised, and how it is measured, is no secret to anybody who works with it.
    Operation(
        "definition.read",
        {
            "requester": "all",
            "agent": "all",
            "lead": "all",
            "auditor": "all",
            "risk-manager": "all",
            "admin": "all",
            "operator": "all",
        },
    ),
)
