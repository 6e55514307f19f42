"""Which events ``casebook events`` prints, and what it says of a case that nobody knows."""

from typing import Any

import orjson
import pytest

from casebook.console.events import SERVICES, matching_events

SUBMITTED, ASSIGNED = "casebook.request.submitted.v1", "casebook.work-order.assigned-to-team.v1"
KEY, OTHER = "01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"


class Stored:
    """Answers for the services, a page of two events at a time."""

    def __init__(self, *events: tuple[str, str, str, dict[str, Any]]) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SERVICES}
        for position, (service, key, type_, data) in enumerate(events, 1):
            record = {
                "partitionkey": key, "type": type_, "data": data, "subject": f"x/{key}",
                "streamversion": position, "recordedtime": f"2026-01-01T00:00:{position:02}Z",
            }  # fmt: skip
            row = {"position": position, "record": orjson.dumps(record).decode(), "hash": "00"}
            self.rows[service].append(row)

    async def get(self, path: str, parameters: dict[str, int]) -> list[dict[str, Any]]:
        rows = self.rows[path.split("/")[1]]
        return [row for row in rows if row["position"] > parameters["after"]][:2]


STORED = Stored(
    ("intake", "network", "casebook.definition.source-registered.v1", {}),
    ("intake", KEY, SUBMITTED, {"number": "REQ0000001"}),
    ("dispatch", KEY, ASSIGNED, {}),
    ("intake", OTHER, SUBMITTED, {"number": "REQ0000002"}),
    ("quality", OTHER, "casebook.survey.sent.v1", {}),
)


async def found(case: str | None, type_: str | None = None, limit: int = 100) -> list[str]:
    client: Any = STORED
    events = await matching_events(client, case=case, type_=type_, limit=limit)
    return [f"{event['partitionkey']} {event['type'].split('.')[2]}" for event in events]


async def test_a_case_is_found_by_its_key_and_by_the_number_of_its_request() -> None:
    both = [f"{KEY} submitted", f"{KEY} assigned-to-team"]
    assert await found(KEY) == await found("REQ0000001") == both
    assert await found("REQ0000001", ASSIGNED) == both[1:]
    assert await found("REQ0000001", limit=1) == both[:1]
    assert await found("network") == ["network source-registered"]


async def test_without_a_case_all_events_are_found() -> None:
    assert len(await found(None)) == 5
    assert await found(None, SUBMITTED, limit=1) == [f"{KEY} submitted"]


@pytest.mark.parametrize("case", ["REQ0000003", KEY.replace("1", "3"), "nothing"])
async def test_a_case_that_nobody_knows_is_said(case: str) -> None:
    with pytest.raises(LookupError, match=case):
        await found(case)


async def test_a_known_case_may_have_no_event_of_a_type() -> None:
    assert await found(KEY, "casebook.survey.sent.v1") == []
