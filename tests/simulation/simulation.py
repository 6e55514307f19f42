"""One seed: people and publishers act while things go wrong; then all is healed, and checked."""

import asyncio
import gc
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID

from casebook.events.envelope import Envelope
from casebook.events.kafka import partition
from casebook.kit.ids import new_id
from tests.simulation import publishers
from tests.simulation.calls import Call, perform, read_back
from tests.simulation.faults import FaultMix
from tests.simulation.invariants import check
from tests.simulation.journal import Journal
from tests.simulation.people import next_call
from tests.simulation.publishers import Publisher
from tests.simulation.stage import (
    POLL_SECONDS,
    SERVICES,
    Stage,
    alarms,
    quiet,
    repeatable,
    stumbling,
)
from tests.simulation.tables import Schema
from tests.simulation.world import Stuck, World

STEPS_MIN = 200
"""The least depth of a schedule."""
FAULTY_STEPS_MIN = STEPS_MIN
"""For so long things go wrong; what follows, until rest, is nearly as long again."""
REST_SECONDS = POLL_SECONDS + 0.2
"""Longer than any loop sleeps between two looks."""
THINKING_SECONDS_MAX = 0.1
SEEDS_BETWEEN_COLLECTIONS = 10
_SHARES = {"monitoring": 0.6, "quality": 0.5, "risk": 0.2}


@dataclass(slots=True)
class Outcome:
    """What a seed did and found."""

    seed: int
    steps: int = 0
    digest: str = ""
    failure: str | None = None
    faults: Counter[str] = field(default_factory=Counter[str])
    coverage: Counter[str] = field(default_factory=Counter[str])
    traces: list[str] = field(default_factory=list[str])
    schemas: dict[str, Schema] = field(default_factory=dict[str, Schema])


@dataclass(slots=True)
class Play:
    """The actors of a seed, and what they remember."""

    world: World
    calls: list[Call] = field(default_factory=list[Call])
    cases: list[UUID] = field(default_factory=list[UUID])
    publisher: Publisher = field(default_factory=Publisher)
    poisoned: set[str] = field(default_factory=set[str])
    coverage: Counter[str] = field(default_factory=Counter[str])
    depth: int = 0

    async def person(self) -> None:
        """Act until the schedule is deep enough."""
        world = self.world
        while world.steps < self.depth:
            call, state = next_call(world, len(self.calls), self.cases)
            self.calls.append(call)
            world.trace("call", str(call.number), call.operation, state)
            await perform(world, call)
            for fault in call.faults or {"none"}:
                self.coverage[f"{call.operation} × {state} × {fault}"] += 1
            world.trace("answer", str(call.number), call.outcome, call.code)
            if call.outcome != "ok":
                continue
            if call.operation == "request.submit":
                self.cases.append(UUID(call.stream.rpartition("/")[2]))
            await read_back(world, call)
            await asyncio.sleep(THINKING_SECONDS_MAX * world.rng.random())

    def poison(self) -> None:
        """Put an event of a future version on the log: it parks its case, and nothing else."""
        key = str(new_id())
        now = self.world.clock.now()
        envelope = Envelope(
            id=new_id(),
            source="/casebook/future",
            type="casebook.request.submitted.v9",
            subject=f"request/{key}",
            streamversion=1,
            partitionkey=key,
            time=now,
            recordedtime=now,
            correlationid=key,
            actor="user:future",
            origin="live",
            audience="staff",
            data={},
        )
        log = self.world.logs[0]
        log.add(partition(key), key, envelope.type, envelope.record(), b"")
        self.poisoned.add(key)


def run_seed(
    seed: int, stage: Stage, *, tracing: bool = False, journal: Journal | None = None
) -> Outcome:
    """Run one seed from its first step to its checks."""
    outcome = Outcome(seed)
    with repeatable(seed):
        world = World(seed, stage, tracing=tracing)
        world.journal = journal
        play = Play(world, cases=list(stage.cases))
        with world.loop:
            try:
                _act(play)
                _heal(play)
                outcome.failure = check(play, alarms)
            except (Stuck, AssertionError) as error:
                waits = _pending(world) or f"quiet: {quiet(world)}"
                outcome.failure = f"{type(error).__name__}: {error}; {waits}"
            finally:
                world.close()
                outcome.schemas = world.schemas
    outcome.steps, outcome.digest = world.steps, world.digest()
    outcome.faults, outcome.coverage = world.fault_counts, play.coverage
    outcome.traces = world.traces or []
    if seed % SEEDS_BETWEEN_COLLECTIONS == 0:
        gc.collect()
    return outcome


