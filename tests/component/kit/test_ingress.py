"""What other systems publish: accepted once, promoted for those who may, refused with a trace."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from casebook.events.ingress import to_batch, to_http_binary, to_structured
from casebook.events.request import (
    ImportRowRejected,
    IngressSkipped,
    RequestCancelled,
    RequestClosed,
    RequestCommented,
)
from casebook.events.work_order import WorkOrderStarted
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from tests.support.pump import (
    SOURCE,
    event,
    fact_id,
    feed,
    inbox_size,
    key_of,
    log_of,
    outcomes,
    quarantined,
    register,
    retried,
)
from tests.support.service import START, Bench, Served, settled, until
from tests.support.toy import REQUEST, evolve, intake, router, submitted


@pytest.fixture
async def served(bench: Bench) -> AsyncGenerator[Served]:
    async with bench.serving(intake(), router) as running:
        yield running


@pytest.fixture
def runtime(served: Served) -> Runtime:
    return served.runtime


async def promoted(bench: Bench, *runtimes: Runtime) -> None:
    """Wait until nothing waits in the inbox, and all is in the log and applied."""
    await until(lambda: _empty(bench), runtimes)
    await settled(*runtimes)


async def _empty(bench: Bench) -> bool:
    return await inbox_size(bench) == 0


async def test_an_observed_source_is_recorded_as_it_was(bench: Bench, runtime: Runtime) -> None:
    await register(runtime)
    sent = event("INC1", submitted(title="旧事"), 1, actor="李娜")
    assert outcomes(await feed(runtime, sent)) == ["accepted"]
    await promoted(bench, runtime)
    (fact,) = await log_of(bench, "INC1")
    assert fact["id"] == str(fact_id(sent))
    assert fact["subject"] == f"request/{key_of('INC1')}"
    assert (fact["originsource"], fact["originid"]) == (SOURCE, sent.id)
    assert (fact["sourcesequence"], fact["origin"]) == (1, "observed")
    assert (fact["actor"], fact["time"]) == ("source:crm:李娜", "2026-01-31T08:01:00.000000Z")
    assert fact["recordedtime"] >= "2026-03-02"
    assert set(fact["data"]["title"]) == {"key", "ciphertext"}
    assert await bench.value("SELECT count(*) FROM timers") == 0


async def test_a_live_source_is_a_command(bench: Bench, runtime: Runtime) -> None:
    await register(runtime, mode="live")
    await feed(runtime, event("A1", submitted(), 1, time=START))
    await promoted(bench, runtime)
    (fact,) = await log_of(bench, "A1")
    assert fact["origin"] == "live"
    assert await bench.value("SELECT count(*) FROM timers WHERE status = 'pending'") == 2


async def test_an_event_is_known_again_for_ever(bench: Bench, runtime: Runtime) -> None:
    await register(runtime)
    sent = event("INC1", submitted(title="一"), 1)
    other = replace(sent, data=submitted(title="二").payload())
    assert outcomes(await feed(runtime, sent, sent)) == ["accepted", "duplicate"]
    assert outcomes(await feed(runtime, sent)) == ["duplicate"]
    elsewhere = sent.time.astimezone(timezone(timedelta(hours=8)))
    assert outcomes(await feed(runtime, replace(sent, time=elsewhere))) == ["duplicate"]
    await promoted(bench, runtime)
    assert outcomes(await feed(runtime, sent, other)) == ["duplicate", "content-differs"]
    assert outcomes(await feed(runtime, other)) == ["content-differs"]
    assert outcomes(await feed(runtime, replace(sent, time=START))) == ["content-differs"]
    await promoted(bench, runtime)
    assert len(await log_of(bench, "INC1")) == 1
    assert [row[0] for row in await quarantined(bench)] == ["content-differs"] * 2


@pytest.mark.parametrize("same", [True, False], ids=["same content", "other content"])
async def test_two_that_come_at_the_same_moment_are_told_apart(
    bench: Bench, runtime: Runtime, same: bool
) -> None:
    first = event("INC1", submitted(number="1"), 1)
    second = first if same else replace(first, data=submitted(number="2").payload())
    async with runtime.database.transaction() as connection:
        await runtime.inbox.accept(connection, [first], publisher="pump", channel="http")
        late = asyncio.create_task(feed(runtime, second))
        await asyncio.sleep(0.1)
        assert not late.done()
    assert outcomes(await late) == ["duplicate" if same else "content-differs"]
    assert await inbox_size(bench) == 1


async def test_an_event_of_another_service_is_sent_back(bench: Bench, served: Served) -> None:
    pump = bench.person("pump", "publisher", sources=[SOURCE])
    headers = pump | {"Content-Type": "application/cloudevents-batch+json"}
    mine, theirs = event("S", submitted(), 1), event("S", WorkOrderStarted(), 2)
    for events, status in (([theirs], 422), ([mine, theirs], 202)):
        response = await served.client.post(
            "/intake/v1/events", content=to_batch(events), headers=headers
        )
        assert response.status_code == status
    assert response.json()["accepted"] == 1
    assert [result["outcome"] for result in response.json()["results"]] == [
        "accepted",
        "not-the-owner",
    ]


async def test_all_cloudevents_modes_are_one_event(bench: Bench, served: Served) -> None:
    pump = bench.person("pump", "publisher", sources=[SOURCE])
    sent = event("S", submitted(title="内容"), 1)
    binary, body = to_http_binary(sent)
    requests: list[tuple[dict[str, str], bytes]] = [
        ({"Content-Type": "application/cloudevents+json"}, to_structured(sent)),
        (binary, body),
        ({"Content-Type": "application/cloudevents-batch+json"}, to_batch([sent])),
    ]
    found: list[str] = []
    for headers, content in requests:
        response = await served.client.post(
            "/intake/v1/events", content=content, headers=pump | headers
        )
        assert response.status_code == 202, response.text
        found += [result["outcome"] for result in response.json()["results"]]
    assert found == ["accepted", "duplicate", "duplicate"]


async def test_what_a_live_source_may_not_say_is_skipped_and_later_ones_go_on(
    bench: Bench, runtime: Runtime
) -> None:
    await register(runtime, mode="live", organisation="甲")
    results = await feed(
        runtime,
        event("S", submitted(organisation="乙"), 1),
        event("S", submitted(), 2),
        event("S", RequestClosed(basis="x"), 3),
        event("S", RequestClosed(basis="x"), 4),
        event("S", RequestCancelled(), 5),
        event("S", {"number": 7}, 6, type_=RequestCommented.type),
        event("S", {}, 7, type_="casebook.parcel.sent.v1"),
        event("S", RequestCommented(body="还在"), 8),
    )
    assert outcomes(results)[4:7] == ["type-not-allowed", "invalid-data", "unknown-type"]
    await promoted(bench, runtime)
    log = await log_of(bench, "S")
    assert [fact["sourcesequence"] for fact in log] == list(range(1, 9))
    skipped = {f["sourcesequence"]: f["data"]["code"] for f in log if f["type"] == SKIPPED}
    assert skipped == {
        1: "foreign-organisation",
        4: "not-open",
        5: "type-not-allowed",
        6: "invalid-data",
        7: "unknown-type",
    }
    assert {fact["subject"] for fact in log if fact["type"] == SKIPPED} == {
        f"ingress-intake/{key_of('S')}"
    }
    assert log[1]["data"]["organisation"] == "甲"
    assert sorted(reason for reason, _ in await quarantined(bench)) == sorted(skipped.values())
    assert await bench.value("SELECT max(source_sequence) FROM cases") == 8


async def test_what_an_observed_source_says_against_the_rules_is_counted(
    bench: Bench, runtime: Runtime
) -> None:
    await register(runtime)
    await feed(
        runtime,
        event("S", submitted(), 1),
        event("S", RequestClosed(basis="observed"), 2),
        event("S", RequestClosed(basis="observed"), 3),
        event("S", RequestClosed(basis="observed"), 4),
    )
    await promoted(bench, runtime)
    assert len(await log_of(bench, "S")) == 4
    assert await quarantined(bench) == []
    deviations = await bench.fetch("SELECT source, rule, count FROM deviations")
    assert deviations == [(SOURCE, "not-open", 2)]


async def test_an_event_without_a_place_leaves_none_when_it_is_refused(
    bench: Bench, runtime: Runtime
) -> None:
    await register(runtime, mode="live")
    await feed(runtime, event("S", RequestClosed(basis="x")), event("S", {"x": 1}))
    await promoted(bench, runtime)
    assert await log_of(bench, "S") == []
    assert [reason for reason, _ in await quarantined(bench)] == ["not-open", "unknown-type"]


async def test_a_row_that_could_not_be_read_is_quarantined_only(
    bench: Bench, runtime: Runtime
) -> None:
    await register(runtime)
    row = ImportRowRejected(file="log.csv", line=7, reason="no date")
    assert outcomes(await feed(runtime, event("S", row))) == ["row-rejected"]
    assert outcomes(await feed(runtime, event("S", row))) == ["row-rejected"]
    assert await inbox_size(bench) == 0
    assert await bench.value("SELECT detail FROM quarantine") == "log.csv line 7: no date"


@pytest.mark.parametrize("registered_first", [True, False])
async def test_who_may_not_speak_for_a_source_takes_nothing_from_it(
    bench: Bench, runtime: Runtime, registered_first: bool
) -> None:
    """Neither a place in its history, nor the ids of its events."""
    first, second = event("S", submitted(), 1), event("S", RequestCommented(body="x"), 2)
    forged = replace(first, data=submitted(requester="mallory").payload())
    if registered_first:
        await register(runtime)
    broken = event("S", {"x": 1}, 2, type_=RequestCommented.type)
    rogue = await feed(runtime, forged, replace(broken, id="other"), publisher="mallory")
    assert outcomes(rogue) == ["accepted", "invalid-data"]
    if not registered_first:
        assert outcomes(await feed(runtime, first, second)) == ["accepted", "accepted"]
        await register(runtime)
    else:
        await promoted(bench, runtime)
        assert outcomes(await feed(runtime, first, second)) == ["accepted", "accepted"]
    await promoted(bench, runtime)
    log = await log_of(bench, "S")
    assert [fact["sourcesequence"] for fact in log] == [1, 2]
    assert log[0]["data"]["requester"] == "wang.fang"
    assert [reason for reason, _ in await quarantined(bench)] == ["wrong-publisher"] * 2


async def test_a_full_inbox_asks_publishers_to_wait(bench: Bench) -> None:
    async with bench.serving(intake(), router, inbox_events_max=3) as served:
        pump = bench.person("pump", "publisher", sources=[SOURCE])
        headers = pump | {"Content-Type": "application/cloudevents-batch+json"}

        async def send(*numbers: int) -> Any:
            body = to_batch([event("S", submitted(), n) for n in numbers])
            return await served.client.post("/intake/v1/events", content=body, headers=headers)

        assert (await send(1, 2, 3)).status_code == 202  # of a source nobody knows yet
        await asyncio.sleep(0.6)  # it is counted twice a second
        refused = await send(4)
        assert (refused.status_code, refused.json()["code"]) == (429, "inbox-full")
        assert refused.headers["Retry-After"] == "1"
        assert await inbox_size(bench) == 3

        await register(served.runtime)
        await promoted(bench, served.runtime)
        await asyncio.sleep(0.6)
        assert (await send(4)).status_code == 202
        await promoted(bench, served.runtime)
        assert len(await log_of(bench, "S")) == 4


async def test_promotion_waits_while_the_outbox_is_deep_or_the_reader_behind(
    bench: Bench,
) -> None:
    async with bench.running(intake()) as runtime:
        await register(runtime)
    for pressure in ({"outbox_events_max": 1}, {"lag_records_max": -1}):
        async with bench.idle(intake(), **pressure) as runtime:
            await feed(runtime, *(event(f"S{n}", submitted(), 1) for n in range(3)))
            if "outbox_events_max" in pressure:
                await feed(runtime, event("first", submitted(), 1))
                while await inbox_size(bench) > 3:  # another's turn may only now be ending
                    assert await runtime.promoter.promote([key_of("first")]) is False
            waiting = await inbox_size(bench)
            promoting = asyncio.create_task(runtime.promoter.run())
            await asyncio.sleep(0.4)
            assert await inbox_size(bench) == waiting == 3
            promoting.cancel()
    async with bench.running(intake()) as runtime:
        await promoted(bench, runtime)
    assert await bench.value("SELECT count(*) FROM events WHERE type ~ 'submitted'") == 4


async def test_statistics_that_call_the_inbox_empty_do_not_slow_promotion(bench: Bench) -> None:
    async with bench.running(intake()) as runtime:
        await register(runtime)
    async with bench.idle(intake()) as runtime:
        await bench.value("VACUUM ANALYZE inbox")
        await feed(runtime, *(event(f"S{n}", submitted(), 1) for n in range(3_000)))
        started = time.monotonic()
        while await inbox_size(bench) > 0:
            await runtime.promoter.promote(None)
            assert time.monotonic() - started < 20  # half a minute and more with a join


async def test_an_event_that_this_code_cannot_take_waits_alone_for_the_next_version(
    bench: Bench,
) -> None:
    def broken(state: Any, event: Any, envelope: Any) -> Any:
        if isinstance(event, RequestCommented):
            raise RuntimeError("a bug")
        return evolve(state, event, envelope)

    service = intake()
    fixed = service.families
    buggy = Service("intake", (replace(REQUEST, evolve=broken), *fixed[1:]), type(service.policy)())
    async with bench.running(buggy) as runtime:
        await register(runtime)
        await feed(
            runtime,
            event("S", submitted(), 1),
            event("S", RequestCommented(body="x"), 2),
            event("S", RequestClosed(basis="y"), 3),
            event("T", submitted(), 1),
        )
        await until(lambda: _size(bench, 1), [runtime])
        await settled(runtime)
        assert runtime.failed_tasks() == []
        assert await quarantined(bench) == [("internal-error", f"S-2-{RequestCommented.type}")]
        assert len(await log_of(bench, "T")) == 1
        assert [fact["sourcesequence"] for fact in await log_of(bench, "S")] == [1]
    async with bench.running(intake()) as runtime:
        (row,) = await bench.fetch("SELECT id FROM quarantine")
        assert await retried(runtime, row[0]) == "accepted"
        assert await retried(runtime, row[0]) is None
        await promoted(bench, runtime)
    assert [fact["sourcesequence"] for fact in await log_of(bench, "S")] == [1, 2, 3]
    assert await quarantined(bench) == []


async def test_a_hook_that_fails_on_one_event_does_not_stop_the_others(bench: Bench) -> None:
    async def picky(connection: Any, appended: Any) -> None:
        if any(fact.fact.event.type == RequestCommented.type for fact in appended):
            raise RuntimeError("a bug")

    service = intake()
    object.__setattr__(service, "on_append", picky)
    async with bench.running(service) as runtime:
        await register(runtime)
        await feed(
            runtime,
            event("S", submitted(), 1),
            event("S", RequestCommented(body="x"), 2),
            event("T", submitted(), 1),
        )
        await until(lambda: _size(bench, 0), [runtime])
    assert [reason for reason, _ in await quarantined(bench)] == ["internal-error"]
    assert await bench.value("SELECT count(*) FROM events WHERE type ~ 'submitted'") == 2


async def test_text_is_sealed_before_it_reaches_any_table(bench: Bench, runtime: Runtime) -> None:
    """Accepted, refused, invalid and differing: the canary is nowhere in the clear."""
    canary = "canary-51c0"
    await register(runtime, mode="live")
    first = event("S", submitted(title=canary), 1)
    await feed(
        runtime,
        first,
        replace(first, data=submitted(title=f"{canary}2").payload()),
        event("S", RequestCommented(body=canary), 2),
        event("S", {"body": canary, "wrong": canary}, 3, type_=RequestCommented.type),
        event("S", {"text": canary}, 4),
        event("U", RequestClosed(basis="x", reason=canary), 1),
        event("W", RequestCommented(body=canary), 2),
    )
    await until(lambda: _size(bench, 1), [runtime])
    await settled(runtime)
    tables = await bench.fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname IN ('intake', 'log')"
    )
    found = [
        table
        for (table,) in tables
        for row in await bench.fetch(f"SELECT t::text FROM {table} t")
        if canary in row[0] or canary.encode().hex() in row[0]
    ]
    assert found == []
    assert len(await quarantined(bench)) == 4


SKIPPED = IngressSkipped.type


async def _size(bench: Bench, wanted: int) -> bool:
    return await inbox_size(bench) == wanted
