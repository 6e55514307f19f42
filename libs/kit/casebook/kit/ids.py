"""The one place that makes identifiers: random ones for new things, derived ones for facts."""

from functools import lru_cache
from uuid import NAMESPACE_URL, UUID

from uuid_utils.compat import uuid5, uuid7


def new_id() -> UUID:
    """Return a new UUID of version 7: unique, and sorted by time."""
    return uuid7()


def named_id(namespace: UUID, name: str) -> UUID:
    """Return the UUID of version 5 that ``name`` always has in a namespace."""
    return uuid5(namespace, name)


@lru_cache(maxsize=4096)  # the events of a request come together, and share their case
def source_id(source: str, kind: str, name: str) -> UUID:
    """Return the id of what ``source`` calls ``name``; ``kind`` is ``request`` or ``fact``.

    The same name from the same source gives the same id for ever, which is what makes publishing
    again harmless.
    """
    return named_id(_namespace(source), f"{kind}:{name}")


@lru_cache(maxsize=256)
def _namespace(source: str) -> UUID:
    return named_id(NAMESPACE_URL, source)


def derived_id(cause: UUID, label: str, index: int) -> UUID:
    """Return the id of the ``index``-th event that ``label`` derives from ``cause``."""
    return named_id(cause, f"{label}:{index}")
