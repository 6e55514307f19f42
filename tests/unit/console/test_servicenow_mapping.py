"""The mapping over the real log: it gives as many events of each type as the log asks for."""

import csv
import gzip
from collections import Counter
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from casebook.console.importing.audit_file import AuditLog
from casebook.console.importing.rules import TYPES
from casebook.events.catalog import EVENTS, owner
from casebook.events.ingress import from_object
from tests.support import oracle
from tests.support.audit_log import SAMPLE, read_requests, real_log
from tests.unit.console.given import SAMPLE_EVENTS, mapped, mapping_of, short

DEV = {
    "request.submitted": 17_442,
    "request.classified": 17_416 + 19,
    "request.reclassified": 2_251 - 19,
    "request.prioritised": 17_442,
    "request.reprioritised": 307,
    "request.priority-confirmed": 12_017,
    "request.reopened": 243,
    "request.closed": 17_449,
    "request.configuration-item-linked": 52,
    "work-order.assigned-to-team": 16_584 + 1_944,
    "work-order.reassigned-to-team": 12_649,
    "work-order.returned-to-queue": 3_173,
    "work-order.assigned-to-agent": 12_858 + 5_594,
    "work-order.reassigned-to-agent": 2_097,
    "work-order.released": 1_725,
    "work-order.started": 10_144,
    "work-order.waiting-started": 4_920,
    "work-order.waiting-ended": 4_920,
    "work-order.resumed": 998,
    "work-order.resolved": 17_682,
    "work-order.resolution-amended": 361,
    "work-order.noted": 21_360,
    "work-order.change-linked": 154,
    "work-order.vendor-involved": 50,
    "work-order.causing-change-linked": 2,
    "service-level.source-result-recorded": 7_374 + 10_068,
    "request-link.knowledge-linked": 3_553 + 80,
    "request-link.knowledge-unlinked": 106,
    "request-link.problem-linked": 292,
}
DEV_ROWS = 102_582
SAMPLE_ROWS = 6_097
DEV_EVENTS = 223_307
DEV_WAITING = {"customer": 4_549, "supplier": 168, "problem": 195, "evidence": 8}
SAMPLE_GROUP_CHANGES = 890
DEV_GROUP_CHANGES = 17_766

Json = dict[str, Any]


class Import:
    """A mapped file, and its rows as the standard library reads them."""

    def __init__(self, path: Path) -> None:
        self.log = AuditLog(path)
        self.mapping = mapping_of(self.log)
        self.events = mapped(self.log, self.mapping)
        self.counts = Counter(short(event) for event in self.events)
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.read = read_requests(path)
        self.requests = [list(group) for _, group in groupby(rows, key=lambda row: row["number"])]

    @property
    def group_changes(self) -> int:
        first = sum(
            event["data"]["initial"]
            for event in self.events
            if short(event) == "work-order.assigned-to-team"
        )
        names = ("assigned-to-team", "reassigned-to-team", "returned-to-queue")
        return sum(self.counts[f"work-order.{name}"] for name in names) - first


@pytest.fixture(scope="module", params=sorted({SAMPLE, real_log()}), ids=lambda path: path.name)
def imported(request: pytest.FixtureRequest) -> Import:
    return Import(request.param)


def test_each_request_is_as_the_oracle_reads_it(imported: Import) -> None:
    """The oracle looks at rows and never builds an event; it shares no code with the product."""
    moves = {"work-order.reassigned-to-team", "work-order.returned-to-queue"}
    events = groupby(imported.events, key=lambda event: event["subject"])
    for request, (number, group) in zip(imported.read, events, strict=True):
        times: dict[str, list[datetime]] = {}
        for event in group:
            name, data = short(event), event["data"]
            if name in moves or data.get("initial") is False:
                name = "move"
            elif name == "work-order.resolution-amended":
                name = "work-order.resolved"
            elif "result" in data:
                name = data["result"]
            times.setdefault(name, []).append(datetime.fromisoformat(event["time"]))
        resolution, met = request.last_resolution, oracle.source_result(request)
        assert number == request.number
        assert times["request.submitted"] == [request.submitted]
        assert times.get("move", []) == oracle.group_changes(request)
        assert times.get("request.reopened", []) == oracle.reopenings(request)
        assert times.get("work-order.resolved", [None])[-1] == (resolution and resolution.at)
        assert times.get("request.closed", [None])[-1] == request.last_closure
        assert ("met" in times, "missed" in times) == (met is True, met is False)


