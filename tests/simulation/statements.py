"""What each SQL statement of the product means, over the tables in memory.

The statements are the product's own constants, so that there is one text of each. A statement
without a meaning here fails loudly. That a meaning is PostgreSQL's is the subject of
``test_differential.py``, which replays schedules on the real one.
"""

from collections.abc import Callable, Sequence
from typing import Any

Records = list[Any]
Meaning = Callable[..., Any]
"""Returns rows, or yields whom it waits for and returns rows then."""

MEANINGS: dict[str, Meaning] = {}


class UnknownStatement(BaseException):
    """The product sends a statement that the simulation does not know; write its meaning."""


def meaning(*texts: str) -> Callable[[Meaning], Meaning]:
    """Register the meaning of statements."""

    def register(function: Meaning) -> Meaning:
        for text in texts:
            MEANINGS[normal(text)] = MEANINGS[text] = function
        return function

    return register


def normal(text: str) -> str:
    """Return a statement with single spaces."""
    return " ".join(text.split())


def find(text: str) -> Meaning:
    """Return the meaning of a statement.

    :raises UnknownStatement: when nobody wrote it down.
    """
    found = MEANINGS.get(text)
    if found is None:
        found = MEANINGS.get(normal(text))
        if found is None:
            raise UnknownStatement(text)
        MEANINGS[text] = found
    return found


def record(*names: str) -> Callable[[Sequence[Any]], Any]:
    """Return the class of a result's rows, which are read by place and by name."""
    places = {name: place for place, name in enumerate(names)}

    class Record(tuple[Any, ...]):
        __slots__ = ()

        def __getitem__(self, place: Any) -> Any:
            return tuple.__getitem__(self, places[place] if isinstance(place, str) else place)

        def keys(self) -> tuple[str, ...]:
            return names

    return Record


ONE = record("value")


def one(value: Any) -> Records:
    """Return a result of one row with one value."""
    return [ONE((value,))]
