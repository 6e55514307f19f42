"""What a reader does with a batch of the log, inside one transaction (decisions 3.2).

Lock the checkpoints, drop what was applied, fold, append reactions, write rows and checkpoints.
A zombie or a second reader waits for the lock and then finds its records applied. An error of a
handler is tried three times and then its case is parked, alone, with its later events behind it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from casebook.events.decoding import base, decode
from casebook.events.envelope import from_attributes
from casebook.kit.bookkeeping.cases import Case, CaseTable, LogForked
from casebook.kit.bookkeeping.checkpoints import (
    LIVE,
    Fresh,
    fresh,
    lock_checkpoints,
    write_checkpoints,
)
from casebook.kit.bookkeeping.history import check_own
from casebook.kit.bookkeeping.parking import Place, discard_parked, park, parked_keys, take_parked
from casebook.kit.bookkeeping.quarantine import Quarantined, quarantine
from casebook.kit.clock import Clock
from casebook.kit.decider import Fact, Refused
from casebook.kit.ids import named_id
from casebook.kit.log.event_log import PARTITIONS, Batch, LogRecord
from casebook.kit.logging import get_logger, summary
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS, Connection
from casebook.kit.read_models.projections import Projection, ProjectionTable
from casebook.kit.read_models.registry import NewerRelease, active_tables, newer_tables
from casebook.kit.read_models.standard import apply_standard
from casebook.kit.reading.reactions import react
from casebook.kit.store.store import Store

ATTEMPTS_MAX = 3
NOT_HANDLER_ERRORS = (LogForked, NewerRelease, *INFRASTRUCTURE_ERRORS)
_LOG_NAMESPACE = UUID("c7a2f1de-3f0e-4a53-9d55-0a9b7a6e0d31")


@dataclass(slots=True)
class Outcome:
    """What records led to: the cases whose source moved on, and how many were of what use.

    ``appended`` says whether reactions added facts; ``counts`` is by type and result: applied,
    duplicate, parked, skipped.
    """

    advanced: set[str] = field(default_factory=set[str])
    appended: bool = False
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def count(self, types: Counter[str], result: str) -> None:
        """Count records of one result."""
        self.counts.update({(type_, result): number for type_, number in types.items()})

    def add(self, other: "Outcome") -> None:
        """Take what further records led to."""
        self.advanced |= other.advanced
        self.appended |= other.appended
        self.counts.update(other.counts)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch led to, and where it stood."""

    outcome: Outcome
    batch: Fresh


