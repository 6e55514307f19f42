"""The envelope: CloudEvents 1.0 attributes, the canonical record, and the chain over it.

A fact is stored as one line of canonical JSON, its *record*: the attributes and the data with
sorted keys. The chain of a stream is ``hash = sha256(previous hash || record)``; it covers the
ciphertext, so that it still verifies after a data key was destroyed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import orjson

Origin = Literal["live", "observed"]
GENESIS = b""
"""What the chain of a stream starts from."""

RECORD_BYTES_MAX = 256 * 1024
"""A larger event is refused at append (decision: nothing that a log record cannot carry)."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One fact with its context; the names are those of the CloudEvents attributes.

    ``subject`` is the stream, ``streamversion`` its place in it (1, 2, …); ``partitionkey`` is
    the case. ``time`` is when it happened, ``recordedtime`` when Casebook recorded it.
    """

    id: UUID
    source: str
    type: str
    subject: str
    streamversion: int
    partitionkey: str
    time: datetime
    recordedtime: datetime
    correlationid: str
    actor: str
    origin: Origin
    audience: str
    data: Mapping[str, Any]
    causationid: UUID | None = None
    traceparent: str | None = None
    originsource: str | None = None
    originid: str | None = None
    origindigest: str | None = None
    sourcesequence: int | None = None

    def record(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces, nothing that has no value.

        :raises orjson.JSONEncodeError: for text with lone surrogates or integers over 64 bits.
        """
        attributes: dict[str, Any] = {
            "actor": self.actor,
            "audience": self.audience,
            "correlationid": self.correlationid,
            "data": self.data,
            "id": str(self.id),
            "origin": self.origin,
            "partitionkey": self.partitionkey,
            "recordedtime": timestamp(self.recordedtime),
            "source": self.source,
            "specversion": "1.0",
            "streamversion": self.streamversion,
            "subject": self.subject,
            "time": timestamp(self.time),
            "type": self.type,
        }
        if self.causationid is not None:
            attributes["causationid"] = str(self.causationid)
        for name in OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                attributes[name] = value
        return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_record(cls, record: str | bytes) -> "Envelope":
        """Return the envelope that :meth:`record` wrote.

        :raises ValueError: when the text is not a record.
        """
        return from_attributes(orjson.loads(record))


OPTIONAL = ("traceparent", "originsource", "originid", "origindigest", "sourcesequence")


def from_attributes(attributes: Mapping[str, Any]) -> Envelope:
    """Return the envelope of decoded attributes.

    :raises ValueError: when an attribute is missing or malformed.
    """
    try:
        causation = attributes.get("causationid")
        sequence = attributes.get("sourcesequence")
        return Envelope(
            id=UUID(attributes["id"]),
            source=attributes["source"],
            type=attributes["type"],
            subject=attributes["subject"],
            streamversion=int(attributes["streamversion"]),
            partitionkey=attributes["partitionkey"],
            time=datetime.fromisoformat(attributes["time"]),
            recordedtime=datetime.fromisoformat(attributes["recordedtime"]),
            correlationid=attributes["correlationid"],
            actor=attributes["actor"],
            origin=attributes["origin"],
            audience=attributes["audience"],
            data=attributes["data"],
            causationid=None if causation is None else UUID(causation),
            traceparent=attributes.get("traceparent"),
            originsource=attributes.get("originsource"),
            originid=attributes.get("originid"),
            origindigest=attributes.get("origindigest"),
            sourcesequence=None if sequence is None else int(sequence),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event record: {error!r}") from error


def timestamp(moment: datetime) -> str:
    """Return ``moment`` as RFC 3339 in UTC with microseconds, the one form that records hold."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def chain(previous: bytes, record: str) -> bytes:
    """Return the hash of a record that follows ``previous`` in its stream (32 bytes)."""
    return hashlib.sha256(previous + record.encode()).digest()
