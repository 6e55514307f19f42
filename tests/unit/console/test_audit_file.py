"""Audit files as they should not be: bad rows, scattered requests, damaged files."""

import gzip
import random
from pathlib import Path
from typing import Any

import pytest

from casebook.console.importing.audit_file import AuditLog
from casebook.console.importing.audit_rows import LINE_BYTES_MAX, NotAnAuditLog
from casebook.console.importing.servicenow import AuditMapping
from casebook.events.catalog import EVENTS
from casebook.events.ingress import from_object
from tests.support.audit_log import SAMPLE
from tests.unit.console.given import HEADER, events_of, line, mapped, mapping_of, rows, short, write

GOOD = rows({}, {"incident_state": "Active"}, {"incident_state": "Resolved"})
AT = "sys_updated_at"

# A row that cannot be read, whether its number can, and the reason.
BAD: dict[str, tuple[str, bool, str]] = {
    "a column less": (line().rsplit(",", 1)[0], True, "the line has 35 columns, not 36"),
    "a column more": (line() + ",x", True, "the line has 37 columns, not 36"),
    "American": (line(**{AT: "3/31/2016 09:00"}), True, "sys_updated_at is no time"),
    "ISO": (line(**{AT: "2016-03-31 09:00"}), True, "sys_updated_at is no time"),
    "no time": (line(**{AT: "?"}), True, "sys_updated_at is no time"),
    "the 30th of February": (line(**{AT: "30/2/2016 09:00"}), True, "sys_updated_at is no time"),
    "25 o'clock": (line(**{AT: "1/3/2016 25:00"}), True, "sys_updated_at is no time"),
    "far past": (line(**{AT: "1/3/0016 09:00"}), True, "sys_updated_at is no time"),
    "far future": (line(**{AT: "1/3/9999 09:00"}), True, "sys_updated_at is no time"),
    "other digits": (line(**{AT: "1/3/२०१६ 09:00"}), True, "sys_updated_at is no time"),
    "not UTF-8": (line(category="Kategorie \udcff"), True, "the line is not UTF-8"),
    "NUL": (line(category="a\0b"), True, "a character that cannot be stored"),
    "tabulator": (line(category="a\tb"), True, "a character that cannot be stored"),
    "noncharacter": (line(category="a\ufffe"), True, "a character that cannot be stored"),
    "override": (line(category="a\u202eb"), True, "a character that cannot be stored"),
    "too long": (line(category="x" * 201), True, "a value is longer than 200 characters"),
    "a quote left open": (line(category='"x'), True, "a quote that is not closed"),
    "a quote too early closed": (line(category='"x"y'), True, "a quote that is not closed"),
    "an endless line": (line(category="x" * LINE_BYTES_MAX), True, "longer than 65536 bytes"),
    "no number": (line(number="?"), False, "the number is missing"),
    "an empty number": (line(number=""), False, "the number is missing"),
    "a blank number": (line(number="  "), False, "the number is missing"),
    "a long number": (line(number="x" * 101), False, "the number is missing"),
    "a number that is not UTF-8": (line(number="INC\udcff"), False, "the line is not UTF-8"),
    "a NUL in the number": (line(number="INC\0"), False, "a character that cannot be stored"),
    "only a comma": (",", False, "the line has 2 columns, not 36"),
}  # fmt: skip


def read(path: Path) -> tuple[list[dict[str, Any]], AuditMapping]:
    log = AuditLog(path)
    mapping = mapping_of(log)
    return mapped(log, mapping), mapping


