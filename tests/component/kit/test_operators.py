"""Operators' acts have one effect per key; publishers see the figures of their own sources."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest

from casebook.kit.http.pagination import encode_cursor
from casebook.kit.ingress.release import of_publisher
from casebook.kit.postgres import pool
from tests.support.pump import SOURCE, event, fact_id, feed, quarantined, register
from tests.support.service import Bench, Headers, Served, append, case, settled, until
from tests.support.swaps import Swaps, held_swaps
from tests.support.toy import Tally, intake, router, submitted

REASON = {"reason": "fixed"}


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
async def served(bench: Bench, tally: Tally) -> AsyncGenerator[Served]:
    async with bench.serving(intake(tally), router) as running:
        yield running


@pytest.fixture
def operator(bench: Bench) -> Headers:
    return bench.person("qian.yu", "operator")


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def parked(served: Served, tally: Tally) -> str:
    """Park a case, mend the handler, and return the case's key."""
    key = case()
    tally.failing.add(key)
    await append(served.runtime, f"request/{key}", submitted())
    await settled(served.runtime)
    tally.failing.clear()
    return key


async def test_every_act_of_an_operator_needs_a_key(served: Served, operator: Headers) -> None:
    some = uuid4()
    for path in (
        f"/parked/{some}/retries", f"/parked/{some}/discards", f"/quarantine/{some}/retries",
        f"/quarantine/{some}/discards", "/projections/tally/rebuilds",
    ):  # fmt: skip
        refused = await served.client.post(f"/intake/v1{path}", json=REASON, headers=operator)
        assert problem(refused) == (400, "idempotency-key-required")


async def test_an_act_that_is_sent_again_is_answered_again_and_not_done_again(
    bench: Bench, served: Served, operator: Headers, tally: Tally
) -> None:
    await register(served.runtime)
    broken = event("S", {"wrong": 1}, type_=submitted().type)
    await feed(served.runtime, broken)
    row = of_publisher(fact_id(broken), "pump")
    acts = {
        f"/parked/{await parked(served, tally)}/retries": {"applied": 1},
        f"/parked/{await parked(served, tally)}/discards": {"discarded": 1},
        f"/quarantine/{row}/retries": {"outcome": "quarantined"},
        f"/quarantine/{row}/discards": {"discarded": 1},
    }
    for path, answer in acts.items():
        for _ in range(2):
            done = await served.send("POST", path, operator, REASON, Idempotency_Key="once")
            assert (done.status_code, done.json()) == (200, answer)
        other = await served.send(
            "POST", path, operator, {"reason": "another"}, Idempotency_Key="once"
        )
        assert problem(other) == (422, "idempotency-key-reused")
    assert await quarantined(bench) == []


async def test_a_rebuild_is_done_once_for_a_key(served: Served, operator: Headers) -> None:
    path = "/projections/tally/rebuilds"
    first = await served.send("POST", path, operator, REASON, Idempotency_Key="once")
    again = await served.send("POST", path, operator, REASON, Idempotency_Key="once")
    assert first.json() == again.json()
    assert first.json()["generation"] == 2
    sql = "SELECT generation FROM projections WHERE name = 'tally'"
    assert await served.bench.value(sql) == 2
    unknown = await served.send("POST", "/projections/none/rebuilds", operator, REASON)
    assert unknown.status_code == 404


@pytest.fixture
def swaps(monkeypatch: pytest.MonkeyPatch) -> Swaps:
    """Hold rebuilds before their swap."""
    return held_swaps(monkeypatch)


async def test_an_act_that_is_still_running_says_so(
    served: Served, operator: Headers, swaps: Swaps
) -> None:
    path = "/projections/tally/rebuilds"
    first = asyncio.create_task(served.send("POST", path, operator, REASON, Idempotency_Key="once"))
    await until(lambda: _is_claimed(served))
    refused = await served.send("POST", path, operator, REASON, Idempotency_Key="once")
    assert problem(refused) == (409, "idempotency-key-in-flight")
    swaps.go.set()
    assert (await first).status_code == 200


async def test_a_second_rebuild_does_not_wait_with_a_connection(
    served: Served, operator: Headers, swaps: Swaps
) -> None:
    path = "/projections/tally/rebuilds"
    first = asyncio.create_task(served.send("POST", path, operator, REASON))
    await until(lambda: _is_claimed(served))
    await until(lambda: _is_rebuilding(served))
    second = await served.send("POST", path, operator, REASON, Idempotency_Key="later")
    assert problem(second) == (503, "rebuilding")
    assert second.headers["retry-after"] == "5"
    swaps.go.set()
    assert (await first).status_code == 200
    again = await served.send("POST", path, operator, REASON, Idempotency_Key="later")
    assert again.status_code == 200


