"""Quarantine: nobody takes another's ids there, and what is given up leaves no hole behind."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta

import pytest

from casebook.events.ingress import Published
from casebook.events.request import (
    IngressSkipped,
    RequestCancelled,
    RequestClosed,
    RequestCommented,
    RequestSubmitted,
)
from casebook.kit.runtime import Runtime
from tests.support.pump import (
    discarded,
    event,
    feed,
    inbox_size,
    log_of,
    outcomes,
    quarantined,
    register,
    retried,
    row_id,
)
from tests.support.service import Bench, settled, until
from tests.support.toy import intake, submitted

FIRST = event("S", submitted(), 1)
SECOND, THIRD = (event("S", RequestCommented(body="x"), place) for place in (2, 3))
CANCELLED = event("S", RequestCancelled(), 2)
TYPES = tuple(e.type for e in (RequestSubmitted, RequestCommented, RequestCancelled))
BROKEN = replace(SECOND, data={"wrong": 1})
LIMIT_SECONDS = 0.4


@pytest.fixture
async def runtime(bench: Bench) -> AsyncGenerator[Runtime]:
    async with bench.running(intake()) as running:
        await register(running)
        yield running


async def story(bench: Bench, subject: str = "S") -> list[tuple[int, str]]:
    """Return place and code of a subject's facts: ``-`` for what was not skipped."""
    return [
        (fact["sourcesequence"], fact["data"]["code"] if fact["type"] == SKIPPED else "-")
        for fact in await log_of(bench, subject)
    ]


async def told(bench: Bench, runtime: Runtime, *expected: tuple[int, str]) -> None:
    """Wait for the history of the subject, and until nothing waits."""

    async def is_told() -> bool:
        return await story(bench) == list(expected) and await inbox_size(bench) == 0

    await until(is_told, [runtime])
    await settled(runtime)


async def held(bench: Bench, runtime: Runtime, *reasons: str) -> None:
    """Wait until these are the reasons of what is in quarantine, and nothing is in the inbox."""

    async def is_held() -> bool:
        found = [reason for reason, _ in await quarantined(bench)]
        return sorted(found) == sorted(reasons) and await inbox_size(bench) == 0

    await until(is_held, [runtime])


# --- whose id it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [None, 1], ids=["no place", "a place"])
async def test_a_refusal_at_the_door_takes_no_id_from_another_publisher(
    bench: Bench, runtime: Runtime, place: int | None
) -> None:
    real = replace(FIRST, sourcesequence=place)
    forged = replace(real, data={"wrong": 1})
    assert outcomes(await feed(runtime, forged, publisher="mallory")) == ["invalid-data"]
    assert outcomes(await feed(runtime, real)) == ["accepted"]
    await until(lambda: _is_logged(bench, 1), [runtime])
    assert [fact["type"] for fact in await log_of(bench, "S")] == [submitted().type]


async def test_a_type_that_a_known_source_may_not_say_is_refused_at_the_door(
    bench: Bench, runtime: Runtime
) -> None:
    [refused, taken] = await feed(runtime, CANCELLED, FIRST)
    assert (refused.outcome, refused.code) == ("quarantined", "type-not-allowed")
    assert refused.detail == "the source is not registered for this type"
    assert taken.outcome == "accepted"
    assert outcomes(await feed(runtime, CANCELLED)) == ["type-not-allowed"], "sent again"
    await feed(runtime, THIRD)
    await told(bench, runtime, (1, "-"), (2, "type-not-allowed"), (3, "-"))
    assert await quarantined(bench) == [("type-not-allowed", CANCELLED.id)]
    await register(runtime, types=TYPES)
    assert await retried(runtime, row_id(CANCELLED)) == "accepted"
    await told(bench, runtime, (1, "-"), (2, "type-not-allowed"), (3, "-"), (2, "-"))
    assert await quarantined(bench) == []


