"""The story of a request, from submission to the survey, over real HTTP.

One file, no branch on the platform: the same journeys run on the log table, on Kafka, and on
the separate processes of production, with today's PostgreSQL and with the oldest.
"""

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from casebook.console.verify import services
from casebook.kit.verification.verify import Place, verify
from tests.support.conformance import assert_message
from tests.support.published_log import read_log
from tests.system.journey import Journey, clock, eventually
from tests.system.platforms import RunningPlatform, running_platform

TEAM = "service-desk"


@pytest.fixture(scope="module", params=["embedded", "kafka", "processes", "processes-15"])
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPlatform]:
    """Run a platform with a team of two agents and a lead."""
    with running_platform(request.param, tmp_path_factory.mktemp("home")) as running:
        admin = running.person("admin", "admin")
        assert admin.send("PUT", f"/dispatch/v1/teams/{TEAM}", {"name": "服务台"}).status_code < 300
        for name, capacity in (("wang", 500), ("zhao", 500)):
            body = {"team": TEAM, "capacity": capacity, "skills": {"support": 3}}
            answer = admin.send("PUT", f"/dispatch/v1/agents/{name}", body)
            assert answer.status_code < 300, answer.text
        lead = admin.send("PUT", "/dispatch/v1/agents/chen", {"team": TEAM, "capacity": 1})
        assert lead.status_code < 300, lead.text
        away = admin.send(
            "PUT", "/dispatch/v1/agents/chen/availability", {"available": False},
            etag=lead.headers["etag"],
        )  # fmt: skip
        assert away.status_code < 300, away.text
        running.person("wang", "agent")
        running.person("zhao", "agent")
        running.person("chen", "lead")
        running.person("li", "requester", "acme")
        running.person("auditor", "auditor")
        yield running


def test_a_request_is_submitted_worked_on_confirmed_closed_and_surveyed(
    platform: RunningPlatform,
) -> None:
    journey = Journey(platform)
    agent = journey.agent()
    classification = {"problem_type": "other", "category": "打印"}
    eventually(lambda: agent.get(journey.request).status_code == 200, "intake's sight of the team")
    answer = agent.change("PUT", journey.request, "/classification", classification)
    assert answer.status_code == 200, answer.text
    journey.work("PUT", "/acceptance")
    journey.work("PUT", "/start")
    journey.work("POST", "/waits", {"reason": "customer", "note": "请告知打印机编号"})
    journey.until(journey.work_order, status="waiting")
    comment = journey.requester.send(
        "POST", f"{journey.request}/comments", {"body": "编号是 P-301"}
    )
    assert comment.status_code == 201, comment.text
    journey.work("POST", "/resumptions")
    journey.work("PUT", "/resolution", {"code": "fixed", "summary": "更换了定影器"})
    journey.until(journey.request, status="resolved")
    confirmed = journey.ask("PUT", "/confirmation")
    assert confirmed.status_code == 200, confirmed.text
    journey.until(journey.request, status="closed")
    journey.until(journey.survey, status="sent")
    answered = journey.requester.change(
        "PUT", journey.survey, "/answer", {"satisfaction": 5, "comment": "很快"}
    )
    assert answered.status_code == 200, answered.text
    types = journey.told("survey.answered")
    story = [
        "request.submitted", "work-order.assigned-to-agent", "request.classified",
        "work-order.accepted", "work-order.started", "work-order.waiting-started",
        "request.commented", "work-order.waiting-ended", "work-order.resumed",
        "work-order.resolved", "request.resolution-proposed", "request.resolution-confirmed",
        "request.closed", "survey.sent", "survey.answered",
    ]  # fmt: skip
    places = [types.index(step) for step in story]
    assert places == sorted(places), types
    mine = journey.types(journey.requester)
    assert "work-order.resolved" in mine
    assert "work-order.opened" not in mine
    assert journey.stopped("resolution")["met"] is True
    assert journey.stopped("response")["met"] is True


def test_a_resolution_that_does_not_hold_is_reopened(platform: RunningPlatform) -> None:
    journey = Journey(platform).resolved()
    first = journey.stopped("resolution")
    assert first["met"] is True, first
    reopened = journey.ask("POST", "/reopenings", {"reason": "又坏了"})
    assert reopened.status_code == 201, reopened.text
    journey.until(journey.request, status="open")
    eventually(
        lambda: clock(journey.state(journey.service_level), "resolution")["state"] == "running",
        "the clock runs again",
    )
    eventually(
        lambda: journey.state(journey.work_order).get("status") in {"assigned", "queued"},
        "the work order is open again",
    )
    journey.agent()
    journey.work("PUT", "/acceptance")
    journey.work("PUT", "/start")
    journey.work("PUT", "/resolution", {"summary": "换了新机器"})
    journey.until(journey.request, status="resolved", reopenings=1)


