"""Reads: what one has written oneself, and only what one may see, by the statement itself."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ClauseElement

from casebook.kit.http import queries as kit_queries
from casebook.kit.postgres.database import compiled
from casebook.kit.postgres.database import fetch as kit_fetch
from tests.support.service import Bench, Headers, Served, append, case, settled, until
from tests.support.toy import Tally, intake, router, submitted


@pytest.fixture
async def served(bench: Bench) -> AsyncGenerator[Served]:
    async with bench.serving(intake(), router) as running:
        yield running


@pytest.fixture
def wang(bench: Bench) -> Headers:
    return bench.person("wang.fang", "requester")


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_one_reads_what_one_has_just_written(served: Served, wang: Headers) -> None:
    for number in range(10):
        sent = await served.send("PUT", f"/requests/{case()}", wang, {"title": "x"})
        read = await served.read(
            "/requests", wang, Casebook_Min_Version=sent.headers["casebook-version"]
        )
        assert read.status_code == 200
        assert len(read.json()) == number + 1


async def test_a_version_that_does_not_come_is_not_waited_for_longer_than_two_seconds(
    served: Served, wang: Headers
) -> None:
    started = time.monotonic()
    refused = await served.read("/requests", wang, Casebook_Min_Version=f"request/{case()}@1")
    assert 1.8 < time.monotonic() - started < 4.0
    assert problem(refused) == (503, "not-caught-up")
    assert refused.headers["retry-after"] == "1"


async def test_a_version_that_comes_while_one_waits_is_seen(
    bench: Bench, served: Served, wang: Headers
) -> None:
    key = case()
    waiting = asyncio.create_task(
        served.read("/requests", wang, Casebook_Min_Version=f"request/{key}@2")
    )
    for _ in range(2):
        await asyncio.sleep(0.2)
        await append(served.runtime, f"request/{key}", submitted())
    assert (await waiting).json() == [key]


@pytest.mark.parametrize(
    "version",
    ["", "request/1", "request@1", "request/a@0", "request/a@-1", "Request/a@1",
     "request/a@9999999999", "request/a b@1"],
)  # fmt: skip
async def test_a_malformed_version_is_refused(served: Served, wang: Headers, version: str) -> None:
    refused = await served.read("/requests", wang, Casebook_Min_Version=version)
    assert problem(refused) == (400, "minimum-version-malformed")


async def test_a_parked_case_says_so_instead_of_letting_one_wait(bench: Bench) -> None:
    key = case()
    projection = Tally()
    async with bench.serving(intake(projection), router) as served:
        wang = bench.person("wang.fang", "requester")
        await append(served.runtime, f"request/{key}", submitted())
        await settled(served.runtime)
        projection.failing.add(key)
        await append(served.runtime, f"request/{key}", submitted())
        await until(lambda: _parked(bench), [served.runtime])
        started = time.monotonic()
        refused = await served.read("/requests", wang, Casebook_Min_Version=f"request/{key}@2")
        assert problem(refused) == (409, "parked")
        assert time.monotonic() - started < 1.0
        earlier = await served.read("/requests", wang, Casebook_Min_Version=f"request/{key}@1")
        assert earlier.status_code == 200, "what was applied before can be read"
        projection.failing.clear()
        operator = bench.person("qian.yu", "operator")
        listed = await served.read("/parked", operator)
        assert [(one["key"], one["records"]) for one in listed.json()["items"]] == [(key, 1)]
        done = await served.send("POST", f"/parked/{key}/retries", operator, {"reason": "fixed"})
        assert done.json() == {"applied": 1}
        read = await served.read("/requests", wang, Casebook_Min_Version=f"request/{key}@2")
        assert read.status_code == 200


async def test_a_version_that_one_may_not_see_is_like_one_that_does_not_exist(bench: Bench) -> None:
    projection = Tally()
    service = intake(projection)
    async with bench.serving(service, router, minimum_version_seconds_max=0.5) as served:
        theirs, parked = case(), case()
        for key in (theirs, parked):
            await append(served.runtime, f"request/{key}", submitted(requester="sun.li"))
        await settled(served.runtime)
        projection.failing.add(parked)
        await append(served.runtime, f"request/{parked}", submitted(requester="sun.li"))
        await until(lambda: _parked(bench), [served.runtime])
        ma, sun = (bench.person(name, "requester") for name in ("ma.chao", "sun.li"))
        told: list[tuple[int, Any]] = []
        versions = (f"{theirs}@1", f"{parked}@2", f"{case()}@1")
        for version in versions:
            started = time.monotonic()
            read = await served.read("/requests", ma, Casebook_Min_Version=f"request/{version}")
            assert time.monotonic() - started > 0.4, "no earlier answer tells anything"
            told.append((read.status_code, {**read.json(), "trace_id": None}))
        assert told == [told[0]] * 3
        assert told[0][0] == 503
        owner, auditor = [], bench.person("qian.yu", "auditor")
        for who in (sun, auditor):
            for version in versions[:2]:
                read = await served.read(
                    "/requests", who, Casebook_Min_Version=f"request/{version}"
                )
                owner.append(read.status_code)
        assert owner == [200, 409, 200, 409]


async def test_a_thousand_foreign_rows_do_not_thin_out_the_first_page(
    bench: Bench, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They all come before one's own; the scope is in the statement, so the page is full."""
    foreign = [str(UUID(int=number)) for number in range(1000)]
    own = sorted(str(UUID(int=2**100 + number)) for number in range(60))
    await bench.fetch(
        "INSERT INTO cases (key, versions, requester, organisation)"
        " SELECT unnest($1::text[]), '{}', 'sun.li', '乙'", foreign
    )  # fmt: skip
    await bench.fetch(
        "INSERT INTO cases (key, versions, requester, organisation)"
        " SELECT unnest($1::text[]), '{}', 'wang.fang', '甲'", own
    )  # fmt: skip
    statements: list[tuple[str, list[Any]]] = []

    async def spy(connection: Any, statement: ClauseElement) -> Sequence[Any]:
        statements.append(compiled(statement))
        return await kit_fetch(connection, statement)

    monkeypatch.setattr(kit_queries, "fetch", spy)
    people = {
        "own": (bench.person("wang.fang", "requester"), "cases.requester = "),
        "organisation": (bench.person("he.jun", "lead", organisation="甲"), "organisation = "),
    }
    for who, predicate in people.values():
        page = await served.read("/requests", who)
        assert page.json() == own[:50]
        sql, arguments = statements.pop()
        assert predicate.removeprefix("cases.") in sql
        assert {"wang.fang", "甲", "he.jun"} & set(arguments)
        assert 50 in arguments, "and so is the limit"
    everybody = await served.read("/requests", bench.person("qian.yu", "auditor"))
    assert everybody.json() == foreign[:50]
    nobody = await served.read("/requests", bench.person("ma.chao", "requester"))
    assert nobody.json() == []


async def _parked(bench: Bench) -> bool:
    return await bench.value("SELECT count(*) FROM parked") > 0