async def test_what_is_allowed_while_its_place_is_kept_takes_the_place(
    bench: Bench, runtime: Runtime
) -> None:
    assert outcomes(await feed(runtime, CANCELLED)) == ["type-not-allowed"]
    await register(runtime, types=TYPES)
    assert await retried(runtime, row_id(CANCELLED)) == "accepted"
    assert await inbox_size(bench) == 1
    await feed(runtime, FIRST, THIRD)
    await told(bench, runtime, (1, "-"), (2, "-"), (3, "-"))
    assert await quarantined(bench) == []


async def test_another_content_of_an_event_takes_its_place_from_nobody(
    bench: Bench, runtime: Runtime
) -> None:
    assert outcomes(await feed(runtime, CANCELLED)) == ["type-not-allowed"]
    other = replace(CANCELLED, data={"reason": "another one"})
    assert outcomes(await feed(runtime, other)) == ["content-differs"]
    (held_id,) = [
        row[0] for row in await bench.fetch(
            "SELECT id FROM quarantine WHERE reason = 'content-differs'"
        )
    ]  # fmt: skip
    assert await retried(runtime, held_id) == "quarantined"
    assert await inbox_size(bench) == 1, "who keeps the place"
    await feed(runtime, FIRST, THIRD)
    await told(bench, runtime, (1, "-"), (2, "type-not-allowed"), (3, "-"))


async def test_of_an_unknown_source_and_a_foreign_one_the_promoter_judges(bench: Bench) -> None:
    async with bench.running(intake()) as runtime:
        alone = replace(CANCELLED, sourcesequence=None)
        assert outcomes(await feed(runtime, alone)) == ["accepted"]
        await register(runtime)
        await held(bench, runtime, "type-not-allowed")
        assert outcomes(await feed(runtime, alone, publisher="mallory")) == ["accepted"]
        await held(bench, runtime, "type-not-allowed", "wrong-publisher")


@pytest.mark.parametrize("mode", ["live", "observed"])
async def test_what_is_dated_ahead_is_refused_at_the_door_and_skipped(
    bench: Bench, mode: str
) -> None:
    async with bench.running(intake()) as runtime:
        await register(runtime, mode=mode)
        latest = runtime.clock.now() + timedelta(minutes=5)
        ahead = replace(SECOND, time=latest + timedelta(seconds=1))
        [refused, taken] = await feed(runtime, ahead, replace(FIRST, time=latest))
        assert (refused.outcome, refused.code) == ("quarantined", "time-in-future")
        assert refused.detail == "time is more than 5 minutes ahead of the service's clock"
        assert taken.outcome == "accepted"
        await feed(runtime, THIRD)
        await told(bench, runtime, (1, "-"), (2, "time-in-future"), (3, "-"))
        assert await quarantined(bench) == [("time-in-future", SECOND.id)]
        bench.clock.pass_(timedelta(seconds=1))
        assert outcomes(await feed(runtime, ahead)) == ["time-in-future"], "sent again"
        assert await retried(runtime, row_id(SECOND)) == "accepted"
        await told(bench, runtime, (1, "-"), (2, "time-in-future"), (3, "-"), (2, "-"))
        assert await quarantined(bench) == []


async def test_what_waited_too_long_takes_no_id_from_another_publisher(bench: Bench) -> None:
    forged = replace(THIRD, data=RequestCommented(body="forged").payload())
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as runtime:
        await feed(runtime, forged, publisher="mallory")
        await held(bench, runtime, "unknown-source")
        await register(runtime)
        await feed(runtime, replace(forged, id="other"), publisher="mallory")
        await held(bench, runtime, "unknown-source", "wrong-publisher")
        assert outcomes(await feed(runtime, FIRST, SECOND, THIRD)) == ["accepted"] * 3
        await told(bench, runtime, (1, "-"), (2, "-"), (3, "-"))


async def test_nobody_releases_what_another_publisher_has_in_quarantine(bench: Bench) -> None:
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as runtime:
        await register(runtime)
        await feed(runtime, SECOND)
        await held(bench, runtime, "predecessor-missing")
        await feed(runtime, SECOND, publisher="mallory")
        await held(bench, runtime, "predecessor-missing", "wrong-publisher")
        await feed(runtime, FIRST)
        await told(bench, runtime, (1, "-"), (2, "-"))


