"""What every seed begins with, prepared once: services, settings, and a small organisation.

Determinism is prepared here too: identifiers, keys and random bytes come from the seed, the time
from the world, and nothing is logged.
"""

import gc
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import structlog
from orjson import loads

from casebook.dispatch.service import SERVICE as DISPATCH
from casebook.events.decoding import decode
from casebook.events.envelope import Envelope
from casebook.events.request import RequestPrioritised
from casebook.events.work_order import WorkOrderAccepted
from casebook.intake.service import SERVICE as INTAKE
from casebook.kit import ids, keys
from casebook.kit.bookkeeping.checkpoints import LIVE
from casebook.kit.clock import SystemClock
from casebook.kit.decider import Fact, Reaction
from casebook.kit.log.event_log import PARTITIONS, LogRecord
from casebook.kit.read_models.projections import ProjectionTable
from casebook.kit.reading import applying
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.store.store import Store
from casebook.monitoring.policy import POLICY
from casebook.monitoring.service import SERVICE as MONITORING
from casebook.quality.service import SERVICE as QUALITY
from casebook.risk.service import SERVICE as RISK
from tests.simulation import (  # noqa: F401 - importing registers what the statements mean
    statements_append,
    statements_ingress,
    statements_read,
)
from tests.simulation.calls import Call, perform
from tests.simulation.folding import Begun, begun
from tests.simulation.journal import Journal
from tests.simulation.people import (
    AGENTS,
    BY_NAME,
    call_on,
    capacity_change,
    registration,
    setting_up,
    submission,
)
from tests.simulation.tables import Schema
from tests.simulation.world import START, World


class Stumbled(Exception):
    """A handler's defect, while there is one."""


stumbling: set[str] = set()
"""Last digits of the cases that monitoring's handler fails on, until somebody mends it."""


def _stumble(level: Any, fact: Fact) -> list[Any]:
    if fact.case[-1] in stumbling:
        raise Stumbled(fact.case)
    return []


_FRAGILE = replace(
    MONITORING,
    policy=POLICY,
    reactions=(
        *MONITORING.reactions,
        Reaction((RequestPrioritised, WorkOrderAccepted), "service-level", _stumble),
    ),
)
"""Monitoring with a handler that can fail after the read models were written."""

SERVICES: Mapping[str, Service] = {
    service.name: service for service in (INTAKE, DISPATCH, _FRAGILE, QUALITY, RISK)
}
POLL_SECONDS = 2.0

alarms: list[tuple[str, dict[str, Any]]] = []
"""What the product called critical in this seed: a broken task, a halted reader."""


class _Quiet:
    """A logger that writes nothing, and keeps what is critical."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what structlog gives."""

    def bind(self, **_: Any) -> "_Quiet":
        """Return the same logger."""
        return self

    def info(self, event: str, **fields: Any) -> None:
        """Write nothing."""

    debug = warning = error = new = info

    def critical(self, event: str, **fields: Any) -> None:
        """Keep it for the checks."""
        alarms.append((event, fields))


class Stage:
    """The rows, records and settings that a seed begins with."""

    def __init__(self, folder: Path, journal: Journal | None = None) -> None:
        key = folder / "master.key"
        keys.new_master_key(key)
        self.log: dict[int, list[LogRecord]] = {p: [] for p in range(PARTITIONS)}
        self.schemas = {name: _empty(service) for name, service in SERVICES.items()}
        self.settings = {
            (name, variant): Settings(
                master_key_file=key,
                poll_seconds=POLL_SECONDS,
                batch_records_max=(2_000, 12)[variant],
                relay_events_max=(2_000, 3)[variant],
                promote_events_max=(2_000, 4)[variant],
            )
            for name in SERVICES
            for variant in range(2)
        }
        for service in SERVICES.values():
            statements_read.projection_statements(service)
        self.cases: list[UUID] = []
        self._prepare(journal)
        self.begun = self._begun()

    def _begun(self) -> dict[str, Begun]:
        """Return what each service holds before a seed begins, checked."""
        facts = {name: facts_of(schema) for name, schema in self.schemas.items()}
        known = {str(f.envelope.id): f for stored in facts.values() for f in stored}
        logged = [
            replace(known[loads(record.record)["id"]], offset=record.offset)
            for records in self.log.values()
            for record in records
        ]
        ring = keys.KeyRing("", None)
        stores = {name: Store(service, SystemClock(), ring) for name, service in SERVICES.items()}
        return {
            name: begun(stores[name], schema, facts[name], logged)
            for name, schema in self.schemas.items()
        }

    def _prepare(self, journal: Journal | None) -> None:
        """Set up teams, agents and sources through the product's own commands."""
        with repeatable(0), (world := World(0, self)).loop:
            world.journal = journal
            for service in SERVICES.values():
                world.add(service)
                world.start(service.name)
            for call in setting_up():
                made = world.loop.create_task(perform(world, call))
                world.run_until(made.done)
                assert call.outcome == "ok", (call.operation, call.outcome, call.code)
            world.run_until(lambda: quiet(world))
            self.cases = _requests(world)
            world.close()
        self.log = world.log
        self.schemas = {name: schema.copy() for name, schema in world.schemas.items()}


