"""Reactions: once for each live fact, never for history, one trace from the first command on."""

from typing import Any

from casebook.events.envelope import Envelope
from casebook.events.request import RequestResolutionProposed, RequestSubmitted
from casebook.events.work_order import WorkOrderOpened, WorkOrderResolved, WorkOrderStarted
from casebook.kit.decider import Fact, Reaction
from casebook.kit.log.memory import MemoryLog
from casebook.kit.store.store import Cause
from tests.support.foreign import fact, tell
from tests.support.service import Bench, append, case, settled, until
from tests.support.toy import (
    ANNOUNCED_AFTER,
    CLOSED_AFTER,
    dispatch,
    intake,
    propose,
    router,
    submitted,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def facts(bench: Bench, schema: str = "intake") -> list[Envelope]:
    rows = await bench.fetch("SELECT record FROM events ORDER BY position", schema=schema)
    return [Envelope.from_record(row[0]) for row in rows]


async def test_a_reaction_names_its_cause_and_comes_after_it(memory: Bench, log: MemoryLog) -> None:
    key = case()
    async with memory.running(intake()) as runtime:
        await append(runtime, f"request/{key}", submitted())
        resolved = fact(f"work-order/{key}", 1, WorkOrderResolved())
        tell(log, resolved)
        await settled(runtime)
    effect = (await facts(memory))[-1]
    assert effect.type == RequestResolutionProposed.type
    assert effect.causationid == resolved.id
    assert effect.recordedtime > resolved.recordedtime
    assert (effect.time, effect.actor) == (resolved.time, "service:intake")
    assert effect.partitionkey == key


async def test_observed_facts_lead_to_nothing(memory: Bench, log: MemoryLog) -> None:
    """No reaction and no timer, in the service that has the fact and in the one that reads it."""
    keys = [case() for _ in range(3)]
    async with (
        memory.running(intake()) as runtime,
        memory.running(dispatch()) as neighbour,
    ):
        for key in keys:
            await append(runtime, f"request/{key}", submitted(), origin="observed")
        for key in keys[1:]:
            await append(neighbour, f"work-order/{key}", WorkOrderResolved(), origin="observed")
        await settled(runtime, neighbour)
        assert await memory.value("SELECT count(*) FROM events") == 3
        assert await memory.value("SELECT count(*) FROM timers") == 0
        assert await memory.value("SELECT count(*) FROM events", schema="dispatch") == 2
        assert await memory.value("SELECT count(*) FROM tally WHERE facts = 2") == 2

        await append(runtime, f"request/{keys[0]}", submitted())  # somebody reopened it live
        await settled(runtime, neighbour)
    assert await memory.value("SELECT count(*) FROM events", schema="dispatch") == 3
    assert await memory.value("SELECT origin FROM cases WHERE key = $1", keys[0]) == "live"
    assert await memory.value("SELECT origin FROM cases WHERE key = $1", keys[1]) == "observed"


async def test_a_reaction_is_decided_on_the_state_that_the_one_before_it_left(
    memory: Bench, log: MemoryLog
) -> None:
    """Two facts of one case in one batch: the second decision sees the first's event."""
    key = case()

    def once(state: Any, fact: Fact) -> list[Any]:
        return [] if state.proposals else propose(state, fact)

    stream = f"work-order/{key}"
    tell(log, *(fact(stream, version, WorkOrderResolved()) for version in (1, 2, 3)))
    service = intake(reactions=[Reaction((WorkOrderResolved,), "request", once)])
    async with memory.running(service) as runtime:
        await settled(runtime)
    assert await memory.value("SELECT count(*) FROM events") == 1


async def test_one_decision_for_two_streams_gives_each_its_own_event(
    memory: Bench, log: MemoryLog
) -> None:
    key = case()
    reactions = [
        Reaction((WorkOrderResolved,), "request", propose, lambda fact: f"request/{fact.case}"),
        Reaction((WorkOrderResolved,), "request", propose, lambda fact: f"request/{fact.case}-b"),
    ]
    tell(log, fact(f"work-order/{key}", 1, WorkOrderResolved()))
    async with memory.running(intake(reactions=reactions)) as runtime:
        await settled(runtime)
    assert await memory.value("SELECT count(DISTINCT stream) FROM events") == 2
    assert await memory.value("SELECT count(*) FROM parked") == 0


async def test_a_reaction_that_fails_parks_its_case_and_leaves_nothing_behind(
    memory: Bench, log: MemoryLog
) -> None:
    bad, good = case(), case()

    def shaky(state: Any, fact: Fact) -> list[Any]:
        if fact.case == bad:
            raise ValueError("a bug")
        return propose(state, fact)

    service = intake(reactions=[Reaction((WorkOrderResolved,), "request", shaky)])
    tell(log, *(fact(f"work-order/{key}", 1, WorkOrderResolved()) for key in (bad, good)))
    async with memory.running(service) as runtime:
        await settled(runtime)
    assert [row[0] for row in await memory.fetch("SELECT case_key FROM events")] == [good]
    assert [row[0] for row in await memory.fetch("SELECT key FROM tally")] == [good]
    assert [row[0] for row in await memory.fetch("SELECT key FROM parked")] == [bad]


async def test_one_trace_runs_from_the_post_through_every_event_that_follows(
    bench: Bench,
) -> None:
    """Submitted over HTTP, opened, resolved, proposed, announced and closed by timers."""
    id_ = case()
    requester = bench.person("wang.fang", "requester")
    async with bench.serving(intake(), router) as served, bench.running(dispatch()) as neighbour:
        sent = await served.send(
            "PUT", f"/requests/{id_}", requester, {"title": "邮件无法发送"},
            traceparent=f"00-{TRACE}-b7ad6b7169203331-01",
        )  # fmt: skip
        assert sent.status_code == 201, sent.text
        await settled(served.runtime, neighbour)
        (opened,) = await facts(bench, "dispatch")
        await append(
            neighbour, f"work-order/{id_}", WorkOrderStarted(), WorkOrderResolved(),
            cause=Cause(actor="user:li.na", traceparent=opened.traceparent),
        )  # fmt: skip
        await settled(served.runtime, neighbour)
        for time in (ANNOUNCED_AFTER, CLOSED_AFTER):
            bench.clock.pass_(time)
            await until(lambda: _no_timer_due(bench), [served.runtime])
        await settled(served.runtime, neighbour)

    written = [*await facts(bench), *await facts(bench, "dispatch")]
    assert sorted(envelope.type.split(".")[2] for envelope in written) == [
        "closed", "closure-announced", "opened", "resolution-proposed", "resolved", "started",
        "submitted",
    ]  # fmt: skip
    assert {(envelope.traceparent or "").split("-")[1] for envelope in written} == {TRACE}
    submitted_id = next(e.id for e in written if e.type == RequestSubmitted.type)
    caused = {e.type.split(".")[2]: e.causationid for e in written}
    assert caused["opened"] == caused["closure-announced"] == caused["closed"] == submitted_id
    assert opened.type == WorkOrderOpened.type


async def _no_timer_due(bench: Bench) -> bool:
    return not await bench.value(
        "SELECT count(*) FROM timers WHERE status = 'pending' AND due_at <= $1", bench.clock.now()
    )
