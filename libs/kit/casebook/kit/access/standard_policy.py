"""The rows of the policy table that every service has, for what the kit itself offers."""

from casebook.kit.access.policy import Operation, Policy

OPERATIONS = (
    Operation("ingress.publish", {"publisher": "all"}),
    Operation("ingress.status", {"publisher": "sources", "operator": "all", "admin": "all"}),
    Operation("events.read", {"auditor": "all", "admin": "all"}),
    Operation("lag.read", {"operator": "all", "admin": "all"}),
    Operation("parked.read", {"operator": "all", "admin": "all"}),
    Operation("parked.retry", {"operator": "all", "admin": "all"}),
    Operation("parked.discard", {"operator": "all", "admin": "all"}),
    Operation("quarantine.read", {"operator": "all", "admin": "all"}),
    Operation("quarantine.retry", {"operator": "all", "admin": "all"}),
    Operation("quarantine.discard", {"operator": "all", "admin": "all"}),
    Operation("projection.rebuild", {"operator": "all", "admin": "all"}),
    Operation("keys.read", {"service": "all"}),
)
"""Operators and admins keep it running, with a reason; single control for now (decisions §8)."""


def with_standard(policy: Policy) -> Policy:
    """Return a service's policy with the common rows."""
    return Policy(*policy.operations.values(), *OPERATIONS)
