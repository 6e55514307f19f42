"""Lists, scopes and figures of monitoring over HTTP."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import true

from casebook.events.work_order import WorkOrderAccepted, WorkOrderResolved
from casebook.kit.postgres.database import compiled
from casebook.monitoring.projections.service_levels import service_levels
from tests.component.monitoring.story import KPIS, LEVELS, submitted
from tests.support.crowd import SOME_ID, multiply
from tests.support.running_service import Headers, Json, RunningService, problem

HOUR = timedelta(hours=1)


async def listed(service: RunningService, who: Headers, **parameters: object) -> list[str]:
    response = await service.read(LEVELS, who, **parameters)
    assert response.status_code == 200, response.text
    return [item["request_id"] for item in response.json()["items"]]


def texts(*requests: UUID) -> list[str]:
    return [str(request) for request in requests]


# --- the list of clocks -----------------------------------------------------------------------


async def test_the_next_due_comes_first_page_by_page(
    service: RunningService, auditor: Headers
) -> None:
    late, soon, next_ = [await submitted(service, priority=priority) for priority in (4, 1, 2)]
    done = await submitted(service, priority=1)
    await service.happened(f"work-order/{done}", WorkOrderResolved())
    await submitted(service, origin="observed")
    assert await listed(service, auditor) == texts(soon, next_, late, done)
    pages: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = (await service.read(LEVELS, auditor, limit=1, **cursor)).json()
        pages += [item["request_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == texts(soon, next_, late, done)


async def test_the_list_is_filtered_by_due_time_and_state(
    service: RunningService, auditor: Headers
) -> None:
    soon, later = [await submitted(service, priority=priority) for priority in (1, 3)]
    await service.happened(f"work-order/{later}", WorkOrderAccepted(agent="li.na"))
    border = (service.clock.now() + HOUR).isoformat()
    assert await listed(service, auditor, due_before=border) == texts(soon)
    assert await listed(service, auditor, state="stopped") == texts(later)
    assert await listed(service, auditor, state="paused") == []


async def test_the_due_list_reads_its_index(service: RunningService) -> None:
    sql, arguments = compiled(
        service_levels(true(), due_before=1, status=None, after=(0, ""), limit=25)
    )
    async with service.runtime.database.background() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN {sql}", *arguments)
    assert "service_levels_by_due" in str(plan)


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"cursor": "nonsense"}, 400, "cursor-malformed"),
        ({"due_before": "2026-03-02T08:00:00"}, 422, "invalid-request"),
        ({"state": "asleep"}, 422, "invalid-request"),
        ({"limit": 0}, 422, "invalid-request"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    service: RunningService, auditor: Headers, parameters: Json, status: int, code: str
) -> None:
    assert problem(await service.read(LEVELS, auditor, **parameters)) == (status, code)


# --- scopes -----------------------------------------------------------------------------------


async def test_a_requester_sees_their_own_clocks_only(
    service: RunningService, requester: Headers
) -> None:
    own = await submitted(service)
    colleagues = await submitted(service, requester="zhao.min")
    observed = await submitted(service, requester="zhao.min", origin="observed")
    assert await listed(service, requester) == texts(own)
    for other in (colleagues, observed, uuid4()):
        response = await service.read(f"{LEVELS}/{other}", requester)
        assert problem(response) == (404, "not-found")


async def test_a_foreign_thousand_does_not_hide_ones_own(
    service: RunningService, requester: Headers, auditor: Headers
) -> None:
    own = await submitted(service, priority=3)
    foreign = await submitted(service, priority=1, requester="sun.li")
    key, stream = f"{SOME_ID}::text", f"stream = 'service-level/{foreign}'"
    await multiply(service.runtime, "cases", f"key = '{foreign}'", key=key)
    named = {"stream": f"'service-level/' || {SOME_ID}", "case_key": key}
    await multiply(service.runtime, "streams", stream, **named)
    assert str(own) not in await listed(service, auditor, limit=200), "they come first"
    assert await listed(service, requester, limit=1) == texts(own)


async def test_an_agent_sees_what_lies_with_their_team(
    service: RunningService, agent: Headers
) -> None:
    mine = await submitted(service, team="mail")
    others = await submitted(service, team="network")
    assert await listed(service, agent) == texts(mine)
    assert (await service.read(f"{LEVELS}/{mine}", agent)).status_code == 200
    assert problem(await service.read(f"{LEVELS}/{others}", agent)) == (404, "not-found")


@pytest.mark.parametrize("role", ["publisher", "operator"])
async def test_other_roles_read_no_clocks(service: RunningService, role: str) -> None:
    response = await service.read(LEVELS, service.person("x", role))
    assert problem(response) == (403, "forbidden")


# --- figures ----------------------------------------------------------------------------------


async def test_the_kpi_table_follows_the_log(service: RunningService, auditor: Headers) -> None:
    request = await submitted(service)
    await submitted(service, team="network", origin="observed")
    service.clock.pass_(HOUR)
    await service.happened(f"work-order/{request}", WorkOrderAccepted(agent="li.na"))
    await service.happened(f"work-order/{request}", WorkOrderResolved())
    table = (await service.read(KPIS, auditor)).json()["kpis"]
    assert len(table) == 20
    assert row_of(table, "requests_opened") == {
        "id": "requests_opened",
        "definition_version": 1,
        "unit": "count",
        "value": 2,
        "n": 2,
        "dims": {},
    }
    assert row_of(table, "handling_hours_mean")["value"] == 1.0
    assert row_of(table, "imported_sla_met_share")["value"] is None
    live = row_of(table, "response_target_met_share", origin="live")
    assert (live["value"], live["n"]) == (1.0, 1)


async def test_the_kpi_table_is_grouped_and_filtered(
    service: RunningService, auditor: Headers
) -> None:
    await submitted(service, priority=1)
    await submitted(service, priority=2, origin="observed")
    table = (await service.read(KPIS, auditor, by="priority", origin="live")).json()["kpis"]
    assert row_of(table, "requests_opened", priority="1")["value"] == 1
    assert row_of(table, "requests_opened", priority=None)["value"] == 0
    assert {row["dims"].get("origin", "live") for row in table} == {"live"}
    assert row_of(table, "response_target_met_share", origin="live", priority="1")["n"] == 0


async def test_a_team_counts_only_its_own(service: RunningService, agent: Headers) -> None:
    await submitted(service, team="mail")
    await submitted(service, team="network")
    table = (await service.read(KPIS, agent, by="team")).json()["kpis"]
    assert row_of(table, "requests_opened")["value"] == 1
    assert {row["dims"]["team"] for row in table if "team" in row["dims"]} == {"mail", None}


async def test_a_requester_gets_no_figures(service: RunningService, requester: Headers) -> None:
    assert problem(await service.read(KPIS, requester)) == (403, "forbidden")


@pytest.mark.parametrize("parameters", [{"by": "agent"}, {"origin": "imagined"}])
async def test_other_groupings_are_refused(
    service: RunningService, auditor: Headers, parameters: Json
) -> None:
    response = await service.read(KPIS, auditor, **parameters)
    assert problem(response) == (422, "invalid-request")


async def test_definitions_are_no_secret(service: RunningService, requester: Headers) -> None:
    document = (await service.read("/monitoring/v1/definitions", requester)).json()
    assert document["service_levels"]["targets"][0] == {
        "priority": 1,
        "response_seconds": 900,
        "resolution_seconds": 14400,
    }
    assert len(document["kpis"]) == 18


def row_of(table: list[Json], kpi: str, **dims: str | None) -> Json:
    """Return the one row of an indicator with these dimensions."""
    (row,) = [row for row in table if row["id"] == kpi and row["dims"] == dims]
    return row
