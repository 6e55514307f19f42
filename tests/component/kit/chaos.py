"""Three readers of one service on real Kafka, and everything that can go wrong with them.

The events go through the real store and relay. Members leave and come back, hold batches that
others were given meanwhile, lose transactions after they have folded, and see events again.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson
import pytest

from casebook.events.event import Event
from casebook.events.work_order import WorkOrderOpened, WorkOrderResolved, WorkOrderStarted
from casebook.kit.bookkeeping.cases import Case
from casebook.kit.bookkeeping.checkpoints import LIVE, read_checkpoints
from casebook.kit.decider import Fact, Reaction
from casebook.kit.log import outbox
from casebook.kit.log.event_log import Batch, LogConsumer, LogRecord
from casebook.kit.postgres.database import LostRace
from casebook.kit.read_models.projections import Row
from casebook.kit.reading import applying
from casebook.kit.reading.applying import Applied, Applier, admit
from casebook.kit.reading.reader import Reader
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.store.store import Cause
from tests.support.service import Bench, case
from tests.support.toy import Tally, dispatch, intake, propose

VERSIONS = 20
RECORDS_MAX = 150
STILL_SECONDS_MAX = 15.0


@dataclass
class Chaos:
    """One run, with what has happened in it."""

    bench: Bench
    rng: random.Random
    patch: pytest.MonkeyPatch
    zombie_share: float = 0.04
    within_share: float = 0.5
    patience_seconds: float = 150.0
    counts: Counter[str] = field(default_factory=Counter[str])
    zombies: set["asyncio.Task[Any]"] = field(default_factory=set["asyncio.Task[Any]"])
    holding: set["asyncio.Task[Any] | None"] = field(
        default_factory=set["asyncio.Task[Any] | None"]
    )
    asked: Counter[str] = field(default_factory=Counter[str])
    calm: bool = False

    def chance(self, what: str, share: float) -> bool:
        """Decide by the dice, and at the latest where it is due; never while it is calm.

        Who asks when depends on the machine: with the dice alone, a rare thing would now and
        then not happen at all.
        """
        if self.calm:
            return False
        self.asked[what] += 1
        due = not self.counts[what] and self.asked[what] * share >= 1
        if not due and self.rng.random() >= share:
            return False
        self.counts[what] += 1
        return True


class Stumbling(Tally):
    """A projection that fails on some facts, the first time that it sees them."""

    def __init__(self, chaos: Chaos) -> None:
        super().__init__()
        self._chaos = chaos

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Count one more, unless it stumbles."""
        if self._chaos.chance("handler errors", 0.0005):
            raise ValueError("stumbled")
        return super().fold(row, fact)


