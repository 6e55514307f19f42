"""What a check says when an invariant does not hold."""


class Violation(AssertionError):
    """An invariant does not hold."""


def require(condition: object, message: str) -> None:
    """Raise unless a condition holds.

    :raises Violation: if it does not.
    """
    if not condition:
        raise Violation(message)