def test_a_missed_target_is_breached_once_and_stays_breached(platform: RunningPlatform) -> None:
    journey = Journey(platform, impact=1, urgency=1)
    journey.agent()
    eventually(lambda: journey.state(journey.service_level).get("clocks"), "the clocks")
    platform.clock.ahead += timedelta(hours=5)
    level = eventually(
        lambda: (
            (found := journey.state(journey.service_level))
            and clock(found, "resolution")["breached_at"]
            and clock(found, "response")["breached_at"]
            and found
        ),
        "both breaches",
    )
    assert clock(level, "resolution")["priority"] == 1
    # Until its reader has looked at the log again, a service that has slept takes no team's word.
    agent = journey.agent()
    eventually(lambda: agent.get(journey.work_order).status_code == 200, "the agent's sight")
    journey.resolved()
    assert journey.stopped("resolution")["met"] is False
    breaches, warnings = ["service-level.target-breached"] * 2, ["service-level.target-warned"] * 2
    types = journey.told(*breaches, *warnings)
    assert types.count("service-level.target-breached") == 2
    assert types.count("service-level.target-warned") == 2


def test_a_cancellation_that_crosses_a_resolution_leaves_one_outcome(
    platform: RunningPlatform,
) -> None:
    journey = Journey(platform)
    agent = journey.agent()
    journey.work("PUT", "/acceptance")
    journey.work("PUT", "/start")
    work_etag = agent.get(journey.work_order).headers["etag"]
    request_etag = journey.requester.get(journey.request).headers["etag"]
    answers: dict[str, httpx.Response] = {}

    def resolve() -> None:
        answers["resolve"] = agent.send(
            "PUT", f"{journey.work_order}/resolution", {"summary": "好了"}, etag=work_etag
        )

    def cancel() -> None:
        answers["cancel"] = journey.requester.send(
            "PUT", f"{journey.request}/cancellation", {"reason": "不需要了"}, etag=request_etag
        )

    threads = [threading.Thread(target=work) for work in (resolve, cancel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(answer.status_code < 300 for answer in answers.values()), answers
    if answers["cancel"].status_code < 300:
        journey.until(journey.request, status="cancelled")
        work = eventually(
            lambda: (
                (found := journey.state(journey.work_order))["status"] in {"cancelled", "resolved"}
                and found
            ),
            "the work order ends",
        )
        assert work["status"] in {"cancelled", "resolved"}
        assert journey.ask("PUT", "/confirmation").status_code == 409
    else:
        journey.until(journey.request, status="resolved")
    refused = [answer for answer in answers.values() if answer.status_code >= 300]
    assert all(answer.status_code in {409, 412} for answer in refused), answers


@contextmanager
def nobody_available(platform: RunningPlatform) -> Iterator[None]:
    """Let work lie in the queue for whoever takes it."""

    def available(state: bool) -> None:
        for name in ("wang", "zhao"):
            answer = platform.people["admin"].send(
                "PUT", f"/dispatch/v1/agents/{name}/availability", {"available": state}, etag="*"
            )
            assert answer.status_code == 200, answer.text

    available(False)
    try:
        yield
    finally:
        available(True)


def test_of_two_people_who_take_one_work_order_one_gets_it(platform: RunningPlatform) -> None:
    """Both have seen it queued, in the same version, and take it at the same moment."""
    takers: tuple[str, ...] = ("wang", "zhao")
    barrier = threading.Barrier(len(takers))
    with nobody_available(platform), ThreadPoolExecutor(len(takers)) as pool:
        journey = Journey(platform)
        unavailable = {"unavailable": 3}
        journey.until(journey.work_order, status="queued", team=TEAM, excluded=unavailable)

        def take(name: str) -> httpx.Response:
            person = platform.people[name]
            etag = person.get(journey.work_order).headers["etag"]
            seen[name] = etag
            barrier.wait()
            return person.send("PUT", f"{journey.work_order}/acceptance", etag=etag)

        seen: dict[str, str] = {}
        answers: dict[str, httpx.Response] = dict(zip(takers, pool.map(take, takers), strict=True))
    assert len(set(seen.values())) == 1, "they take the same"
    (holder,) = [name for name in takers if answers[name].status_code == 200]
    (late,) = [name for name in takers if name != holder]
    assert answers[late].status_code in {409, 412}, answers[late].text
    order = journey.until(journey.work_order, status="accepted")
    assert order["agent"] == holder
    once = ("work-order.assigned-to-agent", "work-order.accepted")
    types = journey.told(*once)
    assert [types.count(type_) for type_ in once] == [1, 1]
    held: dict[str, list[str]] = {
        name: [item["request_id"] for item in loaded(platform, name)["work"]] for name in takers
    }
    assert (journey.id in held[holder], journey.id in held[late]) == (True, False)


def loaded(platform: RunningPlatform, agent: str) -> dict[str, Any]:
    """Return what an agent holds."""
    answer = platform.people["admin"].get(f"/dispatch/v1/agents/{agent}/load")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_unanswered_resolution_is_announced_and_closed(platform: RunningPlatform) -> None:
    journey = Journey(platform).resolved()
    platform.clock.ahead += timedelta(days=4, minutes=1)
    journey.told("request.closure-announced")
    assert journey.state(journey.request)["status"] == "resolved"
    platform.clock.ahead += timedelta(days=1, minutes=1)
    closed = journey.until(journey.request, status="closed")
    assert closed["closed_basis"] == "announced"
    types = journey.told("request.closure-announced", "request.closed")
    assert types.count("request.closure-announced") == 1
    assert types.count("request.closed") == 1


def test_a_closure_without_confirmation_is_a_nonconformity(platform: RunningPlatform) -> None:
    journey = Journey(platform).resolved()
    closed = journey.lead.change("PUT", journey.request, "/closure", {"reason": "客户电话确认"})
    assert closed.status_code == 200, closed.text
    journey.until(journey.request, status="closed", closed_basis="direct")
    journey.told("nonconformity.raised")


def test_every_event_of_a_command_carries_its_trace(platform: RunningPlatform) -> None:
    trace_id = uuid.uuid4().hex
    requester = platform.people["li"]
    answer = requester.client.post(
        "/intake/v1/requests",
        json={"kind": "question", "title": "追踪"},
        headers={
            "Idempotency-Key": uuid.uuid4().hex,
            "traceparent": f"00-{trace_id}-{uuid.uuid4().hex[:16]}-01",
        },
    )
    assert answer.status_code == 201, answer.text
    request_id = answer.json()["id"]
    admin = platform.people["admin"]

    def of_case(service: str) -> list[dict[str, Any]]:
        found, after = [], 0
        while page := admin.get(f"/{service}/v1/events", after=after, limit=1000).json():
            after = page[-1]["position"]
            found += [json.loads(row["record"]) for row in page]
        return [event for event in found if event["partitionkey"] == request_id]

    eventually(lambda: len(of_case("dispatch")) >= 3, "the assignment")
    events = of_case("intake") + of_case("dispatch") + of_case("monitoring")
    assert {event["source"] for event in events} == {
        "/casebook/intake", "/casebook/dispatch", "/casebook/monitoring",
    }  # fmt: skip
    assert {event["traceparent"][3:35] for event in events} == {trace_id}


FOLLOWING = {
    "work-order.opened": "a reaction",
    "work-order.assigned-to-agent": "a worker over many facts",
    "service-level.target-warned": "a timer",
    "service-level.target-breached": "a timer",
    "request.closure-announced": "a timer",
    "survey.sent": "a reaction of the last service",
    "nonconformity.raised": "a worker over a read model",
}
"""What services do by themselves, and what in them does it."""


def test_all_that_the_journeys_led_to_carries_the_trace_of_its_cause(
    platform: RunningPlatform,
) -> None:
    """Through every reaction, worker and timer: whoever looks for a trace finds all of it."""
    headers = [
        {name.removeprefix("ce_"): value.decode() for name, value in headers}
        for _, headers, _ in read_log(platform.settings)
    ]
    events = {event["id"]: event for event in headers}
    effects = [event for event in headers if event.get("causationid") in events]
    followed = {event["type"].removeprefix("casebook.").removesuffix(".v1") for event in effects}
    assert FOLLOWING.keys() <= followed
    lost = [
        (events[event["causationid"]]["type"], event["type"])
        for event in effects
        if trace(event) is None or trace(event) != trace(events[event["causationid"]])
    ]
    assert lost == []
    by_people = [event for event in headers if event["actor"].startswith("user:")]
    assert len({trace(event) for event in by_people}) >= len(by_people) / 4, "not all one trace"


def trace(event: dict[str, str]) -> str | None:
    """Return the id of the trace that an event belongs to."""
    return event["traceparent"][3:35] if "traceparent" in event else None


def test_all_that_the_journeys_left_in_the_log_is_as_published(platform: RunningPlatform) -> None:
    types = {
        assert_message(headers, value, key) for key, headers, value in read_log(platform.settings)
    }
    assert {type_.split(".")[1] for type_ in types} >= {
        "request", "work-order", "service-level", "survey", "team", "agent", "nonconformity",
    }  # fmt: skip


def test_all_that_the_journeys_left_follows_from_the_log(platform: RunningPlatform) -> None:
    """Verified while everything runs."""
    settings = platform.settings
    place = Place(settings.database_url, settings.kafka_bootstrap, settings.kafka_topic)
    report = asyncio.run(verify(place, services()))
    assert report.differences == []
    assert report.events > 100