class Member:
    """One process of the service: its own pools, log and reader."""

    def __init__(self, chaos: Chaos, service: Service) -> None:
        self.chaos = chaos
        self.runtime = chaos.bench.runtime(service, batch_records_max=RECORDS_MAX)
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self.runtime.reader.run())

    async def leave(self) -> None:
        """Stop reading, in the middle of whatever it does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def rejoin(self) -> None:
        """Leave, and come back a little later."""
        await self.leave()
        await asyncio.sleep(self.chaos.rng.uniform(0.0, 0.3))
        await self.join()
        self.chaos.counts["leaves and rejoins"] += 1


def break_things(chaos: Chaos) -> None:
    """Let the readers and the relay fail as the dice say."""
    apply_batch, apply = Reader._apply, Applier.apply  # pyright: ignore[reportPrivateUsage]
    delete_published = outbox.delete_published  # pyright: ignore[reportPrivateImportUsage]
    apply_standard = applying.apply_standard  # pyright: ignore[reportPrivateImportUsage]

    async def held(self: Reader, consumer: LogConsumer, batch: Batch) -> None:
        if chaos.chance("zombies", chaos.zombie_share):
            within = chaos.chance("zombies within", chaos.within_share)
            zombie = asyncio.create_task(_zombie(chaos, self, batch, within=within))
            chaos.zombies.add(zombie)
            if not within:
                raise OSError("the group gave this member's partitions to others")
            chaos.holding.add(zombie)
            await asyncio.sleep(0.1)  # and now this member is the one that got the partitions
        await apply_batch(self, consumer, batch)

    async def rolled_back(
        self: Applier, connection: Any, batch: Batch, *, isolated: bool
    ) -> Applied:
        applied = await apply(self, connection, batch, isolated=isolated)
        seen = sum(map(len, batch.values()))
        chaos.counts["redeliveries"] += seen - len(applied.batch.records)
        if chaos.chance("rollbacks", 0.06):
            raise chaos.rng.choice([LostRace("again"), OSError("the connection broke")])
        return applied

    async def slow(connection: Any, records: Any) -> None:
        await apply_standard(connection, records)
        if asyncio.current_task() in chaos.holding:
            await asyncio.sleep(chaos.rng.uniform(0.5, 2.5))

    async def crashed(connection: Any, positions: Any) -> None:
        if chaos.chance("relay crashes", 0.15):
            raise OSError("the relay died before it emptied the outbox")
        await delete_published(connection, positions)

    chaos.patch.setattr(Reader, "_apply", held)
    chaos.patch.setattr(Applier, "apply", rolled_back)
    chaos.patch.setattr(applying, "apply_standard", slow)
    chaos.patch.setattr(outbox, "delete_published", crashed)


async def _zombie(chaos: Chaos, reader: Reader, batch: Batch, *, within: bool) -> None:
    """Hold a batch that others were given meanwhile: before its transaction, or within."""
    if not within:
        await asyncio.sleep(chaos.rng.uniform(0.5, 2.5))
    copy = {p: [LogRecord(*_fields(r)) for r in records] for p, records in batch.items()}
    try:
        await reader._transact(copy)  # pyright: ignore[reportPrivateUsage]
    except OSError:
        chaos.counts["zombies that died"] += 1


async def write(chaos: Chaos, runtime: Runtime, keys: list[str]) -> int:
    """Append the history of every case, interleaved; return how many events that were."""
    written = 0
    versions: Counter[str] = Counter()
    left = [key for key in keys for _ in range(VERSIONS)]
    chaos.rng.shuffle(left)
    while left:
        chunk, left = left[:60], left[60:]
        async with runtime.database.transaction() as connection:
            work = runtime.store.begin(connection)
            await work.lock({f"work-order/{key}" for key in chunk})
            for key in chunk:
                versions[key] += 1
                event = _event(versions[key])
                await work.append(f"work-order/{key}", key, [event], Cause(actor="user:test"))
                written += 1
            await work.flush()
        runtime.signals.outbox.set()
        await asyncio.sleep(0.12)
    return written


async def run(
    bench: Bench,
    patch: pytest.MonkeyPatch,
    *,
    seed: int,
    cases: int,
    rejoins: int,
    **changes: Any,
) -> tuple[Chaos, int]:
    """Run it all until the log is applied; return what happened and how much was written."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated
    chaos = Chaos(bench, dice, patch, **changes)
    reactions = [Reaction((WorkOrderResolved,), "request", propose)]
    service = intake(Stumbling(chaos), reactions=reactions)
    members = [Member(chaos, service) for _ in range(3)]
    writers = [bench.runtime(dispatch()) for _ in range(2)]
    break_things(chaos)
    for runtime in (*writers, *(member.runtime for member in members)):
        await runtime.database.open()
    relays = [
        asyncio.create_task(runtime.relay.run())
        for runtime in (*writers, members[0].runtime, members[1].runtime)
    ]
    try:
        for member in members:
            await member.join()
        async with asyncio.TaskGroup() as group:
            keys = [case() for _ in range(cases)]
            writing = group.create_task(write(chaos, writers[0], keys))
            group.create_task(_shake(chaos, members, rejoins))
        written = writing.result()
        chaos.calm = True
        await asyncio.gather(*chaos.zombies)
        await _all_applied(chaos, [member.runtime for member in members])
    finally:
        tasks = (*relays, *chaos.zombies)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in members:
            await member.leave()
        for runtime in (*writers, *(member.runtime for member in members)):
            await runtime.stop()
    return chaos, written


async def _shake(chaos: Chaos, members: list[Member], rejoins: int) -> None:
    """Let members leave and come back."""
    for _ in range(rejoins):
        await asyncio.sleep(chaos.rng.uniform(0.4, 1.4))
        await chaos.rng.choice(members).rejoin()


