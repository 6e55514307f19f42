"""Each rule of the mapping, on rows written by hand."""

from pathlib import Path
from typing import Any

import pytest

from casebook.console.importing.audit_file import AuditLog
from casebook.events.catalog import EVENTS
from tests.unit.console.given import events_of, line, mapped, mapping_of, rows, short, write

Change = dict[str, str]
Told = list[tuple[str, dict[str, Any]]]

STATE, TEAM, AGENT = "incident_state", "assignment_group", "assigned_to"
OPEN: Change = {}
CLASSES = {"problem_type": "other", "category": "Category 5", "subcategory": "Subcategory 6"}

# What the last of these rows tells.
RULES: list[tuple[str, list[Change], Told]] = [
    ("2 later", [{"category": "?"}, {"category": "Category 5"}], [("request.classified", CLASSES)]),
    (
        "3 symptom",
        [OPEN, {"u_symptom": "症状"}],
        [("request.reclassified", CLASSES | {"symptom": "症状"})],
    ),
    (
        "3 no category any more",
        [OPEN, {"category": "?"}],
        [("request.reclassified", {"problem_type": "other", "subcategory": "Subcategory 6"})],
    ),
    (
        "5",
        [OPEN, {"impact": "1 - High", "priority": "2 - High"}],
        [("request.reprioritised", {"impact": 1, "urgency": 2, "priority": 2})],
    ),
    (
        "5 what is no number is left out",
        [OPEN, {"priority": "5 - Planning", "impact": "High", "urgency": "0"}],
        [("request.reprioritised", {})],
    ),
    ("6", [OPEN, {"u_priority_confirmation": "true"}], [("request.priority-confirmed", {})]),
    (
        "7",
        [OPEN, {TEAM: "二线"}],
        [("work-order.assigned-to-team", {"team": "二线", "initial": False})],
    ),
    ("8", [{TEAM: "a"}, {TEAM: "b"}], [("work-order.reassigned-to-team", {"team": "b"})]),
    ("9", [{TEAM: "a"}, {TEAM: "?"}], [("work-order.returned-to-queue", {})]),
    ("10", [OPEN, {AGENT: "a"}], [("work-order.assigned-to-agent", {"agent": "a"})]),
    ("11", [{AGENT: "a"}, {AGENT: "b"}], [("work-order.reassigned-to-agent", {"agent": "b"})]),
    ("11 released", [{AGENT: "a"}, {AGENT: "?"}], [("work-order.released", {})]),
    ("12", [OPEN, {STATE: "Active"}], [("work-order.started", {})]),
    (
        "13",
        [OPEN, {STATE: "Awaiting Vendor"}],
        [("work-order.waiting-started", {"reason": "supplier"})],
    ),
    (
        "13 for something new",
        [OPEN, {STATE: "Awaiting Change Board"}],
        [("work-order.waiting-started", {"reason": "change-board"})],
    ),
    (
        "14 to Active",
        [{STATE: "Awaiting User Info"}, {STATE: "Active"}],
        [("work-order.waiting-ended", {}), ("work-order.resumed", {})],
    ),
    (
        "14 to another wait",
        [{STATE: "Awaiting User Info"}, {STATE: "Awaiting Problem"}],
        [("work-order.waiting-ended", {}), ("work-order.waiting-started", {"reason": "problem"})],
    ),
    (
        "15",
        [{STATE: "Awaiting Evidence"}, {STATE: "Resolved"}],
        [("work-order.waiting-ended", {}), ("work-order.resolved", {})],
    ),
    ("15b", [{STATE: "Resolved"}, OPEN], [("work-order.resolution-amended", {})]),
    (
        "16",
        [{STATE: "Resolved"}, {STATE: "Active", "reopen_count": "1"}],
        [("request.reopened", {})],
    ),
    (
        "16 once, however many",
        [{STATE: "Closed"}, {STATE: "New", "reopen_count": "3"}],
        [("request.reopened", {})],
    ),
    (
        "17",
        [{STATE: "Resolved"}, {STATE: "Closed"}],
        [("request.closed", {"basis": "observed", "code": "code 8"})],
    ),
    ("19", [OPEN, {"knowledge": "true"}], [("request-link.knowledge-linked", {})]),
    (
        "19 unlinked",
        [{"knowledge": "true"}, {"knowledge": "false"}],
        [("request-link.knowledge-unlinked", {})],
    ),
    (
        "20 in order",
        [OPEN, {"problem_id": "P", "rfc": "C", "vendor": "V", "cmdb_ci": "I", "caused_by": "D"}],
        [
            ("request-link.problem-linked", {"problem": "P"}),
            ("work-order.change-linked", {"change": "C"}),
            ("work-order.vendor-involved", {"vendor": "V"}),
            ("request.configuration-item-linked", {"configuration_item": "I"}),
            ("work-order.causing-change-linked", {"change": "D"}),
        ],
    ),
    ("20 not when it goes", [{"rfc": "C"}, {"rfc": "?"}], [("work-order.noted", {})]),
    ("21", [OPEN, OPEN], [("work-order.noted", {})]),
    ("21 a new state", [OPEN, {STATE: "-100"}], [("work-order.noted", {"state": "-100"})]),
    (
        "21 a new state beside others",
        [OPEN, {STATE: "暂停", TEAM: "a"}],
        [
            ("work-order.assigned-to-team", {"team": "a", "initial": False}),
            ("work-order.noted", {"state": "暂停"}),
        ],
    ),
    ("21 it stays", [{STATE: "-100"}, OPEN], [("work-order.noted", {})]),
    ("a missing state", [OPEN, {STATE: "?"}], [("work-order.noted", {})]),
    ("no start out of it", [{STATE: "-100"}, {STATE: "Active"}], [("work-order.noted", {})]),
]


