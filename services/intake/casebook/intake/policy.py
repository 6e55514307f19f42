"""Who may do what with requests and sources (handbook 1.2, 2.1).

Assumption: the handbook names customers and an agent channel, and gives no table of rights.
"""

from casebook.kit.access.policy import Operation, Policy

READ = "request.read"

POLICY = Policy(
    Operation(
        READ,
        {
            "requester": "organisation",
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "risk-manager": "linked",
            "admin": "all",
            "publisher": "sources",
        },
    ),
    # Beyond what the customer is told: the facts of whole teams, then of restricted ones too.
    Operation(
        "request.read-staff",
        {
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "risk-manager": "linked",
            "admin": "all",
        },
        visible=READ,
    ),
    Operation("request.read-restricted", {"auditor": "all"}, visible=READ),
    # A requester's own request is theirs by construction: the body names nobody.
    Operation("request.submit", {"requester": "all", "agent": "all", "lead": "all"}),
    Operation("request.submit-on-behalf", {"agent": "all", "lead": "all"}),
    Operation("request.classify", {"agent": "team", "lead": "team"}, visible=READ),
    Operation("request.prioritise", {"agent": "team", "lead": "team"}, visible=READ),
    Operation(
        "request.comment", {"requester": "own", "agent": "team", "lead": "team"}, visible=READ
    ),
    Operation("request.comment-internally", {"agent": "team", "lead": "team"}, visible=READ),
    Operation("request.confirm", {"requester": "own"}, visible=READ),
    Operation("request.reopen", {"requester": "own"}, visible=READ),
    Operation(
        "request.cancel", {"requester": "own", "agent": "team", "lead": "team"}, visible=READ
    ),
    Operation("request.close", {"lead": "team"}, visible=READ),
    Operation("source.read", {"admin": "all", "auditor": "all", "operator": "all"}),
    Operation("source.register", {"admin": "all"}, visible="source.read"),
)