def _act(play: Play) -> None:
    """Let everybody act, and everything go wrong, for at least two hundred steps."""
    world = play.world
    rng = world.rng
    names = ["intake", "dispatch"]
    names += [name for name, share in _SHARES.items() if rng.random() < share]
    world.ingress = rng.random() < 0.4
    world.faults = FaultMix.draw(rng)
    for name in names:
        world.add(SERVICES[name])
        world.start(name)
    play.depth = FAULTY_STEPS_MIN + rng.randrange(30)
    people = [world.loop.create_task(play.person()) for _ in range(rng.randint(3, 5))]
    if world.ingress:
        play.publisher = publishers.draw(world)
        people.append(world.loop.create_task(publishers.publish(world, play.publisher, play.depth)))
    if rng.random() < 0.1:
        world.loop.call_later(rng.random(), play.poison)
    if rng.random() < 0.15:
        stumbling.update("02468ace")
    world.run_until(lambda: world.steps >= play.depth)
    world.faults = None
    for processes in world.processes.values():
        for process in processes:
            process.still_until = 0.0
    for name in names:
        living = world.alive(name)
        for process in living[: len(living) - rng.randint(0, 1)]:
            process.kill()
        world.ensure(name)
    world.run_until(lambda: all(task.done() for task in people))
    for task in people:
        task.result()


def _heal(play: Play) -> None:
    """Let every event arrive, let time pass, and wait until nothing moves any more."""
    world = play.world
    rng = world.rng
    if play.publisher.events:
        resent = world.loop.create_task(publishers.publish_all(world, play.publisher))
        world.run_until(resent.done)
        resent.result()
    if stumbling and "monitoring" in world.services:
        stumbling.clear()
        mended = world.loop.create_task(_retry_parked(world))
        world.run_until(mended.done)
        mended.result()
    world.rest_until(lambda: _rested(world))
    for hours in rng.sample((3, 30, 125), rng.randint(0, 1)):
        world.moved_to(timedelta(hours=hours))
        world.rest_until(lambda: _rested(world))
    _wait_for_rest(world)


async def _retry_parked(world: World) -> None:
    """Mend monitoring's handler, and let its operator retry what is parked because of it."""
    [process] = world.alive("monitoring")[:1]
    while not quiet(world):
        await asyncio.sleep(0.5)
    rows = world.schemas["monitoring"].table("parked").values()
    for key in {row["key"]: None for row in rows if "Stumbled" in row["error"]}:
        await process.spawn(process.runtime.reader.retry_parked(key))


def _wait_for_rest(world: World) -> None:
    """Wait until no loop finds anything to do for longer than any of them sleeps."""
    while True:
        world.rest_until(lambda: _rested(world))
        facts = _facts(world)
        until = world.loop.now + REST_SECONDS
        world.rest_until(partial(_later, world, until, facts))
        if _facts(world) == facts and _rested(world):
            return


def _later(world: World, until: float, facts: int) -> bool:
    """Say whether the time has come, or something has happened."""
    return world.loop.now >= until or _facts(world) != facts


def _facts(world: World) -> int:
    """Return how many facts there are."""
    return sum(schema.sequences.get("events", 0) for schema in world.schemas.values())


def _rested(world: World) -> bool:
    """Say whether everything is published, read and fired."""
    return quiet(world) and _pending(world) is None


def _pending(world: World) -> str | None:
    """Return what still has to happen."""
    now = world.clock.now()
    for name, schema in world.schemas.items():
        for timer in schema.table("timers").values():
            if timer["status"] == "pending" and timer["due_at"] <= now:
                return f"{name} timer {timer['kind']} of {timer['stream']} due {timer['due_at']}"
        for row in schema.table("inbox").values():
            return f"{name} inbox {row['source_event']}"
    return None