@pytest.mark.parametrize(("changes", "told"), [row[1:] for row in RULES], ids=[r[0] for r in RULES])
def test_a_row_tells(tmp_path: Path, changes: list[Change], told: Told) -> None:
    """A row without a source result follows, so that the one of interest is not the last."""
    events = events_of(write(tmp_path / "log.csv", rows(*changes, {"made_sla": "?"})))
    place = f":{len(changes)}:"
    found = [event for event in events if place in event["id"]]
    assert [(short(event), event["data"]) for event in found] == told
    for event in found:
        EVENTS[event["type"]].closed(event["data"])


def test_the_first_row_tells_the_most_and_in_this_order(tmp_path: Path) -> None:
    changes = {
        STATE: "Active", TEAM: "Group 1", AGENT: "Resolver 2", "knowledge": "true",
        "u_priority_confirmation": "true", "u_symptom": "Symptom 1", "rfc": "C", "cmdb_ci": "I",
        "made_sla": "false", "problem_id": "P",
    }  # fmt: skip
    events = events_of(write(tmp_path / "log.csv", [line(**changes)]))
    assert [short(event) for event in events] == [
        "request.submitted", "request.classified", "request.prioritised",
        "request.priority-confirmed", "work-order.assigned-to-team",
        "work-order.assigned-to-agent", "work-order.started",
        "service-level.source-result-recorded", "request-link.knowledge-linked",
        "request-link.problem-linked", "work-order.change-linked",
        "request.configuration-item-linked",
    ]  # fmt: skip
    assert events[4]["data"] == {"team": "Group 1", "initial": True}
    assert [event["sourcesequence"] for event in events] == list(range(1, 13))
    assert events[0] == {
        "specversion": "1.0",
        "id": "uci498:INC0000001:1:casebook.request.submitted.v1",
        "source": "uci498",
        "type": "casebook.request.submitted.v1",
        "subject": "INC0000001",
        "sourcesequence": 1,
        "time": "2016-03-01T09:05:00+00:00",
        "actor": "Updated by 3",
        "data": {
            "number": "INC0000001",
            "kind": "incident",
            "requester": "Caller 1",
            "channel": "Phone",
            "location": "Location 4",
            "opened_by": "Opened by  2",
        },
    }
    assert {event["time"] for event in events[1:]} == {"2016-03-01T09:10:00+00:00"}


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    missing = dict.fromkeys(
        ["caller_id", "opened_by", "contact_type", "location", "category", "subcategory", "impact",
         "urgency", "priority", "sys_updated_by", "knowledge", "made_sla", "reopen_count"], "?"
    )  # fmt: skip
    events = events_of(write(tmp_path / "log.csv", [line(**missing), line(**missing)]))
    assert [(short(event), event["data"]) for event in events] == [
        (
            "request.submitted",
            {"number": "INC0000001", "kind": "incident", "requester": "unknown"},
        ),
        ("request.prioritised", {}),
        ("work-order.noted", {}),
    ]
    assert all("actor" not in event for event in events)


