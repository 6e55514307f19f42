"""Commands over HTTP: one effect per key, one version per condition, nobody sees too much."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from casebook.kit.http.idempotency import KEPT, forget_old_answers
from tests.support.service import Bench, Headers, Served, append, case
from tests.support.toy import intake, router, submitted

STORED = ("etag", "casebook-version", "content-type")


@pytest.fixture
async def served(bench: Bench) -> AsyncGenerator[Served]:
    async with bench.serving(intake(), router) as running:
        yield running


@pytest.fixture
def wang(bench: Bench) -> Headers:
    return bench.person("wang.fang", "requester")


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


async def created(served: Served, who: Headers, **body: Any) -> str:
    id_ = case()
    response = await served.send("PUT", f"/requests/{id_}", who, {"title": "坏了"} | body)
    assert response.status_code == 201, response.text
    return id_


async def events(bench: Bench) -> int:
    return await bench.value("SELECT count(*) FROM events")


# --- idempotency ---------------------------------------------------------------------------------


async def test_a_key_is_required_and_has_a_form(served: Served, wang: Headers) -> None:
    path = f"/intake/v1/requests/{case()}"
    body = {"title": "x"}
    missing = await served.client.put(path, json=body, headers=wang)
    assert problem(missing) == (400, "idempotency-key-required")
    for key in ("", "with space", "k" * 256):
        headers = wang | {"Idempotency-Key": key}
        refused = await served.client.put(path, json=body, headers=headers)
        assert problem(refused) == (400, "idempotency-key-malformed")
    assert await events(served.bench) == 0


async def test_the_same_key_gives_the_same_answer_and_no_second_effect(
    served: Served, wang: Headers
) -> None:
    id_ = case()
    path, body, key = f"/requests/{id_}", {"title": "打印机"}, {"Idempotency_Key": "once"}
    first = await served.send("PUT", path, wang, body, **key)
    await served.send("POST", f"{path}/comments", wang, {"body": "meanwhile"})
    again = await served.send("PUT", path, wang, body, **key)
    assert (first.status_code, first.headers["etag"]) == (201, '"1"')
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert {n: again.headers[n] for n in STORED} == {n: first.headers[n] for n in STORED}
    assert await events(served.bench) == 2
    stored = await served.bench.value("SELECT body FROM idempotency WHERE key = 'once'")
    assert first.content not in stored


async def test_an_answer_without_a_body_is_replayed_too(served: Served, wang: Headers) -> None:
    id_ = await created(served, wang)
    for _ in range(2):
        done = await served.send(
            "POST", f"/requests/{id_}/comments", wang, {"body": "x"}, Idempotency_Key="c"
        )
        assert (done.status_code, done.content) == (204, b"")
        assert done.headers["casebook-version"] == f"request/{id_}@2"
    assert await events(served.bench) == 2


async def test_a_key_is_bound_to_its_request(served: Served, wang: Headers) -> None:
    id_ = await created(served, wang)
    path, key = f"/requests/{id_}/closure", {"Idempotency_Key": "k"}
    first = await served.send("PUT", path, wang, If_Match='"1"', **key)
    assert first.status_code == 200
    for other in ({"If_Match": '"2"'}, {}):
        refused = await served.send("PUT", path, wang, **other, **key)
        assert problem(refused) == (422, "idempotency-key-reused")
    comment = f"/requests/{id_}/comments"
    await served.send("POST", comment, wang, {"body": "one"}, **key)  # another route
    refused = await served.send("POST", comment, wang, {"body": "two"}, **key)
    assert problem(refused) == (422, "idempotency-key-reused")
    assert await events(served.bench) == 3


async def test_keys_of_two_people_are_two_keys(served: Served, bench: Bench) -> None:
    for name in ("wang.fang", "zhao.min"):
        who = bench.person(name, "requester")
        sent = await served.send(
            "PUT", f"/requests/{case()}", who, {"title": name}, Idempotency_Key="same"
        )
        assert sent.status_code == 201
    assert await events(bench) == 2


async def test_a_refusal_is_not_remembered(served: Served, wang: Headers) -> None:
    id_ = case()
    path, key = f"/requests/{id_}/closure", {"Idempotency_Key": "k", "If_Match": '"1"'}
    assert problem(await served.send("PUT", path, wang, **key)) == (404, "not-found")
    await append(served.runtime, f"request/{id_}", submitted())
    assert (await served.send("PUT", path, wang, **key)).status_code == 200


async def test_of_two_at_once_one_has_an_effect_and_both_the_answer(
    served: Served, wang: Headers
) -> None:
    id_ = await created(served, wang)
    path = f"/requests/{id_}/comments"
    answers = await asyncio.gather(
        *(served.send("POST", path, wang, {"body": "x"}, Idempotency_Key="twin") for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {204}
    assert {answer.headers["etag"] for answer in answers} == {'"2"'}
    assert await events(served.bench) == 2


async def test_while_the_first_is_in_flight_the_second_is_told_so(
    served: Served, wang: Headers
) -> None:
    id_ = case()
    connection = await asyncpg.connect(served.bench.dsn)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "INSERT INTO intake.idempotency (principal, route, key, fingerprint, created_at)"
        " VALUES ('wang.fang', $1, 'slow', '', now())",
        f"PUT /intake/v1/requests/{id_}",
    )
    send = served.send("PUT", f"/requests/{id_}", wang, {"title": "x"}, Idempotency_Key="slow")
    refused = await send
    assert problem(refused) == (409, "idempotency-key-in-flight")
    assert refused.headers["retry-after"] == "1"
    await transaction.rollback()
    await connection.close()
    send = served.send("PUT", f"/requests/{id_}", wang, {"title": "x"}, Idempotency_Key="slow")
    assert (await send).status_code == 201


async def test_an_answer_that_took_two_attempts_can_be_read_again(
    served: Served, wang: Headers
) -> None:
    """The key that the first attempt made for all answers was rolled back with it."""
    for statement in _FIRST_COMMIT_FAILS:
        await served.bench.fetch(statement)
    path, key = f"/requests/{case()}", {"Idempotency_Key": "k"}
    first = await served.send("PUT", path, wang, {"title": "打印机"}, **key)
    assert await served.bench.value("SELECT last_value FROM attempts") == 2
    again = await served.send("PUT", path, wang, {"title": "打印机"}, **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert await events(served.bench) == 1


_FIRST_COMMIT_FAILS = (
    "CREATE SEQUENCE attempts",
    """
    CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('attempts') = 1 THEN
            RAISE EXCEPTION 'others were first' USING ERRCODE = 'serialization_failure';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER fail_once AFTER INSERT ON idempotency
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_once()
    """,
)


async def test_a_request_waits_for_no_lock_for_ever(served: Served, wang: Headers) -> None:
    connection = await asyncpg.connect(served.bench.dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE intake.idempotency, intake.data_keys")
            busy = await served.send("PUT", f"/requests/{case()}", wang, {"title": "x"})
    finally:
        await connection.close()
    assert problem(busy) == (409, "idempotency-key-in-flight")


async def test_answers_are_kept_for_seven_days(served: Served, wang: Headers) -> None:
    await created(served, wang)
    count = "SELECT count(*) FROM idempotency"
    for time, left in ((KEPT - timedelta(hours=1), 1), (timedelta(hours=2), 0)):
        served.bench.clock.pass_(time)
        tidying = asyncio.create_task(forget_old_answers(served.runtime))
        await asyncio.sleep(0.1)
        tidying.cancel()
        assert await served.bench.value(count) == left


# --- conditions ----------------------------------------------------------------------------------


async def test_a_change_of_state_needs_the_version_that_was_seen(
    served: Served, wang: Headers
) -> None:
    id_ = await created(served, wang)
    await served.send("POST", f"/requests/{id_}/comments", wang, {"body": "x"})
    path = f"/requests/{id_}/closure"
    assert problem(await served.send("PUT", path, wang)) == (428, "if-match-required")
    for stale in ('"1"', 'W/"2"', "2", '"3"'):
        refused = await served.send("PUT", path, wang, If_Match=stale)
        assert problem(refused) == (412, "version-mismatch")
    closed = await served.send("PUT", path, wang, If_Match='"2"')
    assert closed.json()["status"] == "closed"
    assert closed.headers["etag"] == '"3"'
    assert closed.headers["casebook-version"] == f"request/{id_}@3"
    refused = await served.send("PUT", path, wang, If_Match='"3"')
    assert problem(refused) == (409, "not-open")


async def test_of_two_writers_with_the_same_version_one_wins(served: Served, wang: Headers) -> None:
    id_ = await created(served, wang)
    answers = await asyncio.gather(
        *(served.send("PUT", f"/requests/{id_}/closure", wang, If_Match='"1"') for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_of_two_who_create_the_same_one_wins(served: Served, wang: Headers) -> None:
    id_ = case()
    answers = await asyncio.gather(
        *(served.send("PUT", f"/requests/{id_}", wang, {"title": f"{n}"}) for n in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert await events(served.bench) == 1


# --- scope ---------------------------------------------------------------------------------------


async def test_what_may_not_be_seen_is_not_there(served: Served, bench: Bench) -> None:
    owner = bench.person("wang.fang", "requester")
    id_ = await created(served, owner, organisation="甲")
    stranger = bench.person("sun.li", "requester")
    colleague = bench.person("he.jun", "lead", organisation="甲")
    elsewhere = bench.person("ma.chao", "lead", organisation="乙")
    nothing = bench.person("li.na", "agent")
    path, closure = f"/requests/{id_}", f"/requests/{id_}/closure"
    absent = await served.read(f"/requests/{case()}", stranger)
    for who in (stranger, elsewhere):
        hidden = await served.read(path, who)
        assert problem(hidden) == (404, "not-found")
        assert {**hidden.json(), "trace_id": ""} == {**absent.json(), "trace_id": ""}
        comment = await served.send("POST", f"{path}/comments", who, {"body": "x"})
        assert problem(comment) == (404, "not-found")
    assert problem(await served.send("PUT", closure, stranger)) == (404, "not-found")
    assert (await served.read(path, colleague)).status_code == 200
    # A role without the operation is told so before anything is looked up.
    assert problem(await served.send("PUT", closure, colleague)) == (403, "forbidden")
    assert problem(await served.read(path, nothing)) == (403, "forbidden")
    assert await events(bench) == 1


async def test_what_may_be_seen_but_not_changed_is_forbidden(served: Served, bench: Bench) -> None:
    """A requester who is a lead too sees a colleague's request, and may close only her own."""
    owner = bench.person("wang.fang", "requester")
    id_ = await created(served, owner, organisation="甲")
    both = bench.person("he.jun", "lead", "requester", organisation="甲")
    closure = f"/requests/{id_}/closure"
    assert problem(await served.send("PUT", closure, both, If_Match='"1"')) == (403, "forbidden")


# --- the database --------------------------------------------------------------------------------


async def test_a_stream_that_others_hold_for_long_is_busy(served: Served, wang: Headers) -> None:
    id_ = await created(served, wang)
    connection = await asyncpg.connect(served.bench.dsn)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT FROM intake.streams FOR UPDATE")
    refused = await served.send("POST", f"/requests/{id_}/comments", wang, {"body": "x"})
    await transaction.rollback()
    await connection.close()
    assert problem(refused) == (503, "busy")
    assert refused.headers["retry-after"] == "1"


async def test_a_service_out_of_connections_is_unavailable(served: Served, wang: Headers) -> None:
    database = served.runtime.database
    async with database.http(), database.http(), database.http(), database.http():
        refused = await served.read(f"/requests/{case()}", wang)
    assert problem(refused) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"