class Applier:
    """Applies the log for one service."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cases = CaseTable()
        self._tables: dict[str, ProjectionTable] = {}
        self._handled = _handled_types(store)
        self._begun = False
        self._rolled_back: set[str] = set()
        self._lines = get_logger(store.service.name)

    async def begin(self, connection: Connection) -> None:
        """Remember, once in the life of the process, what an older release is to rebuild."""
        if not self._begun:
            self._rolled_back |= await newer_tables(connection, self._store.service.projections)
            self._begun = True

    async def apply(self, connection: Connection, batch: Batch, *, isolated: bool) -> Applied:
        """Apply a batch; ``isolated``: case by case, parking those whose handler fails.

        :raises LogForked: when the log holds another history than the one applied.
        :raises NewerRelease: when a newer release has taken over a read model.
        """
        positions = await lock_checkpoints(connection, LIVE, batch)
        current = fresh(batch, positions)
        records = await self._sound(connection, current.records)
        await check_own(connection, self._store.service.name, records)
        parked = await parked_keys(connection, LIVE, {record.key for record in records})
        waiting = [record for record in records if record.key in parked]
        await self._park(connection, waiting, "behind a parked event", 0)
        ready = [record for record in records if record.key not in parked]
        apply = self._apply_isolated if isolated else self._apply_records
        outcome = await apply(connection, ready)
        outcome.count(_types(waiting), "parked")
        outcome.count(_types(_known(batch, positions)), "duplicate")
        await write_checkpoints(connection, LIVE, current.reached, positions)
        return Applied(outcome, current)

    async def retry(self, connection: Connection, key: str) -> tuple[int, Outcome]:
        """Apply a parked case's records again; return how many, and what they led to.

        :raises Refused: ``still-failing``.
        """
        await lock_checkpoints(connection, LIVE, range(PARTITIONS))
        records = await take_parked(connection, LIVE, [key])
        try:
            return len(records), await self._apply_records(connection, records)
        except NOT_HANDLER_ERRORS:
            raise
        except Exception as error:
            self._lines.warning("case.still-failing", key=key, exc_info=error)
            raise Refused("still-failing", f"it fails again: {type(error).__name__}") from error

    async def discard(self, connection: Connection, key: str) -> tuple[int, Outcome]:
        """Count a parked case's records as applied; return how many, and what they led to."""
        await lock_checkpoints(connection, LIVE, range(PARTITIONS))
        records = await discard_parked(connection, LIVE, [key])
        case = (await self._cases.load(connection, [key]))[key]
        before = case.source_sequence
        for record in records:
            case.count(record.attributes())
        await self._cases.write(connection, [case] if records else [])
        return len(records), Outcome({key} if case.source_sequence != before else set())

    async def _sound(self, connection: Connection, records: Sequence[LogRecord]) -> list[LogRecord]:
        """Return the records that are events; quarantine what somebody else put on the log."""
        sound = [record for record in records if record.parse()]
        bad = [
            Quarantined(
                id=named_id(_LOG_NAMESPACE, f"{record.partition}/{record.offset}"),
                reason="not-an-event",
                detail=f"partition {record.partition} offset {record.offset}",
                channel="log",
                body=record.malformed,
            )
            for record in records
            if record.malformed is not None
        ]
        await quarantine(connection, self._store.keys, bad, self._clock.now())
        return sound

    async def _park(
        self, connection: Connection, records: Sequence[LogRecord], error: str, attempts: int
    ) -> None:
        """Let records wait for an operator."""
        now = self._clock.now()
        await park(connection, LIVE, records, error=error, attempts=attempts, now=now)

    async def _apply_isolated(
        self, connection: Connection, records: Sequence[LogRecord]
    ) -> Outcome:
        """Apply case by case under savepoints; park a case whose handler failed three times."""
        outcome = Outcome()
        for key in dict.fromkeys(record.key for record in records):
            mine = [record for record in records if record.key == key]
            for attempt in range(1, ATTEMPTS_MAX + 1):
                try:
                    async with connection.transaction():
                        done = await self._apply_records(connection, mine)
                    outcome.add(done)
                    break
                except NOT_HANDLER_ERRORS:
                    raise
                except Exception as error:  # noqa: BLE001 - the case is parked with the reason
                    if attempt == ATTEMPTS_MAX:
                        self._lines.error("case.parked", key=key, exc_info=error)
                        await self._park(connection, mine, summary(error), attempt)
                        outcome.count(_types(mine), "parked")
        return outcome

    async def _apply_records(self, connection: Connection, records: Sequence[LogRecord]) -> Outcome:
        """Apply records: cases, standard tables, projections, reactions."""
        if not records:
            return Outcome()
        cases = await self._cases.load(connection, {record.key for record in records})
        sequences = {key: case.source_sequence for key, case in cases.items()}
        new, facts = admit(records, cases, self._handled)
        await apply_standard(connection, new)
        tables = await active_tables(connection, self._store.service.projections, self._rolled_back)
        for projection, table in tables:
            mine = [fact for fact in facts if isinstance(fact.event, projection.handles)]
            if mine:
                await self._table(projection, table).apply(connection, mine)
        appended = await react(self._store, connection, facts)
        await self._cases.write(connection, (cases[key] for key in {record.key for record in new}))
        outcome = Outcome(
            {key for key, case in cases.items() if case.source_sequence != sequences[key]},
            appended,
        )
        applied = Counter(fact.envelope.type for fact in facts)
        outcome.count(applied, "applied")
        outcome.count(_types(new) - applied, "skipped")
        outcome.count(_types(records) - _types(new), "duplicate")
        return outcome

    def _table(self, projection: Projection, name: str) -> ProjectionTable:
        """Return what reads and writes a generation; its statements are composed once."""
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = ProjectionTable(projection, name)
        return table


def _types(records: Iterable[LogRecord]) -> Counter[str]:
    """Count records by their type."""
    return Counter(record.type for record in records)


def _known(batch: Batch, positions: Mapping[int, int]) -> list[LogRecord]:
    """Return the records of a batch that an earlier one had already."""
    return [
        record
        for partition, records in batch.items()
        if records and records[0].offset < positions[partition]
        for record in records
        if record.offset < positions[partition]
    ]


def admit(
    records: Iterable[LogRecord],
    cases: Mapping[str, Case],
    handled: frozenset[str],
    discarded: Collection[Place] = (),
) -> tuple[list[LogRecord], list[Fact]]:
    """Return the new records, and as facts those of a handled type; cases are advanced.

    Repetitions and events after a gap are dropped; what an operator discarded only counts.

    :raises UnknownMajor: for a major version of a handled type that this code does not know.
    """
    new: list[LogRecord] = []
    facts: list[Fact] = []
    for record in records:
        attributes: dict[str, Any] = record.attributes()
        if (record.partition, record.offset) in discarded:
            cases[record.key].count(attributes)
            continue
        if not cases[record.key].admit(attributes):
            continue
        new.append(record)
        if base(record.type) in handled:
            envelope = from_attributes(attributes)
            event = decode(envelope)
            if event is not None:
                facts.append(Fact(envelope, event, record.offset))
    return new, facts


def _handled_types(store: Store) -> frozenset[str]:
    """Return the types, without version, that a projection or reaction of the service handles."""
    service = store.service
    handled = [event for projection in service.projections for event in projection.handles]
    handled += [event for reaction in service.reactions for event in reaction.on]
    return frozenset(base(event.type) for event in handled)
