"""Hostile events: published over HTTP in batches, through the inbox, promotion and all readers.

Bodies start from the committed example of every type. Hypothesis changes them; or a nasty stands
in one of their fields. Every event must come to an end: a fact, a quarantine, or a refusal.
"""

import copy
import json
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from casebook.events.catalog import owner
from tests.fuzz.ground import SOURCES, Ground
from tests.fuzz.outcome import Outcome
from tests.support.cast import BUSY
from tests.support.interface import Json, Place, spliced
from tests.support.nasties import NASTIES, Nasty
from tests.support.profiles import INPUT

KIND_MADE, KIND_NASTY = "events by hypothesis", "nasty values in events"
EXAMPLES = Path("libs/events/examples")
BATCH = 250
MEDIA = "application/cloudevents-batch+json"
OUTCOMES = {"accepted", "quarantined", "duplicate", "malformed", "refused", "not-the-owner"}

_texts = st.text(max_size=40) | st.sampled_from(["", "\u202e", "x" * 300, "1", "null", "王"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)


@cache
def examples() -> list[tuple[str, str, Json]]:
    """Return owner, type and data of the example of every type, with plain text."""
    return [
        (owner(path.stem) or "intake", path.stem, _plain(json.loads(path.read_text("utf-8"))))
        for path in sorted(EXAMPLES.glob("*.json"))
    ]


def _plain(value: Any) -> Any:
    """Return data as they are published: text that the log holds sealed is a text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"key", "ciphertext"}:
        return "机密的文字"
    return {name: _plain(inner) for name, inner in value.items()}


def changed(values: list[Any], turn: int) -> Iterator[tuple[str, bytes]]:
    """Yield an event of every type for every value, which stands somewhere in it."""
    for service, type_, data in examples():
        for number, value in enumerate(values, turn):
            body = copy.deepcopy(data)
            names = [*sorted(body), "unheard-of"]
            name = names[number % len(names)]
            if number % 7 == 0:
                body.pop(name, None)
            else:
                body[name] = value
            event = new_event(type_, body, SOURCES[number % len(SOURCES)])
            if number % 11 == 0:
                event[sorted(event)[number % len(event)]] = value
            if number % 3 == 0:
                event["sourcesequence"] = 1  # a later place would wait for its predecessor
            yield service, json.dumps(event).encode()


def by_hypothesis(ground: Ground, number: int, rounds: int) -> Outcome:
    """Publish drawn values in events of all types; the same number gives the same ones."""
    outcome = Outcome()

    @seed(number)
    @settings(INPUT, max_examples=rounds)
    @given(st.lists(_values, min_size=6, max_size=6), st.integers(0, 10_000))
    def publish(values: list[Any], turn: int) -> None:
        waiting: dict[str, list[bytes]] = {}
        for service, body in changed(values, turn):
            waiting.setdefault(service, []).append(body)
        for service, bodies in waiting.items():
            _publish(ground, service, bodies, outcome, KIND_MADE)

    publish()
    return outcome


def nasty_events(step: int, start: int) -> Iterator[tuple[str, Json, Place, Nasty]]:
    """Yield every ``step``-th of all nasties in all texts of all examples, before it is there."""
    number = 0
    for service, type_, data in examples():
        for place in texts_of(data, ("data",)):
            for nasty in NASTIES:
                number += 1
                if number % step == start % step:
                    event = new_event(type_, data, SOURCES[number % len(SOURCES)])
                    yield service, event, place, nasty


def with_nasties(ground: Ground, step: int, start: int) -> Outcome:
    """Publish nasties in events; those that no JSON may hold are other tests' business."""
    outcome = Outcome()
    waiting: dict[str, list[bytes]] = {}
    for service, event, place, nasty in nasty_events(step, start):
        if nasty.code is not None or nasty.name == "depth 32":  # deeper inside of an event
            continue
        bodies = waiting.setdefault(service, [])
        bodies.append(spliced(event, place, nasty.body))
        if len(bodies) == BATCH:
            _publish(ground, service, bodies, outcome, KIND_NASTY)
            bodies.clear()
    for service, bodies in waiting.items():
        _publish(ground, service, bodies, outcome, KIND_NASTY)
    return outcome


def new_event(type_: str, data: Json, source: str) -> Json:
    """Return an event about a subject of its own."""
    name = uuid.uuid4().hex
    return {
        "specversion": "1.0", "id": name, "source": source, "type": type_, "subject": name,
        "time": "2026-01-05T08:00:00Z", "data": data,
    }  # fmt: skip


def texts_of(value: Any, place: Place) -> Iterator[Place]:
    """Yield where texts stand in data."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts_of(inner, (*place, name))
    elif isinstance(value, list) and value:
        yield from texts_of(value[0], (*place, 0))


def _publish(
    ground: Ground, service: str, bodies: list[bytes], outcome: Outcome, kind: str
) -> None:
    """Publish a batch; a batch that strict JSON refuses is sent again in halves."""
    if not bodies:
        return
    content = b"[" + b",".join(bodies) + b"]"
    headers = ground.everybody | {"Content-Type": MEDIA}
    while True:
        answer = ground.do(
            ground.cast.client.post(f"/{service}/v1/events", content=content, headers=headers)
        )
        if answer.status_code not in {429, 503}:
            break
        if answer.status_code == 503 and answer.json()["code"] not in BUSY:
            break
    if answer.status_code == 400 and len(bodies) > 1:
        half = len(bodies) // 2
        _publish(ground, service, bodies[:half], outcome, kind)
        _publish(ground, service, bodies[half:], outcome, kind)
        return
    outcome.cases[kind] += len(bodies)
    if answer.status_code == 202:
        results = answer.json()["results"]
        if len(results) != len(bodies) or {r["outcome"] for r in results} - OUTCOMES:
            outcome.fail(f"{service}: {answer.text[:300]}")
        for result in results:
            outcome.answers[result["outcome"]] += 1
    elif answer.status_code in {400, 422}:
        outcome.answers[str(answer.status_code)] += len(bodies)
    else:
        outcome.fail(f"{service}: {answer.status_code} {answer.text[:300]} {content[:300]!r}")
