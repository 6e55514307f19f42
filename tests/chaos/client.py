"""One client over HTTP: sends, sends again, and records what it was told."""

import asyncio
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.history import History, Kind, Op, Outcome, Person

ATTEMPTS_MAX = 4
PUBLISHER = Person("pump", "publisher", "acme")
GIVE_UP_SHARE = 0.15
"""So often a client does not ask again about what it does not know."""


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask of a service; ``stream`` is what it is about, as far as that is known."""

    method: str
    service: str
    path: str
    stream: str = ""
    body: object = None


@dataclass(slots=True)
class Shared:
    """What the clients of one workload know together."""

    urls: Mapping[str, str]
    tokens: Mapping[str, str]
    history: History = field(default_factory=History)
    cases: list[tuple[str, Person]] = field(default_factory=list[tuple[str, Person]])
    unpublished: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list[tuple[str, dict[str, Any]]]
    )
    subjects: int = 0


class Client:
    """One process of the history: does one thing after the other, as different people."""

    def __init__(
        self, number: int, shared: Shared, rng: random.Random, timeout_seconds: float
    ) -> None:
        self.number = number
        self.shared = shared
        self.rng = rng
        self.http = httpx.AsyncClient(timeout=timeout_seconds)

    async def must(self, person: Person, call: Call) -> None:
        """Run a command that has to be taken."""
        op = await self.command(f"prepare {call.path}", person, call)
        assert op.outcome == "ok", (op, call)

    async def command(
        self, name: str, person: Person, call: Call, *, seen: int | None = None
    ) -> Op:
        """Run a command; send it again, with the same key, while nobody knows its outcome."""
        key, trace = str(uuid.UUID(int=self.rng.getrandbits(128))), self._trace()
        headers = {"Idempotency-Key": key, "traceparent": f"00-{trace}-00000000000000ff-01"}
        if seen is not None:
            headers["If-Match"] = f'"{seen}"'
        while True:
            op = self._op("command", name, person, call)
            op.key, op.trace, op.seen = key, trace, seen
            answer = await self._exchange(op, call, headers)
            if answer is not None and op.outcome == "ok":
                op.stream, _, version = answer.headers["casebook-version"].rpartition("@")
                op.version = int(version)
            known = op.status and op.outcome != "info"
            attempts = sum(before.key == key for before in self.shared.history.ops[-200:])
            if known or attempts == ATTEMPTS_MAX or self.rng.random() < GIVE_UP_SHARE:
                return op
            await asyncio.sleep(self.rng.uniform(0.1, 1.0))

    async def publish(self, service: str, events: Sequence[dict[str, Any]]) -> None:
        """Publish events once; what is known to be taken need not be sent again."""
        call = Call("POST", service, "/events", body=list(events))
        op = self._op("publish", f"publish-{service}", PUBLISHER, call)
        op.items = [(event["source"], event["id"], "info") for event in events]
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        answer = await self._exchange(op, call, headers)
        if answer is None or op.outcome != "ok":
            await asyncio.sleep(0.2)
            return
        op.items = [
            (event["source"], event["id"], result["outcome"])
            for event, result in zip(events, answer.json()["results"], strict=True)
        ]
        taken = {id_ for _, id_, _ in op.items}
        self.shared.unpublished = [
            (owner, event) for owner, event in self.shared.unpublished if event["id"] not in taken
        ]

    async def read(
        self, name: str, person: Person, call: Call, *, minimum: str = "", ids: str = ""
    ) -> tuple[Op, Any]:
        """Read a resource, or a list whose rows have ``ids``; return the answer, if there is one.

        ``minimum`` is a version that one has seen, and wants to see again.
        """
        op = self._op("read", name, person, call)
        op.minimum = minimum
        headers = {"Casebook-Min-Version": minimum} if minimum else {}
        answer = await self._exchange(op, call, headers)
        if answer is None or op.outcome != "ok":
            return op, None
        found = answer.json()
        if ids:
            op.rows = [str(item[ids]) for item in found["items"]]
        else:
            op.version = int(answer.headers["etag"].strip('"'))
            op.rows = [call.stream.rpartition("/")[2]]
        return op, found

    def _op(self, kind: Kind, name: str, person: Person, call: Call) -> Op:
        """Record that something is asked for."""
        op = Op(self.number, kind, name, person, time.monotonic(), stream=call.stream)
        self.shared.history.ops.append(op)
        return op

    async def _exchange(
        self, op: Op, call: Call, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        """Send a request, and record how it ended."""
        given = {"Authorization": f"Bearer {self.shared.tokens[op.person.subject]}", **headers}
        url = f"{self.shared.urls[call.service]}/{call.service}/v1{call.path}"
        answer: httpx.Response | None = None
        try:
            answer = await self.http.request(call.method, url, json=call.body, headers=given)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            op.outcome, op.code = "fail", type(error).__name__  # nothing was sent
            await asyncio.sleep(0.1)
        except httpx.TransportError as error:
            op.code = type(error).__name__
        else:
            op.status = answer.status_code
            if answer.is_error:
                op.code = str(answer.json().get("code"))
            op.outcome = _outcome(op)
        op.ended = time.monotonic()
        return answer

    def _trace(self) -> str:
        return f"{self.rng.getrandbits(128) | 1:032x}"


def _outcome(op: Op) -> Outcome:
    """Return what an answer says; after a server error, or beside a first attempt, nobody knows."""
    if op.status < 400:
        return "ok"
    if op.status >= 500 or op.code == "idempotency-key-in-flight":
        return "info"
    return "fail"
