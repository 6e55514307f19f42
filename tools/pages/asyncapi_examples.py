"""The examples of docs/asyncapi.json, made by the code that writes and reads such messages.

The data of a fact is the committed example of its event. A publisher sends the same, with plain
text where the log has ciphertext.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from casebook.events.catalog import FAMILIES, owner
from casebook.events.envelope import GENESIS, Envelope, chain
from casebook.events.event import Event
from casebook.events.ingress import STRUCTURED, Published
from casebook.events.kafka import CONTENT_TYPE, to_kafka
from casebook.events.request import RequestSubmitted

Document = dict[str, Any]

REQUEST = "0199c3f2-0000-7000-8000-000000000001"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TEXTS = {
    "title": "邮件无法发送",
    "description": "从今天早上开始，所有发出的邮件都被退回。",
    "body": "重启之后还是一样。",
    "comment": "解决得很快，谢谢！",
    "summary": "更换了故障交换机",
    "name": "李娜",
}
OTHER_TEXT = "熟悉该客户的网络"


def fact_example(root: Path, event: type[Event]) -> Document | None:
    """Return an example of an event in the log; nothing while it has none."""
    data = _data(root, event)
    if data is None:
        return None
    family = FAMILIES.get(event.family)
    # What every service writes is shown as intake writes it.
    service = owner(event.type) or "intake"
    by_request = family is None or family.keyed_by_request or event.family == "nonconformity"
    case = REQUEST if by_request else "network"
    stream = f"ingress-{service}" if family is None else event.family
    envelope = Envelope(
        id=UUID("0199c3f2-6a40-7d11-8e2f-90a1b2c3d4e5"),
        source=f"/casebook/{service}",
        type=event.type,
        subject=f"{stream}/{case}",
        streamversion=1,
        partitionkey=case,
        time=datetime(2026, 3, 2, 1, 5, 12, 340000, tzinfo=UTC),
        recordedtime=datetime(2026, 3, 2, 1, 5, 12, 341001, tzinfo=UTC),
        correlationid=case,
        actor="user:li.na",
        origin="live",
        audience=event.audience,
        data=data,
        causationid=UUID("0199c3f2-6a40-7d11-8e2f-90a1b2c3d4e4"),
        traceparent=TRACEPARENT,
    )
    _, headers, _ = to_kafka(envelope, chain(GENESIS, envelope.record()))
    return {
        "name": "fact",
        "headers": {name: value.decode() for name, value in headers},
        "payload": data,
    }


def published_example(root: Path, event: type[Event]) -> Document | None:
    """Return an example of an event that another system publishes; nothing while it has none."""
    published = _published(root, event)
    if published is None:
        return None
    attributes = {f"ce_{name}": str(value) for name, value in published.attributes().items()}
    return {
        "name": "binary",
        "headers": attributes | {"content-type": CONTENT_TYPE.decode()},
        "payload": dict(published.data),
    }


def structured_example(root: Path) -> Document | None:
    """Return an example of structured mode; nothing while its event has none."""
    published = _published(root, RequestSubmitted)
    if published is None:
        return None
    return {
        "name": "structured",
        "headers": {"content-type": STRUCTURED},
        "payload": published.structured(),
    }


def _published(root: Path, event: type[Event]) -> Published | None:
    """Return an event as another system publishes it."""
    data = _data(root, event)
    if data is None:
        return None
    plain = {field: TEXTS.get(field, OTHER_TEXT) for field in event.secret_fields}
    return Published(
        source="helpdesk",
        id="INC0000045/3",
        type=event.type,
        subject="INC0000045",
        time=datetime(2026, 3, 2, 1, 5, 12, tzinfo=UTC),
        data=data | plain,
        sourcesequence=3,
        actor="Li Na",
    )


def _data(root: Path, event: type[Event]) -> Document | None:
    """Return the committed example of an event's data."""
    path = root / "libs" / "events" / "examples" / f"{event.type}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
