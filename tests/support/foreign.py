"""Facts of other services as they stand in the log, and logs with what should not be there."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from casebook.events.envelope import Envelope, chain
from casebook.events.event import Event
from casebook.events.kafka import partition
from casebook.events.values import Sealed
from casebook.kit.log.memory import MemoryLog
from tests.support.service import START


def fact(
    stream: str,
    version: int,
    event: Event,
    *,
    key: str | None = None,
    recorded: datetime | None = None,
    **changes: Any,
) -> Envelope:
    """Return a fact of another service; its texts are sealed with a key that nobody has."""
    case = key or stream.rpartition("/")[2]
    sealed = {
        name: Sealed(key="elsewhere.1", ciphertext="c2VhbGVk")
        for name in event.secret_fields
        if getattr(event, name) is not None
    }
    given: dict[str, Any] = {
        "id": uuid4(),
        "source": "/casebook/dispatch",
        "type": event.type,
        "subject": stream,
        "streamversion": version,
        "partitionkey": case,
        "time": START,
        "recordedtime": recorded or START + timedelta(seconds=version),
        "correlationid": case,
        "actor": "service:dispatch",
        "origin": "live",
        "audience": event.audience,
        "data": event.model_copy(update=sealed).payload(),
    }
    return Envelope(**given | changes)


def tell(log: MemoryLog, *facts: Envelope) -> None:
    """Append facts to a log, as the relay of another service would."""
    for envelope in facts:
        record = envelope.record()
        key = envelope.partitionkey
        log.add(partition(key), key, envelope.type, record, chain(b"", record))


def inject(log: MemoryLog, record: str, *, key: str, type_: str = "") -> None:
    """Append what may not be an event at all."""
    log.add(partition(key), key, type_, record, b"")