@pytest.mark.parametrize(("bad", "numbered", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_row_is_said_and_the_request_goes_on(
    tmp_path: Path, bad: str, numbered: bool, reason: str
) -> None:
    events, mapping = read(write(tmp_path / "log.csv", [GOOD[0], bad, GOOD[1], GOOD[2]]))
    (rejected,) = [event for event in events if short(event) == "import.row-rejected"]
    others = [event for event in events if event is not rejected]
    subject, place = ("INC0000001", 2) if numbered else ("log.csv", 3)
    assert rejected["id"] == f"uci498:{subject}:{place}:casebook.import.row-rejected.v1"
    assert rejected["subject"] == subject
    assert "sourcesequence" not in rejected
    assert rejected["data"]["file"] == "log.csv"
    assert rejected["data"]["line"] == 3
    assert reason in rejected["data"]["reason"]
    assert (mapping.rows, mapping.requests, mapping.rejected) == (4, 1, 1)
    clean, _ = read(write(tmp_path / "clean.csv", GOOD))
    assert [e["data"] for e in others] == [e["data"] for e in clean]
    assert [e["sourcesequence"] for e in others] == list(range(1, len(others) + 1))
    ordinals = [int(event["id"].split(":")[2]) for event in others]
    assert set(ordinals) == ({1, 3, 4} if numbered else {1, 2, 3})
    EVENTS[rejected["type"]].closed(from_object(rejected).data)


def test_a_bad_first_row_leaves_its_part_to_the_next(tmp_path: Path) -> None:
    lines = [line(opened_at="soon"), line(assignment_group="Group 1"), line()]
    events, mapping = read(write(tmp_path / "log.csv", lines))
    assert "opened_at is no time" in events[0]["data"]["reason"]
    assert [short(event) for event in events[1:5]] == [
        "request.submitted", "request.classified", "request.prioritised",
        "work-order.assigned-to-team",
    ]  # fmt: skip
    assert events[4]["data"]["initial"]
    assert ":2:" in events[1]["id"]
    assert mapping.requests == 1


def test_a_bad_last_row_leaves_the_result_to_the_one_before(tmp_path: Path) -> None:
    lines = rows({"incident_state": "Closed"}, {AT: "never"})
    events, _ = read(write(tmp_path / "log.csv", lines))
    (result,) = [e for e in events if short(e) == "service-level.source-result-recorded"]
    assert (result["data"], ":1:" in result["id"]) == ({"result": "met"}, True)


def test_rows_of_which_none_can_be_read_are_no_request(tmp_path: Path) -> None:
    events, mapping = read(write(tmp_path / "log.csv", rows({AT: "?"}, {})))
    assert [short(event) for event in events] == ["import.row-rejected"] * 2
    assert len({event["id"] for event in events}) == 2
    assert (mapping.rows, mapping.requests, mapping.rejected) == (2, 0, 2)


def test_odd_but_readable(tmp_path: Path) -> None:
    """Windows line ends, a byte order mark, quotes, other columns in another order."""
    header = ["extra", *reversed(HEADER)]
    cells = [["x", *reversed(row.split(","))] for row in GOOD]
    cells[1][header.index("category")] = '"Category 5"'
    cells[2][0] = '"a, b ""c"""'
    text = "\r\n".join([",".join(row) for row in [header, *cells]]) + "\r\n\r\n  \r\n"
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert events_of(path) == events_of(write(tmp_path / "plain.csv", GOOD))


def test_a_last_line_needs_no_end(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", GOOD)
    whole = events_of(path)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert events_of(path) == whole


def test_the_name_says_nothing_about_gzip(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.csv.gz", tmp_path / "b.csv"
    plain.write_bytes(gzip.decompress(SAMPLE.read_bytes()))
    packed.write_bytes(SAMPLE.read_bytes())
    assert events_of(plain) == events_of(packed)


def test_the_order_of_requests_does_not_matter(tmp_path: Path) -> None:
    """Rows sorted by anything, as long as those of one request keep their order."""
    header, *lines = gzip.decompress(SAMPLE.read_bytes()).decode().splitlines()
    lines = lines[:600]
    together = events_of(write(tmp_path / "together.csv", lines, header.split(",")))
    places = [row.split(",")[0] for row in lines]
    random.Random(1).shuffle(places)  # noqa: S311
    left = {number: iter([row for row in lines if row.startswith(number)]) for number in places}
    shuffled = [next(left[number]) for number in places]
    log = AuditLog(write(tmp_path / "scattered.csv", shuffled, header.split(",")))
    scattered = mapped(log, mapping_of(log))
    key = lambda event: (event["subject"], event["sourcesequence"])  # noqa: E731
    assert sorted(scattered, key=key) == sorted(together, key=key)
    assert log.scattered > 50


def test_a_limit_takes_the_first_requests_whole(tmp_path: Path) -> None:
    lines = [
        line(number="A"), line(number="B"), "x,y", line(number="A"), line(number="C"),
        line(number="B"), line(number="D"),
    ]  # fmt: skip
    path = write(tmp_path / "log.csv", lines)
    assert {event["subject"] for event in events_of(path, limit=2)} == {"A", "B"}
    log = AuditLog(path, limit=3)
    assert [(n, [row.number for row in rows]) for n, rows in log.requests()] == [
        ("x", [4]), ("A", [2, 5]), ("B", [3, 7]),
    ]  # fmt: skip
    assert log.rows == 5


def test_the_file_name_is_made_fit_to_be_stored(tmp_path: Path) -> None:
    path = write(tmp_path / "日志\n\udcff.csv", [line(number="?")])
    (event,) = events_of(path)
    assert event["subject"] == event["data"]["file"] == "日志??.csv"
    from_object(event)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no column number"),
        (b"a,b,c\n1,2,3\n", "no column number"),
        (",".join(HEADER).replace("rfc", "change").encode(), "no column rfc"),
        (b"\xff\xfe\x00", "not CSV in UTF-8"),
        (b'"number', "not CSV in UTF-8"),
        (gzip.compress(SAMPLE.read_bytes()), "not CSV in UTF-8"),
        (SAMPLE.read_bytes()[:50_000], "cut off"),
    ],
)
def test_another_file_is_refused_as_a_whole(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(NotAnAuditLog, match=reason):
        AuditLog(path)


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(SAMPLE.read_bytes())
    content[60_000:60_100] = bytes(100)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(content)
    with pytest.raises(NotAnAuditLog, match="damaged"):
        AuditLog(path)
