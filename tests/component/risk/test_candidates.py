import asyncio
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import pytest

from casebook.events.definitions import BREACH_RATE_RULE
from casebook.events.service_level import (
    ServiceLevelBreachWithdrawn,
    ServiceLevelClockCancelled,
    ServiceLevelClockStarted,
    ServiceLevelClockStopped,
    ServiceLevelTargetBreached,
)
from casebook.events.values import DefinitionReference
from casebook.risk.domain.breach_rate import candidate_id
from casebook.risk.domain.wilson import lower_bound_millionths
from casebook.risk.reactions import keep_measuring, measure_services
from tests.support.running_service import TRACEPARENT, Headers, Json, RunningService, problem

RISKS = "/risk/v1/risks"
RAISED = "SELECT count(*) FROM events WHERE type = 'casebook.risk.candidate-raised.v1'"
RECOVERED = "SELECT count(*) FROM events WHERE type = 'casebook.risk.candidate-recovered.v1'"
DAY = timedelta(days=1)


async def resolved(
    risk: RunningService,
    *,
    breached: bool,
    service: str | None = "mail",
    origin: Literal["live", "observed"] = "live",
) -> tuple[UUID, UUID]:
    """Let a request's clock stop, after a breach or not; return its id and the breach's."""
    request_id, now = uuid4(), risk.clock.now()
    breach = ServiceLevelTargetBreached(
        clock="resolution",
        priority=3,
        target_seconds=86_400,
        due_at=now - timedelta(minutes=1),
        fired_at=now,
        service=service,
    )
    stopped = ServiceLevelClockStopped(
        clock="resolution", elapsed_seconds=86_460, met=not breached, service=service
    )
    events = (_started(now, service), *([breach] if breached else []), stopped)
    ids = await risk.happened(f"service-level/{request_id}", *events, origin=origin)
    return request_id, ids[1]


def _started(now: datetime, service: str | None) -> ServiceLevelClockStarted:
    return ServiceLevelClockStarted(
        clock="resolution",
        priority=3,
        target_seconds=86_400,
        due_at=now,
        policy=DefinitionReference(id="service-levels", version=1),
        service=service,
    )


async def history(
    risk: RunningService, *, met: int, breached: int, service: str | None = "mail"
) -> list[tuple[UUID, UUID]]:
    """Let so many requests be resolved in time, and so many late; return the late ones."""
    for _ in range(met):
        await resolved(risk, breached=False, service=service)
    return [await resolved(risk, breached=True, service=service) for _ in range(breached)]


async def the_candidate(risk: RunningService, who: Headers, **filters: object) -> Json:
    response = await risk.read(RISKS, who, kind="candidate", **filters)
    [item] = response.json()["items"]
    return (await risk.read(f"{RISKS}/{item['id']}", who)).json()


async def test_too_many_breaches_make_a_candidate_that_can_be_recomputed(
    risk: RunningService, manager: Headers, auditor: Headers
) -> None:
    late = await history(risk, met=15, breached=4)
    assert await measure_services(risk.runtime) == 0
    late.append(await resolved(risk, breached=True))
    await risk.until(RAISED, 1)

    candidate = await the_candidate(risk, manager)
    assert candidate["id"] == str(candidate_id("mail", 0))
    assert (candidate["status"], candidate["category"]) == ("candidate", "service-level")
    assert (candidate["service"], candidate["opened_by"]) == ("mail", "service:risk")
    candidacy = candidate["candidacy"]
    assert (candidacy["measured"], candidacy["breached"], candidacy["rate"]) == (20, 5, 0.25)
    assert candidacy["lower_bound_millionths"] == lower_bound_millionths(5, 20) == 111_861

    evidence = (await risk.read(f"{RISKS}/{candidate['id']}/evidence", auditor)).json()
    assert {breach["id"] for breach in evidence["breaches"]} == {str(id_) for _, id_ in late}
    assert {breach["request_id"] for breach in evidence["breaches"]} == {
        str(id_) for id_, _ in late
    }
    assert all(breach["found"] for breach in evidence["breaches"])
    recomputed = evidence["recomputed"]
    assert (recomputed["breached"], recomputed["agrees"], recomputed["missing"]) == (5, True, 0)
    assert recomputed["lower_bound_millionths_now"] == candidacy["lower_bound_millionths"]
    in_log = await risk.value(
        "SELECT count(*) FROM log.records WHERE record::json->>'id' IN"
        f" ({', '.join(repr(breach['id']) for breach in evidence['breaches'])})"
    )
    assert in_log == 5


async def test_a_candidate_follows_from_the_breach_that_tipped_the_rule(
    risk: RunningService,
) -> None:
    await history(risk, met=15, breached=4)
    risk.clock.pass_(timedelta(hours=1))
    _, tipping = await resolved(risk, breached=True)
    await risk.until(RAISED, 1)
    for attribute, value in (("causationid", tipping), ("traceparent", TRACEPARENT)):
        assert await risk.value(f"{RAISED} AND record::json->>'{attribute}' = '{value}'") == 1
    recorded = "(SELECT recordedtime FROM streams WHERE stream LIKE 'risk/%')"
    sql = f"SELECT recorded_at < {recorded} FROM resolution_breaches WHERE breach = '{tipping}'"
    assert await risk.value(sql)