async def _all_applied(chaos: Chaos, members: Sequence[Runtime]) -> None:
    """Wait until every outbox is empty and every record of the log applied.

    :raises AssertionError: when a member halts, or nothing moves any more.
    """
    runtime = members[0]
    stood, moved_at = None, time.monotonic()
    async with asyncio.timeout(chaos.patience_seconds):
        while True:
            assert [member.reader.halted for member in members] == [None] * len(members)
            deep = [
                await chaos.bench.value("SELECT count(*) FROM outbox", schema=schema)
                for schema in ("intake", "dispatch")
            ]
            heads = await runtime.log.heads()
            async with runtime.database.background() as connection:
                positions = await read_checkpoints(connection, LIVE)
            if not any(deep) and all(positions[p] >= head for p, head in heads.items()):
                chaos.counts["records in the log"] = sum(heads.values())
                return
            if (deep, heads, positions) != stood:
                stood, moved_at = (deep, heads, positions), time.monotonic()
            assert time.monotonic() - moved_at < STILL_SECONDS_MAX, "the readers stand still"
            await asyncio.sleep(0.1)


async def judge(chaos: Chaos, written: int) -> None:
    """Compare what the readers did with the events themselves, and with a fold of the log."""
    bench = chaos.bench
    assert await bench.value("SELECT count(*) FROM parked") == 0
    assert await bench.value("SELECT count(*) FROM quarantine") == 0

    resolved = await bench.fetch(
        "SELECT id FROM events WHERE type = $1", WorkOrderResolved.type, schema="dispatch"
    )
    effects = await bench.fetch("SELECT record::json->>'causationid' FROM events")
    chaos.counts["effects"] = len(effects)
    assert Counter(row[0] for row in effects) == Counter(str(row[0]) for row in resolved)

    wrong = stale = 0
    heads = {row[0]: row[1] for row in await _heads(bench)}
    rows = await bench.fetch("SELECT t.*, c.versions FROM tally t JOIN cases c USING (key)")
    assert len(rows) == len({stream.rpartition("/")[2] for stream in heads})
    for row in rows:
        seen: dict[str, list[int]] = defaultdict(list)
        for slot in row["history"].split():
            family, _, version = slot.partition("@")
            seen[family].append(int(version))
        wrong += row["facts"] != VERSIONS
        wrong += seen["work-order"] != list(range(1, VERSIONS + 1))
        versions = _versions(row["versions"])
        stale += any(
            versions.get(family) != heads.get(f"{family}/{row['key']}")
            for family in ("work-order", "request")
        )
    chaos.counts["wrong rows"], chaos.counts["stale rows"] = wrong, stale
    assert (wrong, stale) == (0, 0)
    assert written == sum(row["facts"] for row in rows)
    await _compare_with_fold(chaos, rows)


async def _compare_with_fold(chaos: Chaos, rows: list[asyncpg.Record]) -> None:
    """Fold the whole log again, alone and in peace, and compare every column."""
    projection = Tally()
    runtime = chaos.bench.runtime(intake(projection))
    consumer = await runtime.log.consumer(None)
    records: list[LogRecord] = []
    partitions: set[int] = set()
    async with asyncio.timeout(20):
        while len(records) < chaos.counts["records in the log"]:
            for number, batch in (await consumer.poll(2000, 0.2)).items():
                partitions.add(number)
                records += batch
    await consumer.close()
    await runtime.log.close()
    cases = {record.key: Case(record.key) for record in records}
    handled = frozenset(event.type.removesuffix(".v1") for event in projection.handles)
    _, facts = admit(records, cases, handled)
    expected: dict[str, Row] = {}
    for fact in facts:
        expected[fact.case] = projection.fold(expected.get(fact.case), fact)
    chaos.counts["partitions"] = len(partitions)
    assert {row["key"]: {name: row[name] for name in expected[row["key"]]} for row in rows} == (
        expected
    )


async def _heads(bench: Bench) -> list[asyncpg.Record]:
    own = await bench.fetch("SELECT stream, version FROM streams")
    return own + await bench.fetch("SELECT stream, version FROM streams", schema="dispatch")


def _versions(text: str) -> dict[str, int]:
    return {stream: applied[0] for stream, applied in orjson.loads(text).items()}


def _fields(record: LogRecord) -> tuple[Any, ...]:
    return (record.partition, record.offset, record.key, record.type, record.record, record.hash)


def _event(version: int) -> Event:
    if version == 1:
        return WorkOrderOpened()
    return WorkOrderResolved() if version % 4 == 0 else WorkOrderStarted()