async def test_the_same_malformed_event_is_one_row_and_its_like_another(
    bench: Bench, runtime: Runtime
) -> None:
    for broken in (BROKEN, replace(BROKEN, sourcesequence=None, id="no place")):
        assert outcomes(await feed(runtime, broken, broken)) == ["invalid-data"] * 2
        assert outcomes(await feed(runtime, broken)) == ["invalid-data"]
    assert len(await quarantined(bench)) == 2
    other = replace(BROKEN, data={"wrong": 2})
    assert outcomes(await feed(runtime, other, other)) == ["content-differs"] * 2
    assert len(await quarantined(bench)) == 3
    batch = [replace(one, id="in one batch", sourcesequence=None) for one in (BROKEN, other)]
    assert outcomes(await feed(runtime, *batch)) == ["invalid-data", "content-differs"]
    assert len(await quarantined(bench)) == 5, "neither is lost"


async def test_what_waited_beside_the_real_one_is_known_by_the_log_afterwards(
    bench: Bench,
) -> None:
    other = replace(FIRST, data=submitted(requester="mallory").payload())
    async with bench.idle(intake()) as idle:
        await feed(idle, FIRST)
        await feed(idle, other, publisher="second")
    async with bench.running(intake()) as runtime:
        await register(runtime)
        await held(bench, runtime, "wrong-publisher")
        await register(runtime, publisher="second")
        assert outcomes(await feed(runtime, other, publisher="second")) == ["content-differs"]
    (fact,) = await log_of(bench, "S")
    assert fact["data"]["requester"] == "wang.fang"


async def test_another_content_that_was_accepted_in_the_same_moment_is_not_dropped(
    bench: Bench, runtime: Runtime
) -> None:
    """It came in between the look into the log and its own insertion."""
    async with runtime.database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('promote:intake'))")
        await feed(runtime, FIRST)
        await connection.execute("CREATE TABLE late AS SELECT * FROM inbox")
    await told(bench, runtime, (1, "-"))
    await bench.fetch("UPDATE late SET digest = 'another'")
    await bench.fetch("INSERT INTO inbox OVERRIDING USER VALUE SELECT * FROM late")
    await held(bench, runtime, "content-differs")


# --- what is given up ----------------------------------------------------------------------------


async def test_a_discarded_event_is_skipped_and_its_successors_go_on(bench: Bench) -> None:
    async with bench.running(intake(), predecessor_seconds_max=LIMIT_SECONDS) as runtime:
        await register(runtime)
        await feed(runtime, FIRST, THIRD)
        await held(bench, runtime, "predecessor-missing")
        assert await discarded(runtime, row_id(THIRD))
        await until(lambda: _is_out_of_sight(bench), [runtime])
        assert not await discarded(runtime, row_id(THIRD)), "it is gone"
        assert await retried(runtime, row_id(THIRD)) is None
        assert outcomes(await feed(runtime, THIRD)) == ["discarded"]
        await feed(runtime, event("S", RequestCommented(body="x"), 4), SECOND)
        await told(bench, runtime, (1, "-"), (2, "-"), (3, "discarded"), (4, "-"))
    assert await quarantined(bench) == []


async def test_a_discarded_id_of_two_contents_leaves_no_hole_either(
    bench: Bench, runtime: Runtime
) -> None:
    """An id that was used again, for another place: that place must not stay open."""
    await feed(runtime, FIRST)
    again = replace(FIRST, sourcesequence=2, data={"wrong": 1})
    assert outcomes(await feed(runtime, again, THIRD)) == ["content-differs", "accepted"]
    (row,) = await bench.fetch("SELECT id FROM quarantine")
    assert await discarded(runtime, row[0])
    await told(bench, runtime, (1, "-"), (2, "discarded"), (3, "-"))


async def test_a_discard_leaves_a_taken_place_alone(bench: Bench, runtime: Runtime) -> None:
    await feed(runtime, FIRST, BROKEN)
    await told(bench, runtime, (1, "-"), (2, "invalid-data"))
    assert await discarded(runtime, row_id(BROKEN))
    await feed(runtime, THIRD)
    await told(bench, runtime, (1, "-"), (2, "invalid-data"), (3, "-"))
    assert await quarantined(bench) == []