@pytest.mark.parametrize(
    ("state", "made_sla", "results"),
    [
        ("Closed", "true", ["met"]),
        ("Closed", "false", ["missed"]),
        ("Active", "false", ["missed"]),
        ("Active", "true", []),
        ("Closed", "?", []),
    ],
)
def test_the_source_result_comes_with_the_last_row(
    tmp_path: Path, state: str, made_sla: str, results: list[str]
) -> None:
    changes = {STATE: state, "made_sla": made_sla}
    path = write(tmp_path / "log.csv", rows({STATE: "Closed", "made_sla": "false"}, changes))
    found = [e for e in events_of(path) if short(e) == "service-level.source-result-recorded"]
    assert [event["data"]["result"] for event in found] == results
    assert all(":2:" in event["id"] for event in found)


def test_a_reopening_count_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    changes = [{"reopen_count": value} for value in ("1", "viele", "?", "-1", "1", "2")]
    log = AuditLog(write(tmp_path / "log.csv", rows(*changes)))
    mapping = mapping_of(log)
    events = mapped(log, mapping)
    assert [event["id"] for event in events if short(event) == "request.reopened"] == [
        "uci498:INC0000001:6:casebook.request.reopened.v1"
    ]
    assert mapping.curiosities == {"unreadable reopen_count: viele": 1,
                                   "unreadable reopen_count: -1": 1}  # fmt: skip


def test_what_is_new_is_kept_and_counted(tmp_path: Path) -> None:
    lines = rows(
        {"contact_type": "微信", TEAM: "Team Rot", STATE: "-100", "priority": "5 - Planning"},
        {TEAM: "Group 9", "made_sla": "maybe"},
        {STATE: "Awaiting Board", "sys_updated_at": "1/3/2016 09:00"},
    )
    log = AuditLog(write(tmp_path / "log.csv", lines))
    mapping = mapping_of(log)
    events = mapped(log, mapping)
    assert events[0]["data"]["channel"] == "微信"
    assert events[3]["data"]["team"] == "Team Rot"
    assert mapping.curiosities == {
        "unknown channel: 微信": 1,
        "unknown group: Team Rot": 1,
        "unknown state: -100": 1,
        "unknown state: Awaiting Board": 1,
        "unreadable priority: 5 - Planning": 1,
        "unreadable made_sla: maybe": 1,
        "time goes back": 1,
    }


def test_names_of_what_is_new_are_not_counted_without_end(tmp_path: Path) -> None:
    lines = rows(*({"contact_type": f"channel {n}"} for n in range(300)))
    log = AuditLog(write(tmp_path / "log.csv", lines))
    mapping = mapping_of(log)
    mapped(log, mapping)
    assert len(mapping.curiosities) == 201
    assert mapping.curiosities["unknown channel: others"] == 100


def test_times_have_the_offset_that_was_given(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", [line()])
    assert events_of(path, utc_offset="+08:00")[1]["time"] == "2016-03-01T09:10:00+08:00"
    assert events_of(path, utc_offset="-03:30")[1]["time"] == "2016-03-01T09:10:00-03:30"


@pytest.mark.parametrize("offset", ["Europe/Berlin", "8", "+8:00", "+15:00", "+01:60", ""])
def test_an_offset_is_fixed(tmp_path: Path, offset: str) -> None:
    with pytest.raises(ValueError, match="offset from UTC"):
        events_of(write(tmp_path / "log.csv", [line()]), utc_offset=offset)


def test_another_source_has_other_ids(tmp_path: Path) -> None:
    (event, *_) = events_of(write(tmp_path / "log.csv", [line()]), source="acme")
    assert (event["source"], event["id"].split(":")[0]) == ("acme", "acme")
