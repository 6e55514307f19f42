"""What no handler can take, on the log and on a publisher's topic (F-10, F-14)."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from casebook.events.envelope import chain
from casebook.events.kafka import Headers, partition, record_to_kafka
from casebook.events.request import RequestSubmitted
from casebook.events.work_order import WorkOrderResolved
from tests.chaos.client import PUBLISHER, Call
from tests.chaos.ground import Ground, People, becomes
from tests.chaos.history import Op
from tests.chaos.workload import ADMIN, SOURCE, published
from tests.support.figures import Tell
from tests.support.foreign import fact
from tests.support.production import SERVICES

SEED = 10
UNKNOWN_TYPE, UNKNOWN_MAJOR = "casebook.request.levitated.v1", "casebook.request.submitted.v9"
SUBMITTED = RequestSubmitted(number="X", kind="incident", requester="x")
QUARANTINED = ("malformed-json", "invalid-data", "unsafe-text", "unknown-type", "unknown-major")
NEWER_CASES = 30
NEIGHBOUR_SECONDS_MAX = 60.0
"""Far more than it takes, and far less than if each poisoned case were waited for."""
HANDLE_SUBMITTED = {"intake", "dispatch", "monitoring"}
"""Who would lose something by passing over a request of tomorrow's version."""
UNKNOWN: Any = (None, None)
"""Source and id of what is no event."""
Sent = tuple[str, int, bytes, Headers, bytes]
"""Topic, partition, key, headers, value."""