async def test_a_discard_without_a_place_or_of_a_wrong_publisher_takes_none(
    bench: Bench, runtime: Runtime
) -> None:
    loose = replace(BROKEN, sourcesequence=None, id="loose")
    await feed(runtime, loose)
    await feed(runtime, FIRST, replace(SECOND, id="rogue"), publisher="mallory")
    await held(bench, runtime, "invalid-data", "wrong-publisher", "wrong-publisher")
    for id_ in (row_id(loose), row_id(FIRST, "mallory")):
        assert await discarded(runtime, id_)
    await until(lambda: _is_empty(bench), [runtime])
    assert await story(bench) == []
    assert outcomes(await feed(runtime, FIRST)) == ["accepted"]
    await told(bench, runtime, (1, "-"))


# --- under pressure ------------------------------------------------------------------------------


async def test_the_case_that_waits_longest_comes_first(bench: Bench) -> None:
    async with bench.running(intake()) as runtime:
        await register(runtime)
    subjects = [f"subject {number}" for number in range(40)]
    async with bench.idle(intake(), promote_events_max=10) as runtime:
        for subject in subjects:
            await feed(runtime, event(subject, submitted(), 1))
        for start in range(0, 40, 10):
            while await inbox_size(bench) > 30 - start:  # another's turn may only now be ending
                await runtime.promoter.promote(None)
            rows = await bench.fetch("SELECT subject FROM inbox ORDER BY position")
            assert [row[0] for row in rows] == subjects[start + 10 :]


async def test_a_stream_of_new_events_holds_up_neither_the_others_nor_the_sweep(
    bench: Bench,
) -> None:
    async with bench.running(intake()) as runtime:
        await register(runtime)
    calm = [event(f"calm {number}", submitted(), 1) for number in range(20)]
    patience = {"promote_events_max": 5, "predecessor_seconds_max": LIMIT_SECONDS}
    async with bench.idle(intake(), **patience) as runtime:
        await feed(runtime, *calm, event("gap", RequestCommented(body="x"), 2))
        promoting = asyncio.create_task(runtime.promoter.run())
        number = 0
        while len(await quarantined(bench)) == 0 or await _waits(bench, "calm%"):
            number += 1
            assert number < 400, "it starves"
            await feed(runtime, *_busy(number))
        promoting.cancel()
    assert [id_ for _, id_ in await quarantined(bench)] == [f"gap-2-{RequestCommented.type}"]


async def test_what_is_ready_is_never_given_up_as_waiting(bench: Bench) -> None:
    async with bench.running(intake()) as runtime:
        await register(runtime)
    async with bench.idle(intake(), predecessor_seconds_max=0.0) as runtime:
        await feed(runtime, FIRST, SECOND, event("S", RequestClosed(basis="x"), 4))
        await feed(runtime, event("T", RequestCommented(body="x")))
        await runtime.promoter._sweep()
        assert await quarantined(bench) == [
            ("predecessor-missing", f"S-4-{RequestClosed.type}"),
        ]
        while await runtime.promoter.promote(None):
            pass
    assert await bench.value("SELECT count(*) FROM events WHERE type ~ 'request'") == 3


SKIPPED = IngressSkipped.type


def _busy(number: int) -> list[Published]:
    return [event(f"busy {number} {one}", submitted(), 1) for one in range(5)]


async def _waits(bench: Bench, subjects: str) -> bool:
    return await bench.value("SELECT count(*) FROM inbox WHERE subject LIKE $1", subjects) > 0


async def _is_logged(bench: Bench, wanted: int) -> bool:
    return len(await log_of(bench, "S")) == wanted


async def _is_empty(bench: Bench) -> bool:
    return await inbox_size(bench) == 0


async def _is_out_of_sight(bench: Bench) -> bool:
    return await bench.value("SELECT reason = 'discarded' FROM quarantine") or False
