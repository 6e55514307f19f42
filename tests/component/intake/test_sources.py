"""Registered sources, and the history that one publishes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from casebook.kit.ids import source_id
from tests.component.intake.desk import Desk, Headers, problem, types

SUBMITTED, CLOSED = "casebook.request.submitted.v1", "casebook.request.closed.v1"
SOURCE: dict[str, Any] = {
    "types": [SUBMITTED, CLOSED],
    "organisation": None,
    "mode": "observed",
    "publisher": "importer",
}


async def test_an_admin_registers_a_source_once(desk: Desk, admin: Headers) -> None:
    first = await desk.send("PUT", "/sources/uci498", admin, SOURCE)
    assert first.status_code == 200
    assert first.json()["source"] == "uci498"
    again = await desk.send("PUT", "/sources/uci498", admin, SOURCE | {"source": "uci498"})
    assert again.headers["ETag"] == first.headers["ETag"] == '"1"'
    other = SOURCE | {"publisher": "other"}
    changed = await desk.send("PUT", "/sources/uci498", admin, other, match='"1"')
    assert changed.headers["ETag"] == '"2"'
    listed = await desk.read("/sources", admin)
    assert [(each["source"], each["publisher"]) for each in listed.json()] == [("uci498", "other")]


async def test_a_registration_is_replaced_by_who_has_seen_it(desk: Desk, admin: Headers) -> None:
    path, other = "/sources/uci498", SOURCE | {"publisher": "other"}
    unknown = await desk.send("PUT", path, admin, SOURCE, match='"1"')
    assert problem(unknown) == (412, "version-mismatch"), "what was seen is gone"
    await desk.send("PUT", path, admin, SOURCE)
    assert problem(await desk.send("PUT", path, admin, other)) == (428, "if-match-required")
    read = await desk.read(path, admin)
    assert (read.headers["ETag"], read.json()["publisher"]) == ('"1"', "importer")
    assert read.headers["Casebook-Version"] == "definition/source/uci498@1"
    first = await desk.send("PUT", path, admin, other, match=read.headers["ETag"])
    assert (first.status_code, first.json()["version"]) == (200, 2)
    second = SOURCE | {"publisher": "third"}
    stale = await desk.send("PUT", path, admin, second, match=read.headers["ETag"])
    assert problem(stale) == (412, "version-mismatch")
    assert (await desk.send("PUT", path, admin, other)).headers["ETag"] == '"2"', "no change"
    assert (await desk.read("/sources", admin)).json()[0]["version"] == 2
    assert problem(await desk.read("/sources/none", admin)) == (404, "not-found")


async def test_a_source_is_read_as_it_was(desk: Desk, admin: Headers, requester: Headers) -> None:
    path, other = "/sources/uci498", SOURCE | {"publisher": "other"}
    await desk.send("PUT", path, admin, SOURCE)
    before = desk.clock.now()
    desk.clock.pass_(timedelta(hours=1))
    await desk.send("PUT", path, admin, other, match='"1"')
    assert (await desk.read(path, admin)).json()["publisher"] == "other"
    then = await desk.read(path, admin, as_of=before.isoformat())
    assert (then.json()["publisher"], then.json()["version"]) == ("importer", 1)
    assert then.headers["ETag"] == '"1"'
    earlier = (before - timedelta(days=1)).isoformat()
    assert problem(await desk.read(path, admin, as_of=earlier)) == (404, "not-found")
    denied = await desk.read(path, requester, as_of=before.isoformat())
    assert problem(denied) == (403, "forbidden")


async def test_nobody_else_registers_or_sees_sources(
    desk: Desk, admin: Headers, requester: Headers, lead: Headers, auditor: Headers
) -> None:
    await desk.send("PUT", "/sources/uci498", admin, SOURCE)
    for who in (requester, lead, auditor):
        response = await desk.send("PUT", "/sources/uci498", who, SOURCE)
        assert problem(response) == (403, "forbidden")
    assert len((await desk.read("/sources", auditor)).json()) == 1
    for path in ("/sources", "/sources/uci498"):
        assert problem(await desk.read(path, requester)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("uci498", {"types": ["casebook.request.forgotten.v1"]}, (409, "unknown-type")),
        ("uci498", {"types": []}, (422, "invalid-request")),
        ("uci498", {"mode": "dreamt"}, (422, "invalid-request")),
        ("uci498", {"source": "other"}, (422, "source-mismatch")),
        ("uci498", {"publisher": ""}, (422, "invalid-request")),
        ("a b", {}, (422, "invalid-request")),
        ("源", {}, (422, "invalid-request")),
    ],
)
async def test_a_malformed_registration_is_refused(
    desk: Desk, admin: Headers, name: str, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    response = await desk.send("PUT", f"/sources/{name}", admin, SOURCE | change)
    assert problem(response) == expected


def published(kind: str, number: str, sequence: int, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"uci498:{number}:{sequence}:{kind}",
        "source": "uci498",
        "type": kind,
        "subject": number,
        "time": datetime(2016, 3, 1, 8, sequence, tzinfo=UTC).isoformat(),
        "sourcesequence": sequence,
        "data": data,
    }


async def publish(desk: Desk, *events: dict[str, Any]) -> None:
    token = desk.signer.mint("importer", ["publisher"], sources=["uci498"])
    response = await desk.client.post(
        "/intake/v1/events",
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/cloudevents-batch+json",
        },
        content=orjson.dumps(events),
    )
    assert response.status_code == 202, response.text
    assert response.json()["quarantined"] == 0, response.text


async def promoted(desk: Desk) -> None:
    await desk.settled()
    async with desk.runtime.database.background() as connection:
        for _ in range(500):
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM inbox)"):
                break
            desk.runtime.signals.inbox.set()
            await desk.settled()
    await desk.settled()


async def test_observed_history_is_kept_and_can_be_reopened_live(
    desk: Desk, admin: Headers
) -> None:
    await desk.send("PUT", "/sources/uci498", admin, SOURCE)
    await desk.settled()
    caller = {"number": "INC0000045", "kind": "incident", "requester": "Caller 2403"}
    await publish(
        desk,
        published(SUBMITTED, "INC0000045", 1, caller),
        published(CLOSED, "INC0000045", 2, {"basis": "observed", "code": "code 5"}),
    )
    await promoted(desk)
    identifier = source_id("uci498", "request", "INC0000045")
    who = desk.person("Caller 2403", "requester")
    read = await desk.read(f"/requests/{identifier}", who)
    assert read.json()["status"] == "closed"
    assert read.json()["origin"] == "observed"
    assert read.json()["closed_code"] == "code 5"
    path = f"/requests/{identifier}"
    refused = await desk.send("POST", f"{path}/comments", who, {"body": "a"})
    assert problem(refused) == (409, "observed-history")
    reopened = await desk.send("POST", f"{path}/reopenings", who, {}, match=read.headers["ETag"])
    assert reopened.status_code == 201
    assert (await desk.read(path, who)).json()["origin"] == "live"
    await desk.settled()
    assert types(await desk.read(f"{path}/timeline", who)) == [
        "request.submitted",
        "request.closed",
        "request.reopened",
    ]


async def test_a_live_source_keeps_the_rules_of_the_commands(desk: Desk, admin: Headers) -> None:
    await desk.send("PUT", "/sources/uci498", admin, SOURCE | {"mode": "live"})
    await desk.settled()
    number = f"EXT{uuid4().hex[:8]}"
    await publish(
        desk,
        published(SUBMITTED, number, 1, {"number": number, "kind": "incident", "requester": "a"}),
        published(CLOSED, number, 2, {"basis": "observed"}),
    )
    await promoted(desk)
    who = desk.person("a", "requester")
    read = await desk.read(f"/requests/{source_id('uci498', 'request', number)}", who)
    assert (read.json()["status"], read.json()["origin"]) == ("open", "live")
    async with desk.runtime.database.background() as connection:
        assert await connection.fetchval("SELECT reason FROM quarantine") == (
            "resolution-not-proposed"
        )