async def send(ground: Ground, sent: Iterable[Sent]) -> list[tuple[int, int]]:
    """Write records as somebody does who may write there; return where they stand."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=ground.deployment.production.bootstrap)
    await producer.start()
    try:
        return [
            (number, done.offset)
            for topic, number, key, headers, value in sent
            for done in [
                await producer.send_and_wait(
                    topic, value, key=key, headers=headers, partition=number
                )
            ]
        ]
    finally:
        await producer.stop()


def key_beside(request: str) -> str:
    """Return the key of a case in the partition of another one."""
    while partition(key := str(uuid4())) != partition(request):
        pass
    return key


async def test_poison_on_the_log_stops_its_own_case_and_nothing_else(ground: Ground) -> None:
    """F-10, F-14: bad JSON, a wrong schema, text with NUL: quarantined or parked, with reason."""
    topic = ground.deployment.production.topic
    async with ground.people(seed=SEED) as people:
        request = await people.submit()
        await people.holder(request)
        number = partition(request)
        wrong, nul = key_beside(request), key_beside(request)
        forged = [
            fact(f"work-order/{wrong}", 1, WorkOrderResolved(), data={"code": ["no", "label"]},
                 source="/casebook/elsewhere"),
            fact(f"request/{nul}", 1, RequestSubmitted(number="X", kind="incident", requester="x"),
                 data={"number": "X\x00Y", "kind": "incident", "requester": "x"},
                 source="/casebook/elsewhere"),
        ]  # fmt: skip
        messages = [record_to_kafka(f.record(), chain(b"", f.record())) for f in forged]
        poison: list[Sent] = [(topic, number, key, headers, value)
                              for key, headers, value in messages]  # fmt: skip
        key, headers, _ = messages[0]
        poison += [
            (topic, number, key, headers, b"{not json"),
            (topic, number, b"\x00\xff", [], b"\x00\xff"),
        ]
        ground.planted_places.update(await send(ground, poison))
        ground.planted_keys |= {wrong, nul}
        ground.history.planted.add(UNKNOWN)

        await people.resolve(request)
        await becomes(lambda: status(ground, request) == "resolved", "the others' progress")
        parked = {name: await people.operate("GET", name, "/parked") for name in SERVICES}
        for key_ in (wrong, nul):
            errors = [
                row["error"]
                for rows in parked.values()
                for row in rows["items"]
                if row["key"] == key_
            ]
            assert errors
            assert all(errors)
        for name in SERVICES:
            rows = await people.operate("GET", name, "/quarantine")
            bad = [row["detail"] for row in rows["items"] if row["reason"] == "not-an-event"]
            assert len([detail for detail in bad if f"partition {number} " in detail]) == 2, name
        for name, rows in parked.items():
            for row in rows["items"]:
                path = f"/parked/{row['key']}/discards"
                await people.operate("POST", name, path, {"reason": "it was planted"})
    assert await ground.violations() == []


async def test_what_only_a_newer_release_knows_waits_or_is_passed_over_and_holds_up_nobody(
    ground: Ground, tell: Tell
) -> None:
    """F-10, F-14: an unknown type is counted, an unknown major parks its case; others go on."""
    topic = ground.deployment.production.topic
    async with ground.people(seed=SEED + 3) as people:
        neighbour = await people.submit()
        await people.holder(neighbour)
        number = partition(neighbour)
        strange, *newer = (key_beside(neighbour) for _ in range(1 + NEWER_CASES))
        forged = [
            fact(f"request/{key}", version, SUBMITTED, type=type_, source="/casebook/elsewhere")
            for type_, keys in ((UNKNOWN_TYPE, [strange]), (UNKNOWN_MAJOR, newer))
            for key in keys
            for version in (1, 2)
        ]
        messages = [record_to_kafka(f.record(), chain(b"", f.record())) for f in forged]
        before = {name: skipped(ground, name) for name in SERVICES}
        bad = {name: ground.value(f"SELECT count(*) FROM {name}.quarantine") for name in SERVICES}
        began = time.monotonic()
        places = await send(ground, [(topic, number, *message) for message in messages])
        ground.planted_places.update(places)
        ground.planted_keys |= {strange, *newer}

        await people.resolve(neighbour)
        await becomes(lambda: status(ground, neighbour) == "resolved", "the neighbour's progress")
        await becomes(lambda: behind(ground, places[-1]) == [], "everybody's way past the poison")
        seconds = time.monotonic() - began
        tell(
            f"beside {len(places)} events of a newer release a case was resolved in {seconds:.1f} s"
        )
        assert seconds < NEIGHBOUR_SECONDS_MAX
        for name in SERVICES:
            rows = (await people.operate("GET", name, "/parked?limit=1000"))["items"]
            found = {row["key"]: row for row in rows}
            assert found.keys() == ({*newer} if name in HANDLE_SUBMITTED else set()), name
            assert {row["records"] for row in rows} <= {2}
            assert all("UnknownMajor" in row["error"] for row in rows)
            applied = f"SELECT versions FROM {name}.cases WHERE key = '{strange}'"
            assert orjson.loads(ground.value(applied))["request"][0] == 2
            assert skipped(ground, name) == before[name] + 2
            assert ground.value(f"SELECT count(*) FROM {name}.quarantine") == bad[name]
        refused = await retry(people, newer[0])
        assert (refused.status_code, refused.json()["code"]) == (409, "still-failing")
        for name in HANDLE_SUBMITTED:
            for key in newer:
                path = f"/parked/{key}/discards"
                done = await people.operate("POST", name, path, {"reason": "it was planted"})
                assert done["discarded"] == 2, done
    assert await ground.violations() == []


async def test_a_case_whose_handler_fails_waits_in_order_and_is_retried(ground: Ground) -> None:
    """F-10: later events of the case wait behind it; a retry applies all of them, in order."""
    async with ground.people(seed=SEED + 1) as people:
        bad, good = await people.submit(), await people.submit()
        await people.holder(bad)
        await people.holder(good)
        await becomes(lambda: status(ground, bad), "the first facts in the read model")
        table = ground.value("SELECT format('work_v%s_%s', version, generation) "
                             "FROM intake.projections WHERE name = 'work'")  # fmt: skip
        ground.fetch(f"ALTER TABLE intake.{table} ADD CONSTRAINT planted "
                     f"CHECK (request <> '{bad}') NOT VALID")  # fmt: skip
        await people.resolve(bad)
        await people.resolve(good)
        await becomes(lambda: status(ground, good) == "resolved", "the other case's progress")
        await becomes(lambda: len(waiting(ground, bad)) >= 3, "the parked case")
        refused = await retry(people, bad)
        assert (refused.status_code, refused.json()["code"]) == (409, "still-failing")
        assert "planted" in ground.value(
            f"SELECT error FROM intake.parked WHERE key = '{bad}' ORDER BY sequence LIMIT 1"
        )
        ground.fetch(f"ALTER TABLE intake.{table} DROP CONSTRAINT planted")
        done = await retry(people, bad)
        assert done.json()["applied"] >= 3, done.text
        assert status(ground, bad) == "resolved"
    assert await ground.violations() == []


async def test_poison_from_a_publisher_is_quarantined_and_the_others_are_taken(
    ground: Ground,
) -> None:
    """F-10, F-14: bad JSON, a wrong schema, NUL, what is of tomorrow: each with its reason."""
    publisher = f"pump-{secrets.token_hex(4)}"
    await asyncio.to_thread(ground.deployment.production.init, "--publisher", publisher)
    topic, source = f"casebook.ingress.{publisher}", f"{SOURCE}-{publisher}"
    good = [published(subject, "request.submitted", 1) | {"source": source}
            for subject in ("GOOD-1", "GOOD-2")]  # fmt: skip
    wrong = published("BAD-1", "request.submitted", 1) | {"source": source, "data": {"kind": 7}}
    nul = published("BAD-2", "request.submitted", 1) | {"source": source}
    nul["data"] = {"number": "BAD\x00", "kind": "incident", "requester": "x"}
    strange, newer = (
        published(subject, "request.submitted", 1) | {"source": source, "type": type_}
        for subject, type_ in (("BAD-3", UNKNOWN_TYPE), ("BAD-4", UNKNOWN_MAJOR))
    )
    values = [
        orjson.dumps(good[0]), b"{not json",
        *map(orjson.dumps, (wrong, nul, strange, newer, good[1])),
    ]  # fmt: skip
    keys = [b"GOOD-1", b"BAD-0", b"BAD-1", b"BAD-2", b"BAD-3", b"BAD-4", b"GOOD-2"]
    media: Headers = [("content-type", b"application/cloudevents+json")]
    async with ground.people(seed=SEED + 2) as people:
        body = {"types": ["casebook.request.submitted.v1"], "mode": "observed",
                "publisher": publisher, "organisation": "acme"}  # fmt: skip
        await people.must(ADMIN, Call("PUT", "intake", f"/sources/{source}", body=body))
        ground.history.ops.append(Op(
            0, "publish", "publish-kafka", PUBLISHER, time.monotonic(), outcome="ok",
            items=[*((source, event["id"], "accepted") for event in good),
                   *((source, event["id"], "quarantined") for event in (wrong, strange, newer))],
        ))  # fmt: skip
        ground.history.planted |= {
            *((source, event["id"]) for event in (wrong, strange, newer)), UNKNOWN,
        }  # fmt: skip
        await send(ground, [(topic, 0, key, media, value)
                            for key, value in zip(keys, values, strict=True)])  # fmt: skip
        found = ("SELECT count(*) FROM intake.events WHERE type = 'casebook.request.submitted.v1' "
                 f"AND record::json->>'originsource' = '{source}'")  # fmt: skip
        await becomes(lambda: ground.value(found) == 2, "the good events")
        rows = await people.operate("GET", "intake", "/quarantine?limit=1000")
    mine = [row for row in rows["items"] if row["source"] == source or publisher in row["detail"]]
    assert all(row["detail"] for row in mine)
    assert Counter(row["reason"] for row in mine) == Counter(QUARANTINED), mine
    assert await ground.violations() == []


def behind(ground: Ground, place: tuple[int, int]) -> list[str]:
    """Return the services that have not yet read past a place in the log."""
    number, offset = place
    reached = f"checkpoints WHERE subscription = 'live' AND partition = {number}"
    return [
        name for name in SERVICES
        if ground.value(f"SELECT next_offset FROM {name}.{reached}") <= offset
    ]  # fmt: skip


def skipped(ground: Ground, name: str) -> float:
    """Return how many events of the unknown type a service says to have passed over."""
    wanted = {"service": name, "type": UNKNOWN_TYPE, "result": "skipped"}
    told = httpx.get(f"{ground.deployment.urls[name]}/metrics", timeout=30).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
        if sample.name == "casebook_events_applied_total" and sample.labels == wanted
    )


async def retry(people: People, key: str) -> Any:
    """Retry a parked case of intake."""
    return await people.ask(ADMIN, "POST", "intake", f"/parked/{key}/retries", {"reason": "mended"})


def status(ground: Ground, request: str) -> str | None:
    """Return what intake's read model says of the work on a request."""
    rows = ground.fetch(f"SELECT status FROM intake.work WHERE request = '{request}'")
    return rows[0][0] if rows else None


def waiting(ground: Ground, key: str) -> list[int]:
    """Return the offsets of a case's parked records, in the order that they wait in."""
    rows = ground.fetch(
        f"SELECT \"offset\" FROM intake.parked WHERE key = '{key}' ORDER BY sequence"
    )
    offsets = [row[0] for row in rows]
    assert offsets == sorted(offsets)
    return offsets