def test_the_counts_are_those_of_the_data(imported: Import) -> None:
    if imported.log.rows != DEV_ROWS:
        assert set(imported.counts) <= set(DEV)
        return
    waiting = Counter(
        event["data"]["reason"]
        for event in imported.events
        if short(event) == "work-order.waiting-started"
    )
    assert dict(imported.counts) == DEV
    assert dict(waiting) == DEV_WAITING
    assert len(imported.events) == sum(DEV.values()) == DEV_EVENTS
    assert imported.group_changes == DEV_GROUP_CHANGES


def test_the_sample_has_its_own_counts() -> None:
    sample = Import(SAMPLE)
    assert len(sample.events) == SAMPLE_EVENTS
    assert sample.mapping.rejected == 0
    assert sample.group_changes == SAMPLE_GROUP_CHANGES
    assert (sample.mapping.rows, sample.mapping.requests) == (SAMPLE_ROWS, 900)


def test_every_row_of_the_file_tells_something(imported: Import) -> None:
    told = {event["id"].rsplit(":", 1)[0] for event in imported.events}
    wanted = {
        f"uci498:{rows[0]['number']}:{ordinal}"
        for rows in imported.requests
        for ordinal in range(1, len(rows) + 1)
    }
    assert told == wanted
    assert imported.mapping.rows == len(wanted)


def test_ids_are_unique_and_sequences_have_no_gap(imported: Import) -> None:
    reached: Counter[str] = Counter()
    for event in imported.events:
        reached[event["subject"]] += 1
        assert event["sourcesequence"] == reached[event["subject"]]
    assert len({event["id"] for event in imported.events}) == len(imported.events)
    assert list(reached) == [rows[0]["number"] for rows in imported.requests]


def test_every_event_is_one_that_its_owner_takes(imported: Import) -> None:
    for published in map(from_object, imported.events[:: len(imported.events) // 10_000 or 1]):
        assert published.subject == published.id.split(":")[1]
    for type_, data in {(event["type"], orjson.dumps(event["data"])) for event in imported.events}:
        EVENTS[type_].closed(orjson.loads(data))
    assert {event["type"] for event in imported.events} <= set(TYPES)
    assert {owner(type_) for type_ in TYPES} == {"intake", "dispatch", "monitoring", "quality"}


def test_identities_of_the_state_hold(imported: Import) -> None:
    """They are facts of these files, in which every request is closed in the end."""
    if imported.log.rows not in {DEV_ROWS, SAMPLE_ROWS}:
        return
    counts, requests = imported.counts, imported.requests
    reopened_from_closed = sum(
        row["reopen_count"] > before["reopen_count"] and before["incident_state"] == "Closed"
        for rows in requests
        for before, row in pairwise(rows)
    )
    last = [rows[-1] for rows in requests]
    results = Counter(
        event["data"]["result"]
        for event in imported.events
        if short(event) == "service-level.source-result-recorded"
    )
    assert counts["work-order.waiting-started"] == counts["work-order.waiting-ended"]
    assert counts["request.reopened"] == sum(int(row["reopen_count"]) for row in last)
    assert counts["request.closed"] - reopened_from_closed == len(requests)
    assert results["met"] == sum(row["made_sla"] == "true" for row in last)
    assert results["missed"] == sum(row["made_sla"] == "false" for row in last)


def test_what_the_source_filled_in_later_does_not_show(imported: Import, tmp_path: Path) -> None:
    """Final values are changed wherever they were not known yet: the events are the same."""
    scrambled = tmp_path / "scrambled.csv"
    with scrambled.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(imported.requests[0][0]))
        writer.writeheader()
        for row in (row for rows in imported.requests[:900] for row in rows):
            code = row["closed_code"] if row["incident_state"] == "Closed" else "未来"
            future = {"resolved_at": "x", "resolved_by": "y", "closed_at": "z", "closed_code": code}
            writer.writerow(row | future)
    log = AuditLog(scrambled)
    events = mapped(log, mapping_of(log))
    assert events == imported.events[: len(events)]
