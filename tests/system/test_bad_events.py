"""Whatever is published becomes a fact, or is kept with the reason why not."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.interface import spliced
from tests.support.judging import CANARY, check, check_soundness
from tests.support.nasties import NASTIES
from tests.support.stage import LIVE, OBSERVED, Person, Stage, stage

SUBMITTED, NOTED = "request.submitted.v1", "work-order.noted.v1"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("bad-events")) as found:
        yield found


def event(name: str, type_: str = SUBMITTED, **changes: Any) -> dict[str, Any]:
    """Return an event of the live source about a subject of its own."""
    data = {"number": name, "kind": "incident", "requester": "客户", "title": "打印机坏了"}
    sound = {
        "specversion": "1.0", "id": f"事件-{name}", "source": LIVE, "type": f"casebook.{type_}",
        "subject": f"工单-{name}", "time": "2026-01-05T08:00:00+08:00", "data": data,
    }  # fmt: skip
    return {key: value for key, value in (sound | changes).items() if value is not ...}


def publish(person: Person, service: str, content: Any, media: str = "batch") -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    types = {"batch": "application/cloudevents-batch+json", "one": "application/cloudevents+json"}
    return person.raw("POST", f"/{service}/v1/events", body, Content_Type=types.get(media, media))


def results(answer: httpx.Response) -> list[tuple[str, str | None]]:
    """Return outcome and code of every event."""
    check(answer, 202)
    return [(result["outcome"], result.get("code")) for result in answer.json()["results"]]


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"id": ...}, "missing-attribute"),
    "an id that is a number": ({"id": 1}, "not-a-text"),
    "an id with NUL": ({"id": "a\x00b"}, "unsafe-text"),
    "a long id": ({"id": "x" * 256}, "attribute-too-long"),
    "no subject": ({"subject": ...}, "missing-attribute"),
    "a subject of two lines": ({"subject": "a\nb"}, "unsafe-text"),
    "no type": ({"type": None}, "missing-attribute"),
    "no source": ({"source": ""}, "missing-attribute"),
    "another specversion": ({"specversion": "0.3"}, "unknown-specversion"),
    "no time": ({"time": ...}, "missing-attribute"),
    "a naive time": ({"time": "2026-01-05T08:00:00"}, "time-without-offset"),
    "an absurd time": ({"time": "9999-12-31T23:59:59Z"}, "time-out-of-range"),
    "a time before its offset": ({"time": "0001-01-01T00:00:00+23:59"}, "time-out-of-range"),
    "no such day": ({"time": "2026-02-30T00:00:00Z"}, "bad-time"),
    "a time that is a number": ({"time": 1767600000}, "bad-time"),
    "place nought": ({"sourcesequence": 0}, "bad-source-sequence"),
    "a place before": ({"sourcesequence": -1}, "bad-source-sequence"),
    "a place too far": ({"sourcesequence": 2**31}, "bad-source-sequence"),
    "half a place": ({"sourcesequence": 1.5}, "bad-source-sequence"),
    "a place that is true": ({"sourcesequence": True}, "bad-source-sequence"),
    "an attribute in capitals": ({"Extension": "x"}, "attribute-name"),
    "data that is a list": ({"data": []}, "data-not-an-object"),
    "data that is text": ({"data": "x"}, "data-not-an-object"),
    "no data": ({"data": ...}, "data-not-an-object"),
    "data twice": ({"data_base64": "e30="}, "data-twice"),
    "data that is no base64": ({"data": ..., "data_base64": "%"}, "bad-base64"),
}


def test_what_is_no_event_is_refused_by_itself(platform: Stage) -> None:
    everybody = platform.everybody
    names = list(MALFORMED)
    batch = [event(name, **MALFORMED[name][0]) for name in names]
    raw = json.dumps([*batch, event("good"), 1, None, []]).encode()
    unsafe = raw.replace(b"\\u0000", b"")  # strict JSON refuses NUL wherever it stands
    assert check(publish(everybody, "intake", raw), 400) == "unsafe-text"
    found = results(publish(everybody, "intake", unsafe))
    expected: list[tuple[str, str | None]] = [("malformed", MALFORMED[n][1]) for n in names]
    expected[names.index("an id with NUL")] = ("accepted", None)
    rest = [("accepted", None), *[("malformed", "not-an-event")] * 3]
    assert dict(zip([*names, "good", 1, 2, 3], found, strict=True)) == dict(
        zip([*names, "good", 1, 2, 3], [*expected, *rest], strict=True)
    )
    for content, media, status, code in (
        ({}, "batch", 400, "batch-not-an-array"),
        ([], "one", 400, "not-an-event"),
        (event("x"), "text/xml", 415, "unsupported-media-type"),
        (event("x")["data"], "application/json", 400, "unknown-specversion"),
        ([event("x")] * 1_001, "batch", 413, "too-many-events"),
        (b"[" * 100_000, "batch", 400, "too-deep"),
        (b'[{"id":"a","id":"b"}]', "batch", 400, "duplicate-key"),
        (b'[{"data":NaN}]', "batch", 400, "malformed-json"),
        (b'[{"id":"\\ud800"}]', "batch", 400, "unsafe-text"),
        (b"", "batch", 400, "malformed-json"),
    ):
        answer = publish(everybody, "intake", content, media)
        assert check(answer, status, what=content if len(answer.text) < 99 else media) == code
    assert results(publish(everybody, "intake", [])) == []


def test_what_cannot_be_a_fact_is_quarantined_with_its_reason(platform: Stage) -> None:
    everybody = platform.everybody
    data = event("x")["data"]
    registration = {"source": "x", "types": [], "mode": "live", "publisher": "wang"}
    quarantined = {
        "unknown-type": event("q1", "request.exploded.v1"),
        "unknown-major": event("q2", "request.submitted.v9"),
        "invalid-data": event("q3", data=data | {"title": {"deep": ["x"]}}),
        "sealed-text": event("q4", data=data | {"title": {"key": "k", "ciphertext": "c2VhbGVk"}}),
        "not-publishable": event("q5", "source.registered.v1", data=registration),
        "type-not-allowed": event("q7", "request.closed.v1", data={"basis": "observed"}),
        "time-in-future": event("q10", time="2099-12-31T23:59:59Z"),
    }
    found = results(publish(everybody, "intake", list(quarantined.values())))
    assert dict(zip(quarantined, found, strict=True)) == {
        code: ("quarantined", code) for code in quarantined
    }
    unknown_field = event("q6", data=data | {"status": "closed"})
    assert results(publish(everybody, "intake", unknown_field, "one")) == [
        ("quarantined", "invalid-data")
    ]
    later = {
        "wrong-publisher": event("q8", source=OBSERVED),
    }
    found = results(publish(everybody, "intake", list(later.values())))
    assert found == [("accepted", None)] * len(later)
    sent = event("q9", sourcesequence=1)
    assert results(publish(everybody, "intake", sent, "one")) == [("accepted", None)]
    assert results(publish(everybody, "intake", sent, "one")) == [("duplicate", None)]
    other = sent | {"data": data | {"title": "另一个"}}
    assert results(publish(everybody, "intake", other, "one")) == [
        ("quarantined", "content-differs")
    ]
    platform.quiet()
    rows = everybody.get("/intake/v1/quarantine", source=LIVE, limit="1000").json()["items"]
    reasons = {row["source_event"]: row["reason"] for row in rows}
    wanted = {sound["id"]: code for code, sound in (quarantined | later).items()}
    rows += everybody.get("/intake/v1/quarantine", source=OBSERVED, limit="1000").json()["items"]
    reasons = {row["source_event"]: row["reason"] for row in rows}
    assert wanted | {other["id"]: "content-differs", unknown_field["id"]: "invalid-data"} == {
        name: reason for name, reason in reasons.items() if name in {*wanted, "事件-q6", "事件-q9"}
    }


def test_nobody_publishes_for_others(platform: Stage) -> None:
    everybody = platform.everybody
    owner = publish(everybody, "dispatch", event("o1"), "one")
    assert check(owner, 422) == "not-the-owner"
    both = [event("o2"), event("o3", NOTED, data={"note": CANARY})]
    assert results(publish(everybody, "dispatch", both)) == [
        ("not-the-owner", "not-the-owner"), ("accepted", None),
    ]  # fmt: skip
    stranger = platform.person("stranger", "publisher", sources=("elsewhere",))
    assert results(publish(stranger, "intake", event("o4"), "one")) == [
        ("refused", "foreign-source")
    ]
    nobody = platform.person("nobody", "requester")
    assert check(publish(nobody, "intake", event("o5"), "one"), 403) == "forbidden"
    li = platform.person("li", "publisher", sources=(LIVE,))
    assert results(publish(li, "intake", event("o6"), "one")) == [("accepted", None)]
    platform.quiet()
    rows = everybody.get("/intake/v1/quarantine", source=LIVE, limit="1000").json()["items"]
    assert {row["source_event"]: row["reason"] for row in rows}["事件-o6"] == "wrong-publisher"


def test_no_text_in_an_event_breaks_anything(platform: Stage) -> None:
    """Each is a fact, or in quarantine; none waits for ever."""
    everybody = platform.everybody
    cases = []
    for field in ("title", "number", "kind", "requester", "organisation", "description"):
        for number, nasty in enumerate(NASTIES):
            sound = event(f"{field}-{number}")
            sound["data"]["description"] = CANARY
            if nasty.name != "depth 32":  # deeper inside of an event
                cases.append((nasty, spliced(sound, ("data", field), nasty.body)))
    good = [content for nasty, content in cases if nasty.code is None]
    bad = [(nasty, content) for nasty, content in cases[:: len(cases) // 200] if nasty.code]
    for start in range(0, len(good), 100):
        batch = b"[" + b",".join(good[start : start + 100]) + b"]"
        outcomes = {outcome for outcome, _ in results(publish(everybody, "intake", batch))}
        assert outcomes <= {"accepted", "quarantined"}
    for nasty, content in bad:
        answer = publish(everybody, "intake", content, "one")
        assert check(answer, 400, what=nasty.name) in {nasty.code, "malformed-json"}, nasty.name
    platform.quiet()


async def test_nothing_is_stuck_lost_or_told(platform: Stage) -> None:
    """The last of this file: what all of the above has left behind."""
    await check_soundness(platform)
    rows = await platform.running.fetch(
        """SELECT record::json->>'originid' FROM intake.events
        WHERE record::json->>'originsource' = $1
        UNION SELECT source_event FROM intake.quarantine WHERE source = $1""",
        LIVE,
    )
    kept = {row[0] for row in rows}
    assert {"事件-good", "事件-q1", "事件-q9", "事件-o6", "事件-title-5"} <= kept
    assert len(kept) > 6 * len([nasty for nasty in NASTIES if nasty.code is None])