async def test_one_candidate_a_service_until_it_recovers(
    risk: RunningService, manager: Headers
) -> None:
    await history(risk, met=10, breached=10)
    await risk.until(RAISED, 1)
    await history(risk, met=0, breached=2)
    await history(risk, met=10, breached=10, service="backup")
    await risk.until(RAISED, 2)
    assert await measure_services(risk.runtime) == 0

    risk.clock.pass_(29 * DAY)
    await measure_services(risk.runtime)
    await risk.until(RECOVERED, 2)
    candidate = await the_candidate(risk, manager, service="mail")
    assert candidate["status"] == "recovered"
    assert candidate["candidacy"]["recovered_at"] is not None

    await history(risk, met=10, breached=10)
    await risk.until(RAISED, 3)
    again = await risk.read(RISKS, manager, kind="candidate", status="candidate")
    assert [item["id"] for item in again.json()["items"]] == [str(candidate_id("mail", 1))]


async def test_a_withdrawn_breach_does_not_count(risk: RunningService, manager: Headers) -> None:
    late = await history(risk, met=14, breached=5)
    for request_id, breach in late[:2]:
        withdrawn = ServiceLevelBreachWithdrawn(clock="resolution", breach=breach, service="mail")
        await risk.happened(f"service-level/{request_id}", withdrawn)
    await history(risk, met=1, breached=0)
    assert await measure_services(risk.runtime) == 0
    assert await risk.value(RAISED) == 0


async def test_evidence_shows_what_was_withdrawn_since(
    risk: RunningService, manager: Headers
) -> None:
    late = await history(risk, met=10, breached=10)
    await risk.until(RAISED, 1)
    for request_id, breach in late[:9]:
        withdrawn = ServiceLevelBreachWithdrawn(clock="resolution", breach=breach, service="mail")
        await risk.happened(f"service-level/{request_id}", withdrawn)
    await risk.until(RECOVERED, 1)
    path = f"{RISKS}/{candidate_id('mail', 0)}/evidence"
    recomputed = (await risk.read(path, manager)).json()["recomputed"]
    assert (recomputed["agrees"], recomputed["withdrawn"]) == (True, 9)
    assert (recomputed["measured_now"], recomputed["breached_now"]) == (20, 1)


async def test_a_cancelled_clock_does_not_count(risk: RunningService) -> None:
    late = await history(risk, met=15, breached=4)
    for request_id, _ in late[:1]:
        cancelled = ServiceLevelClockCancelled(clock="resolution")
        await risk.happened(f"service-level/{request_id}", cancelled)
    await history(risk, met=1, breached=1)
    assert await measure_services(risk.runtime) == 0


async def test_observed_history_makes_no_candidate(risk: RunningService) -> None:
    for _ in range(25):
        await resolved(risk, breached=True, origin="observed")
    assert await measure_services(risk.runtime) == 0
    assert await risk.value("SELECT count(*) FROM resolution_clocks") == 0
    assert await risk.value("SELECT count(*) FROM events") == 0


async def test_a_request_without_a_service_counts_as_unspecified(
    risk: RunningService, manager: Headers
) -> None:
    await history(risk, met=10, breached=10, service=None)
    await risk.until(RAISED, 1)
    assert (await the_candidate(risk, manager))["service"] == "unspecified"


async def test_looking_again_raises_nothing_twice(risk: RunningService) -> None:
    await history(risk, met=10, breached=10)
    await risk.until(RAISED, 1)
    for _ in range(3):
        assert await measure_services(risk.runtime) == 0
    assert await risk.value(RAISED) == 1


async def test_a_candidate_is_handled_like_any_risk(
    risk: RunningService, manager: Headers, agent: Headers
) -> None:
    await history(risk, met=10, breached=10)
    await risk.until(RAISED, 1)
    path = f"{RISKS}/{candidate_id('mail', 0)}"
    assert problem(await risk.read(path, agent))[0] == 404
    body = {"likelihood": 5, "impact": 4}
    response = await risk.send("POST", f"{path}/assessments", manager, body, match='"1"')
    assert (response.json()["status"], response.json()["rating"]) == ("assessed", "extreme")
    risk.clock.pass_(29 * DAY)
    await measure_services(risk.runtime)
    await risk.until(RECOVERED, 1)
    assert (await risk.read(path, manager)).json()["status"] == "assessed"
    body = {"reason": "恢复正常"}
    response = await risk.send("PUT", f"{path}/closure", manager, body, match='"3"')
    assert response.json()["status"] == "closed"


async def test_a_recovered_candidate_is_not_worked_on(
    risk: RunningService, manager: Headers
) -> None:
    await history(risk, met=10, breached=10)
    await risk.until(RAISED, 1)
    risk.clock.pass_((BREACH_RATE_RULE.body.window_days + 1) * DAY)
    await measure_services(risk.runtime)
    await risk.until(RECOVERED, 1)
    path = f"{RISKS}/{candidate_id('mail', 0)}"
    body = {"likelihood": 5, "impact": 4}
    response = await risk.send("POST", f"{path}/assessments", manager, body, match='"2"')
    assert problem(response) == (409, "candidate-recovered")


@pytest.mark.parametrize("view", ["nothing", "another shape"])
async def test_a_rebuild_that_swaps_the_read_model_does_not_end_the_worker(
    risk: RunningService, view: str
) -> None:
    async with risk.runtime.database.transaction() as connection:
        await connection.execute("ALTER VIEW resolution_clocks RENAME TO elsewhere")
        if view == "another shape":
            await connection.execute("CREATE VIEW resolution_clocks AS SELECT 1 AS column_of_old")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await keep_measuring(risk.runtime)
    assert risk.runtime.failed_tasks() == []