async def test_a_rebuild_may_take_longer_than_the_server_lets_a_session_idle(
    bench: Bench, operator: Headers, monkeypatch: pytest.MonkeyPatch, swaps: Swaps
) -> None:
    """Its claim waits in an open transaction, and is no process that hangs."""
    session = pool._SESSION  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setitem(session, "idle_in_transaction_session_timeout", "300ms")
    async with bench.serving(intake(Tally()), router) as served:
        asked = asyncio.create_task(
            served.send("POST", "/projections/tally/rebuilds", operator, REASON)
        )
        await until(lambda: _is_claimed(served))
        await asyncio.sleep(1.0)
        swaps.go.set()
        assert (await asked).status_code == 200


async def test_what_was_refused_may_be_tried_again_under_its_key(
    served: Served, operator: Headers, tally: Tally
) -> None:
    key = await parked(served, tally)
    tally.failing.add(key)
    path = f"/parked/{key}/retries"
    refused = await served.send("POST", path, operator, REASON, Idempotency_Key="once")
    assert problem(refused) == (409, "still-failing")
    tally.failing.clear()
    done = await served.send("POST", path, operator, REASON, Idempotency_Key="once")
    assert done.json() == {"applied": 1}


async def walked(served: Served, who: Headers, path: str) -> list[list[Any]]:
    """Return the pages of a list, of two rows each."""
    pages: list[list[Any]] = []
    cursor = ""
    while not pages or cursor:
        page = (await served.read(f"{path}?limit=2{cursor and f'&cursor={cursor}'}", who)).json()
        pages.append(page["items"])
        cursor = page["next_cursor"]
    return pages


async def test_the_quarantine_is_read_page_by_page(served: Served, operator: Headers) -> None:
    await register(served.runtime)
    broken = [event(f"S{n}", {"wrong": 1}, type_=submitted().type) for n in range(5)]
    await feed(served.runtime, *broken[:3])  # of one moment, or so: the id decides
    await feed(served.runtime, *broken[3:])
    pages = await walked(served, operator, "/quarantine")
    assert [len(page) for page in pages] == [2, 2, 1]
    rows = [row for page in pages for row in page]
    assert {row["id"] for row in rows} == {str(of_publisher(fact_id(e), "pump")) for e in broken}
    assert rows == sorted(rows, key=lambda row: (row["received_at"], row["id"]))
    assert [rows] == [(await served.read("/quarantine", operator)).json()["items"]]


async def test_parked_cases_are_read_page_by_page(
    served: Served, operator: Headers, tally: Tally
) -> None:
    keys = {await parked(served, tally) for _ in range(5)}
    pages = await walked(served, operator, "/parked")
    assert [len(page) for page in pages] == [2, 2, 1]
    rows = [row for page in pages for row in page]
    assert {row["key"] for row in rows} == keys
    assert rows == sorted(rows, key=lambda row: (row["parked_at"], row["key"]))
    assert (await served.read("/parked", operator)).json() == {"items": rows, "next_cursor": None}


async def test_a_cursor_of_something_else_is_refused(served: Served, operator: Headers) -> None:
    moment = "2026-03-02T08:00:00Z"
    for path, values in (
        ("/quarantine", [moment, "no id"]), ("/quarantine", [moment, 1]), ("/quarantine", [1]),
        ("/parked", [moment, 1]), ("/parked", ["yesterday", "a"]),
    ):  # fmt: skip
        refused = await served.read(f"{path}?cursor={encode_cursor(values)}", operator)
        assert problem(refused) == (400, "cursor-malformed"), values


async def test_a_publisher_sees_its_own_sources_only(bench: Bench, served: Served) -> None:
    await feed(served.runtime, event("S", {"x": 1}), event("S", submitted(), 1))
    await feed(served.runtime, event("S", submitted(), 1, source="other"))
    people = {
        (SOURCE,): (1, 1),
        ("other",): (1, 0),
        (SOURCE, "other"): (2, 1),
        (): (0, 0),
    }

    async def seen(who: Headers, query: str = "") -> tuple[int, int]:
        found = (await served.read(f"/ingress{query}", who)).json()
        return found["pending"], found["quarantined"]

    for sources, counts in people.items():
        who = bench.person("pump", "publisher", sources=sources)
        assert await seen(who) == counts
        expected = (1, 1) if SOURCE in sources else (0, 0)
        assert await seen(who, f"?source={SOURCE}") == expected
    for role in ("operator", "admin"):
        assert await seen(bench.person("qian.yu", role)) == (2, 1)


async def _is_rebuilding(served: Served) -> bool:
    """Say whether a rebuild has begun."""
    return served.runtime.rebuilding.locked()


async def _is_claimed(served: Served) -> bool:
    """Say whether the first request has taken the key, in a transaction that is still open."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    return await served.bench.value(sql) > 0
