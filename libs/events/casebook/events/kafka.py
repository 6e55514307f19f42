"""The log on Kafka: CloudEvents binary mode, and the partition of a case (decisions 3.1, 3.7).

A record's attributes stand in headers named ``ce_…``, its data is the value, its case the key.
Four headers are derived and no part of the record: the schema, the classification, the content
type and the hash of the stream's chain. All others make the record again, so that the chain can
be verified from Kafka alone, by a version of the code that does not know them all too.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson

from casebook.events.catalog import EVENTS
from casebook.events.envelope import Envelope, from_attributes
from casebook.events.malformed import Malformed

Headers = list[tuple[str, bytes]]
Received = Iterable[tuple[str, bytes | None]]
"""Headers as somebody may have sent them: Kafka takes one without a value."""
Message = tuple[bytes, Headers, bytes]

PARTITIONS = 12
CONTENT_TYPE = b"application/json"
TYPE_HEADER = "ce_type"
SCHEMA_NAMESPACE = "urn:casebook:schema:"

_HASH_BYTES = 32
_INTEGERS = frozenset({"streamversion", "sourcesequence"})
_DERIVED = frozenset({"dataschema", "dataclassification", "chainhash"})


def to_kafka(envelope: Envelope, chain_hash: bytes) -> Message:
    """Return key, headers and value of a fact, whose stream's chain has ``chain_hash`` there.

    :raises orjson.JSONEncodeError: for text with lone surrogates or integers over 64 bits.
    """
    return record_to_kafka(envelope.record(), chain_hash)


def from_kafka(key: bytes | None, headers: Received, value: bytes | None) -> tuple[Envelope, bytes]:
    """Return the fact that a Kafka record holds, and the hash of its stream's chain.

    :raises Malformed: when the record is not an event of the log.
    """
    attributes, chain_hash = _attributes(key, headers, value)
    try:
        return from_attributes(attributes), chain_hash
    except ValueError as error:
        raise Malformed("not-an-event", str(error)) from error


def record_to_kafka(record: str, chain_hash: bytes) -> Message:
    """Return key, headers and value of a canonical record; what a relay sends."""
    attributes: dict[str, Any] = orjson.loads(record)
    data = attributes.pop("data")
    headers: Headers = [(TYPE_HEADER, attributes.pop("type").encode())]
    headers.extend((f"ce_{name}", str(attributes[name]).encode()) for name in attributes)
    headers.extend(_derived(headers[0][1]))
    headers.append(("ce_chainhash", chain_hash.hex().encode()))
    value = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    return attributes["partitionkey"].encode(), headers, value


def record_from_kafka(
    key: bytes | None, headers: Received, value: bytes | None
) -> tuple[str, bytes]:
    """Return the canonical record that a Kafka record holds, and its chain hash.

    Attributes of a later version stay in, so that ``chain(previous, record)`` equals the hash.

    :raises Malformed: when the record is not an event of the log.
    """
    attributes, chain_hash = _attributes(key, headers, value)
    try:
        record = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:  # a number over 64 bits, or too deep
        raise Malformed("not-an-event", "it cannot be written as a record") from error
    return record, chain_hash


def type_of(headers: Received) -> str | None:
    """Return the event type without looking at the body; ``None`` if the record has none."""
    for name, value in headers:
        if name == TYPE_HEADER:
            return None if value is None else value.decode("utf-8", "replace")
    return None


def _attributes(
    key: bytes | None, headers: Received, value: bytes | None
) -> tuple[dict[str, Any], bytes]:
    """Return the attributes of a record with its data, and the chain hash."""
    attributes: dict[str, Any] = {}
    derived: dict[str, Any] = {}
    try:
        for header, raw in headers:
            if not header.startswith("ce_"):
                continue
            name = header[3:]
            into = derived if name in _DERIVED else attributes
            if name in into:
                raise Malformed("repeated-attribute", f"{name} stands twice in the headers")
            into[name] = _value(name, raw)
        if attributes.get("specversion") != "1.0":
            raise Malformed("unknown-specversion", "the log holds CloudEvents 1.0 only")
        if key is None or key.decode() != attributes.get("partitionkey"):
            raise Malformed("key-mismatch", "the key is not the partitionkey")
        chain_hash = bytes.fromhex(derived.get("chainhash", ""))
        if len(chain_hash) != _HASH_BYTES:
            raise Malformed("not-an-event", "chainhash is missing or not 32 bytes")
        attributes["data"] = data = orjson.loads(value or b"null")
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed("not-an-event", "a header or the value cannot be read") from error
    if not isinstance(data, dict):
        raise Malformed("data-not-an-object", "the value is not a JSON object")
    return attributes, chain_hash


def _value(name: str, raw: bytes | None) -> str | int:
    """Return what a header says.

    :raises ValueError: when it says nothing, or what cannot be read.
    """
    if raw is None:
        raise ValueError("a header without a value")
    return int(raw) if name in _INTEGERS else raw.decode()


@lru_cache(maxsize=1024)
def _derived(type_: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that follow from an event's type."""
    name = type_.decode()
    return (
        ("ce_dataschema", f"{SCHEMA_NAMESPACE}{name}".encode()),
        ("ce_dataclassification", classification(name).encode()),
        ("content-type", CONTENT_TYPE),
    )


def classification(type_: str) -> str:
    """Return the care that data of a type needs: restricted, confidential or internal.

    Confidential is what holds sealed text, and what this version of the code does not know.
    """
    event = EVENTS.get(type_)
    if event is None:
        return "confidential"
    if event.audience == "restricted":
        return "restricted"
    return "confidential" if event.secret_fields else "internal"


# --- the partition of a case --------------------------------------------------------------------

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Return the hash that Java's Kafka client spreads keys by, as a signed 32-bit integer."""
    length = len(key)
    state = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ (word >> 24)) * _MULTIPLIER & _MASK
        state = (state * _MULTIPLIER & _MASK) ^ word
    if length != whole:
        state = (state ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _MASK
    state = (state ^ (state >> 13)) * _MULTIPLIER & _MASK
    state ^= state >> 15
    return state - 2**32 if state >= 2**31 else state


@lru_cache(maxsize=65_536)
def partition(key: str, partitions: int = PARTITIONS) -> int:
    """Return the partition of a case: what Java's default partitioner chooses for its key."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
