"""A journal of what was sent to the tables, in the order of the schedule, to send it elsewhere."""

from dataclasses import dataclass, field
from typing import Any

from tests.simulation.tables import Transaction


@dataclass(slots=True)
class Entry:
    """A statement, or the control of a transaction, of one session."""

    session: int
    schema: str
    sql: str
    arguments: tuple[Any, ...] = ()
    result: Any = None


@dataclass(slots=True)
class Journal:
    """Everything that one seed sent, with what came back."""

    order: list[tuple[str, Entry]] = field(default_factory=list[tuple[str, Entry]])
    _sessions: dict[Transaction, int] = field(default_factory=dict[Transaction, int])

    def started(self, transaction: Transaction, sql: str, arguments: tuple[Any, ...]) -> Entry:
        """Note that a statement was sent."""
        session = self._sessions.setdefault(transaction, len(self._sessions))
        entry = Entry(session, transaction.schema.name, sql, arguments)
        self.order.append(("start", entry))
        return entry

    def finished(self, entry: Entry, result: Any) -> None:
        """Note what came back, an error too."""
        entry.result = result
        self.order.append(("end", entry))

    def control(self, transaction: Transaction, what: str) -> None:
        """Note a savepoint or the end of a transaction; one that sent nothing is left out."""
        session = self._sessions.get(transaction)
        if session is not None:
            self.order.append(("control", Entry(session, transaction.schema.name, what)))