SEED_CAPACITY = 1
"""What an agent can hold when a seed begins: little, so that capacity is met often."""
_WALKS = (
    (),
    ("work-order.accept",),
    ("work-order.accept", "work-order.start"),
    ("work-order.accept", "work-order.start", "work-order.wait"),
    ("work-order.accept", "work-order.start", "work-order.resolve"),
    ("work-order.accept", "work-order.start", "work-order.resolve", "request.confirm"),
)
"""How far the requests have come that every seed begins with."""


_RISK_WALKS = (
    (),
    ("risk.assess",),
    ("risk.assess", "risk.plan-treatment"),
    ("risk.assess", "risk.plan-treatment", "risk.complete-treatment"),
)
"""The same for risks."""


def _requests(world: World) -> list[UUID]:
    """Bring some requests to different points of their life; return them."""
    cases: list[UUID] = []
    number = -100

    def make(call: Call) -> None:
        made = world.loop.create_task(perform(world, call))
        world.run_until(made.done)
        assert call.outcome == "ok", (call.operation, call.outcome, call.code)
        world.rest_until(lambda: quiet(world))

    for walk in _WALKS:
        submitted = submission(number, world.rng)
        make(submitted)
        cases.append(UUID(submitted.stream.rpartition("/")[2]))
        world.rest_until(partial(_assigned, world, f"work-order/{cases[-1]}"))
        for step in walk:
            number -= 1
            call, _ = call_on(world, number, BY_NAME[step], cases[-1])
            call.if_match = "*"
            make(call)
        number -= 1
    for walk in _RISK_WALKS:
        registered = registration(number)
        make(registered)
        for step in walk:
            number -= 1
            id_ = UUID(registered.stream.rpartition("/")[2])
            call, _ = call_on(world, number, BY_NAME[step], id_)
            call.if_match = "*"
            make(call)
        number -= 1
    for agent in AGENTS:
        make(capacity_change(world, number, agent, SEED_CAPACITY))
        number -= 1
    return cases


def _assigned(world: World, stream: str) -> bool:
    """Say whether the matcher has found somebody."""
    fields = world.schemas["dispatch"].table("streams")[stream]["fields"]
    return quiet(world) and fields["status"] == "assigned"


def quiet(world: World) -> bool:
    """Say whether everything was published and read."""
    ends = {partition: len(records) for partition, records in world.log.items()}
    return all(
        not schema.table("outbox")
        and all(schema.table("checkpoints").get((LIVE, p), 0) == end for p, end in ends.items())
        for schema in world.schemas.values()
    )


def _empty(service: Service) -> Schema:
    """Return the tables of a service as a migration leaves them."""
    schema = Schema(service.name)
    checkpoints = schema.table("checkpoints")
    for partition in range(PARTITIONS):
        checkpoints[LIVE, partition] = 0
    schema.table("ingress_clock")[True] = {"active_seconds": 0.0, "swept_at": START}
    for projection in service.projections:
        row = (projection.name, projection.version, 1)
        schema.table("projections")[projection.name] = row
    return schema


def facts_of(schema: Schema, after: int = 0) -> list[Fact]:
    """Return the facts of a store behind a position, in the order they were appended."""
    facts: list[Fact] = []
    events = schema.table("events")
    for position in sorted(place for place in events if place > after):
        envelope = Envelope.from_record(events[position]["record"])
        event = decode(envelope)
        assert event is not None
        facts.append(Fact(envelope, event, position))
    return facts


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Take identifiers and key material from the seed, and write no log lines."""
    rng = random.Random(~seed)  # noqa: S311 - repeatable on purpose
    patches: list[tuple[Any, str, Any]] = [
        (ids, "uuid7", lambda: _uuid7(rng)),
        (keys, "secrets", SimpleNamespace(token_bytes=rng.randbytes)),
        (applying, "ProjectionTable", _composed),
    ]
    kept = [getattr(module, name) for module, name, _ in patches]
    for module, name, instead in patches:
        setattr(module, name, instead)
    configured = structlog.get_config()
    alarms.clear()
    stumbling.clear()
    quiet_logger: Any = _Quiet
    structlog.configure(wrapper_class=quiet_logger)
    try:
        yield
    finally:
        for (module, name, _), was in zip(patches, kept, strict=True):
            setattr(module, name, was)
        structlog.configure(**configured)


_composed = cache(ProjectionTable)
"""The statements of each read model are composed once, not by every process again."""


def _uuid7(rng: random.Random) -> UUID:
    """Return an identifier with the version and variant bits of UUID 7."""
    bits = rng.getrandbits(128)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return UUID(int=bits & ~(0x3 << 62) | 0x2 << 62)


@contextmanager
def staged(journal: Journal | None = None) -> Iterator[Stage]:
    """Prepare a stage; ``journal`` notes what that takes."""
    with tempfile.TemporaryDirectory(prefix="casebook-simulation-") as folder:
        stage = Stage(Path(folder), journal)
        with collecting_by_hand():
            yield stage


@contextmanager
def collecting_by_hand() -> Iterator[None]:
    """Look for garbage after a seed only, and never in what all seeds share."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
