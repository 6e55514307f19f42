import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from casebook.kit.reading import following
from casebook.quality.domain import nonconformity
from casebook.quality.domain.control import nonconformity_id
from casebook.quality.reactions.nonconformities import keep_raising, raise_missing
from tests.component.quality.history import (
    announcement,
    closed_request,
    confirmation,
    handled_by,
    member,
)
from tests.support.crowd import SOME_ID, multiply
from tests.support.running_service import TRACEPARENT, Headers, RunningService, problem

CONTROLS = "/quality/v1/controls"
FINDINGS = f"{CONTROLS}/closure-agreed/findings"
NONCONFORMITIES = "/quality/v1/nonconformities"
RAISED = "SELECT count(*) FROM events WHERE type = 'casebook.nonconformity.raised.v1'"
PENDING = "SELECT count(*) FROM closure_control WHERE pending"


async def the_control(quality: RunningService, who: Headers) -> dict[str, Any]:
    [control] = (await quality.read(CONTROLS, who)).json()["items"]
    return control


async def findings(
    quality: RunningService, who: Headers, **parameters: object
) -> list[dict[str, Any]]:
    response = await quality.read(FINDINGS, who, **parameters)
    assert response.status_code == 200, response.text
    return response.json()["items"]


async def test_a_direct_closing_is_found_and_raised(
    quality: RunningService, auditor: Headers
) -> None:
    request_id, closing = await closed_request(quality)
    await quality.until(RAISED, 1)
    await quality.until(PENDING, 0)

    [item] = await findings(quality, auditor)
    [found] = item["findings"]
    assert item["request_id"] == str(request_id)
    assert (found["closing"], found["kind"], found["raised"]) == (str(closing), "not-agreed", True)

    raised = await quality.read(f"{NONCONFORMITIES}/{found['nonconformity']}", auditor)
    document = raised.json()
    assert document["id"] == str(nonconformity_id(closing))
    assert (document["control"], document["grade"]) == ("closure-agreed", "major")
    assert document["request_id"] == str(request_id)
    assert document["evidence"] == [found["closing"], found["resolution"]]
    listed = await quality.read(NONCONFORMITIES, auditor, request_id=request_id)
    assert listed.json()["items"] == [document]
    elsewhere = await quality.read(NONCONFORMITIES, auditor, request_id=uuid4())
    assert elsewhere.json()["items"] == []

    key = await quality.value("SELECT case_key FROM streams WHERE stream LIKE 'nonconformity/%'")
    record = await quality.value("SELECT record FROM events WHERE type LIKE '%nonconformity%'")
    assert key == str(request_id)
    assert f'"causationid":"{closing}"' in record
    assert TRACEPARENT in record


async def test_a_nonconformity_is_read_as_it_was(quality: RunningService, auditor: Headers) -> None:
    _, closing = await closed_request(quality)
    await quality.until(PENDING, 0)
    path = f"{NONCONFORMITIES}/{nonconformity_id(closing)}"
    now = await quality.read(path, auditor)
    raised_at = datetime.fromisoformat(now.json()["raised_at"])
    then = await quality.read(path, auditor, as_of=raised_at.isoformat())
    assert (then.json(), then.headers["ETag"]) == (now.json(), now.headers["ETag"])
    earlier = (raised_at - timedelta(microseconds=1)).isoformat()
    assert problem(await quality.read(path, auditor, as_of=earlier)) == (404, "not-found")
    stranger = await quality.read(path, quality.person("x", "lead"), as_of=raised_at.isoformat())
    assert problem(stranger) == (404, "not-found")


@pytest.mark.parametrize("agreement", ["confirmed", "announced"])
async def test_an_agreed_closing_is_no_finding(
    quality: RunningService, auditor: Headers, agreement: str
) -> None:
    event = confirmation() if agreement == "confirmed" else announcement(quality)
    await closed_request(quality, event, basis=agreement)
    control = await the_control(quality, auditor)
    assert control["checked"] == {"observed": 0, "live": 1}
    assert control["findings"] == {"observed": 0, "live": 0}
    assert await findings(quality, auditor) == []


async def test_a_claim_that_the_log_does_not_back_is_found(
    quality: RunningService, auditor: Headers
) -> None:
    await closed_request(quality, basis="confirmed")
    await quality.until(RAISED, 1)
    [item] = await findings(quality, auditor)
    assert item["findings"][0]["kind"] == "claim-not-backed"


async def test_observed_findings_are_counted_apart_and_raise_nothing(
    quality: RunningService, auditor: Headers
) -> None:
    for _ in range(3):
        await closed_request(quality, origin="observed", basis="observed")
    await closed_request(quality)
    await quality.until(RAISED, 1)
    control = await the_control(quality, auditor)
    assert control["checked"] == control["findings"] == {"observed": 3, "live": 1}
    assert control["nonconformities"] == 1
    assert len(await findings(quality, auditor, origin="observed")) == 3
    assert len(await findings(quality, auditor, origin="live")) == 1
    assert await raise_missing(quality.runtime) == 0
    assert await quality.value(RAISED) == 1


async def test_looking_again_before_the_log_tells_raises_nothing_twice(
    quality: RunningService,
) -> None:
    await closed_request(quality)
    await quality.until(RAISED, 1)
    async with quality.runtime.database.transaction() as connection:
        await connection.execute(
            """UPDATE closure_control SET pending = true,
            findings = jsonb_set(findings, '{0,raised}', 'false')"""
        )
    assert await raise_missing(quality.runtime) == 0
    assert await quality.value(RAISED) == 1


