"""A platform as the import sees it: five services that promote in the order of the source."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from casebook.events.catalog import SERVICES, owner

Json = dict[str, Any]
Answer = tuple[int, Any]
TOKEN = "e30.eyJzdWIiOiJpbXBvcnRlciJ9.c2ln"
"""Of the subject ``importer``; the services decide whether a token is genuine, this one never."""


@dataclass
class FakePlatform:
    """Takes events into inboxes of limited size, and promotes what may be, at every call.

    ``failures`` are answers, or errors, that the next calls get instead; ``refused`` are ids
    that are quarantined at promotion. ``others`` are at work all the time: there is always
    something in the log that is not applied yet. A ``halted`` reader applies nothing. For
    ``types_unread`` looks the services know the old types; what comes before is ``too_early``.
    """

    others: bool = False
    halted: bool = False
    looks: int = 0
    types_unread: int = 0
    too_early: int = 0

    inbox_events_max: int = 10**9
    promote_max: int = 10**9
    failures: list[Answer | Exception] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    source: Json | None = None
    facts: dict[str, Json] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, dict[str, Json]] = field(default_factory=lambda: {s: {} for s in SERVICES})
    reached: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    batches: list[tuple[str, int]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    pending_max: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as an ASGI app."""
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, answer = self._answer(scope["method"], scope["path"], headers, body)
        names = [(b"content-type", b"application/json")]
        if "retry_after" in answer:
            names.append((b"retry-after", str(answer["retry_after"]).encode()))
        await send({"type": "http.response.start", "status": status, "headers": names})
        await send({"type": "http.response.body", "body": orjson.dumps(answer)})

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer one call."""
        _, service, _, *rest = path.split("/")
        self.calls[f"{method} {rest[0]}"] += 1
        self.keys.append(headers.get("idempotency-key"))
        self.too_early += method == "POST" and self.types_unread > 0
        if method == "POST" and self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        if method == "PUT" and self.source is not None and "if-match" not in headers:
            return 428, {"code": "if-match-required", "detail": "send If-Match"}
        if method == "PUT":
            return self._register(body)
        if method == "GET" and rest == ["sources"]:
            return self._sources()
        if method == "GET":
            self._promote()
            return 200, self._status(service)
        return self._accept(service, orjson.loads(body))

    def _sources(self) -> Answer:
        """List the registered sources."""
        return 200, [] if self.source is None else [self.source | {"version": 1}]

    def _register(self, body: bytes) -> Answer:
        """Let a source publish."""
        self.source = orjson.loads(body)
        return 200, {}

    def _accept(self, service: str, events: list[Json]) -> Answer:
        """Take a batch, unless the inbox is full."""
        waiting = self.waiting[service]
        if len(waiting) >= self.inbox_events_max:
            self._promote()
            return 429, {"code": "inbox-full", "detail": "full", "retry_after": 0.001}
        results = [self._take(service, event) for event in events]
        self.batches.append((service, len(events)))
        self.pending_max = max(self.pending_max, *map(len, self.waiting.values()))
        outcomes = Counter(result["outcome"] for result in results)
        return 202, {
            "results": results,
            "accepted": outcomes["accepted"],
            "duplicates": outcomes["duplicate"],
            "quarantined": outcomes["quarantined"],
        }

    def _take(self, service: str, event: Json) -> Json:
        """Take one event."""
        if owner(event["type"]) != service:
            return {"id": event["id"], "outcome": "not-the-owner", "code": "not-the-owner"}
        if event["id"] in self.quarantine:
            before = {"code": "row-rejected", "detail": "quarantined before"}
            return {"id": event["id"], "outcome": "quarantined", **before}
        if "sourcesequence" not in event:
            self.quarantine[event["id"]] = service
            return {"id": event["id"], "outcome": "quarantined", "code": "row-rejected"}
        if event["id"] in self.facts or event["id"] in self.waiting[service]:
            return {"id": event["id"], "outcome": "duplicate"}
        self.waiting[service][event["id"]] = event
        return {"id": event["id"], "outcome": "accepted"}

    def _promote(self) -> None:
        """Make facts of what has its predecessor, over all services, until nothing more can be."""
        left, moved = self.promote_max, True
        while moved and left:
            moved = False
            for service, waiting in self.waiting.items():
                for event in list(waiting.values()):
                    if event["sourcesequence"] != self.reached[event["subject"]] + 1 or not left:
                        continue
                    del waiting[event["id"]]
                    self.reached[event["subject"]] += 1
                    if event["id"] in self.refused:
                        self.quarantine[event["id"]] = service
                    else:
                        self.facts[event["id"]] = event
                    left -= 1
                    moved = True

    def _types_read(self) -> list[str] | None:
        """Return the types that a service knows of the source: for some looks, the old ones."""
        if self.source is None:
            return None
        self.types_unread = max(0, self.types_unread - 1)
        return [] if self.types_unread else list(self.source["types"])

    def _status(self, service: str) -> Json:
        """Say how far a service is."""
        self.looks += 1
        head = len(self.facts) + (self.looks if self.others else 0)
        return {
            "pending": len(self.waiting[service]),
            "quarantined": sum(where == service for where in self.quarantine.values()),
            "deviations": {"already-closed": 2} if self.facts and service == "intake" else {},
            "lag": int(self.others),
            "outbox": 0,
            "mode": None if self.source is None else self.source["mode"],
            "types": self._types_read(),
            "heads": {"0": head + self.others},
            "applied": {"0": 0 if self.halted else head},
        }
