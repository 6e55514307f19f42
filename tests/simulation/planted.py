"""Planted bugs: each changes one thing in the real code, as a slip of a programmer would.

A simulation that finds nothing proves nothing until it has found these.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from casebook.dispatch import matcher
from casebook.dispatch.projections import agent_load
from casebook.events.definitions import CLOSURE_SURVEY
from casebook.events.quality import SurveySent
from casebook.kit.bookkeeping import checkpoints
from casebook.kit.bookkeeping.cases import Case, slot
from casebook.kit.http.commands import Commands
from casebook.kit.http.idempotency import Idempotency
from casebook.kit.ingress import promotion
from casebook.kit.log import memory as log_memory
from casebook.kit.log.outbox import delete_published, read_outbox
from casebook.kit.reading import applying, reactions
from casebook.kit.reading.horizon import Horizon
from casebook.kit.reading.timers import Timers
from casebook.kit.store import deadlines, store
from casebook.kit.store.store import Cause, UnitOfWork
from casebook.quality.domain import survey
from tests.simulation.database import _Block
from tests.simulation.statements import MEANINGS
from tests.simulation.statements_ingress import _places, _ready_row
from tests.simulation.tables import Transaction

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

PLANTED: dict[str, Plant] = {}


def planted(plant: Plant) -> Plant:
    """Register a planted bug under its name."""
    PLANTED[plant.__name__.replace("_", "-")] = plant
    return plant


@contextmanager
def plant(name: str) -> Iterator[None]:
    """Work with a planted bug."""
    with pytest.MonkeyPatch.context() as patch:
        PLANTED[name](patch)
        yield


@planted
def repetitions_are_applied(patch: Patch) -> None:
    """The case row does not drop what was applied before."""

    def count(case: Case, attributes: Mapping[str, Any]) -> bool:
        name = slot(attributes["subject"], case.key)
        case.versions[name] = [attributes["streamversion"], attributes["recordedtime"]]
        return True

    patch.setattr(Case, "count", count)


@planted
def checkpoint_does_not_move(patch: Patch) -> None:
    """Rows are written, the checkpoints are not moved with them."""

    async def write(*_: Any) -> None:
        return

    patch.setattr(applying, "write_checkpoints", write)


@planted
def checkpoint_moves_before_the_rows(patch: Patch) -> None:
    """The checkpoint commits on its own, before the rows: a crash between loses events."""
    lock = checkpoints.lock_checkpoints

    async def lock_and_move(connection: Any, subscription: str, batch: Any) -> dict[int, int]:
        positions = await lock(connection, subscription, batch)
        if hasattr(batch, "items"):
            ends = {p: records[-1].offset + 1 for p, records in batch.items()}
            await checkpoints.write_checkpoints(connection, subscription, ends, positions)
            transaction = connection.current
            connection.end(commit=True)
            connection.begin()
            assert transaction.over
        return positions

    patch.setattr(applying, "lock_checkpoints", lock_and_move)


@planted
def relay_deletes_before_the_ack(patch: Patch) -> None:
    """The outbox is emptied before the log has the events."""

    async def relay(log: Any, connection: Any, events_max: int) -> int:
        rows = await read_outbox(connection, events_max)
        if rows:
            await delete_published(connection, [row.position for row in rows])
            await log.step("send")
            for row in rows:
                log.add(row.partition, row.case_key, row.type, row.record, row.hash)
            await log.step("ack")
        return len(rows)

    patch.setattr(log_memory.MemoryLog, "relay", relay)


@planted
def outbox_is_read_out_of_order(patch: Patch) -> None:
    """The relay takes the newest events first."""

    async def newest_first(connection: Any, events_max: int) -> Any:
        return list(reversed(await read_outbox(connection, events_max)))

    patch.setattr(log_memory, "read_outbox", newest_first)


@planted
def reactions_commit_on_their_own(patch: Patch) -> None:
    """What a reaction appends is committed before the checkpoint moves."""
    real = reactions.react

    async def react(store_: Any, connection: Any, facts: Any) -> None:
        await real(store_, connection, facts)
        if len(connection.current.layers) == 1:
            connection.end(commit=True)
            connection.begin()

    patch.setattr(applying, "react", react)


@planted
def if_match_is_not_compared(patch: Patch) -> None:
    """A command acts on a version that its caller has not seen."""
    patch.setattr(Commands, "_check_if_match", lambda commands, version: None)


@planted
def promotion_ignores_its_predecessor(patch: Patch) -> None:
    """Published events are promoted as they came."""
    patch.setattr(promotion, "_in_sequence", list)

    def ready(tx: Transaction, cases: Any, limit: int) -> Any:
        places = [place for place in _places(tx, None) if place.source is not None]
        return [_ready_row(place) for place in places[:limit]]

    patch.setitem(MEANINGS, promotion._READY, ready)


@planted
def rollback_forgets_the_savepoint(patch: Patch) -> None:
    """A case whose handler failed keeps what it had written before it failed."""
    patch.setattr(_Block, "_end_savepoint", lambda block, transaction, kept: transaction.release())


@planted
def survey_is_sent_twice(patch: Patch) -> None:
    """Quality asks again for a closing that it has asked about."""
    patch.setattr(
        survey,
        "send",
        lambda state, closure: [
            SurveySent(survey=CLOSURE_SURVEY.reference),
            SurveySent(survey=CLOSURE_SURVEY.reference),
        ],
    )


@planted
def load_is_not_checked(patch: Patch) -> None:
    """Nobody checks that an agent can have more, and the rows are not locked."""
    patch.setattr(agent_load, "_check", lambda row, team: None)
    real = agent_load.workloads

    async def workloads(connection: Any, teams: Any, *, lock: bool = False) -> Any:
        return await real(connection, teams)

    patch.setattr(matcher, "workloads", workloads)


@planted
def idempotency_key_is_ignored(patch: Patch) -> None:
    """A call that is tried again is done again."""

    async def begin(idempotency: Idempotency, connection: Any) -> None:
        return

    async def complete(idempotency: Idempotency, connection: Any, response: Any) -> None:
        return

    patch.setattr(Idempotency, "begin", begin)
    patch.setattr(Idempotency, "complete", complete)


@planted
def cancelled_timers_stay(patch: Patch) -> None:
    """What a state no longer wants is not cancelled."""
    real = deadlines._only

    def only(these: Any, those: Any) -> Any:
        return real(these, those) if these is not None else {}

    async def write(connection: Any, family: Any, heads: Any) -> None:
        for head in heads:
            head.locked_state = family(head.stream).initial
        await deadlines.write_deadlines(connection, family, heads)

    patch.setattr(deadlines, "_only", only)
    patch.setattr(store, "write_deadlines", write)


@planted
def recordedtime_ignores_the_cause(patch: Patch) -> None:
    """The clock of a process that is behind orders an effect before its cause."""
    real = UnitOfWork._envelope

    def envelope(work: UnitOfWork, head: Any, event: Any, event_id: Any, cause: Cause) -> Any:
        free = replace(cause, after=datetime(1970, 1, 1, tzinfo=UTC))
        return real(work, head, event, event_id, free)

    patch.setattr(UnitOfWork, "_envelope", envelope)


@planted
def timers_fire_early(patch: Patch) -> None:
    """A process fires an hour early, and says that it was time."""
    hour = timedelta(hours=1)
    look, fire = Horizon.look, Timers.fire

    def look_ahead(horizon: Horizon, asked_at: datetime, heads: Any, positions: Any) -> None:
        look(horizon, asked_at + hour, heads, positions)

    async def fire_early(timers: Timers) -> int:
        clock: Any = timers._clock
        ahead: Any = SimpleNamespace(now=lambda: clock.now() + hour)
        timers._clock = ahead
        try:
            return await fire(timers)
        finally:
            timers._clock = clock

    patch.setattr(Horizon, "look", look_ahead)
    patch.setattr(Timers, "fire", fire_early)
