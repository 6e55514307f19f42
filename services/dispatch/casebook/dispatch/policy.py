"""Who may do what with work orders, teams and agents (handbook 2.2).

Assumption: the handbook speaks of people and teams with skill and capacity, and gives no table
of rights. Reassigning takes a reason, from leads and administrators alike.
"""

from casebook.kit.access.policy import Operation, Policy

READ = "work-order.read"

POLICY = Policy(
    Operation(READ, {"agent": "team", "lead": "team", "auditor": "all", "admin": "all"}),
    Operation(
        "queue.read",
        {
            "agent": "team",
            "lead": "team",
            "auditor": "all",
            "risk-manager": "all",
            "admin": "all",
        },
    ),
    # Queued work may be taken by anybody in the team; the rule refuses what is another agent's.
    Operation("work-order.accept", {"agent": "team", "lead": "team"}, visible=READ),
    Operation("work-order.start", {"agent": "assigned", "lead": "team"}, visible=READ),
    Operation("work-order.wait", {"agent": "assigned", "lead": "team"}, visible=READ),
    Operation("work-order.resume", {"agent": "assigned", "lead": "team"}, visible=READ),
    Operation("work-order.release", {"agent": "assigned", "lead": "team"}, visible=READ),
    Operation("work-order.resolve", {"agent": "assigned", "lead": "team"}, visible=READ),
    Operation("work-order.note", {"agent": "team", "lead": "team"}, visible=READ),
    Operation("work-order.reassign", {"lead": "team", "admin": "all"}, visible=READ),
    Operation("team.read", {"agent": "all", "lead": "all", "auditor": "all", "admin": "all"}),
    Operation("team.create", {"admin": "all"}, visible="team.read"),
    Operation("agent.read", {"agent": "team", "lead": "team", "auditor": "all", "admin": "all"}),
    Operation("agent.load", {"agent": "self", "lead": "team", "auditor": "all", "admin": "all"}),
    Operation("agent.register", {"admin": "all"}, visible="agent.read"),
    Operation("agent.change", {"admin": "all"}, visible="agent.read"),
)
