"""The shared log as the kit sees it: one protocol, three implementations (decisions 3.3).

Kafka in production, a table in PostgreSQL for the embedded mode, memory for tests. One contract
suite runs over all three. There are 12 partitions, for ever; a case is in one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import orjson

from casebook.kit.postgres.database import Connection

TOPIC = "casebook.events"
PARTITIONS = 12
_TEXTS = ("id", "type", "subject", "partitionkey", "time", "recordedtime", "origin")
_VERSION_MAX = 2**31 - 1


@dataclass(slots=True)
class LogRecord:
    """One record of the log; the body is decoded when somebody asks for it."""

    partition: int
    offset: int
    key: str
    type: str
    record: str
    hash: bytes
    malformed: bytes | None = None
    """What was received, when it is not an event at all."""
    parsed: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """The decoded record, kept by a reader that looks at it more than once."""

    def attributes(self) -> dict[str, Any]:
        """Return the CloudEvents attributes and the data.

        :raises ValueError: when the record is not an event.
        """
        if self.parsed is not None:
            return self.parsed
        attributes: Any = orjson.loads(self.record)
        if not isinstance(attributes, dict):
            raise ValueError("the record is not an object")
        return cast("dict[str, Any]", attributes)

    def parse(self) -> bool:
        """Decode the record and keep that; say whether it is an event that can be applied."""
        if self.malformed is not None:
            return False
        try:
            attributes = self.attributes()
        except ValueError:
            attributes = {}
        version = attributes.get("streamversion")
        sound = (
            all(_is_text(attributes.get(name)) for name in _TEXTS)
            and attributes["partitionkey"] == self.key
            and attributes["type"] == self.type
            and type(version) is int
            and 0 < version <= _VERSION_MAX
            and isinstance(attributes.get("data"), dict)
        )
        if sound:
            self.parsed = attributes
        else:
            self.malformed = self.record.encode()
        return sound


def _is_text(value: object) -> bool:
    """Say whether an attribute is a text that a database can hold."""
    return isinstance(value, str) and "\x00" not in value


Batch = Mapping[int, Sequence[LogRecord]]


class LogConsumer(Protocol):
    """Reads partitions of the log in order; keeps its positions, but decides nothing by them."""

    async def poll(self, records_max: int, timeout_seconds: float) -> Batch:
        """Return the next records by partition, waiting for at most ``timeout_seconds``."""
        ...

    def assigned(self) -> frozenset[int]:
        """Return the partitions that this consumer reads at the moment."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset`` on, if it is assigned."""
        ...

    async def hint(self, positions: Mapping[int, int]) -> None:
        """Tell the log how far the reader came; for tools and as a first position only."""
        ...

    async def close(self) -> None:
        """Leave the log."""
        ...


class EventLog(Protocol):
    """The log that all services share."""

    async def start(self) -> None:
        """Connect as far as possible; a log that is down is not an error."""
        ...

    async def relay(self, connection: Connection, events_max: int) -> int:
        """Move events from the outbox of a connection's schema to the log, in order.

        Runs its own transactions on ``connection``; returns how many events moved. An event
        leaves the outbox only after the log has it, so it may be published twice, never lost.
        """
        ...

    async def consumer(self, group: str | None) -> LogConsumer:
        """Return a consumer of the group; without a group one that reads everything."""
        ...

    async def heads(self) -> dict[int, int]:
        """Return the next offset of every partition; what is before it can be read.

        :raises OSError: when the log cannot be reached.
        """
        ...

    async def starts(self) -> dict[int, int]:
        """Return the first offset of every partition that is still there.

        :raises OSError: when the log cannot be reached.
        """
        ...

    async def remembered(self, group: str) -> dict[int, int]:
        """Return the positions that a group's reader has hinted at, as far as they are kept.

        :raises OSError: when the log cannot be reached.
        """
        ...

    def wakes(self) -> bool:
        """Say whether consumers wait in ``poll`` for new records, so that nobody must wake them."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
