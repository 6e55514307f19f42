"""Older forms of events, read as today's (ADR 0005).

When a type changes so that the gate refuses it, it gets a new major version, and a function here
that makes the data of the version before into that of the next. It is pure, it is applied when
the fact is read, and what is stored never changes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Data = Mapping[str, Any]
Upcast = Callable[[Data], dict[str, Any]]
Steps = Mapping[tuple[str, int], tuple[int, Upcast]]


def _leading_number(text: str) -> int | None:
    """Return the number that a label such as ``2 - Medium`` begins with.

    :raises ValueError: when it begins with none.
    """
    return int(text.partition("-")[0]) if text.strip() else None


def prioritised_v0_to_v1(data: Data) -> dict[str, Any]:
    """Return numbers for the labels that the pilot stored (``2 - Medium``, or empty).

    The pilot used the first priority matrix and did not say so; v1 leaves it open.
    """
    numbers = {
        name: _leading_number(data.get(name, "")) for name in ("impact", "urgency", "priority")
    }
    return {name: number for name, number in numbers.items() if number is not None}


UPCASTERS: Steps = MappingProxyType(
    {("casebook.request.prioritised", 0): (1, prioritised_v0_to_v1)}
)
"""Name without version and its major → the major it becomes, and how."""


def split(type_: str) -> tuple[str, int | None]:
    """Return a type's name without its version, and its major; ``None`` if it has none."""
    name, _, major = type_.rpartition(".v")
    return (name, int(major)) if name and major.isascii() and major.isdecimal() else (type_, None)


def path(name: str, major: int, to: int, steps: Steps = UPCASTERS) -> tuple[Upcast, ...] | None:
    """Return the functions that lead from one major to another; ``None`` if there is no way."""
    found: list[Upcast] = []
    while major < to and (name, major) in steps:
        major, step = steps[name, major]
        found.append(step)
    return tuple(found) if major == to else None
