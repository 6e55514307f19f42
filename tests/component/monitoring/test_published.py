"""What other systems say of their own service levels, and what they may not say of ours."""

from uuid import uuid4

import pytest

from casebook.events.request import SourceRegistered
from casebook.events.service_level import ServiceLevelOpened, ServiceLevelSourceResultRecorded
from tests.component.monitoring.story import KPIS
from tests.support.running_service import Headers, Json, RunningService

RESULT = ServiceLevelSourceResultRecorded.type


async def a_source(service: RunningService, mode: str) -> Headers:
    """Register a source; return the headers of its publisher."""
    registered = SourceRegistered(
        source="desk", types=(RESULT, ServiceLevelOpened.type), mode=mode, publisher="desk.bot"
    )
    await service.happened("definition/source/desk", registered, key="desk")
    return service.person("desk.bot", "publisher", source="desk")


async def published(
    service: RunningService, who: Headers, type_: str = RESULT, **data: object
) -> None:
    """Publish an event about one request over HTTP, and wait until it is decided about."""
    event: Json = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "desk",
        "type": type_,
        "subject": "INC0000045",
        "time": "2016-03-01T10:00:00Z",
        "datacontenttype": "application/json",
        "data": data,
    }
    headers = who | {"Content-Type": "application/cloudevents+json"}
    response = await service.client.post("/monitoring/v1/events", json=event, headers=headers)
    assert response.status_code == 202, response.text
    await service.until("SELECT count(*) FROM inbox", 0)


async def imported_share(service: RunningService) -> tuple[float | None, int]:
    table = await service.read(KPIS, service.person("qian.yu", "auditor"))
    (row,) = [row for row in table.json()["kpis"] if row["id"] == "imported_sla_met_share"]
    return row["value"], row["n"]


async def test_the_result_of_a_source_is_counted_beside_our_own(service: RunningService) -> None:
    who = await a_source(service, "observed")
    await published(service, who, result="met")
    assert await imported_share(service) == (1.0, 1)
    await published(service, who, result="missed")
    assert await imported_share(service) == (0.0, 1)
    assert await service.value("SELECT rule FROM deviations") == "source-result-recorded"


@pytest.mark.parametrize(
    ("type_", "data", "code"),
    [
        (RESULT, {"result": "perhaps"}, "source-result-unknown"),
        (ServiceLevelOpened.type, {}, "service-level-not-publishable"),
    ],
)
async def test_a_live_source_keeps_the_rules(
    service: RunningService, type_: str, data: Json, code: str
) -> None:
    who = await a_source(service, "live")
    await published(service, who, type_, **data)
    assert await service.value("SELECT reason FROM quarantine") == code
    assert await imported_share(service) == (None, 0)