async def test_a_finding_that_cannot_be_raised_holds_nobody_up(
    quality: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where those that cannot fill a page."""
    monkeypatch.setattr(following, "PAGE_ROWS", 2)
    decide = nonconformity.raise_for_closing
    broken: set[UUID] = set()

    def failing(state: Any, *, request_id: UUID, evidence: Any) -> Any:
        if request_id in broken:
            raise ValueError("a defect")
        return decide(state, request_id=request_id, evidence=evidence)

    monkeypatch.setattr(nonconformity, "raise_for_closing", failing)
    requests = sorted(uuid4() for _ in range(5))
    broken.update(requests[:3])
    for request in requests:
        await closed_request(quality, request_id=request)
    await quality.until(RAISED, 2)
    assert await quality.value(PENDING) == 3
    broken.clear()
    assert await raise_missing(quality.runtime) == 3
    await quality.until(PENDING, 0)
    assert quality.runtime.failed_tasks() == []


async def test_findings_come_in_pages(quality: RunningService, auditor: Headers) -> None:
    requests = [(await closed_request(quality))[0] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = (await quality.read(FINDINGS, auditor, **parameters)).json()
        seen += [item["request_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(map(str, requests))
    assert len(seen) == 5
    assert problem(await quality.read(FINDINGS, auditor, cursor="x")) == (400, "cursor-malformed")


async def test_nonconformities_come_in_pages(quality: RunningService, auditor: Headers) -> None:
    for _ in range(3):
        await closed_request(quality)
    await quality.until(RAISED, 3)
    first = (await quality.read(NONCONFORMITIES, auditor, limit=2)).json()
    rest = await quality.read(NONCONFORMITIES, auditor, limit=2, cursor=first["next_cursor"])
    ids = {item["id"] for item in first["items"] + rest.json()["items"]}
    assert (len(ids), rest.json()["next_cursor"]) == (3, None)


async def test_a_lead_sees_the_findings_of_the_team(
    quality: RunningService, requester: Headers, lead: Headers
) -> None:
    mine, _ = await closed_request(quality)
    other, _ = await closed_request(quality)
    await quality.until(RAISED, 2)
    await handled_by(quality, mine, "mail", "li.na")
    await handled_by(quality, other, "network", "li.na")
    await member(quality, "he.jun", "mail")
    assert [item["request_id"] for item in await findings(quality, lead)] == [str(mine)]
    assert (await the_control(quality, lead))["findings"]["live"] == 1
    listed = (await quality.read(NONCONFORMITIES, lead)).json()["items"]
    assert [item["request_id"] for item in listed] == [str(mine)]
    foreign = await quality.value(
        "SELECT stream FROM streams WHERE stream LIKE 'nonconformity/%'"
        f" AND state->>'request_id' = '{other}'"
    )
    path = f"{NONCONFORMITIES}/{UUID(foreign.rpartition('/')[2])}"
    assert problem(await quality.read(path, lead))[0] == 404
    for path in (CONTROLS, FINDINGS, NONCONFORMITIES):
        assert problem(await quality.read(path, requester))[0] == 403


async def test_a_thousand_of_another_team_do_not_hide_ones_own(
    quality: RunningService, auditor: Headers, lead: Headers
) -> None:
    await member(quality, "he.jun", "network")
    mine, _ = await closed_request(quality)
    await handled_by(quality, mine, "network", "li.na")
    quality.clock.pass_(timedelta(seconds=1))
    foreign, _ = await closed_request(quality)
    await handled_by(quality, foreign, "mail", "wang.wei")
    await quality.until(RAISED, 2)
    await quality.until(PENDING, 0)
    runtime = quality.runtime
    await multiply(runtime, "cases", f"key = '{foreign}'", key=f"{SOME_ID}::text")
    await multiply(runtime, "closure_control", f"request_id = '{foreign}'", request_id=SOME_ID)
    found = f"stream LIKE 'nonconformity/%' AND case_key = '{foreign}'"
    await multiply(runtime, "streams", found, stream=f"'nonconformity/' || {SOME_ID}")

    async def listed(path: str, who: Headers) -> set[str]:
        page = (await quality.read(path, who, limit=200)).json()
        return {item["request_id"] for item in page["items"]}

    for path in (FINDINGS, NONCONFORMITIES):
        assert str(mine) not in await listed(path, auditor), "they come first"
        assert await listed(path, lead) == {str(mine)}


async def test_what_does_not_exist_is_not_found(quality: RunningService, auditor: Headers) -> None:
    assert problem(await quality.read(f"{CONTROLS}/nothing/findings", auditor))[0] == 404
    assert problem(await quality.read(f"{NONCONFORMITIES}/{uuid4()}", auditor))[0] == 404
    assert problem(await quality.read(f"{NONCONFORMITIES}/x", auditor))[0] == 422


@pytest.mark.parametrize("view", ["nothing", "another shape"])
async def test_a_rebuild_that_swaps_the_read_model_does_not_end_the_worker(
    quality: RunningService, view: str
) -> None:
    async with quality.runtime.database.transaction() as connection:
        await connection.execute("ALTER VIEW closure_control RENAME TO elsewhere")
        if view == "another shape":
            await connection.execute("CREATE VIEW closure_control AS SELECT 1 AS column_of_old")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await keep_raising(quality.runtime)
    assert quality.runtime.failed_tasks() == []
